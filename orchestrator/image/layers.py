"""What one layer says about the files of an image, and what its layers together leave for the runtime to see.

A layer is scanned once, into a value small enough to keep for ever under the layer's digest. Merging follows the OCI
image specification (whiteouts, opaque directories) and what containerd and BuildKit do with the rest (links, a file
over a directory, a directory over a link). This module must not know where layers come from nor what is promised.
"""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.image.code import FileCode
from orchestrator.image.forward import CutOffError, Forward
from orchestrator.image.stream import scan
from orchestrator.image.tar import Member, Type, members
from orchestrator.image.unpack import DamagedLayerError, ahead, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from orchestrator.image.unpack import Raw

SCANNER = 1
"""Version of what a scan says; part of the key under which scans are kept."""

MAX_ALIASES = 10_000  # links to directories multiply
MAX_STEPS = 20_000_000  # a few seconds; an image of 50,000 links takes under a million
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_COMPILER = re.compile(r"(?:^|/)(?:ptxas|nvcc)(?:-[\w.-]+)?$")
_RELEASE = re.compile(rb"Cuda compilation tools, release \d+\.\d+, V(\d+\.\d+\.\d+)[^\d]")
# Packages that compile on the device's host: no fatbin shows what they can reach (Triton 3.9.0, TileLang 0.1.15 and
# vLLM's deep_gemm hold no container).
_COMPILES_LATER = re.compile(
    r"(?:^|/)((?:pytorch_)?triton|tilelang|deep_gemm|flashinfer_python)-([^/-]+)\.dist-info/METADATA$"
    r"|(?:^|/)third_party/(deep_gemm)/[^/]+\.so$"
)
_COMPILES_LATER_ENDS = ("/METADATA", ".so")  # asked first: an image holds tens of thousands of paths


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
    """

    code: dict[str, FileCode] = field(default_factory=dict)
    releases: dict[str, str] = field(default_factory=dict)
    plain: set[str] = field(default_factory=set)
    links: dict[str, str] = field(default_factory=dict)
    below: dict[str, str] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)
    whiteouts: set[str] = field(default_factory=set)
    opaque: set[str] = field(default_factory=set)

    def forget(self, path: str) -> None:
        """Drop what an earlier member of the same archive put at `path`."""
        for names in (self.code, self.releases, self.links, self.below):
            names.pop(path, None)
        self.plain.discard(path)
        self.directories.discard(path)

    def hard_link(self, path: str, target: str) -> None:
        """Put at `path` what stands at `target` in this layer, or note that it comes from below."""
        for names in (self.code, self.releases, self.links):
            if target in names:
                names[path] = names[target]  # type: ignore[assignment]  # each from and to the same one
                return
        if target in self.plain:
            self.plain.add(path)
        else:
            self.below[path] = self.below.get(target, target)

    def to_json(self) -> dict[str, Any]:
        """A value for `json.dumps`; `from_json` reads it. Long lists of paths are one text each, which loads faster."""
        data: dict[str, Any] = {"code": {path: code.to_json() for path, code in self.code.items()}}
        data |= {name: getattr(self, name) for name in ("releases", "links", "below")}
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
        return cls(**values)


def scan_layer(raw: Raw, declared: int, *, deep: bool = False, limit: int | None = None) -> LayerScan:
    """Read a layer once, forward, in constant memory.

    Args:
        raw: The layer's bytes as stored: a tar archive, plain or compressed.
        declared: How many they are, in bytes.
        deep: Open every cubin for the names of its kernels.
        limit: Unpacked bytes at most; see `unpack.unpacked`.

    Raises:
        DamagedLayerError: It does not unpack, or ends early.
        DamagedArchiveError: It is no tar archive.
    """
    chunks = ahead(unpacked(raw, declared, limit=limit))
    try:
        reader = Forward(chunks)
        result = LayerScan()
        for member in members(reader):
            add_member(result, member, reader, deep=deep)
        for _ in chunks:  # to the end: only then has the checksum of the compression been looked at
            pass
    except CutOffError as error:
        raise DamagedLayerError(f"the layer is cut off: {error}") from error
    finally:
        chunks.close()
    return result


def add_member(result: LayerScan, member: Member, reader: Forward, *, deep: bool = False) -> None:
    """Note one member of a layer.

    Args:
        result: What is known of the layer so far.
        member: The member; the reader stands at its payload.
        reader: The archive.
        deep: Open every cubin for the names of its kernels.
    """
    folder, _, name = member.path.rpartition("/")
    if name.startswith(_WHITEOUT):
        if name == _OPAQUE:
            result.opaque.add(folder)
        elif not name.startswith(".wh..wh."):  # the rest of AUFS' names mean nothing to anybody else
            result.whiteouts.add(f"{folder}/{name[4:]}" if folder else name[4:])
        return
    if member.type is Type.DIRECTORY:
        if member.path not in result.directories:
            result.forget(member.path)
        result.directories.add(member.path)
        return
    result.forget(member.path)
    if member.type is Type.SYMLINK:
        result.links[member.path] = member.target
    elif member.type is Type.HARD_LINK:
        result.hard_link(member.path, member.target)
    elif member.type is Type.SPARSE and ".so" in name:
        result.code[member.path] = FileCode(size=member.size, damage="stored as a sparse file, which is not read")
    elif member.type is Type.FILE and member.size:
        _add_file(result, member.path, reader, member.size, deep=deep)
    else:
        result.plain.add(member.path)


def _add_file(result: LayerScan, path: str, reader: Forward, size: int, *, deep: bool) -> None:
    if _COMPILER.search(path) and reader.peek(min(4, size)) == b"\x7fELF":
        release = find_release(_pieces(reader, size))
        if release:
            result.releases[path] = release
            return
    elif code := scan(reader, size, deep=deep):
        result.code[path] = code
        return
    result.plain.add(path)


def _pieces(reader: Forward, size: int) -> Iterator[bytes]:
    while size:
        step = min(size, 1 << 20)
        yield reader.exactly(step)
        size -= step


def release_of(path: str, file: Path) -> str:
    """The release of a ptxas or nvcc that lies in a directory tree, "" for any other file.

    Args:
        path: In the image.
        file: Where its bytes are.
    """
    if not _COMPILER.search(path):
        return ""
    with file.open("rb") as stream:
        if stream.read(4) != b"\x7fELF":
            return ""
        return find_release(iter(lambda: stream.read(1 << 20), b""))


def find_release(pieces: Iterable[bytes]) -> str:
    """The release of a ptxas or nvcc, "13.0.88", by the text that every one of them holds; "" when it is not there.

    Args:
        pieces: The file's bytes; consumed to the end.
    """
    found, tail = "", b""
    for piece in pieces:
        match = None if found else _RELEASE.search(tail + piece)
        if match:
            found = match[1].decode()
        tail = piece[-64:]
    return found


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
        code: Path -> device code, of regular files.
        aliases: Path that leads through a symlink to a file with device code -> path of that file.
        releases: Path of a ptxas or nvcc -> its release.
        compile_later: Packages that compile on the device's host: name -> version, "" where unknown.
        hidden: Copies that a higher layer replaced or removed: they cost their size and serve nobody.
    """

    code: Mapping[str, FileCode]
    aliases: Mapping[str, str] = field(default_factory=dict)
    releases: Mapping[str, str] = field(default_factory=dict)
    compile_later: Mapping[str, str] = field(default_factory=dict)
    hidden: tuple[Copy, ...] = ()


def merge(layers: Iterable[LayerScan]) -> Files:
    """Lay layers over each other as the runtime would.

    Args:
        layers: The lowest first.
    """
    view: dict[str, tuple[str, Any, int]] = {}
    hidden: list[Copy] = []
    for index, layer in enumerate(layers):
        _apply(layer, index, view, hidden)
    code = {path: value for path, (kind, value, _) in view.items() if kind == "code"}
    links = {path: value for path, (kind, value, _) in view.items() if kind == "link"}
    later = {}
    for path, (kind, _, _) in view.items():
        found = _compiles_later(path) if kind in ("plain", "code") else None
        if found:
            later[found[1] or found[3]] = found[2] or ""
    return Files(
        code=dict(sorted(code.items())),
        aliases=_aliases(code, links),
        releases={path: value for path, (kind, value, _) in sorted(view.items()) if kind == "release"},
        compile_later=dict(sorted(later.items())),
        hidden=tuple(hidden),
    )


def _aliases(code: Mapping[str, FileCode], links: Mapping[str, str]) -> dict[str, str]:
    """The other paths by which symlinks to files and directories lead to files with device code."""
    libraries = {path for path, value in code.items() if not value.bare}
    follow = _Links(links)
    real = {link: follow.resolve(link) for link in sorted(links)} if libraries else {}
    found = {link: path for link, path in real.items() if path in libraries}
    folders: dict[str, list[str]] = {folder: [] for folder in real.values()}
    for path in (*sorted(libraries), *found):
        for parent in _parents(path):
            if parent in folders:
                folders[parent].append(path)
    direct = dict(found)
    for link, folder in real.items():
        for path in folders.get(folder, ()):
            if len(found) < MAX_ALIASES:
                found.setdefault(link + path[len(folder) :], direct.get(path, path))
    return found


def _apply(layer: LayerScan, index: int, view: dict[str, tuple[str, Any, int]], hidden: list[Copy]) -> None:
    """One layer over what lies below. Of files without code only the few that a report names are kept in `view`."""
    linked = {path: view.get(target) for path, target in layer.below.items()}
    files = layer.code.keys() | layer.releases.keys() | layer.links.keys() | layer.plain | layer.below.keys()
    gone = layer.whiteouts | files  # a file over a directory hides all that lay in it
    placed = sorted(files | layer.directories)
    for path in [path for path in view if _hidden(path, gone, layer, placed)]:
        kind, value, origin = view.pop(path)
        if kind == "code":
            hidden.append(Copy(path=path, layer=origin, size=value.size))
    view.update({path: ("code", code, index) for path, code in layer.code.items()})
    view.update({path: ("release", release, index) for path, release in layer.releases.items()})
    view.update({path: ("link", target, index) for path, target in layer.links.items()})
    view.update({path: ("plain", None, index) for path in layer.plain if _compiles_later(path)})
    view.update({path: node for path, node in linked.items() if node is not None})


def _compiles_later(path: str) -> re.Match[str] | None:
    return _COMPILES_LATER.search(path) if path.endswith(_COMPILES_LATER_ENDS) else None


def _parents(path: str) -> Iterator[str]:
    at = path.rfind("/")
    while at > 0:
        path = path[:at]
        yield path
        at = path.rfind("/")


def _hidden(path: str, gone: set[str], layer: LayerScan, placed: Sequence[str]) -> bool:
    """Whether a lower file disappears: it or a directory above it is gone, or it became a directory."""
    if path in gone or path in layer.directories or "" in layer.opaque:
        return True
    after = bisect.bisect_left(placed, f"{path}/")  # the first path below it, if there is one
    if after < len(placed) and placed[after].startswith(f"{path}/"):
        return True
    return any(parent in gone or parent in layer.opaque for parent in _parents(path))


class _Links:
    """Follows symlinks below the image's root, as often as it is asked and not for ever.

    Args:
        links: Path -> target of each symlink, as written; absolute targets start at the image's root.
        steps: Path components to look at in all; links made to lead in circles would take hours.
    """

    def __init__(self, links: Mapping[str, str], steps: int = MAX_STEPS) -> None:
        self._links = links
        self._steps = steps

    def resolve(self, path: str) -> str:
        """A path that is no symlink; "" for a loop, or when all steps are used up."""
        for _ in range(40):  # what Linux follows at most
            done: list[str] = []
            rest = path.split("/")[::-1]
            self._steps -= len(rest)
            if self._steps < 0:
                return ""
            target = None
            while rest and target is None:
                part = rest.pop()
                if part == "..":
                    del done[-1:]
                elif part not in ("", "."):
                    done.append(part)
                    target = self._links.get("/".join(done))
            if target is None:
                return "/".join(done)
            base = [] if target.startswith("/") else done[:-1]
            path = "/".join([*base, target, *reversed(rest)])
        return ""


def resolve(path: str, links: Mapping[str, str]) -> str:
    """Where a path leads when every symlink on the way is followed below the image's root; "" for a loop.

    Args:
        path: Normalised.
        links: Path -> target of each symlink, as written.
    """
    return _Links(links).resolve(path)
