"""Inside a cubin: whether it holds kernels at all, which, and for which architecture it was made.

Listing device code never comes here; the emptiness test opens a few small cubins, `--deep` opens all. This module must
not know where a cubin came from. Unpacking is bounded by the size that the caller allows, never by what a header says.
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
    Window,
    read_header,
    read_sections,
)

if TYPE_CHECKING:
    from orchestrator.image.code.elf import Source

MAX_TESTED = 16 * 1024
"""Bytes up to which a cubin may be empty. Of 1,943 empty cubins of real wheels the largest had 9,104 bytes, while the
smallest with a kernel had 3,368: size alone does not tell, but above this none has to be opened."""

MAX_OPENED = 256 * 1024 * 1024
"""Bytes up to which a cubin is unpacked for its kernel names."""

_TEXT = ".text."
_EXECUTABLE = 4  # SHF_EXECINSTR
_KIND_FLAGS_SIZE = struct.Struct("<4xIQ16xQ24x")
_SHT_NOTE = 7


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

    def _unpack_zstd(self, stored: bytes, size: int) -> bytes:
        import zstandard

        if self._zstd is None:
            self._zstd = zstandard.ZstdDecompressor(max_window_size=1 << 27)
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


def unpack_lz4(stored: bytes, size: int) -> bytes:
    """One LZ4 block (no frame around it), as nvcc 12 and `--compress-mode=speed` write it.

    Args:
        stored: The block; zero padding may follow it.
        size: Bytes after which decoding stops.

    Raises:
        DamagedFileError: The block contradicts itself.
    """
    try:
        return bytes(_sequences(stored, size))
    except IndexError as error:
        raise DamagedFileError("LZ4 image is cut off") from error


def _sequences(block: bytes, size: int) -> bytearray:
    """The loop of `unpack_lz4`, in one piece: calls would cost more than the work (some cubins have 65 MB)."""
    out = bytearray()
    at = done = 0
    end = len(block)
    while done < size:
        token = block[at]
        at += 1
        count = token >> 4
        if count:
            if count == 15:
                while (more := block[at]) == 255:
                    count += 255
                    at += 1
                count += more
                at += 1
            if at + count > end:
                raise DamagedFileError("LZ4 image is cut off")
            out += block[at : at + count]
            at += count
            done += count
            if done >= size:
                break
        distance = block[at] | block[at + 1] << 8
        at += 2
        count = (token & 15) + 4
        if count == 19:
            while (more := block[at]) == 255:
                count += 255
                at += 1
            count += more
            at += 1
        if not 0 < distance <= done:
            raise DamagedFileError("LZ4 image refers to bytes before its start")
        if count > size - done:
            count = size + 1 - done  # one byte too many tells the caller, and more is not worth making
        start = done - distance
        if distance >= count:
            out += out[start : start + count]
        else:  # the copy overlaps itself: a short pattern, repeated
            out += (out[start:] * (count // distance + 1))[:count]
        done += count
    return out


def kernel_names(cubin: bytes) -> frozenset[str]:
    """The mangled names of the functions in a cubin: the sections `.text.<name>` that hold instructions.

    Raises:
        DamagedFileError: Its section table contradicts itself.
    """
    return frozenset(
        section.name[len(_TEXT) :]
        for section in read_sections(Window(cubin))
        if section.size and section.type != NOBITS and section.name.startswith(_TEXT)
    )


def is_empty(cubin: bytes) -> bool:
    """Whether a cubin holds no function at all.

    Link stubs, and what a source file becomes that was compiled for an architecture by accident, look so: a label
    without code behind it.
    """
    return b".text." not in cubin or not _has_instructions(cubin)


def _has_instructions(cubin: bytes) -> bool:
    """Whether any section is executable and not empty, told without the names: four times as fast as `kernel_names`.

    Raises:
        DamagedFileError: The section table lies outside the file.
    """
    header = read_header(cubin[:64])
    if header is None:
        return False
    if not header.count:  # so many sections that their number stands elsewhere
        return bool(kernel_names(cubin))
    table = cubin[header.table : header.table + header.count * SECTION_BYTES]
    if len(table) < header.count * SECTION_BYTES:
        raise DamagedFileError("ELF section table is cut off")
    return any(
        flags & _EXECUTABLE and size and kind != NOBITS for kind, flags, size in _KIND_FLAGS_SIZE.iter_unpack(table)
    )


def bare_architecture(source: Source) -> tuple[int, str] | None:
    """SM and suffix of a cubin that stands alone (`.cubin` files); None for what is no cubin.

    The header does not tell 100, 100a and 100f apart; the note with ptxas' own command line does, and where there is
    none, the flags of the older ABI or `.nv.compat` tell `a` from plain (measured with ptxas 12.0 to 13.5).

    Args:
        source: The file.

    Raises:
        DamagedFileError: Its section table contradicts itself.
    """
    header = read_header(source.read_at(0, 64))
    if header is None or header.machine != MACHINE_CUDA:
        return None
    sections = {section.name: section for section in read_sections(source)}
    note = sections.get(".note.nv.tkinfo")
    if note is not None and note.type == _SHT_NOTE:
        text = source.read_at(note.offset, min(note.size, 65_536))
        found = re.search(rb"-arch[ =]+sm_(\d+)([af]?)\b", text)
        if found:
            return int(found[1]), found[2].decode()
    if header.os_abi == 0x33 and header.abi_version <= 7:
        return header.flags & 0xFF, "a" if header.flags & 0x800 else ""
    specific = bool(header.flags & 0x8)
    compat = sections.get(".nv.compat")
    if compat is not None and compat.type != NOBITS:
        specific |= _compat_says_specific(source.read_at(compat.offset, min(compat.size, 4096)))
    return header.flags >> 8 & 0xFF, "a" if specific else ""


def _compat_says_specific(data: bytes) -> bool:
    """Whether `.nv.compat` holds the attribute 02 09 with value 1; its records are four bytes: format, id, value."""
    return any(record[:3] == b"\x02\x09\x01" for (record,) in struct.iter_unpack("4s", data[: len(data) // 4 * 4]))
