"""Zip archives, read forward once by their local headers (APPNOTE.TXT 4.3.7), as they pass inside a layer.

Stored, deflated and zstd entries; sizes of zip64. The directory at the end is compared with what was found: readers go
by it, so where it lists other files, what was found is not what they would see.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from orchestrator.image.layers.tar import normalise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.image.code.forward import Forward

LOCAL = b"PK\3\4"
_DIRECTORY = b"PK\1\2"
_ENDS = (b"PK\5\6", b"PK\6\6")
_BEHIND = b"PK\7\x08"
_HEADER = struct.Struct("<4sHHHHHIIIHH")
_LISTED = struct.Struct("<4sHHHHHHIIIHHHHHII")
_STORED, _DEFLATED, _ZSTD = 0, 8, 93
_ENCRYPTED, _SIZE_BEHIND = 1, 8
_STEP = 1 << 20
_PACKED = 1 << 16  # packed bytes that are unpacked at once
_LARGE = 0xFFFFFFFF
MAX_HELD = 64 << 20
"""Bytes of an entry whose size stands behind it, which is held until it is known."""


class Reading:
    """One archive as it passes.

    Args:
        reader: Stands at its first local header.
        size: Bytes.
        limit: Unpacked bytes at most of an entry whose size stands behind it.

    Attributes:
        unread: Why not all entries were read, "" where they were; known at the end.
    """

    def __init__(self, reader: Forward, size: int, limit: int) -> None:
        self._reader = reader
        self._end = reader.offset + size
        self._limit = min(limit, MAX_HELD)
        self._names: set[bytes] = set()
        self._left = 0  # packed bytes of the entry that are still to be read
        self.unread = ""

    def entries(self) -> Iterator[tuple[str, int, Iterator[bytes]]]:
        """Path, bytes and content of each file; what the caller does not read is hopped over.

        Raises:
            ValueError: An entry contradicts itself.
            zlib.error: An entry does not unpack.
        """
        while self._mark() == LOCAL:
            fields = _HEADER.unpack(self._take(_HEADER.size))
            _, _, flags, method, _, _, _, packed, size, name_size, extra_size = fields
            name, extra = self._take(name_size), self._take(extra_size)
            packed, size = _zip64(extra, packed, size)
            self._names.add(name)
            path = normalise(name.decode("utf-8", "backslashreplace"))
            if flags & _SIZE_BEHIND and not packed:
                if method != _DEFLATED or flags & _ENCRYPTED:
                    self.unread = "an archive that is not read from an entry on whose size stands behind it"
                    return
                yield path, *self._behind(extra)
                continue
            last = self._reader.offset + packed
            if last > self._end:
                raise ValueError("a zip entry is cut off")
            self._left = packed
            chunks = None if flags & _ENCRYPTED else self._chunks(method, packed, size)
            if chunks is None:
                self.unread = self.unread or "an archive with entries that are encrypted or packed in an unknown way"
            elif not name.endswith(b"/"):
                yield path, size, chunks
            self._reader.skip(last - self._reader.offset)
            if flags & _SIZE_BEHIND:
                self._descriptor(large=_has_zip64(extra))
        self._compare()

    def _mark(self) -> bytes:
        return self._reader.peek(4) if self._reader.offset + 4 <= self._end else b""

    def _take(self, count: int) -> bytes:
        if self._reader.offset + count > self._end:
            raise ValueError("a zip header is cut off")
        return self._reader.exactly(count)

    def _packed(self) -> bytes:
        data = self._reader.read(min(_PACKED, self._left))
        self._left -= len(data)
        return data

    def _chunks(self, method: int, packed: int, size: int) -> Iterator[bytes] | None:
        if method == _STORED:
            return self._stored() if packed == size else None
        if method == _DEFLATED:
            return self._inflated()
        return self._zstd(size) if method == _ZSTD else None

    def _stored(self) -> Iterator[bytes]:
        while data := self._packed():
            yield data

    def _inflated(self) -> Iterator[bytes]:
        one = zlib.decompressobj(wbits=-15)
        packed = self._packed()
        while packed:
            if chunk := one.decompress(packed, _STEP):
                yield chunk
            packed = b"" if one.eof else one.unconsumed_tail or self._packed()
        if chunk := one.flush():
            yield chunk

    def _zstd(self, size: int) -> Iterator[bytes]:
        import zstandard

        unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
        try:
            while packed := self._packed():
                if chunk := unpacker.decompress(packed):
                    size -= len(chunk)
                    if size < 0:
                        raise ValueError("a zip entry unpacks to more than its size")
                    yield chunk
        except zstandard.ZstdError as error:
            raise ValueError(f"a zip entry: {error}") from error

    def _behind(self, extra: bytes) -> tuple[int, Iterator[bytes]]:
        """The content of a deflated entry whose size stands behind it: its end is where inflating ends."""
        one = zlib.decompressobj(wbits=-15)
        pieces: list[bytes] = []
        held = 0
        while not one.eof:
            piece = self._reader.peek(min(1 << 14, self._end - self._reader.offset))
            if not piece:
                raise ValueError("a zip entry is cut off")
            chunk = one.decompress(piece)
            held += len(chunk)
            if held > self._limit:
                raise ValueError(f"a zip entry of over {self._limit} bytes whose size stands behind it")
            pieces.append(chunk)
            self._reader.skip(len(piece) - len(one.unused_data))
        self._descriptor(large=_has_zip64(extra))
        return held, iter([piece for piece in pieces if piece])

    def _descriptor(self, *, large: bool) -> None:
        count = (20 if large else 12) + (4 if self._mark() == _BEHIND else 0)
        self._take(count)

    def _compare(self) -> None:
        """Compare the directory with what was found."""
        listed: set[bytes] = set()
        while self._mark() == _DIRECTORY:
            fields = _LISTED.unpack(self._take(_LISTED.size))
            name_size, extra_size, comment_size = fields[10:13]
            listed.add(self._take(name_size))
            self._take(extra_size + comment_size)
        if self._mark() not in _ENDS or listed != self._names:
            self.unread = (
                self.unread or "an archive whose directory lists other files than those that follow each other"
            )


def _zip64(extra: bytes, packed: int, size: int) -> tuple[int, int]:
    for number, data in _extras(extra):
        if number == 1:
            at = 0
            if size == _LARGE and len(data) >= at + 8:
                size, at = struct.unpack_from("<Q", data, at)[0], at + 8
            if packed == _LARGE and len(data) >= at + 8:
                packed = struct.unpack_from("<Q", data, at)[0]
    return packed, size


def _has_zip64(extra: bytes) -> bool:
    return any(number == 1 for number, _ in _extras(extra))


def _extras(extra: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(extra):
        number, count = struct.unpack_from("<HH", extra, at)
        yield number, extra[at + 4 : at + 4 + count]
        at += 4 + count
