"""What one layer says about the files of an image, and what its layers together leave for the runtime to see.

A layer is scanned once, into a value small enough to keep for ever under the layer's digest. Merging follows the OCI
image specification (whiteouts, opaque directories) and what containerd and BuildKit do with the rest (links, a file
over a directory, a directory over a link). Does not depend on how a layer is read or what is promised.
"""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from orchestrator.image.code.library import FileCode
from orchestrator.image.layers.artifacts import GROUPS, USERS, Access, Artifact
from orchestrator.image.layers.budget import Budget
from orchestrator.image.layers.installed import Distribution, Installed, installed
from orchestrator.image.layers.links import Landing, Links, parents

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SCANNER = 18
"""Version of what a scan says; part of the key under which scans are kept."""

_USUAL = Access(0o755, 0, 0)
HASHED = 64 << 10
"""Bytes from which on a deep scan keeps a file's digest: what lies twice in an image counts from there."""
MAX_ALIASES = 10_000  # links to directories multiply
# Packages that compile on the device's host: no fatbin shows what they can reach (Triton 3.9.0, TileLang 0.1.15 and
# vLLM's deep_gemm hold no container).
_COMPILES_LATER = re.compile(
    r"(?:^|/)((?:pytorch_)?triton|tilelang|deep_gemm|flashinfer_python)-([^/-]+)\.dist-info/METADATA$"
    r"|(?:^|/)third_party/(deep_gemm)/[^/]+\.so$"
)
_COMPILES_LATER_ENDS = ("/METADATA", ".so")  # asked first: an image holds tens of thousands of paths


class Held(NamedTuple):
    """A file of some size, by its content.

    Attributes:
        sha256: Of its bytes, in hexadecimal.
        size: In bytes.
    """

    sha256: str
    size: int


@dataclass(kw_only=True, slots=True)
class LayerScan:
    """What one layer holds. Paths are normalised, below the image's root, without a leading slash.

    Attributes:
        code: Path -> device code.
        releases: Path of a ptxas or nvcc -> its release, "13.0.88".
        plain: Paths of all other files, which matter by hiding what lies below them.
        links: Path -> target of a symlink, as written.
        below: Path -> path of a hard link whose target lies in a lower layer (containerd's overlay snapshotter does not
            unpack such a layer, other drivers do).
        directories: Paths.
        whiteouts: Paths that disappear, with everything below them, from lower layers.
        opaque: Directories of which nothing remains from lower layers.
        artifacts: Path -> file of FlashInfer, and the lists of users and groups; it is among `code` or `plain` too.
        closed: Directories whose mode, owner or group is not 0755, root, root.
        records: Path of a RECORD -> what it says; it is among `plain` too.
        held: Deep mode: path -> file of at least `HASHED` bytes, by its content; a hard link is not one.
        far: Ranges of the unpacked layer that must be kept in a second reading; not part of what is kept.
        holes: Bytes of the holes of sparse files; not part of what is kept.
        listed: Bytes of the RECORD files that were read; not part of what is kept.
        budget: What its archives may still cost; not part of what is kept.
        landing: Where its members land; not part of what is kept.
    """

    code: dict[str, FileCode] = field(default_factory=dict)
    releases: dict[str, str] = field(default_factory=dict)
    plain: set[str] = field(default_factory=set)
    links: dict[str, str] = field(default_factory=dict)
    below: dict[str, str] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)
    whiteouts: set[str] = field(default_factory=set)
    opaque: set[str] = field(default_factory=set)
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    closed: dict[str, Access] = field(default_factory=dict)
    records: dict[str, Distribution] = field(default_factory=dict)
    held: dict[str, Held] = field(default_factory=dict)
    far: tuple[tuple[int, int], ...] = field(default=(), compare=False)
    holes: int = field(default=0, compare=False)
    listed: int = field(default=0, compare=False)
    budget: Budget = field(default_factory=Budget, compare=False)
    landing: Landing = field(default_factory=Landing, compare=False)

    def forget(self, path: str) -> None:
        """Drop what an earlier member of the same archive put at `path`."""
        self.plain.discard(path)
        self.directories.discard(path)
        for names in (
            self.code, self.releases, self.links, self.below, self.artifacts, self.closed, self.records, self.held
        ):  # fmt: skip
            if path in names:
                del names[path]

    def has(self, path: str) -> bool:
        """Whether an earlier member of the same archive stands at a path, or below it."""
        files = (self.plain, self.directories, self.code, self.releases, self.links, self.below)
        return self.landing.holds(path) or any(path in names for names in files)

    def forget_below(self, path: str) -> None:
        """Drop what earlier members of the same archive put below a directory whose place another member takes.

        Raises:
            DamagedArchiveError: It happens more often than in any real layer.
        """
        start = f"{path}/"
        self.landing.leave(path)
        for paths in (self.plain, self.directories, self.whiteouts, self.opaque):
            paths -= {one for one in paths if one.startswith(start)}
        self.opaque.discard(path)
        for names in (
            self.code, self.releases, self.links, self.below, self.artifacts, self.closed, self.records, self.held
        ):  # fmt: skip
            for one in [one for one in names if one.startswith(start)]:
                del names[one]

    def hard_link(self, path: str, target: str) -> None:
        """Put at `path` what stands at `target` in this layer, or note that it comes from below."""
        here = target in self.plain
        if here:
            self.plain.add(path)
        for names in (self.code, self.releases, self.links, self.artifacts, self.records):
            if target in names:
                here = True
                names[path] = names[target]  # type: ignore[assignment]  # each from and to the same one
        if not here:
            self.below[path] = self.below.get(target, target)

    def restrict(self, path: str, access: Access) -> None:
        """Note who may enter a directory and write to it, if that is not as for most of them: 0755, root's."""
        self.closed.pop(path, None)
        if access._replace(mode=access.mode & 0o777) != _USUAL:
            self.closed[path] = access

    def to_json(self) -> dict[str, Any]:
        """A value for `json.dumps`; `from_json` reads it. Long lists of paths are one text each, which loads faster."""
        data: dict[str, Any] = {"code": {path: code.to_json() for path, code in self.code.items()}}
        data |= {name: getattr(self, name) for name in ("releases", "links", "below")}
        data["artifacts"] = {path: one.to_json() for path, one in self.artifacts.items()}
        data["closed"] = {path: list(access) for path, access in self.closed.items()}
        data["records"] = {path: one.to_json() for path, one in self.records.items()}
        data["held"] = {path: list(one) for path, one in self.held.items()}
        for name in ("plain", "directories", "whiteouts", "opaque"):
            data[name] = "".join(f"{path}\0" for path in sorted(getattr(self, name)))  # "" is a path: the root
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LayerScan:
        """What `to_json` wrote."""
        values: dict[str, Any] = {"code": {path: FileCode.from_json(code) for path, code in data["code"].items()}}
        values |= {name: dict(data[name]) for name in ("releases", "links", "below")}
        for name in ("plain", "directories", "whiteouts", "opaque"):
            values[name] = set(data[name].split("\0")[:-1])
        values["artifacts"] = {path: Artifact.from_json(one) for path, one in data["artifacts"].items()}
        values["closed"] = {path: Access(*access) for path, access in data["closed"].items()}
        values["records"] = {path: Distribution.from_json(one) for path, one in data["records"].items()}
        values["held"] = {path: Held(*one) for path, one in data["held"].items()}
        return cls(**values)


@dataclass(frozen=True, kw_only=True, slots=True)
class Copy:
    """A file with device code that some layer holds.

    Attributes:
        path: In the image.
        layer: Index of the layer, 0 the lowest.
        size: In bytes.
    """

    path: str
    layer: int
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Files:
    """What the runtime sees, as far as it matters here.

    Attributes:
        code: Path -> device code, of regular files, and of those inside archives behind the archive's path.
        aliases: Path that leads through a symlink to a file with device code -> path of that file.
        releases: Path of a ptxas or nvcc -> its release.
        compile_later: Packages that compile on the device's host: name -> version, "" where unknown.
        hidden: Copies that a higher layer replaced or removed: they cost their size and serve nobody.
        links: Path -> target of every symlink, as written.
        artifacts: Path -> file of FlashInfer.
        closed: Directories whose mode, owner or group is not 0755, root, root.
        repeated: Bytes of files of FlashInfer that a higher layer holds once more.
        held: Deep mode: path -> file of at least `HASHED` bytes, by its content.
        installed: Which distribution a file belongs to.
        layers: What it was merged from, the lowest first.
    """

    code: Mapping[str, FileCode]
    aliases: Mapping[str, str] = field(default_factory=dict)
    releases: Mapping[str, str] = field(default_factory=dict)
    compile_later: Mapping[str, str] = field(default_factory=dict)
    hidden: tuple[Copy, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    artifacts: Mapping[str, Artifact] = field(default_factory=dict)
    closed: Mapping[str, Access] = field(default_factory=dict)
    repeated: int = 0
    held: Mapping[str, Held] = field(default_factory=dict)
    installed: Installed = field(default_factory=Installed)
    layers: tuple[LayerScan, ...] = ()


def merge(layers: Iterable[LayerScan]) -> Files:
    """Lay layers over each other as the runtime would.

    Args:
        layers: The lowest first.
    """
    view = _View()
    kept = list(layers)
    for index, layer in enumerate(kept):
        view.apply(layer, index)
    nodes = view.nodes
    code = {path: value for path, (kind, value, _) in nodes.items() if kind == "code"}
    links = {path: value for path, (kind, value, _) in nodes.items() if kind == "link"}
    later = {}
    for path, (kind, _, _) in nodes.items():
        found = _compiles_later(path) if kind in ("plain", "code") else None
        if found:
            later[found[1] or found[3]] = found[2] or ""
    return Files(
        code=_opened(code),
        aliases=_aliases(code, links),
        releases={path: value for path, (kind, value, _) in sorted(nodes.items()) if kind == "release"},
        compile_later=dict(sorted(later.items())),
        hidden=tuple(view.hidden),
        links=links,
        layers=tuple(kept),
        artifacts=view.artifacts,
        closed=view.closed,
        repeated=view.repeated,
        held=view.held,
        installed=installed((path, value) for path, (kind, value, _) in nodes.items() if kind == "record"),
    )


def _opened(code: Mapping[str, FileCode]) -> dict[str, FileCode]:
    """Files by path, those inside archives behind the archive's own path: `opt/x.whl/x/lib.so`."""
    found: dict[str, FileCode] = {}
    waiting = [(path, value, "") for path, value in sorted(code.items(), reverse=True)]
    while waiting:
        path, value, archive = waiting.pop()
        inside = [(f"{path}/{name}", one, archive or path) for name, one in sorted(value.inside.items(), reverse=True)]
        waiting += inside
        if archive or value.inside:
            value = replace(value, inside={}, archive=archive)
        found.setdefault(path, value)
    return found


def _aliases(code: Mapping[str, FileCode], links: Mapping[str, str]) -> dict[str, str]:
    """The other paths by which symlinks to files and directories lead to files with device code."""
    libraries = {path for path, value in code.items() if not value.bare}
    follow = Links(links)
    real = {link: follow.resolve(link) for link in sorted(links)} if libraries else {}
    found = {link: path for link, path in real.items() if path in libraries}
    folders: dict[str, list[str]] = {folder: [] for folder in real.values()}
    for path in (*sorted(libraries), *found):
        for parent in parents(path):
            if parent in folders:
                folders[parent].append(path)
    direct = dict(found)
    for link, folder in real.items():
        for path in folders.get(folder, ()):
            if len(found) < MAX_ALIASES:
                found.setdefault(link + path[len(folder) :], direct.get(path, path))
    return found


class _View:
    """What the layers applied so far leave to see.

    Attributes:
        nodes: Path -> kind, value and layer. Of files without code only the few that a report names are kept.
        hidden: As in `Files`, and so are the others.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, tuple[str, Any, int]] = {}
        self.hidden: list[Copy] = []
        self.artifacts: dict[str, Artifact] = {}
        self.closed: dict[str, Access] = {}
        self.held: dict[str, Held] = {}
        self.repeated = 0

    def apply(self, layer: LayerScan, index: int) -> None:
        """Lay one layer over what lies below."""
        nodes, artifacts = self.nodes, self.artifacts
        linked = {path: nodes.get(target) for path, target in layer.below.items()}
        linked_artifacts = {path: artifacts.get(target) for path, target in layer.below.items()}
        hides = _Hiding(layer)
        for path in [path for path in nodes if hides.file(path)]:
            kind, value, origin = nodes.pop(path)
            if kind == "code":
                self.hidden.append(Copy(path=path, layer=origin, size=value.size))
        for path in [path for path in artifacts if hides.file(path)]:
            gone = artifacts.pop(path)
            self.repeated += gone.size if path in layer.artifacts and path not in (USERS, GROUPS) else 0
        for path in [path for path in self.held if hides.file(path)]:
            del self.held[path]
        for path in [path for path in self.closed if path in layer.directories or hides.directory(path)]:
            del self.closed[path]
        nodes.update({path: ("code", code, index) for path, code in layer.code.items()})
        nodes.update({path: ("release", release, index) for path, release in layer.releases.items()})
        nodes.update({path: ("link", target, index) for path, target in layer.links.items()})
        nodes.update({path: ("plain", None, index) for path in layer.plain if _compiles_later(path)})
        nodes.update({path: ("record", one, index) for path, one in layer.records.items()})
        nodes.update({path: node for path, node in linked.items() if node is not None})
        artifacts.update(layer.artifacts)
        artifacts.update({path: one for path, one in linked_artifacts.items() if one is not None})
        self.closed.update(layer.closed)
        self.held.update(layer.held)


class _Hiding:
    """What of the lower layers one layer hides."""

    def __init__(self, layer: LayerScan) -> None:
        files = layer.code.keys() | layer.releases.keys() | layer.links.keys() | layer.plain | layer.below.keys()
        self._layer = layer
        self._gone = layer.whiteouts | files  # a file over a directory hides all that lay in it
        # What says that something is gone lies in a directory as well, which then stands where a file may have stood.
        self._placed = sorted(files | layer.directories | layer.whiteouts)

    def file(self, path: str) -> bool:
        """Whether a file disappears: it or a directory above it is gone, or it became a directory."""
        if path in self._layer.directories or path in self._layer.opaque:
            return True
        after = bisect.bisect_left(self._placed, f"{path}/")  # the first path below it, if there is one
        if after < len(self._placed) and self._placed[after].startswith(f"{path}/"):
            return True
        return self.directory(path)

    def directory(self, path: str) -> bool:
        """Whether a directory disappears: it or one above it is gone."""
        gone, opaque = self._gone, self._layer.opaque
        if path in gone or "" in opaque:
            return True
        return any(parent in gone or parent in opaque for parent in parents(path))


def _compiles_later(path: str) -> re.Match[str] | None:
    return _COMPILES_LATER.search(path) if path.endswith(_COMPILES_LATER_ENDS) else None
