"""The verdict on an image: does it hold what was promised, told from its bytes.

One call reads the source, judges it and says what else is worth knowing. How it is shown is the concern of others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.cuda.arch import ArchSyntaxError, parse_list
from orchestrator.errors import Problem, UsageError
from orchestrator.image import explain, findings, kernels
from orchestrator.image.layers import Files, merge
from orchestrator.image.parallel import scan_layers
from orchestrator.image.policy import Policy
from orchestrator.image.sources.detect import open_source
from orchestrator.image.store import LayerStore, default_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orchestrator.cuda.arch import Arch
    from orchestrator.image.findings import Compiler, Duplicate
    from orchestrator.image.kernels import Library
    from orchestrator.image.parallel import Step

SCHEMA = 1
LABEL_ARCHS = "com.orchestrate.archs"
LABELS = {"cuda": "com.orchestrate.cuda", "matrix": "com.orchestrate.matrix", "variant": "com.orchestrate.variant"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Scanned:
    """A source that was read, not judged yet.

    Attributes:
        source: As the user called it.
        digest: `sha256:…` of the manifest, "" where there is none.
        platform: "linux/arm64", "" where unknown.
        labels: Of the image.
        environment: Of the image.
        files: What the runtime sees.
        image: Whether it is an image, and no wheel, directory or file.
    """

    source: str
    digest: str = ""
    platform: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Files = field(default_factory=lambda: Files(code={}))
    image: bool = False

    @property
    def promised(self) -> tuple[Arch, ...]:
        """What the image's own labels promise, () for nothing.

        Raises:
            UsageError: The label is there and does not parse.
        """
        text = self.labels.get(LABEL_ARCHS, "")
        if not text:
            return ()
        try:
            return parse_list(text)
        except ArchSyntaxError as error:
            raise UsageError(f"{self.source}: its label {LABEL_ARCHS} is no list of architectures: {error}") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What was found, and whether it is what was promised.

    Attributes:
        scanned: The source.
        promised: Architectures, as promised; () when nothing was promised and so nothing was judged.
        promised_by: Where the promise stands: "labels", "--archs", a variant's id.
        table: The libraries, required ones first, each with a cell for each promised device.
        problems: Why it does not pass.
        warnings: What should be looked at and does not fail it.
        compilers: Every ptxas and nvcc in the image.
        later: Packages that compile on the device's host: name -> version.
        duplicates: Copies of device code that serve nobody.
        cubins: Package -> tag -> number of bare cubin files.
    """

    scanned: Scanned
    promised: tuple[Arch, ...]
    promised_by: str
    table: tuple[Library, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]
    compilers: tuple[Compiler, ...]
    later: Mapping[str, str]
    duplicates: tuple[Duplicate, ...]
    cubins: Mapping[str, Mapping[str, int]]

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.problems

    @property
    def ccs(self) -> tuple[str, ...]:
        """The compute capabilities of the table's columns: the promised ones, or all that are known."""
        return tuple(dict.fromkeys(arch.cc for arch in self.promised)) or kernels.known_ccs()

    def to_json(self) -> dict[str, Any]:
        """The verdict as `--format json` prints it; stable, versioned, documented in docs/verify.md."""
        return {
            "schema": SCHEMA,
            "source": self.scanned.source,
            "digest": self.scanned.digest,
            "platform": self.scanned.platform,
            "promise": {"archs": [str(arch) for arch in self.promised], "from": self.promised_by},
            "labels": {name: self.scanned.labels.get(label, "") for name, label in LABELS.items()},
            "ok": self.ok if self.promised else None,
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
            "duplicates": [
                {"path": one.path, "others": list(one.others), "wasted": one.wasted} for one in self.duplicates
            ],
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
        "images": dict(code.images),
        "bytes": dict(code.stored),
        "profiles": [{"containers": count, "archs": list(tags)} for tags, count in sorted_profiles(code.profiles)],
    }
    if code.damage:
        data["damage"] = code.damage
    if code.kernels is not None:
        data["kernels"] = dict(code.kernels)
        data["holes"] = [
            {"kernel": hole.kernel, "present": list(hole.present), "absent": list(hole.absent)} for hole in code.holes
        ]
    return data


def sorted_profiles(profiles: Mapping[tuple[str, ...], int]) -> list[tuple[tuple[str, ...], int]]:
    """Profiles, the most frequent first."""
    return sorted(profiles.items(), key=lambda one: (-one[1], one[0]))


def bytes_by_arch(table: Sequence[Library]) -> dict[str, int]:
    """Tag -> bytes that its images take in the files: what each architecture costs."""
    total: dict[str, int] = {}
    for library in table:
        for tag, size in library.code.stored.items():
            total[tag] = total.get(tag, 0) + size
    return dict(sorted(total.items()))


def scan_source(
    source: str,
    *,
    platform: str = "",
    deep: bool = False,
    store: LayerStore | None = None,
    workers: int | None = None,
    progress: Callable[[Step], None] | None = None,
) -> Scanned:
    """Read an image, wheel, directory or file.

    Args:
        source: As for `sources.detect.open_source`.
        platform: Which one of several, "linux/arm64".
        deep: Open every cubin for the names of its kernels.
        store: Where scans of layers are kept; by default in the user's cache directory.
        workers: Processes at once; by default as many as there are cores.
        progress: Called from several threads while layers are read.

    Raises:
        OrchestrateError: It cannot be read; the subclass says why.
    """
    kept = store or LayerStore(default_directory())
    with open_source(source, kept, platform=platform, deep=deep) as contents:
        own = contents.files
        layers = (
            scan_layers(contents.layers, kept, deep=deep, workers=workers, progress=progress) if own is None else (own,)
        )
    return Scanned(
        source=source,
        digest=contents.digest,
        platform=contents.platform,
        labels=contents.labels,
        environment=contents.environment,
        files=merge(layers),
        image=own is None,
    )


def verify_image(
    source: str,
    promised: Sequence[Arch] = (),
    policy: Policy | None = None,
    *,
    promised_by: str = "",
    platform: str = "",
    deep: bool = False,
    store: LayerStore | None = None,
    progress: Callable[[Step], None] | None = None,
) -> Verdict:
    """Read and judge an image.

    Args:
        source: As for `scan_source`.
        promised: What it must hold; empty takes what its labels say.
        policy: What counts; by default `Policy()`.
        promised_by: Where the promise stands.
        platform: Which one of several, "linux/arm64".
        deep: Compare kernel by kernel inside each translation unit.
        store: See `scan_source`.
        progress: See `scan_source`.

    Raises:
        OrchestrateError: It cannot be read. A verdict that does not pass is no error: see `Verdict.ok`.
    """
    scanned = scan_source(source, platform=platform, deep=deep, store=store, progress=progress)
    given = tuple(promised) or scanned.promised
    return verdict(scanned, given, policy or Policy(), promised_by=promised_by or ("labels" if given else ""))


def verdict(scanned: Scanned, promised: Sequence[Arch], policy: Policy, *, promised_by: str = "") -> Verdict:
    """Judge what was read.

    Args:
        scanned: What was read.
        promised: What it must hold; empty judges nothing and shows every known device.
        policy: What counts.
        promised_by: Where the promise stands.
    """
    ccs = tuple(dict.fromkeys(arch.cc for arch in promised))
    table, unmet = kernels.judge(scanned.files, ccs or kernels.known_ccs(), policy, judging=bool(promised))
    problems: list[Problem] = []
    if promised:
        problems += [Problem(file=glob, what="no library with device code matches this requirement") for glob in unmet]
        if not any(library.required for library in table) and not unmet:
            problems.append(Problem(file=scanned.source, what="it holds no library with device code"))
        problems += [problem for library in table if library.required for problem in explain.problems(library)]
    holes = [explain.holes(library, ccs) for library in table if library.required and promised]
    problems += [problem for found, _ in holes for problem in found]
    compilers = findings.compilers(scanned.files, promised)
    return Verdict(
        scanned=scanned,
        promised=tuple(promised),
        promised_by=promised_by,
        table=table,
        problems=tuple(problems),
        warnings=(
            *explain.warnings(scanned.files, scanned.environment, table, promised, compilers),
            *(note for _, notes in holes for note in notes),
        ),
        compilers=compilers,
        later=scanned.files.compile_later,
        duplicates=findings.duplicates(scanned.files),
        cubins=findings.bare_cubins(scanned.files),
    )
