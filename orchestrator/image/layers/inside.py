"""Archives inside an image: zip, tar and Debian packages, whose libraries are judged as they pass; others are named.

What lies in an archive is not installed, so it never makes an image pass; that it serves no device is said. Everything
here is untrusted: depth, bytes, entries and the size of what must be held at once are bounded, and what goes beyond
is named as not read. One pass: of zip the local headers count, and a directory that lists other files is not believed.
"""

from __future__ import annotations

import io
import re
import zlib
from typing import TYPE_CHECKING

from orchestrator.errors import OrchestrateError
from orchestrator.image.code.elf import MAGIC as ELF
from orchestrator.image.code.fatbin import KEY
from orchestrator.image.code.forward import CutOffError, Forward
from orchestrator.image.code.library import AR_MAGIC, FileCode, archive_member, bare_ptx, guarded, require_bare_size
from orchestrator.image.code.stream import scan
from orchestrator.image.layers import zips
from orchestrator.image.layers.budget import BeyondError
from orchestrator.image.layers.sparse import content
from orchestrator.image.layers.tar import BLOCK, Type, members
from orchestrator.image.layers.unpack import CHUNK, compression_of, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.image.layers.budget import Budget
    from orchestrator.image.layers.unpack import Raw

MAX_DEPTH = 3
"""A wheel in a tar archive in an image that was saved into an image."""

_ARCHIVES = (
    ".whl", ".egg", ".pex", ".pyz", ".zip", ".jar", ".conda", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2",
    ".tbz2", ".tar.zst", ".tzst", ".deb", ".rpm", ".7z", ".squashfs", ".sif",
)  # fmt: skip
_PACKED = (
    b"PK", b"\x1f\x8b", b"\xfd7zXZ\0", b"BZh", b"\x28\xb5\x2f\xfd", b"!<arch>\n", b"\xed\xab\xee\xdb", b"7z\xbc\xaf",
    b"hsqs", b"#!/usr/bin/env run-singularity",
)  # fmt: skip
"""How archives begin: both count, because a compressed text is not an archive, and a name says nothing."""
_PROGRAMS = (".egg", ".pex", ".pyz")  # zip files that may begin with the line that says what runs them
_XZ, _BZIP2 = b"\xfd7zXZ\0", b"BZh"
_DEBIAN = AR_MAGIC + b"debian-binary"
_MAKESELF = b"akeself"  # in the first lines of what it makes: a script with an archive behind it
_FIRST = 256 << 10  # packed bytes that are looked at, at most, to see whether a file holds a tar archive

_PTX = re.compile(rb"^\s*\.version\s+\d+\.\d+\s+\.target\s+sm_", re.MULTILINE)
_STEP = 1 << 16  # packed bytes that are unpacked at once
_XZ_MEMORY = 256 << 20

_NOT_OPENED = "an archive, which is not opened: verify what is in it alone"


class _Part:
    """The next bytes of a stream, as something with `read`."""

    def __init__(self, reader: Forward, size: int) -> None:
        self._reader = reader
        self._left = size

    def read(self, count: int, /) -> bytes:
        data = self._reader.read(min(count, self._left))
        self._left -= len(data)
        return data


def code_of(
    path: str, reader: Forward, size: int, *, deep: bool = False, budget: Budget, depth: int = 0
) -> FileCode | None:
    """The device code of the next file of a stream, and that of what it holds where it is an archive.

    Args:
        path: Of the file; its end counts where its first bytes do not tell.
        reader: Stands at its first byte.
        size: Bytes.
        deep: Open every cubin for the names of its kernels.
        budget: What archives may cost.
        depth: How many archives it lies in.
    """
    head = reader.peek(min(BLOCK, size))
    if read := _opens(path, head, reader, size):
        if depth >= MAX_DEPTH:
            return FileCode(size=size, unread=f"an archive in {depth} others, which is not opened")
        return _Opening(deep=deep, budget=budget, depth=depth).read(read, reader, size)
    if unread := named(path, head):
        return FileCode(size=size, unread=unread)
    if not head.startswith((ELF, AR_MAGIC, KEY)) and (path.endswith(".ptx") or _PTX.search(head)):
        return _ptx(size, lambda: reader.exactly(size))
    return scan(reader, size, deep=deep)


def is_archive(path: str, head: bytes) -> bool:
    """Whether a file that begins as static libraries do is another archive.

    Args:
        path: In the image.
        head: The first 512 bytes.
    """
    return head.startswith(_DEBIAN) or bool(named(path, head))


def named(path: str, head: bytes) -> str:
    """What is said of an archive that nothing here unpacks, "" of any other file.

    Args:
        path: In the image.
        head: The first 512 bytes.
    """
    if head.startswith(b"#!") and _MAKESELF in head:
        return _NOT_OPENED
    if not path.endswith(_ARCHIVES):
        return ""
    if path.endswith(_PROGRAMS) and head.startswith(b"#!"):
        return "a packed Python package, which is not opened: verify it alone"
    return _NOT_OPENED if head.startswith(_PACKED) else ""


def _ptx(size: int, read: Callable[[], bytes]) -> FileCode | None:
    """The code of a file of PTX; None for what says no version and target.

    Args:
        size: Bytes.
        read: Its content; called only where it is not too large.
    """

    def bare() -> FileCode | None:
        require_bare_size(size)
        return bare_ptx(read())

    return guarded(bare, size)


def _opens(path: str, head: bytes, reader: Forward, size: int) -> str:
    """The kind of an archive that is opened: "zip", "deb", "tar", or "" for any other file."""
    if head.startswith(zips.LOCAL) or (head.startswith(b"#!") and b"\n" + zips.LOCAL in head):
        return "zip"
    if head.startswith(_DEBIAN):
        return "deb"
    if head[257:262] == b"ustar":
        return "tar"
    if not (compression_of(head) or head.startswith((_XZ, _BZIP2))):
        return ""
    if path.endswith(_ARCHIVES):
        return "tar"
    return "tar" if _begins_tar(reader.peek(min(_FIRST, size))) else ""


def _begins_tar(packed: bytes) -> bool:
    """Whether what begins so unpacks to a tar archive."""
    seen = b""
    try:
        for chunk in _unpacked(io.BytesIO(packed), len(packed), packed[:6]):
            seen += chunk
            if len(seen) >= BLOCK:
                break
    except (OrchestrateError, ValueError):  # cut off, as it must be
        pass
    return seen[257:262] == b"ustar"


def _unpacked(raw: Raw, size: int, head: bytes) -> Iterator[bytes]:
    """The content of an archive that may be compressed.

    Args:
        raw: Its bytes.
        size: How many they are.
        head: The first six.
    """
    return _decompressed(raw, head) if head.startswith((_XZ, _BZIP2)) else unpacked(raw, size)


def _decompressed(raw: Raw, head: bytes) -> Iterator[bytes]:
    """The content of an xz or bzip2 stream, or of several in a row."""
    import bz2
    import lzma

    packed = raw.read(_STEP)
    while packed:
        one = lzma.LZMADecompressor(memlimit=_XZ_MEMORY) if head.startswith(_XZ) else bz2.BZ2Decompressor()
        try:
            while not one.eof:
                if one.needs_input and not packed and not (packed := raw.read(_STEP)):
                    raise ValueError("the stream is cut off")
                if chunk := one.decompress(packed, CHUNK):
                    yield chunk
                packed = b""
        except (lzma.LZMAError, OSError, EOFError) as error:
            raise ValueError(f"the stream is damaged: {error}") from error
        packed = one.unused_data.lstrip(b"\0")
        while not packed and (more := raw.read(_STEP)):  # between two streams there may be any number of zeros
            packed = more.lstrip(b"\0")


class _Opening:
    """Reads one archive."""

    def __init__(self, *, deep: bool, budget: Budget, depth: int) -> None:
        self._deep = deep
        self._budget = budget
        self._depth = depth
        self._found: dict[str, FileCode] = {}

    def read(self, kind: str, reader: Forward, size: int) -> FileCode | None:
        """What an archive holds; the stream stands behind it then.

        Args:
            kind: As `_opens` says it.
            reader: Stands at its first byte.
            size: Bytes.
        """
        end = reader.offset + size
        unread = ""
        try:
            unread = {"zip": self._zip, "deb": self._deb, "tar": self._tar}[kind](reader, size)
        except BeyondError as error:
            unread = f"an archive that is not opened to its end: {error.message}"
        except (OrchestrateError, CutOffError, ValueError, zlib.error) as error:
            unread = f"an archive that is damaged, and not read to its end: {error}"
        reader.skip(end - reader.offset)
        if not (self._found or unread):
            return None
        return FileCode(size=size, inside=self._found, unread=unread)

    def _member(self, path: str, reader: Forward, size: int) -> None:
        self._budget.enter()
        found = code_of(path, reader, size, deep=self._deep, budget=self._budget, depth=self._depth + 1)
        if found is not None and path:
            self._budget.keep()
            self._found[path] = found

    def _counted(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._budget.take(len(chunk))
            yield chunk

    def _zip(self, reader: Forward, size: int) -> str:
        if not reader.peek(4).startswith(zips.LOCAL):
            line = reader.peek(min(BLOCK, size)).index(b"\n" + zips.LOCAL) + 1
            reader.skip(line)
            size -= line
        reading = zips.Reading(reader, size, self._budget.left)
        for name, count, chunks in reading.entries():
            self._member(name, Forward(self._counted(chunks)), count)
        return reading.unread

    def _deb(self, reader: Forward, size: int) -> str:
        end = reader.offset + size
        reader.skip(len(AR_MAGIC))
        while reader.offset < end:
            header = reader.read(min(60, end - reader.offset))
            count = archive_member(header)
            last = reader.offset + count
            if last > end:
                raise CutOffError("a Debian package is cut off")
            name = header[:16].decode("ascii", "replace").strip(" /")
            if name.startswith("data.tar"):
                self._tar(reader, count)
            reader.skip(min(last + count % 2, end) - reader.offset)
        return ""

    def _tar(self, reader: Forward, size: int) -> str:
        head = reader.peek(min(6, size))
        inner = Forward(self._counted(_unpacked(_Part(reader, size), size, head)))
        for member in members(inner):
            self._budget.enter()
            if member.type is Type.FILE:
                self._member(member.path, inner, member.size)
            elif member.sparse is not None:
                sparse = member.sparse
                self._budget.take(sparse.holes)
                self._member(member.path, Forward(content(sparse, inner)), sparse.size)
        return ""
