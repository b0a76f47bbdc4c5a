"""One layer, read once, forward, into a value small enough to keep for ever under the layer's digest.

Does not depend on where layers come from or what is promised; what layers together leave is merge.py's.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from msgspec.structs import replace

from orchestrator.image.code.forward import CutOffError, Forward
from orchestrator.image.code.library import FileCode
from orchestrator.image.layers import artifacts
from orchestrator.image.layers.inside import code_of
from orchestrator.image.layers.installed import MAX_RECORD, distribution, is_record
from orchestrator.image.layers.merge import HASHED, Held, LayerScan
from orchestrator.image.layers.sparse import content
from orchestrator.image.layers.tar import DamagedArchiveError, Member, Type, members
from orchestrator.image.layers.unpack import DamagedLayerError, ahead, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from orchestrator.image.code.forward import Digest
    from orchestrator.image.layers.sparse import Sparse
    from orchestrator.image.layers.unpack import Raw

MAX_HOLES = 4 << 30
"""Bytes of holes that a layer may have: they cost nothing in it, and reading them costs what bytes cost."""

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_COMPILER = re.compile(r"(?:^|/)(?:ptxas|nvcc)(?:-[\w.-]+)?$")
_RELEASE = re.compile(rb"Cuda compilation tools, release \d+\.\d+, V(\d+\.\d+\.\d+)[^\d]")


def scan_layer(
    raw: Raw,
    declared: int,
    *,
    deep: bool = False,
    limit: int | None = None,
    passing: Callable[[bytes], None] | None = None,
    asked: Sequence[tuple[int, int]] = (),
) -> LayerScan:
    """Read a layer once, forward, in constant memory.

    Section names that lie far from their table have passed when they are needed: `far` of the result says which ranges
    a second reading must be asked to keep. Without one, these libraries are damaged.

    Args:
        raw: The layer's bytes as stored: a tar archive, plain or compressed.
        declared: How many they are, in bytes.
        deep: Open every cubin for the names of its kernels.
        limit: Unpacked bytes at most; see `unpack.unpacked`.
        passing: Gets every unpacked byte, in pieces.
        asked: Ranges of the unpacked layer to keep, as an earlier reading found them.

    Raises:
        DamagedLayerError: It does not unpack, or ends early.
        DamagedArchiveError: It is not a tar archive.
    """
    chunks = ahead(_shown(unpacked(raw, declared, limit=limit), passing))
    try:
        reader = Forward(chunks, asked)
        result = LayerScan()
        for member in members(reader):
            add_member(result, member, reader, deep=deep)
        for _ in chunks:  # to the end: only then has the checksum of the compression been looked at
            pass
        result.far = tuple(reader.missed)
    except CutOffError as error:
        raise DamagedLayerError(f"the layer is cut off: {error}") from error
    finally:
        chunks.close()
    return result


def _shown(chunks: Iterator[bytes], passing: Callable[[bytes], None] | None) -> Iterator[bytes]:
    for chunk in chunks:
        if passing is not None:
            passing(chunk)
        yield chunk


def add_member(result: LayerScan, member: Member, reader: Forward, *, deep: bool = False) -> None:
    """Note one member of a layer.

    Args:
        result: What is known of the layer so far.
        member: The member; the reader stands at its payload.
        reader: The archive.
        deep: Open every cubin for the names of its kernels.
    """
    path = result.landing.place(member.path, result.links)
    if path != member.path:
        member = replace(member, path=path)
    folder, _, name = path.rpartition("/")
    if name.startswith(_WHITEOUT):
        _add_whiteout(result, folder, name)
        return
    if member.type is Type.DIRECTORY:
        if member.path not in result.directories:
            result.forget(member.path)
        result.directories.add(member.path)
        result.restrict(member.path, artifacts.Access(member.mode, member.uid, member.gid))
        return
    if path in result.directories or result.landing.holds(path):
        result.forget_below(path)
    result.forget(member.path)
    if member.type is Type.SYMLINK:
        result.links[member.path] = member.target
    elif member.type is Type.HARD_LINK:
        result.hard_link(member.path, result.landing.place(member.target, result.links))
    elif member.sparse is not None:
        _add_sparse(result, member, member.sparse, reader, deep=deep)
    elif member.type is Type.FILE:
        _add_file(result, member, reader, deep=deep)
    else:
        result.plain.add(member.path)


def _add_whiteout(result: LayerScan, folder: str, name: str) -> None:
    if name == _OPAQUE:
        result.opaque.add(folder)
    elif not name.startswith(".wh..wh."):  # the rest of AUFS' names mean nothing to anybody else
        gone = f"{folder}/{name[4:]}" if folder else name[4:]
        if result.has(gone):  # OCI says that it stays, containerd removes it or refuses the layer
            raise DamagedArchiveError(f"tar: {gone} comes before its whiteout in one layer")
        result.whiteouts.add(gone)


def _add_sparse(result: LayerScan, member: Member, sparse: Sparse, reader: Forward, *, deep: bool) -> None:
    result.holes += sparse.holes
    if result.holes > MAX_HOLES:
        why = f"a sparse file; with its holes, those of this layer have over {MAX_HOLES} bytes, and are not read"
        library = ".so" in member.path
        result.code[member.path] = FileCode(
            size=sparse.size, damage=why if library else "", unread="" if library else why
        )
        return
    _add_file(result, replace(member, size=sparse.size), Forward(content(sparse, reader)), deep=deep)


def _add_file(result: LayerScan, member: Member, reader: Forward, *, deep: bool) -> None:
    if takes_record(result, member.path, member.size):
        result.records[member.path] = distribution(member.path, reader.exactly(member.size))
        result.plain.add(member.path)
        return
    wanted, held = artifacts.wanted(member.path), deep and member.size >= HASHED
    compiler = _is_compiler(member.path) and reader.peek(min(4, member.size)) == b"\x7fELF"
    if not (wanted or held or compiler):
        note(result, member.path, _code(result, member.path, reader, member.size, deep=deep))
        return
    digest, release = hashlib.sha256(), _Release()
    reader.digest(_Passing(*[digest] * (wanted or held), *[release] * compiler))
    end = reader.offset + member.size
    text = reader.exactly(member.size) if wanted and artifacts.is_text(member.path, member.size) else b""
    left = end - reader.offset  # none where the file was read already
    code = _code(result, member.path, reader, left, deep=deep)
    reader.skip(end - reader.offset)
    reader.digest(None)
    note(result, member.path, code, release.found)
    if held:
        result.held[member.path] = Held(digest.hexdigest(), member.size)
    if not wanted:
        return
    result.artifacts[member.path] = artifacts.Artifact(
        sha256=digest.hexdigest(),
        size=member.size,
        access=artifacts.Access(member.mode, member.uid, member.gid),
        text=text.decode(errors="replace"),
    )


def _is_compiler(path: str) -> bool:
    return ("ptxas" in path or "nvcc" in path) and _COMPILER.search(path) is not None


def _code(result: LayerScan, path: str, reader: Forward, size: int, *, deep: bool) -> FileCode | None:
    return code_of(path, reader, size, deep=deep, budget=result.budget) if size else None


def takes_record(result: LayerScan, path: str, size: int) -> bool:
    """Whether a file is a RECORD that is read, which is noted: together they have a bound.

    Args:
        result: What is known of the layer so far.
        path: In the image.
        size: Bytes.
    """
    if not is_record(path, size) or result.listed + size > MAX_RECORD:
        return False
    result.listed += size
    return True


def note(result: LayerScan, path: str, code: FileCode | None, release: str = "") -> None:
    """Note what was found in a file: its device code, else the release of a ptxas or nvcc.

    Args:
        result: What is known of the layer so far.
        path: In the image.
        code: What was found.
        release: As in "13.0.88", "" for none.
    """
    if code is not None and not (release and code == FileCode(size=code.size, unread=code.unread)):
        result.code[path] = code
    elif release:
        result.releases[path] = release
    else:
        result.plain.add(path)


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
        pieces: The file's bytes.
    """
    release = _Release()
    for piece in pieces:
        release.update(memoryview(piece))
    return release.found


class _Release:
    """Looks for the text with the release in the bytes of a file as they pass."""

    def __init__(self) -> None:
        self.found = ""
        self._tail = b""

    def update(self, data: memoryview, /) -> None:
        if self.found:
            return
        text = self._tail + bytes(data)
        match = _RELEASE.search(text)
        self.found = match[1].decode() if match else ""
        self._tail = text[-64:]


class _Passing:
    """Hands the bytes of a file as they pass to several that take them in."""

    def __init__(self, *takers: Digest) -> None:
        self._takers = takers

    def update(self, data: memoryview, /) -> None:
        for taker in self._takers:
            taker.update(data)
