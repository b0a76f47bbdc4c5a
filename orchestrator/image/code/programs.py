"""Programs that carry packed files, libraries with device code among them, which nothing here unpacks: they are named.

Known by what they begin and end with, by what stands behind their last section, and by a word of their own loader.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from orchestrator.image.code.elf import HEADER_BYTES, NOBITS, SECTION_BYTES, read_header
from orchestrator.image.code.needle import Needle

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.image.code.elf import Header

BEGINNING = 512
"""Bytes of a file that tell whether it is a program."""
BEFORE_TABLE, AT_END = 64 << 10, 4096
"""Bytes in which a program that carries others says so: before its section table, and at its end."""
MIN_BEHIND = 64 << 10
"""Bytes behind the last section of a file from which on they are named, whatever they are."""

_PYINSTALLER = b"MEI\014\013\012\013\016"  # ends its package, in the section `pydata` or behind the program
_APP_IMAGE = (b"AI\1", b"AI\2")  # bytes 8 to 10 of the ELF header
_UPX = b"UPX!"
_STATICX = b".staticx.archive\0"
_WORDS = {
    b"NUITKA_ONEFILE_PARENT": "a Nuitka program in one file",  # Nuitka 1 to 4: a variable of its bootstrap
    b"pyembed\1": "a PyOxidizer program", b"pyembed\2": "a PyOxidizer program", b"pyembed\3": "a PyOxidizer program",
}  # fmt: skip
_NEEDLES = (Needle(b"NUITKA_ONEFILE_PARENT"), Needle(b"pyembed"))  # what the words begin with, each searched for once
_LONGEST = max(map(len, _WORDS))
_NUITKA = (b"KAX", b"KAY")  # its payload behind the program, plain or packed, as Nuitka 1 and 2 leave it
_ZIP_END = b"PK\5\6"
_ZIP_END_BYTES = 22
_PROGRAM = 3  # PT_INTERP: a library has none
_EXECUTABLE = 2  # ET_EXEC
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SEGMENT = struct.Struct("<IIQQQQQQ")

OTHER_ELF = "an ELF file of 32 bits, or of the other byte order, with device code, which is not read"
NOT_OPENED = "which is not opened: verify what it unpacks"


class Words:
    """Looks for the words of known loaders in the bytes of a file as they pass."""

    __slots__ = ("_tail", "found")

    def __init__(self) -> None:
        self.found: set[bytes] = set()
        self._tail = b""

    def take(self, data: bytes) -> None:
        """Look at the next bytes."""
        border = self._tail + data[: _LONGEST - 1]
        for text in (data, border):
            if any(needle.find(text, 0, len(text)) >= 0 for needle in _NEEDLES):
                self.found |= {word for word in _WORDS if word in text}
        self._tail = data[1 - _LONGEST :] if len(data) >= _LONGEST else border[1 - _LONGEST :]


def is_program(head: bytes) -> bool:
    """Whether an ELF file is a program and no library: only these are searched for words.

    Args:
        head: Its first `BEGINNING` bytes.
    """
    if len(head) < HEADER_BYTES:
        return False
    (kind,), (at, size, count) = struct.unpack_from("<H", head, 16), _segments(head)
    if kind == _EXECUTABLE:
        return True
    entries = (head[one : one + 4] for one in range(at, at + size * count, size or 1)) if at < len(head) else ()
    return any(entry == struct.pack("<I", _PROGRAM) for entry in entries)


def table_bytes(header: Header) -> int:
    """Bytes of the section table of a file, and of what follows it, that `carried` looks at."""
    return header.count * SECTION_BYTES + BEGINNING


def _segments(head: bytes) -> tuple[int, int, int]:
    """Offset of the program headers, bytes of one, and how many."""
    (at,), (size, count) = struct.unpack_from("<Q", head, 32), struct.unpack_from("<HH", head, 54)
    return at, size, count


def carried(head: bytes, size: int, ends: Iterable[bytes], words: Iterable[bytes], table: bytes) -> str:
    """What a program carries that nothing here unpacks, "" for nothing.

    Args:
        head: Its first `BEGINNING` bytes.
        size: Of the file, in bytes.
        ends: The `BEFORE_TABLE` bytes before its section table, and the last `AT_END`.
        words: That `Words` found.
        table: The `table_bytes` from its section table on, none where that lies outside of the file.
    """
    before, ending = ends
    if _PYINSTALLER in before or _PYINSTALLER in ending:
        return "a PyInstaller program, whose package is not opened: verify what it unpacks"
    if head[8:11] in _APP_IMAGE:
        return f"an AppImage, {NOT_OPENED}"
    if known := sorted({_WORDS[word] for word in words}):
        return f"{known[0]}, {NOT_OPENED}"
    header = read_header(head[:HEADER_BYTES])
    if header is None:
        return ""
    if _UPX in ending and not header.table:
        return f"a program packed by UPX, {NOT_OPENED}"
    if _STATICX in before:
        return f"a staticx program, {NOT_OPENED}"
    if ends_like_zip(ending):
        return f"a program with a zip archive behind it, {NOT_OPENED}"
    behind = table[header.count * SECTION_BYTES :].lstrip(b"\0") if header.count else b""
    if behind.startswith(_NUITKA):
        return f"a Nuitka program in one file, {NOT_OPENED}"
    if (
        table
        and header.count
        and (count := size - _end(head, header.table, table[: header.count * SECTION_BYTES])) >= MIN_BEHIND
    ):
        return f"a program with {count} bytes behind it, {NOT_OPENED}"
    return ""


def _end(head: bytes, at: int, table: bytes) -> int:
    """The first byte behind everything that an ELF file says it holds."""
    ends = [at + len(table)]
    if len(table) % SECTION_BYTES == 0:
        ends += [
            offset + size
            for _, kind, _, _, offset, size, _, _, _, _ in _SECTION.iter_unpack(table)
            if kind not in (0, NOBITS)
        ]
    first, size, count = _segments(head)
    if size == _SEGMENT.size:
        last = min(first + size * count, len(head) - size + 1)
        segments = [_SEGMENT.unpack_from(head, one) for one in range(first, last, size)]
        ends += [one[2] + one[5] for one in segments]
    return max(ends)


def ends_like_zip(ending: bytes) -> bool:
    """Whether a file ends with the directory of a zip archive, whatever it begins with.

    Args:
        ending: Its last bytes, `AT_END` of them where there are as many.
    """
    at = ending.rfind(_ZIP_END)
    if at < 0 or len(ending) < at + _ZIP_END_BYTES:
        return False
    return at + _ZIP_END_BYTES + int(struct.unpack_from("<H", ending, at + 20)[0]) == len(ending)
