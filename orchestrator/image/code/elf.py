"""ELF section tables, read from their headers alone.

Reads what is needed to find device code: 64-bit, little-endian files (CUDA on Linux has no others), sections with name,
type, offset and size. Files are untrusted: every number is checked against the bytes that are there before anything is
read or allocated because of it.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from orchestrator.errors import VerificationError

if TYPE_CHECKING:
    import mmap

MAGIC = b"\x7fELF"
HEADER_BYTES = 64
SECTION_BYTES = 64
NOBITS = 8  # SHT_NOBITS: a name and a size, but no bytes in the file (what --only-keep-debug leaves)
MACHINE_CUDA = 190  # EM_CUDA
MAX_SECTIONS = 262_144  # 16 MiB of table; the largest real table seen (a cubin of libtorch_cuda) has under 100,000
NAMES_NEAR_TABLE = 4 << 20
"""Bytes on either side of the section table that a stream keeps for the section names. BOLT begins a new huge page
between the two: 875 kB in libtorch_cuda.so of torch 2.15.0 for aarch64, 2 MiB and what lies in the last pages at most.
Of a file with device code whose names lie farther away a second reading is asked for: see `Forward.missed`. Those of
libtriton.so of triton 3.9.0 (36 MB away) and vllm-rs of vLLM 0.33.0 (7 MB) do, but these hold no device code."""

MAX_NAMES_BYTES = 67_108_864  # CUTLASS kernels have names of several KiB, and `.text.<name>` is a section name

_HEADER = struct.Struct("<4sBBBBB7xHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")


class DamagedFileError(VerificationError):
    """A file claims to hold device code, but its bytes contradict themselves; nothing may be concluded from it."""


class FarNamesError(DamagedFileError):
    """The section names lie in the file, but outside of what a stream kept of it.

    Attributes:
        start: First offset of the names in the file.
        end: First offset behind them.
    """

    def __init__(self, start: int, end: int) -> None:
        super().__init__(f"ELF section names are out of reach, at {start} to {end}")
        self.start = start
        self.end = end


class Source(Protocol):
    """Random access to the bytes of one file."""

    @property
    def size(self) -> int:
        """Its length in bytes."""

    def read_at(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes at `offset`, fewer only at the end."""


class Window:
    """A part of a buffer (bytes, or a memory map) as a `Source`; nothing is copied before it is read."""

    __slots__ = ("_buffer", "_start", "size")

    def __init__(self, buffer: bytes | mmap.mmap, start: int = 0, size: int | None = None) -> None:
        self._buffer = buffer
        self._start = start
        self.size = len(buffer) - start if size is None else size

    def read_at(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes at `offset` of the window."""
        first = self._start + offset
        return self._buffer[first : first + max(0, min(count, self.size - offset))]

    def part(self, offset: int, size: int) -> Window:
        """A window inside this one; the caller has checked that it fits."""
        return Window(self._buffer, self._start + offset, size)


_BLOCK = 32 * 1024  # bytes that one call reads: headers and small images stand side by side


class FileSource:
    """An open file as a `Source`; of a mapped one, every page that is looked at would stay in memory.

    Args:
        number: Its file descriptor.
    """

    __slots__ = ("_at", "_block", "_number", "size")

    def __init__(self, number: int) -> None:
        self._number = number
        self._at = 0
        self._block = b""
        self.size = os.fstat(number).st_size

    def twin(self) -> FileSource:
        """The same open file, for another thread: each keeps the block that it read last."""
        return FileSource(self._number)

    def read_at(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes at `offset`, fewer only at the end."""
        first = offset - self._at
        if 0 <= first <= first + count <= len(self._block):
            return self._block[first : first + count]
        count = max(0, min(count, self.size - offset))
        if not count:  # an offset may be larger than the system's own numbers
            return b""
        if count > _BLOCK:
            return os.pread(self._number, count, offset)
        self._block, self._at = os.pread(self._number, _BLOCK, offset), offset
        return self._block[:count]


class Header(Struct, frozen=True, kw_only=True):
    """What an ELF header says.

    Attributes:
        machine: e_machine, 190 for a cubin.
        os_abi: Byte 7 of the file.
        abi_version: Byte 8 of the file.
        flags: e_flags.
        table: Offset of the section table in bytes, 0 for none.
        count: Sections in the table; 0 with a table means that section 0 holds the number.
        names: Index of the section with the names; 0xffff means that section 0 holds the number.
    """

    machine: int
    os_abi: int
    abi_version: int
    flags: int
    table: int
    count: int
    names: int


class Section(Struct, frozen=True, kw_only=True):
    """One section: its place and size in bytes, counted from the start of the file."""

    name: str
    type: int
    offset: int
    size: int

    @property
    def end(self) -> int:
        """First byte behind it."""
        return self.offset + self.size


def read_header(head: bytes) -> Header | None:
    """The header of a 64-bit little-endian ELF file, None for anything else.

    Args:
        head: The first 64 bytes of the file.

    Raises:
        DamagedFileError: It begins like an ELF file but is too short, or its section entries have an impossible size.
    """
    if head[:4] != MAGIC or head[4:6] != b"\x02\x01":
        return None
    if len(head) < HEADER_BYTES:
        raise DamagedFileError("ELF header is cut off")
    (_, _, _, _, os_abi, abi_version, _, machine, _, _, _, table, flags, _, _, _, entry, count, names) = _HEADER.unpack(
        head[:HEADER_BYTES]
    )
    if table and entry != SECTION_BYTES:
        raise DamagedFileError(f"ELF section entries of {entry} bytes")
    return Header(
        machine=machine,
        os_abi=os_abi,
        abi_version=abi_version,
        flags=flags,
        table=table,
        count=count if table else 0,
        names=names,
    )


def read_sections(source: Source) -> tuple[Section, ...]:
    """The sections of a file; empty for any file but 64-bit little-endian ELF, and without a section table.

    Raises:
        DamagedFileError: The table or the names do not lie inside the file.
    """
    header = read_header(source.read_at(0, HEADER_BYTES))
    return () if header is None else sections_of(header, source)


def sections_of(header: Header, source: Source) -> tuple[Section, ...]:
    """The sections that a header points to.

    Args:
        header: The file's header.
        source: The file. A stream's reader passes a source that knows only the bytes around the table.

    Raises:
        FarNamesError: The names do not lie inside what `source` knows of the file.
        DamagedFileError: The table or the names do not lie inside the file.
    """
    if not header.table:
        return ()
    count, names_index = _counted(header, source)
    table = source.read_at(header.table, count * SECTION_BYTES)
    if len(table) < count * SECTION_BYTES:
        raise DamagedFileError("ELF section table is cut off")
    _, _, _, _, names_at, names_size, _, _, _, _ = _SECTION.unpack_from(table, names_index * SECTION_BYTES)
    names = _names(source, names_at, names_size)
    sections = []
    budget = MAX_NAMES_BYTES  # names may overlap: 200,000 sections may all claim the same long one
    limit = source.size
    for name_at, kind, _, _, offset, size, _, _, _, _ in _SECTION.iter_unpack(table):
        if offset + size > limit and kind not in (0, NOBITS):
            raise DamagedFileError(f"ELF section at {offset} of {size} bytes lies outside the file")
        end = names.find(b"\0", name_at)
        budget -= end - name_at
        if end < 0 or budget < 0:
            raise DamagedFileError("ELF section name has no end")
        name = names[name_at:end].decode("ascii", "replace")
        sections.append(Section(name=name, type=kind, offset=offset, size=size))
    return tuple(sections)


def table_range(header: Header, size: int) -> tuple[int, int]:
    """First offset of what a stream keeps around the section table of a file, and the first behind it.

    Args:
        header: The file's header.
        size: Of the file, in bytes.
    """
    first = max(0, header.table - NAMES_NEAR_TABLE)
    last = min(size, header.table + (header.count or MAX_SECTIONS) * SECTION_BYTES + NAMES_NEAR_TABLE)
    return first, max(first, last)


def names_are_near(header: Header, source: Source) -> bool:
    """Whether the section names lie within `table_range`, as they nearly always do.

    Args:
        header: The file's header.
        source: The file, whose table is in order.
    """
    _, index = _counted(header, source)
    _, _, _, _, at, size, _, _, _, _ = _SECTION.unpack(
        source.read_at(header.table + index * SECTION_BYTES, SECTION_BYTES)
    )
    first, last = table_range(header, source.size)
    return bool(first <= at and at + size <= last)


def _counted(header: Header, source: Source) -> tuple[int, int]:
    """How many sections there are, and which of them holds the names."""
    first = source.read_at(header.table, SECTION_BYTES)
    if len(first) < SECTION_BYTES:
        raise DamagedFileError("ELF section table lies outside the file")
    _, _, _, _, _, zero_size, zero_link, _, _, _ = _SECTION.unpack(first)
    count = header.count or zero_size  # gABI: too many sections for 16 bits are counted in section 0
    names = zero_link if header.names == 0xFFFF else header.names
    if not 0 < count <= MAX_SECTIONS or names >= count:
        raise DamagedFileError(f"ELF section table of {count} entries with its names in number {names}")
    return count, names


def _names(source: Source, at: int, size: int) -> bytes:
    if at + size > source.size or size > MAX_NAMES_BYTES:
        raise DamagedFileError("ELF section names lie outside the file")
    names = source.read_at(at, size)
    if len(names) < size:
        raise FarNamesError(at, at + size)
    return names
