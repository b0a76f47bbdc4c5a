"""What GPUs cost in bytes: by architecture and library, what lies there twice, and what a shorter list saves.

Bytes are those of files, as stored in them; a registry keeps layers compressed. Judges nothing.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orchestrator.cuda.coverage import How, serve
from orchestrator.image.verdict.findings import package
from orchestrator.image.verdict.kernels import by_number, images_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from orchestrator.image.layers.merge import Files, Held

_STEM = re.compile(r"(?:^|/)(lib[^/]+?)(?:-[0-9a-f]{8})?\.so(?:\.[\d.]+)?$")  # auditwheel adds 8 digits of a hash
_SEVERAL = 1 << 20  # bytes: below it, another release of a library costs nothing that matters


class Place(Struct, frozen=True, kw_only=True):
    """Device code of one library, or of the bare cubins of one package.

    Attributes:
        path: Of the library, or of the package.
        size: Of the files, in bytes.
        archs: Tag -> bytes of its images.
    """

    path: str
    size: int
    archs: Mapping[str, int]


class Copies(Struct, frozen=True, kw_only=True):
    """One content at several paths.

    Attributes:
        sha256: Of the content.
        size: Of one copy, in bytes.
        paths: Where it is.
    """

    sha256: str
    size: int
    paths: tuple[str, ...]

    @property
    def wasted(self) -> int:
        """Bytes of all copies but one."""
        return self.size * (len(self.paths) - 1)


class Several(Struct, frozen=True, kw_only=True):
    """One library in several releases or builds.

    Attributes:
        name: "libcublasLt.so".
        sizes: Path -> bytes; one path for each content.
    """

    name: str
    sizes: Mapping[str, int]


class Toolkit(Struct, frozen=True, kw_only=True):
    """A CUDA toolkit, or the part of one that some package brings.

    Attributes:
        root: The directory above its `bin`.
        release: Of its nvcc or ptxas: "13.0.88".
        size: Bytes of the files below it that have at least 64 KiB.
    """

    root: str
    release: str
    size: int


class Cost(Struct, frozen=True, kw_only=True):
    """What GPUs cost an image.

    Attributes:
        places: Libraries and packages with device code, the largest first.
        copies: What is there more than once, the most wasteful first.
        several: Libraries of which different files are there.
        toolkits: By path.
        without: Compute capability -> bytes that serve it alone among those promised.
        only: Compute capability -> bytes that a list of it alone would leave out.
    """

    places: tuple[Place, ...]
    copies: tuple[Copies, ...]
    several: tuple[Several, ...]
    toolkits: tuple[Toolkit, ...]
    without: Mapping[str, int]
    only: Mapping[str, int]

    @property
    def archs(self) -> dict[str, int]:
        """Tag -> bytes in all files."""
        return _summed(place.archs for place in self.places)

    def to_json(self) -> dict[str, Any]:
        """The value of `cost` in `--format json`."""
        return {
            "bytes": self.archs,
            "places": [{"path": one.path, "size": one.size, "bytes": dict(one.archs)} for one in self.places],
            "copies": [
                {"sha256": one.sha256, "size": one.size, "paths": list(one.paths), "wasted": one.wasted}
                for one in self.copies
            ],
            "several": [{"name": one.name, "sizes": dict(one.sizes)} for one in self.several],
            "toolkits": [{"root": one.root, "release": one.release, "size": one.size} for one in self.toolkits],
            "without": dict(self.without),
            "only": dict(self.only),
        }


def cost(files: Files, ccs: Sequence[str]) -> Cost:
    """What the device code of an image costs.

    Args:
        files: What the runtime sees, of a deep scan: another one knows no copies.
        ccs: Promised compute capabilities, or all that are known.
    """
    places = _places(files)
    total = _summed(place.archs for place in places)
    reach = {tag: frozenset(cc for cc in ccs if _serves(tag, cc)) for tag in total}
    return Cost(
        places=places,
        copies=_copies(files.held),
        several=_several(files.held),
        toolkits=_toolkits(files),
        without={cc: sum(size for tag, size in total.items() if reach[tag] == {cc}) for cc in ccs},
        only={cc: sum(size for tag, size in total.items() if reach[tag] and cc not in reach[tag]) for cc in ccs},
    )


def _places(files: Files) -> tuple[Place, ...]:
    installed = {path: code for path, code in files.code.items() if not code.archive}
    found = [
        Place(path=path, size=code.size, archs=_sorted(code.stored)) for path, code in installed.items() if code.stored
    ]
    bare: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for path, code in installed.items():
        if code.bare:
            bare[package(path)][code.bare] += code.size
    found += [Place(path=place, size=sum(sizes.values()), archs=_sorted(sizes)) for place, sizes in bare.items()]
    return tuple(sorted(found, key=lambda one: (-sum(one.archs.values()), one.path)))


def _sorted(sizes: Mapping[str, int]) -> dict[str, int]:
    return {tag: sizes[tag] for tag in sorted(sizes, key=by_number)}


def _summed(every: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = defaultdict(int)
    for sizes in every:
        for tag, size in sizes.items():
            total[tag] += size
    return _sorted(total)


def _serves(tag: str, cc: str) -> bool:
    how = serve(images_of((tag,), {}), cc)
    return how.direct or how is How.PTX


def _copies(held: Mapping[str, Held]) -> tuple[Copies, ...]:
    groups: dict[Held, list[str]] = defaultdict(list)
    for path, one in held.items():
        groups[one].append(path)
    found = [
        Copies(sha256=one.sha256, size=one.size, paths=tuple(sorted(paths)))
        for one, paths in groups.items()
        if len(paths) > 1
    ]
    return tuple(sorted(found, key=lambda one: (-one.wasted, one.paths)))


def _several(held: Mapping[str, Held]) -> tuple[Several, ...]:
    groups: dict[str, dict[str, tuple[str, int]]] = defaultdict(dict)
    for path, one in sorted(held.items()):
        if one.size >= _SEVERAL and (match := _STEM.search(path)):
            groups[f"{match[1]}.so"].setdefault(one.sha256, (path, one.size))
    found = [Several(name=name, sizes=dict(files.values())) for name, files in groups.items() if len(files) > 1]
    return tuple(sorted(found, key=lambda one: (-sum(one.sizes.values()), one.name)))


def _toolkits(files: Files) -> tuple[Toolkit, ...]:
    roots: dict[str, str] = {}
    for path, release in sorted(files.releases.items()):
        folder, _, name = path.rpartition("/")
        root = folder.rpartition("/")[0] if folder.endswith("/bin") else folder
        if name == "nvcc" or root not in roots:
            roots[root] = release
    return tuple(
        Toolkit(
            root=root,
            release=release,
            size=sum(one.size for path, one in files.held.items() if path.startswith(f"{root}/")),
        )
        for root, release in sorted(roots.items())
    )
