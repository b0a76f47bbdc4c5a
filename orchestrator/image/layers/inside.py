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
from orchestrator.image.layers import packed, zips
from orchestrator.image.layers.budget import BeyondError
from orchestrator.image.layers.sparse import content
from orchestrator.image.layers.tar import BLOCK, Type, members
from orchestrator.image.layers.unpack import CHUNK, GZIP, SKIPPABLE, ZSTD, compression_of, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.image.layers.budget import Budget
    from orchestrator.image.layers.unpack import Raw

MAX_DEPTH = 3
"""A wheel in a tar archive in an image that was saved into an image."""

_PACKINGS = ("gz", "xz", "bz2", "zst")
_XZ, _BZIP2 = b"\xfd7zXZ\0", b"BZh"
_DEBIAN = AR_MAGIC + b"debian-binary"
_FIRST = 256 << 10  # packed bytes that are looked at, at most, to see whether a file holds a tar archive

_PTX = re.compile(rb"^\s*\.version\s+\d+\.\d+\s+\.target\s+sm_", re.MULTILINE)
_SMALLEST = 18  # bytes of the smallest gzip file
_STEP = 1 << 16  # packed bytes that are unpacked at once
_XZ_MEMORY = 256 << 20


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
    if _is_plain(head) and not path.endswith(".ptx"):  # nearly all
        return None
    if read := _opens(path, head, reader, size):
        if depth >= MAX_DEPTH:
            return FileCode(size=size, unread=f"an archive in {depth} others, which is not opened")
        return _Opening(path, deep=deep, budget=budget, depth=depth).read(read, reader, size)
    if unread := packed.named(path, head):
        return FileCode(size=size, unread=unread)
    if not head.startswith((ELF, AR_MAGIC, KEY)) and (path.endswith(".ptx") or _PTX.search(head)):
        return _ptx(size, lambda: reader.exactly(size))
    if head.startswith((ELF, AR_MAGIC, KEY)):
        return scan(reader, size, deep=deep)
    unread = packed.behind(head, reader, size)
    return FileCode(size=size, unread=unread) if unread else None


def _is_plain(head: bytes) -> bool:
    """Whether a file by its first bytes holds no device code and no archive, whatever its name."""
    if head[:2] in _BEGINNINGS or head[1:4] in SKIPPABLE or head[257:262] == b"ustar":
        return False
    return b".version" not in head


_BEGINNINGS = frozenset(
    magic[:2] for magic in (ELF, AR_MAGIC, KEY, zips.LOCAL, GZIP, ZSTD, _XZ, _BZIP2, *packed.BEGINNINGS)
)


def is_archive(path: str, head: bytes) -> bool:
    """Whether a file that begins as static libraries do is another archive.

    Args:
        path: In the image.
        head: The first 512 bytes.
    """
    return head.startswith(_DEBIAN) or bool(packed.named(path, head))


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
    """The kind of an archive that is opened: "zip", "deb", "tar", "one" (a packed file), or "" for any other file."""
    if head.startswith(zips.LOCAL) or (head.startswith(b"#!") and b"\n" + zips.LOCAL in head):
        return "zip"
    if head.startswith(_DEBIAN):
        return "deb"
    if head[257:262] == b"ustar":
        return "tar"
    if not (compression_of(head) or head.startswith((_XZ, _BZIP2))):
        return ""
    if path.endswith(packed.ARCHIVES):
        return "tar"
    return _content(reader.peek(min(_FIRST, size)), size)


def _content(start: bytes, size: int) -> str:
    """The kind of archive that a packed file is: "tar", "one" for a single file that is read, "" for any other.

    Args:
        start: What it begins with, up to `_FIRST` bytes.
        size: Bytes of the whole.
    """
    seen, whole = b"", False
    try:
        for chunk in _unpacked(io.BytesIO(start), len(start), start[:6]):
            seen += chunk
            if len(seen) >= BLOCK:
                break
        whole = len(start) == size
    except (OrchestrateError, ValueError):  # cut off, as it must be
        pass
    if seen[257:262] == b"ustar":
        return "tar"
    if len(seen) < BLOCK and not whole:  # nothing is known of it yet; of two bytes that begin a text it never is
        gzipped = size > _SMALLEST and start[2:3] == b"\x08"
        return "one" if gzipped or not start.startswith(GZIP) else ""
    known = (ELF, AR_MAGIC, KEY, zips.LOCAL, GZIP, ZSTD, _XZ, _BZIP2)
    return "one" if seen.startswith(known) or _PTX.search(seen) or packed.named("", seen) else ""


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

    data = raw.read(_STEP)
    while data:
        one = lzma.LZMADecompressor(memlimit=_XZ_MEMORY) if head.startswith(_XZ) else bz2.BZ2Decompressor()
        try:
            while not one.eof:
                if one.needs_input and not data and not (data := raw.read(_STEP)):
                    raise ValueError("the stream is cut off")
                if chunk := one.decompress(data, CHUNK):
                    yield chunk
                data = b""
        except (lzma.LZMAError, OSError, EOFError) as error:
            raise ValueError(f"the stream is damaged: {error}") from error
        data = one.unused_data.lstrip(b"\0")
        while not data and (more := raw.read(_STEP)):  # between two streams there may be any number of zeros
            data = more.lstrip(b"\0")


class _Opening:
    """Reads one archive.

    Args:
        path: Of the archive.
        deep: Open every cubin for the names of its kernels.
        budget: What archives may cost.
        depth: How many archives it lies in.
    """

    def __init__(self, path: str, *, deep: bool, budget: Budget, depth: int) -> None:
        self._name = path.rpartition("/")[2]
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
            unread = {"zip": self._zip, "deb": self._deb, "tar": self._tar, "one": self._one}[kind](reader, size)
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

    def _one(self, reader: Forward, size: int) -> str:
        """A single file that is packed; its size is not known before its end, so it is held."""
        head = reader.peek(min(6, size))
        pieces: list[bytes] = []
        held = 0
        for chunk in self._counted(_unpacked(_Part(reader, size), size, head)):
            pieces.append(chunk)
            held += len(chunk)
            if held > zips.MAX_HELD:
                return f"a packed file of over {zips.MAX_HELD} bytes, which is not opened: verify what it unpacks to"
        stem, dot, ending = self._name.rpartition(".")
        self._member(stem if dot and ending in _PACKINGS else self._name, Forward(iter(pieces)), held)
        return ""

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
