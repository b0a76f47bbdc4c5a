"""Inside an image: whether it holds kernels at all, which, and for which architecture a bare cubin was made.

A kernel is a function symbol with the mark STO_CUDA_ENTRY in a section that holds instructions; PTX has `.entry`.
Tables, `__device__` functions and data, and what guards in the source leave, are not kernels and serve no device,
however large they are (nvidia-curand 10.4.5.25: 6 of 8 units). Unpacking is bounded by the size that the caller allows.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any

from orchestrator.image.code.elf import (
    MACHINE_CUDA,
    NOBITS,
    SECTION_BYTES,
    DamagedFileError,
    Header,
    Window,
    read_header,
    read_sections,
)
from orchestrator.image.code.glance import ENTRY_MARK, FUNCTION, SYMBOL
from orchestrator.image.code.lz4_block import unpack_lz4
from orchestrator.image.code.needle import Needle

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from orchestrator.image.code.elf import Source
    from orchestrator.image.code.fatbin import DeviceImage

MAX_OPENED = 256 * 1024 * 1024
"""Bytes up to which an image is unpacked; the largest cubin of a real wheel has 65 MB."""

PIECE = 128 * 1024
"""Bytes that are unpacked at once: one zstd block."""

NO_CUBIN = "a cubin is not an ELF file for CUDA"
_READ = 16 * 1024  # packed bytes of a cubin that are read at once: its first piece takes about 11,000
_EXECUTABLE = 4  # SHF_EXECINSTR
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SHT_SYMTAB = 2
_SHT_NOTE = 7
_PTX_COMMENT = re.compile(rb'//[^\n]*|/\*.*?(?:\*/|\Z)|"[^"\n]*(?:"|\n|\Z)', re.DOTALL)
_PTX_KERNEL = re.compile(rb"\.e(xtern\s+\.e)?ntry\s")  # `(\.extern\s+)?\.entry\s`; a search for `.e` is the fast one
ENTRY_WORD = b".entry"
_PTX_ENTRY = Needle(ENTRY_WORD)


class Pieces:
    """The pieces of an image as a `Source`: nothing is copied to make one of them.

    Args:
        pieces: All of the same size but the last.
    """

    __slots__ = ("_pieces", "size")

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces
        self.size = sum(map(len, pieces))

    def read_at(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes at `offset`, fewer only at the end."""
        step = len(self._pieces[0]) or 1
        first, start = divmod(offset, step)
        last = (offset + max(count, 0) - 1) // step
        return b"".join(self._pieces[first : last + 1])[start : start + max(count, 0)]


class Start(Pieces):
    """The pieces that were unpacked of an image so far; its size is that of the whole.

    Args:
        pieces: All of the same size but the last.
        size: Of the whole image, in bytes.
    """

    __slots__ = ()

    def __init__(self, pieces: Sequence[bytes], size: int) -> None:
        super().__init__(pieces)
        self.size = size


class Stored:
    """The bytes of an image as they stand in a file, read as far as they are needed.

    Args:
        read: Returns the next bytes, fewer only at the end of the file.
        size: Of all of them.
    """

    __slots__ = ("_left", "_read")

    def __init__(self, read: Callable[[int], bytes], size: int) -> None:
        self._read = read
        self._left = size

    def read(self, count: int = -1, /) -> bytes:
        """The next `count` bytes, all that are left where it is negative."""
        data = self._read(min(count, self._left) if count >= 0 else self._left)
        self._left -= len(data)
        return data


class Unpacker:
    """Unpacks images; one zstd context serves all of a file, because making one costs more than a small image."""

    __slots__ = ("_zstd",)

    def __init__(self) -> None:
        self._zstd: Any = None

    def unpack(self, stored: bytes, compression: str, size: int) -> bytes:
        """The bytes of an image.

        Args:
            stored: As they stand in the file, padding included.
            compression: "", "lz4" or "zstd".
            size: Bytes that must come out.

        Raises:
            DamagedFileError: Something else comes out.
        """
        if not compression:
            return stored
        whole = self._unpack_zstd(stored, size) if compression == "zstd" else unpack_lz4(stored, size)
        if len(whole) != size:
            raise DamagedFileError(f"{compression} image unpacks to {len(whole)} bytes, expected {size}")
        return whole

    def pieces(self, stored: Stored | bytes, compression: str, size: int) -> Generator[bytes]:
        """The bytes of an image one after another, so that the rest need not be unpacked; of small ones all at once.

        Args:
            stored: As they stand in the file, padding included.
            compression: "", "lz4" or "zstd".
            size: Bytes of the whole.

        Raises:
            DamagedFileError: It does not unpack, or to something else than `size` bytes.
        """
        if compression == "zstd" and size > PIECE:
            yield from self._zstd_pieces(stored, size)
        else:
            yield self.unpack(stored if isinstance(stored, bytes) else stored.read(), compression, size)

    def _zstd_pieces(self, stored: Stored | bytes, size: int) -> Iterator[bytes]:
        import zstandard

        self._ready()
        left = size
        try:
            with self._zstd.stream_reader(stored, read_size=_READ) as reader:
                while left and (piece := reader.read(min(PIECE, left))):
                    left -= len(piece)
                    yield piece
                if left or reader.read(1):
                    raise DamagedFileError(f"zstd image does not unpack to the {size} bytes expected")
        except zstandard.ZstdError as error:
            raise DamagedFileError(f"zstd image: {error}") from error

    def _ready(self) -> None:
        import zstandard

        if self._zstd is None:
            self._zstd = zstandard.ZstdDecompressor(max_window_size=1 << 27)

    def _unpack_zstd(self, stored: bytes, size: int) -> bytes:
        import zstandard

        self._ready()
        try:
            if zstandard.frame_content_size(stored) > size:  # decompress() would allocate what the frame claims
                raise DamagedFileError(f"zstd image unpacks to more than the {size} bytes expected")
            whole: bytes = self._zstd.decompress(stored, max_output_size=size)
        except zstandard.ZstdError as error:
            raise DamagedFileError(f"zstd image: {error}") from error
        return whole


def unpack(stored: bytes, compression: str, size: int) -> bytes:
    """As `Unpacker.unpack`, for one image."""
    return Unpacker().unpack(stored, compression, size)


def kernel_names(cubin: bytes) -> frozenset[str]:
    """The mangled names of the kernels in a cubin.

    Raises:
        DamagedFileError: Its section table or its symbols contradict themselves.
    """
    names = set()
    for name_at, strings in _kernels(Window(cubin)):
        end = cubin.find(b"\0", strings + name_at)
        names.add(cubin[strings + name_at : max(end, 0)].decode("ascii", "replace"))
    return frozenset(names)


def holds_kernel(cubin: Source) -> bool:
    """Whether a cubin holds a kernel; of a file only the tables are read.

    Raises:
        DamagedFileError: Its section table or its symbols contradict themselves.
    """
    return next(_kernels(cubin), None) is not None


def _kernels(cubin: Source) -> Iterator[tuple[int, int]]:
    """Offset of the name, and of the section with the names, for each kernel."""
    header = read_header(cubin.read_at(0, 64))
    if header is None or header.machine != MACHINE_CUDA:
        raise DamagedFileError(NO_CUBIN)
    sections = _section_table(header, cubin)
    count = len(sections) // SECTION_BYTES
    kinds = sections[4::SECTION_BYTES]  # the low byte of sh_type: nearly all are told apart by it
    row = -1
    while (row := kinds.find(_SHT_SYMTAB, row + 1)) >= 0:
        _, kind, _, _, at, size, link, _, _, _ = _SECTION.unpack_from(sections, row * SECTION_BYTES)
        if kind != _SHT_SYMTAB:
            continue
        if at + size > cubin.size or link >= count:
            raise DamagedFileError("the symbol table of a cubin lies outside it")
        symbols = cubin.read_at(at, size // SYMBOL.size * SYMBOL.size)
        for mark in ENTRY_MARK.finditer(symbols[5 :: SYMBOL.size]):
            name, info, _, index, _, _ = SYMBOL.unpack_from(symbols, mark.start() * SYMBOL.size)
            if info & 15 == FUNCTION and index < count and _instructions(sections, index):
                yield name, _SECTION.unpack_from(sections, link * SECTION_BYTES)[4]


def table_end(head: bytes) -> int:
    """The first byte behind the section table of a cubin, 0 where its header does not say it.

    Args:
        head: The first 64 bytes.
    """
    header = read_header(head)
    return header.table + header.count * SECTION_BYTES if header is not None and header.count else 0


def symbols_end(start: Source) -> int:
    """The first byte behind the symbols of a cubin and its section table.

    Args:
        start: Of the cubin, with the whole section table.

    Raises:
        DamagedFileError: A section lies outside of the cubin.
    """
    header = read_header(start.read_at(0, 64))
    if header is None:
        raise DamagedFileError(NO_CUBIN)
    end = header.table + header.count * SECTION_BYTES
    for row in _SECTION.iter_unpack(_section_table(header, start)):
        kind, last = row[1], row[4] + row[5]
        if kind not in (0, NOBITS) and last > start.size:
            raise DamagedFileError("a section of a cubin lies outside it")
        if kind == _SHT_SYMTAB:
            end = max(end, last)
    return end


def _instructions(sections: bytes, index: int) -> bool:
    _, kind, flags, _, _, size, _, _, _, _ = _SECTION.unpack_from(sections, index * SECTION_BYTES)
    return bool(flags & _EXECUTABLE and size and kind != NOBITS)


def _section_table(header: Header, cubin: Source) -> bytes:
    """The entries of the section table, as they stand in the file."""
    if not header.table:
        return b""
    count = header.count
    if not count or header.table + SECTION_BYTES > cubin.size:
        first = cubin.read_at(header.table, SECTION_BYTES)
        if len(first) < SECTION_BYTES:
            raise DamagedFileError("ELF section table lies outside the file")
        count = count or _SECTION.unpack(first)[5]  # gABI: too many for 16 bits are counted in section 0
    table = cubin.read_at(header.table, count * SECTION_BYTES)
    if len(table) < count * SECTION_BYTES:
        raise DamagedFileError("ELF section table is cut off")
    return table


def require_architecture(head: bytes, image: DeviceImage) -> None:
    """Refuse a cubin that says of itself that it is for another architecture than its entry in the container says.

    Of 15,000 cubins of twelve real wheels none does, and NVIDIA's fatbinary packs none. Whether code is for one compute
    capability alone its header says of some only, so what it does not say counts for nothing.

    Args:
        head: The first 64 bytes of the cubin, or fewer where it has fewer.
        image: The entry.

    Raises:
        DamagedFileError: It does, or it is not a cubin.
    """
    header = read_header(head)
    if header is None or header.machine != MACHINE_CUDA:
        raise DamagedFileError(NO_CUBIN)
    sm, specific = _said(header)
    if sm != image.sm or (specific and image.suffix != "a"):
        said = f"sm_{sm}{'a' if specific else ''}"
        raise DamagedFileError(f"a cubin for {said} stands where one for sm_{image.sm}{image.suffix} must be")


def _said(header: Header) -> tuple[int, bool]:
    """The SM of a cubin by its header, and whether it says there that no other runs it."""
    if header.os_abi == 0x33 and header.abi_version <= 7:
        return header.flags & 0xFF, bool(header.flags & 0x800)
    return header.flags >> 8 & 0xFF, bool(header.flags & 0x8)


def names_entry(ptx: bytes) -> bool:
    """Whether `.entry` stands anywhere in PTX, in a comment or a string too."""
    return _PTX_ENTRY.find(ptx, 0, len(ptx)) >= 0


def holds_entry(ptx: bytes) -> bool:
    """Whether PTX holds a kernel; `.entry` in a comment or a string is none, and one that is `.extern` is elsewhere."""
    at = _PTX_ENTRY.find(ptx, 0, len(ptx))
    if at < 0:
        return False
    line = ptx[ptx.rfind(b"\n", 0, at) + 1 : at]
    if (
        line.rstrip().endswith((b".visible", b".weak"))
        and not (b"//" in line or b'"' in line or b"/*" in ptx[:at])
        and ptx[at + 6 : at + 7].isspace()
    ):
        return True  # nearly all
    return _defines_entry(ptx[: at + len(ENTRY_WORD) + 1]) or _defines_entry(ptx)


def _defines_entry(ptx: bytes) -> bool:
    return any(not found[1] for found in _PTX_KERNEL.finditer(_PTX_COMMENT.sub(b" ", ptx)))


def bare_architecture(source: Source) -> tuple[int, str]:
    """SM and suffix of a cubin that stands alone (`.cubin` files).

    The header does not tell 100, 100a and 100f apart; the note with ptxas' own command line does, and where there is
    none, the flags of the older ABI or `.nv.compat` tell `a` from plain (measured with ptxas 12.0 to 13.5).

    Args:
        source: The file.

    Raises:
        DamagedFileError: It is not a cubin, or its section table contradicts itself.
    """
    header = read_header(source.read_at(0, 64))
    if header is None or header.machine != MACHINE_CUDA:
        raise DamagedFileError(NO_CUBIN)
    sections = {section.name: section for section in read_sections(source)}
    note = sections.get(".note.nv.tkinfo")
    if note is not None and note.type == _SHT_NOTE:
        text = source.read_at(note.offset, min(note.size, 65_536))
        found = re.search(rb"-arch[ =]+sm_(\d+)([af]?)\b", text)
        if found:
            return int(found[1]), found[2].decode()
    sm, specific = _said(header)
    compat = sections.get(".nv.compat")
    if compat is not None and compat.type != NOBITS:
        specific |= _compat_says_specific(source.read_at(compat.offset, min(compat.size, 4096)))
    return sm, "a" if specific else ""


def _compat_says_specific(data: bytes) -> bool:
    """Whether `.nv.compat` holds the attribute 02 09 with value 1; its records are four bytes: format, id, value."""
    return any(record[:3] == b"\x02\x09\x01" for (record,) in struct.iter_unpack("4s", data[: len(data) // 4 * 4]))
