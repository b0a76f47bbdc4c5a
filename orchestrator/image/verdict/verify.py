"""The verdict on an image: does it hold what was promised, judged from its bytes.

One call reads the source, judges it and says what else is worth knowing. How it is shown is the concern of others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orchestrator.cuda.promise import promised_ccs
from orchestrator.errors import Problem
from orchestrator.flashinfer import LOCK_NAME
from orchestrator.image.verdict import explain, findings, kernels
from orchestrator.image.verdict.policy import Policy
from orchestrator.image.verdict.scanned import scan_source
from orchestrator.labels import CUDA, FLASHINFER, MATRIX, VARIANT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.cuda.arch import Arch
    from orchestrator.image.verdict.bundle import Carried
    from orchestrator.image.verdict.findings import Compiler, Duplicate
    from orchestrator.image.verdict.kernels import Library
    from orchestrator.image.verdict.scanned import Scanned

SCHEMA = 1
_LABELS = {"cuda": CUDA, "matrix": MATRIX, "variant": VARIANT}  # in the JSON -> on the image


class Verdict(Struct, frozen=True, kw_only=True):
    """What was found, and whether it is what was promised.

    Attributes:
        scanned: The source.
        promised: Architectures, as promised; () when nothing was promised and so nothing was judged.
        promised_by: Where the promise stands: "labels", "--archs", a variant's id.
        table: The libraries, required ones first, each with a cell for each promised device.
        problems: Why it does not pass, that of `headers` last.
        remarks: What should be looked at and does not fail it.
        compilers: Every ptxas and nvcc in the image.
        later: Packages that compile on the device's host: name -> version.
        duplicates: Copies of device code that are never loaded.
        cubins: Package -> tag -> number of bare cubin files.
        headers: The FlashInfer bundle, None in what is not bound to hold one.
    """

    scanned: Scanned
    promised: tuple[Arch, ...]
    promised_by: str
    table: tuple[Library, ...]
    problems: tuple[Problem, ...]
    remarks: tuple[Problem, ...]
    compilers: tuple[Compiler, ...]
    later: Mapping[str, str]
    duplicates: tuple[Duplicate, ...]
    cubins: Mapping[str, Mapping[str, int]]
    headers: Carried | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.problems

    @property
    def warnings(self) -> tuple[str, ...]:
        """The remarks as text, a line each."""
        return tuple(map(str, self.remarks))

    @property
    def unread(self) -> tuple[tuple[str, int, str], ...]:
        """Files that may hold device code and were not looked at: path, bytes, and why."""
        return tuple((path, one.size, one.unread) for path, one in self.scanned.files.code.items() if one.unread)

    @property
    def ccs(self) -> tuple[str, ...]:
        """The compute capabilities of the table's columns: the promised ones, or all that are known."""
        return promised_ccs(self.promised) or kernels.known_ccs()

    def to_json(self) -> dict[str, Any]:
        """The verdict as `--format json` prints it; stable, versioned, documented in docs/verify.md."""
        return {
            "schema": SCHEMA,
            "source": self.scanned.source,
            "digest": self.scanned.digest,
            "platform": self.scanned.platform,
            "promise": {"archs": [str(arch) for arch in self.promised], "from": self.promised_by},
            "labels": {name: self.scanned.labels.get(label, "") for name, label in _LABELS.items()},
            "ok": self.ok if self.promised or not self.ok else None,
            "problems": [
                {"file": problem.file, "what": problem.what, "hint": problem.hint} for problem in self.problems
            ],
            "warnings": list(self.warnings),
            "libraries": [_library(library) for library in self.table],
            "bytes": bytes_by_arch(self.table),
            "cubins": {place: dict(counts) for place, counts in self.cubins.items()},
            "compilers": [
                {"path": one.path, "release": one.release, "cannot": list(one.cannot)} for one in self.compilers
            ],
            "compile_later": dict(self.later),
            "not_read": [{"path": path, "size": size, "why": why} for path, size, why in self.unread],
            "headers": _headers_json(self.headers),
            "duplicates": [
                {"path": one.path, "others": list(one.others), "wasted": one.wasted} for one in self.duplicates
            ],
        }


def _headers_json(headers: Carried | None) -> dict[str, Any] | None:
    if headers is None:
        return None
    lock = headers.lock
    return {
        "ok": not headers.problems,
        "directory": headers.directory,
        "flashinfer": lock.version if lock else "",
        "files": len(lock.files) if lock else 0,
    }


def _library(library: Library) -> dict[str, Any]:
    code = library.code
    data: dict[str, Any] = {
        "path": library.path,
        "aliases": list(library.aliases),
        "required": library.required,
        "size": code.size,
        "containers": code.containers,
        "empty": code.empty,
        "served": {cell.cc: cell.to_json() for cell in library.cells},
        "images": _by_number(code.images),
        "bytes": _by_number(code.stored),
        "profiles": [{"containers": count, "archs": list(tags)} for tags, count in sorted_profiles(code.profiles)],
    }
    if code.archive:
        data["archive"] = code.archive
    if library.owner is not None:
        data["package"] = str(library.owner)
    if code.damage:
        data["damage"] = code.damage
    if code.doubt:
        data["doubt"] = code.doubt
    if code.kernels is not None:
        data["kernels"] = dict(code.kernels)
        data["holes"] = [
            {"kernel": hole.kernel, "present": list(hole.present), "absent": list(hole.absent)} for hole in code.holes
        ]
    return data


def _by_number(counts: Mapping[str, int]) -> dict[str, int]:
    return {tag: counts[tag] for tag in sorted(counts, key=kernels.by_number)}


def sorted_profiles(profiles: Mapping[tuple[str, ...], int]) -> list[tuple[tuple[str, ...], int]]:
    """Profiles, the most frequent first, each set sorted by number."""
    found = [(tuple(sorted(tags, key=kernels.by_number)), count) for tags, count in profiles.items()]
    return sorted(found, key=lambda one: (-one[1], [kernels.by_number(tag) for tag in one[0]]))


def bytes_by_arch(table: Sequence[Library]) -> dict[str, int]:
    """Tag -> bytes that its images take in the files: what each architecture costs."""
    total: dict[str, int] = {}
    for library in table:
        for tag, size in ({} if library.code.archive else library.code.stored).items():
            total[tag] = total.get(tag, 0) + size
    return dict(sorted(total.items(), key=lambda one: kernels.by_number(one[0])))


def verify_image(
    source: str,
    promised: Sequence[Arch] = (),
    policy: Policy | None = None,
    *,
    promised_by: str = "",
    platform: str = "",
    bundle: str = "",
) -> Verdict:
    """Read and judge an image.

    Args:
        source: As for `scan_source`.
        promised: What it must hold; empty takes what its labels say.
        policy: What counts; by default `Policy()`.
        promised_by: Where the promise stands.
        platform: Which one of several, "linux/arm64".
        bundle: Digest (`sha256:…`) of the FlashInfer bundle that it must hold, "" for what its label says.

    Raises:
        OrchestrateError: It cannot be read. A verdict that does not pass is not an error: see `Verdict.ok`.
    """
    scanned = scan_source(source, platform=platform)
    given = tuple(promised) or scanned.promised
    by = promised_by or ("labels" if given else "")
    return verdict(scanned, given, policy or Policy(), promised_by=by, bundle=bundle)


def verdict(
    scanned: Scanned, promised: Sequence[Arch], policy: Policy, *, promised_by: str = "", bundle: str = ""
) -> Verdict:
    """Judge what was read.

    Args:
        scanned: What was read.
        promised: What it must hold; empty judges nothing and shows every known device.
        policy: What counts.
        promised_by: Where the promise stands.
        bundle: Digest (`sha256:…`) of the FlashInfer bundle that it must hold, "" for what its label says.
    """
    ccs = promised_ccs(promised)
    table, unmet = kernels.judge(scanned.files, ccs or kernels.known_ccs(), policy, judging=bool(promised))
    problems: list[Problem] = []
    if promised:
        problems += [Problem(file=glob, what="no library with device code matches this requirement") for glob in unmet]
        if not any(library.required for library in table) and not unmet:
            packed = next((one.code.archive for one in table if one.code.archive), "")
            hint = f"install what lies in {packed}: an archive serves no GPU" if packed else ""
            problems.append(Problem(file=scanned.source, what="it holds no library with device code", hint=hint))
        required = [library for library in table if library.required]
        problems += [found for library in required if (found := explain.problem(library, ccs))]
    compilers = findings.compilers(scanned.files, promised)
    headers = _headers(scanned, bundle)
    return Verdict(
        scanned=scanned,
        promised=tuple(promised),
        promised_by=promised_by,
        table=table,
        problems=(*problems, *(headers.problems if headers else ())),
        remarks=(
            *explain.warnings(scanned.files, scanned.environment, table, promised, compilers),
            *explain.unserved([one for one in table if policy.whole_ptx or (promised and one.code.archive)]),
            *(() if policy.whole_ptx else explain.only_specific(table, promised)),
            *(note for library in table if library.required and promised for note in explain.guards(library, ccs)),
            *(Problem(what=text) for text in (headers.warnings if headers else ())),
        ),
        compilers=compilers,
        later=scanned.files.compile_later,
        duplicates=findings.duplicates(scanned.files),
        cubins=findings.bare_cubins(scanned.files),
        headers=headers,
    )


def _headers(scanned: Scanned, expected: str) -> Carried | None:
    """The bundle, looked for only where there may be one: most images need not load what knows FlashInfer."""
    locked = any(path.endswith(LOCK_NAME) for path in scanned.files.artifacts)
    if not scanned.image or not (expected or scanned.labels.get(FLASHINFER) or locked):
        return None
    from orchestrator.image.verdict.bundle import carried

    return carried(scanned, expected=expected)
