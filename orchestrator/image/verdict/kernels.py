"""How each library serves each promised device, container by container, and whether that is enough.

The verdict is per library that matters and per container (translation unit), never a union: NCCL alone would make a
union over an image pass the bug that this exists for, and one file compiled by accident for sm_52 a union over a
library. Does not depend on how files were read.
"""

from __future__ import annotations

import re
from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Any, cast

from msgspec import Struct

from orchestrator.cuda.arch import Arch
from orchestrator.cuda.coverage import How, Image, ptx_isa_needed, serve
from orchestrator.cuda.devices import device_names
from orchestrator.cuda.promise import among
from orchestrator.cuda.toolkit import toolkits
from orchestrator.image.verdict.policy import Requirement, default_required, matches

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.cuda.arch import Suffix
    from orchestrator.image.code.library import FileCode, Profile
    from orchestrator.image.layers.installed import Distribution
    from orchestrator.image.layers.merge import Files
    from orchestrator.image.verdict.policy import Policy

_TAG = re.compile(r"(p|lto)?(\d+)([af]?)")


class Status(StrEnum):
    """What a cell of the table means for the verdict."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    EXCEPTED = "excepted"
    INFO = "info"  # the library is not required to serve this device


class Cell(Struct, frozen=True, kw_only=True):
    """How one library serves one device.

    Attributes:
        cc: Compute capability of the device.
        how: How -> containers.
        score: Share of the best served device, promised or known, 0 to 1.
        status: What it means.
        why: The reason for anything but ok and info.
        isa: Newest PTX ISA that a driver must know for the containers served by PTX, None where there are none.
    """

    cc: str
    how: Mapping[How, int]
    score: float
    status: Status
    why: str = ""
    isa: tuple[int, int] | None = None

    @property
    def direct(self) -> int:
        """Containers served by machine code."""
        return sum(count for how, count in self.how.items() if how.direct)

    @property
    def ptx(self) -> int:
        """Containers served by PTX alone, compiled by the driver at first use."""
        return self.how.get(How.PTX, 0)

    @property
    def total(self) -> int:
        """Containers that hold kernels."""
        return sum(self.how.values())

    def to_json(self) -> dict[str, Any]:
        """A value for `json.dumps`."""
        data: dict[str, Any] = {
            "direct": self.direct,
            "ptx": self.ptx,
            "total": self.total,
            "how": {how.value: count for how, count in self.how.items()},
            "score": round(self.score, 3),
            "status": self.status.value,
        }
        if self.why:
            data["why"] = self.why
        if self.isa:
            data["ptx_isa"] = f"{self.isa[0]}.{self.isa[1]}"
        return data


class Library(Struct, frozen=True, kw_only=True):
    """One file with executable device code, judged.

    Attributes:
        path: In the image.
        aliases: Symlinks that lead to it.
        required: Whether it counts.
        code: What it holds.
        cells: One for each promised device, in their order.
        owner: The distribution that pip installed it with, None if no RECORD lists it.
    """

    path: str
    aliases: tuple[str, ...]
    required: bool
    code: FileCode
    cells: tuple[Cell, ...]
    owner: Distribution | None = None


def images_of(profile: Profile, isa: Mapping[str, tuple[int, int]]) -> tuple[Image, ...]:
    """The images of a profile as `cuda.coverage` knows them; kinds that serve no device are left out."""
    images = []
    for tag in profile:
        match = _TAG.fullmatch(tag)
        if match:
            kind = "ptx" if match[1] == "p" else "lto" if match[1] == "lto" else "sass"
            images.append(Image(kind, int(match[2]), cast("Suffix", match[3]), isa.get(tag, (0, 0))))  # type: ignore[arg-type]  # one of the three literals
    return tuple(images)


def by_number(tag: str) -> tuple[bool, int, str]:
    """Sorts tags: machine code before PTX, by number and suffix."""
    match = re.fullmatch(r"(\D*)(\d+)(\w*)", tag)
    return (bool(match[1]), int(match[2]), match[3]) if match else (True, 0, tag)


def judge(
    files: Files, ccs: Sequence[str], policy: Policy, *, judging: bool = True
) -> tuple[tuple[Library, ...], tuple[str, ...]]:
    """Every library with executable device code, judged, and the requirements that no library meets.

    What lies in an archive is not installed: it is shown, and neither required nor does it meet a requirement.

    Args:
        files: What the runtime sees.
        ccs: Promised compute capabilities, each once.
        policy: What counts.
        judging: False only looks: no library is required.

    Returns:
        Required libraries first, then the others, each by path; and globs that matched nothing.
    """
    names = _names(files)
    named = [path for path in names if any(matches(rule.glob, names[path]) for rule in policy.require)]
    candidates = [
        path
        for path, code in files.code.items()
        if code.containers or code.damage or (code.unread and judging and path in named and not code.archive)
    ]
    installed = [path for path in candidates if not files.code[path].archive]
    loadable = [path for path in installed if not path.endswith((".a", ".o"))] or installed
    chosen = set(default_required(loadable, files.installed)) if judging and not policy.require else set()
    libraries = []
    for path in candidates:
        counts = judging and not files.code[path].archive
        rules = [rule for rule in policy.require if counts and matches(rule.glob, names[path])]
        if path in chosen:
            rules = [Requirement(glob=path)]
        cells = _cells(files.code[path], names[path], ccs, rules, policy)
        libraries.append(
            Library(
                path=path,
                aliases=tuple(names[path][1:]),
                required=bool(rules),
                code=files.code[path],
                cells=cells,
                owner=files.installed.owner(path),
            )
        )
    unmet = [rule.glob for rule in policy.require if not any(matches(rule.glob, names[path]) for path in installed)]
    return tuple(sorted(libraries, key=lambda one: (not one.required, one.path))), tuple(unmet)


def _names(files: Files) -> dict[str, list[str]]:
    names = {path: [path] for path in files.code}
    for alias, path in files.aliases.items():
        names[path].append(alias)
    return names


def _cells(
    code: FileCode, paths: Sequence[str], ccs: Sequence[str], rules: Sequence[Requirement], policy: Policy
) -> tuple[Cell, ...]:
    every = tuple(dict.fromkeys((*ccs, *known_ccs()))) if rules else ccs
    counts = {cc: how_served(code, cc, strict_tegra=policy.strict_tegra) for cc in every}
    best = max((_reached(how) for how in counts.values()), default=0)
    whole = _served_whole(code, {cc: counts[cc] for cc in ccs}) or _served_whole(code, counts) if rules else ()
    library = _Library(paths=tuple(paths), rules=tuple(rules), best=best, whole=whole)
    return tuple(_cell(code, cc, counts[cc], library, policy) for cc in ccs)


class _Library(Struct, frozen=True, kw_only=True):
    """What the cells of one library are measured by.

    Attributes:
        paths: Where the file is, by which exceptions are found.
        rules: The requirements that the library must meet; empty where none names it.
        best: Containers that serve the best served device, promised or known: a promise of one device alone is
            measured as one of many is.
        whole: Devices that every container serves, where these are most; else () and nothing can be expected.
    """

    paths: tuple[str, ...]
    rules: tuple[Requirement, ...]
    best: int
    whole: tuple[str, ...]


def _served_whole(code: FileCode, counts: Mapping[str, Mapping[How, int]]) -> tuple[str, ...]:
    """The devices that all containers serve, if the library is of the kind that serves every device as a whole.

    In vLLM's libraries no device is served by every container, so nothing can be concluded from one that is not. In
    most others (xgboost, cupy, a project of one's own) a container without code for one device is a forgotten flag.
    Asked of the promised devices first, where there are several, and else of all that are known.
    """
    if len(counts) < 2:
        return ()
    reached = [cc for cc, how in counts.items() if _reached(how)]
    whole = tuple(cc for cc in reached if _reached(counts[cc]) == code.containers)
    return whole if 2 * len(whole) >= len(reached) else ()


def how_served(code: FileCode, cc: str, *, strict_tegra: bool = True) -> dict[How, int]:
    """How -> number of containers that serve a device so.

    Args:
        code: Of one file.
        cc: Compute capability of the device.
        strict_tegra: See `cuda.coverage.serve`.
    """
    behind = [images_of(profile, code.isa) for profile in code.relocatable]
    counts: Counter[How] = Counter()
    for profile, count in code.profiles.items():
        images = images_of(profile, code.isa)
        counts[serve(images, cc, strict_tegra=strict_tegra, relocatable=behind)] += count
    return {how: counts[how] for how in How if counts[how]}


def _reached(how: Mapping[How, int]) -> int:
    return sum(count for one, count in how.items() if one.direct or one is How.PTX)


def _cell(code: FileCode, cc: str, how: Mapping[How, int], library: _Library, policy: Policy) -> Cell:
    score = _reached(how) / library.best if library.best else 0.0
    demands = [rule for rule in library.rules if rule.ccs is None or among(cc, rule.ccs)]
    status, why = Status.INFO, ""
    if demands:
        ptx = policy.allow_ptx or any(rule.ptx for rule in demands)
        status, why = _status(code, how, score, policy, ptx=ptx)
        if (
            status in (Status.OK, Status.WARN)
            and policy.fail_below
            and library.whole
            and _reached(how) < sum(how.values())
        ):
            status, why = Status.FAIL, _hole(how, library.whole)
        if status is Status.FAIL:
            for known in policy.exceptions:
                if matches(known.glob, library.paths) and among(cc, known.ccs):
                    status, why = Status.EXCEPTED, known.why
                    break
    return Cell(cc=cc, how=how, score=score, status=status, why=why, isa=_isa(code, cc, how))


def _status(code: FileCode, how: Mapping[How, int], score: float, policy: Policy, *, ptx: bool) -> tuple[Status, str]:
    if code.damage or (code.unread and not code.containers):
        return Status.FAIL, f"cannot be verified: {code.damage or code.unread}"
    direct = sum(count for one, count in how.items() if one.direct)
    total = sum(how.values())
    jit = how.get(How.PTX, 0)
    if not direct and policy.whole_ptx and jit == total:
        return Status.WARN, "it runs only by compiling PTX at first use"
    if not direct and not (ptx and jit):
        return Status.FAIL, _nothing(how, total)
    share = f"{_reached(how)} of {total} translation units"
    if score < policy.fail_below:
        return Status.FAIL, f"only {share} serve it, {score:.0%} of what the best served device gets"
    if score < policy.warn_below:
        return Status.WARN, f"only {share} serve it, {score:.0%} of what the best served device gets"
    return Status.OK, ""


def _hole(how: Mapping[How, int], whole: Sequence[str]) -> str:
    total = sum(how.values())
    lacking = total - _reached(how)
    return (
        f"{lacking} of {total} translation units hold{'s' if lacking == 1 else ''} nothing for it, "
        f"while all of them serve {' '.join(whole)}"
    )


def known_ccs() -> tuple[str, ...]:
    """The compute capabilities that the newest toolkit compiles for and that some GPU is known to have."""
    plain = sorted(Arch(sm // 10, sm % 10) for sm, suffix in toolkits()[-1].targets if not suffix)
    return tuple(arch.cc for arch in plain if device_names(arch.cc))


def _nothing(how: Mapping[How, int], total: int) -> str:
    units = f"{total} translation unit{'s' if total != 1 else ''}"
    if count := how.get(How.PTX, 0):
        return f"no machine code in any of {units}, {count} of them only by PTX"
    if how.get(How.RELINK):
        return f"no machine code in any of {units}; only the driver's linking at load time could serve it"
    return f"no machine code and no PTX in any of {units}"


def _isa(code: FileCode, cc: str, how: Mapping[How, int]) -> tuple[int, int] | None:
    if not how.get(How.PTX):
        return None
    needed = []
    for profile in code.profiles:
        images = images_of(profile, code.isa)
        if serve(images, cc) is How.PTX and (isa := ptx_isa_needed(images, cc)):
            needed.append(isa)
    return max(needed, default=None)
