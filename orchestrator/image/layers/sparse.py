"""Sparse members of tar archives: where their data belongs, and their content as a stream with its holes filled.

GNU tar's four ways (its manual, "Storing Sparse Files"): the old header, and pax records of versions 0.0, 0.1 and 1.0,
the last of which puts the map before the data. Maps are untrusted, and so are holes: see `MAX_PIECES`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from orchestrator.errors import VerificationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

MAX_PIECES = 200_000
"""Pieces of data of one member; a library with a hole in every page would have a fraction of it."""

_BLOCK = 512
_ZEROS = bytes(1 << 20)
_IN_HEADER, _IN_EXTENSION = 4, 21
_PAIR = 24


class DamagedSparseError(VerificationError):
    """The map of a sparse member contradicts itself or its member."""


class Reader(Protocol):
    """A stream that is read forward."""

    def read(self, count: int) -> bytes:
        """The next `count` bytes, fewer only at the end."""

    def exactly(self, count: int) -> bytes:
        """The next `count` bytes, or an error."""


class Sparse(Struct, frozen=True):
    """What a sparse member holds.

    Attributes:
        size: Of the file, holes included, in bytes.
        pieces: Offset in the file and bytes of each piece of data, as they follow each other in the archive.
        stored: Bytes of all pieces.
    """

    size: int
    pieces: tuple[tuple[int, int], ...]
    stored: int

    @property
    def holes(self) -> int:
        """Bytes that are not in the archive."""
        return self.size - self.stored


def old_map(header: bytes, reader: Reader, number: Callable[[bytes], int]) -> Sparse:
    """The map of a member of type S; the blocks that continue it are read.

    Args:
        header: Of the member, 512 bytes.
        reader: Stands behind the header.
        number: Reads a field of the header.
    """
    numbers = _fields(header[386:482], _IN_HEADER, number)
    more = header[482:483] == b"\1"
    while more:
        block = reader.exactly(_BLOCK)
        numbers += _fields(block, _IN_EXTENSION, number)
        more = block[504:505] == b"\1"
        if len(numbers) > 2 * MAX_PIECES:
            break  # `_checked` refuses it
    return _checked(numbers, number(header[483:495]))


def _fields(block: bytes, count: int, number: Callable[[bytes], int]) -> list[int]:
    found = []
    for at in range(0, count * _PAIR, _PAIR):
        if block[at + 12 : at + 13] in (b"\0", b""):
            break  # no more pairs
        found += [number(block[at : at + 12]), number(block[at + 12 : at + 24])]
    return found


def pax_map(values: Mapping[str, str], reader: Reader, number: Callable[[str], int]) -> tuple[Sparse, int]:
    """The map of a member with pax records, and the bytes of its payload that were read for it.

    Args:
        values: The records that begin with `GNU.sparse.`; those of version 0.0 joined as in 0.1.
        reader: Stands at the payload.
        number: Reads the value of a record.

    Raises:
        DamagedSparseError: The records or the map are invalid.
    """
    version = values.get("GNU.sparse.major", ""), values.get("GNU.sparse.minor", "")
    text = values.get("GNU.sparse.map", "")
    size = values.get("GNU.sparse.size") or values.get("GNU.sparse.realsize", "")
    if version == ("1", "0"):
        numbers, taken = _leading(reader, number)
        return _checked(numbers, number(size)), taken
    if version not in (("0", "0"), ("0", "1")) and (any(version) or not text):
        raise DamagedSparseError(f"tar: the version of a sparse member is invalid: found {'.'.join(version)[:40]!r}")
    return _checked([number(word) for word in text.split(",")] if text else [], number(size)), 0


def _leading(reader: Reader, number: Callable[[str], int]) -> tuple[list[int], int]:
    """The decimal numbers, a line each, in the blocks before the data: how many pairs, and the pairs."""
    text, taken, wanted = b"", 0, 1
    while text.count(b"\n") < wanted:
        text += reader.exactly(_BLOCK)
        taken += _BLOCK
        if wanted == 1 and b"\n" in text:
            pairs = number(text[: text.index(b"\n")].decode("ascii", "replace"))
            if pairs > MAX_PIECES:
                raise DamagedSparseError(f"tar: a sparse member of over {MAX_PIECES} pieces")
            wanted += 2 * pairs
        if len(text) > _BLOCK and wanted == 1:
            raise DamagedSparseError("tar: a sparse member without the number of its pieces")
    return [number(line.decode("ascii", "replace")) for line in text.split(b"\n")[1:wanted]], taken


def _checked(numbers: Sequence[int], size: int) -> Sparse:
    pieces = tuple(zip(numbers[::2], numbers[1::2], strict=False))
    if len(numbers) > 2 * MAX_PIECES:
        raise DamagedSparseError(f"tar: a sparse member of over {MAX_PIECES} pieces")
    end = 0
    for offset, count in pieces:
        if offset < end or offset + count > size:
            raise DamagedSparseError("tar: the map of a sparse member contradicts itself")
        end = offset + count
    if len(numbers) % 2:
        raise DamagedSparseError("tar: the map of a sparse member is cut off")
    return Sparse(size, pieces, sum(count for _, count in pieces))


def content(sparse: Sparse, reader: Reader) -> Iterator[bytes]:
    """The file's bytes, holes as zeros, in chunks of at most 1 MiB.

    Args:
        sparse: The member's map.
        reader: Stands at its first piece of data.
    """
    at = 0
    for offset, count in (*sparse.pieces, (sparse.size, 0)):
        while at < offset:
            zeros = _ZEROS[: offset - at]
            at += len(zeros)
            yield zeros
        while at < offset + count:
            data = reader.exactly(min(len(_ZEROS), offset + count - at))
            at += len(data)
            yield data
