"""What a report says beside the kernels: things that no fatbin can show, and waste.

Packages that compile on the device's host, the release of every ptxas and nvcc against the promise, copies of a library
that nobody loads, an arch list left in the image's environment. Nothing here decides the verdict.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.cuda.arch import ArchSyntaxError
from orchestrator.cuda.dialects import DialectError, parse_torch
from orchestrator.cuda.toolkit import UnknownToolkitError, toolkit_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.cuda.arch import Arch
    from orchestrator.cuda.toolkit import Toolkit
    from orchestrator.image.layers.merge import Files


class Compiler(Struct, frozen=True, kw_only=True):
    """A ptxas or nvcc inside the image.

    Attributes:
        path: In the image.
        release: "13.0.88".
        cannot: Promised architectures that it cannot target.
    """

    path: str
    release: str
    cannot: tuple[str, ...]


class Duplicate(Struct, frozen=True, kw_only=True):
    """Device code that an image carries more than once.

    Attributes:
        path: Of one copy.
        others: Where the others are: paths, or "layer 3" for a copy that a higher layer hides.
        wasted: Bytes that could be saved.
    """

    path: str
    others: tuple[str, ...]
    wasted: int


def compilers(files: Files, promised: Sequence[Arch]) -> tuple[Compiler, ...]:
    """Every ptxas and nvcc, and what of the promise it cannot target."""
    found = []
    for path, release in files.releases.items():
        toolkit = _toolkit(release)
        # By the name as promised: Triton calls its ptxas 12.9 with sm_110a, which that knows as sm_101a (vLLM #34470).
        cannot = [str(arch.plain()) for arch in promised if toolkit and not toolkit.supports(arch.plain())]
        found.append(Compiler(path=path, release=release, cannot=tuple(dict.fromkeys(cannot))))
    return tuple(found)


def _toolkit(release: str) -> Toolkit | None:
    try:
        return toolkit_for(release)
    except UnknownToolkitError:  # newer than the table: nothing can be said
        return None


def duplicates(files: Files) -> tuple[Duplicate, ...]:
    """Copies of device code that cost their size and serve nobody."""
    found = [
        Duplicate(path=copy.path, others=(f"layer {copy.layer}",), wasted=copy.size)
        for copy in files.hidden
        if not copy.path.endswith(".cubin")
    ]
    groups: dict[tuple[str, int, str], list[str]] = defaultdict(list)
    for path, code in files.code.items():
        if code.containers and not code.damage and not code.archive:
            groups[(path.rpartition("/")[2], code.size, repr(sorted(code.stored.items())))].append(path)
    for (_, size, _), paths in groups.items():
        if len(paths) > 1:
            found.append(Duplicate(path=paths[0], others=tuple(paths[1:]), wasted=size * (len(paths) - 1)))
    return tuple(found)


def bare_cubins(files: Files) -> dict[str, dict[str, int]]:
    """Package or directory -> tag -> number of cubins that lie there as files of their own."""
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for path, code in files.code.items():
        if code.bare:
            groups[package(path)][code.bare] += 1
    return {place: dict(sorted(counts.items())) for place, counts in sorted(groups.items())}


def package(path: str) -> str:
    """The directory of the package that a file belongs to."""
    parts = path.split("/")[:-1]
    for index, part in enumerate(parts):
        if part in ("site-packages", "dist-packages") and index + 1 < len(parts):
            return "/".join(parts[: index + 2])
    return "/".join(parts[:3])


def environment_problem(environment: Mapping[str, str], files: Files) -> str:
    """What is wrong with a TORCH_CUDA_ARCH_LIST left in the image's environment, "" for nothing.

    A user who builds an extension inside the image gets this list; an architecture that the image's nvcc does not know
    fails late, with nvcc's own words.
    """
    text = environment.get("TORCH_CUDA_ARCH_LIST", "")
    if not text:
        return ""
    try:
        archs = parse_torch(text, allow_family=True)
    except (ArchSyntaxError, DialectError) as error:
        return f"TORCH_CUDA_ARCH_LIST={text!r} in the image's environment is invalid: {error}"
    release = next((value for path, value in files.releases.items() if path.rpartition("/")[2] == "nvcc"), "")
    source = "nvcc" if release else "CUDA_VERSION"
    toolkit = _toolkit(release or environment.get("CUDA_VERSION", ""))
    if toolkit is None:
        return ""
    unknown = [str(arch.without_ptx()) for arch in archs if not toolkit.supports(arch)]
    if not unknown:
        return ""
    return (
        f"TORCH_CUDA_ARCH_LIST={text!r} in the image's environment names {' '.join(unknown)}, "
        f"which its {source} {release or toolkit.name} cannot compile"
    )
