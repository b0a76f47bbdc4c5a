"""Whether a cubin holds a kernel, seen while it unpacks: most need not be unpacked beyond their symbols.

The section table stands at the end of what ptxas and nvlink write, the symbol table near the start, behind the names
(up to some MB in the largest). So the symbol table is known by its null symbol and the symbol of a section after it. A
kernel is a symbol with a size: names show none, because those of an emptied section stay. Of what these tools write, a
kernel that is seen is there; data made to look like symbols can show one, as symbols made by hand can. That none is
seen says nothing. The cubins of torch 2.14.1 unpack to 5.8 GB, of which this reads an eighth.
"""

from __future__ import annotations

import re
import struct

from orchestrator.image.code.elf import HEADER_BYTES, MACHINE_CUDA, read_header
from orchestrator.image.code.needle import Needle

SYMBOL = struct.Struct("<IBBHQQ")
FUNCTION = 2
"""STT_FUNC, in the low half of a symbol's st_info."""
ENTRY = 0x10
"""STO_CUDA_ENTRY, in st_other."""

_BYTES = SYMBOL.size
_NULL = Needle(bytes(_BYTES))
_NOT_ZERO = re.compile(rb"[^\0]")
_OF_A_SECTION = b"\x03\0"  # st_info and st_other of what ptxas and nvlink begin with
_NO_KIND = re.compile(b"[^%b]" % re.escape(bytes(bind << 4 | kind for bind in range(3) for kind in range(14))))
ENTRY_MARK = re.compile(b"[%b]" % re.escape(bytes(other for other in range(256) if other & ENTRY)))
"""Every st_other that marks an entry."""

_ALIGNED = 8
_PARAMETERS = Needle(b"\0.nv.constant0.")


def names_kernel(data: bytes) -> bool:
    """Whether the start of a cubin names the parameters of a kernel: a hint that its symbols will show one, no more.

    Args:
        data: The start of the cubin.
    """
    return _PARAMETERS.find(data, 0, len(data)) >= 0


class Glance:
    """Looks at one cubin, piece by piece."""

    __slots__ = ("_base", "_begun", "_over", "_rest", "_sections", "_table")

    def __init__(self) -> None:
        self._rest = b""  # what came and must be looked at together with what comes
        self._base = 0  # its offset in the cubin
        self._begun = False
        self._sections = 0
        self._table = 0  # offset of the symbol table in the cubin
        self._over = False

    def shows(self, piece: bytes) -> bool:
        """Whether a kernel is seen.

        Args:
            piece: What follows the bytes that came before.

        Raises:
            DamagedFileError: It begins like an ELF file and is none.
        """
        if self._over:
            return False
        data = self._rest + piece if self._rest else piece
        at = 0
        if not self._begun:
            if len(data) < HEADER_BYTES:
                self._rest = data
                return False
            header = read_header(data[:HEADER_BYTES])
            self._begun = True
            self._over = header is None or header.machine != MACHINE_CUDA
            self._sections = (header.count if header else 0) or 0xFF00
            at = HEADER_BYTES
        if not self._over and not self._table:
            at = self._find_table(data, at)
        return not self._over and self._table > 0 and self._symbols(data, at)

    def _keep(self, data: bytes, at: int) -> None:
        self._rest = data[at:]
        self._base += at

    def _find_table(self, data: bytes, at: int) -> int:
        """The offset in `data` of the first symbol after the null symbol, once it is there."""
        while True:
            zero = _NULL.find(data, min(at, len(data)), len(data))
            if zero < 0:
                self._keep(data, max(min(at, len(data)), len(data) - _BYTES))
                return 0
            found = _NOT_ZERO.search(data, zero + _BYTES)
            end = found.start() if found else len(data)
            if end + _BYTES > len(data):
                self._keep(data, max(zero, end - _BYTES - _ALIGNED))
                return 0
            first = end - (self._base + end) % _ALIGNED  # the name of the first symbol may begin with zeros
            if first - _BYTES >= zero and self._is_of_a_section(data, first):
                self._table = self._base + first
                return first
            at = end

    def _is_of_a_section(self, data: bytes, at: int) -> bool:
        _, _, _, index, value, size = SYMBOL.unpack_from(data, at)
        return data[at + 4 : at + 6] == _OF_A_SECTION and 0 < index < self._sections and not value and not size

    def _symbols(self, data: bytes, at: int) -> bool:
        """Look at the symbols that are whole, up to the first that cannot be one."""
        end = at + (len(data) - at) // _BYTES * _BYTES
        kinds, others = data[at + 4 : end : _BYTES], data[at + 5 : end : _BYTES]
        odd = _NO_KIND.search(kinds)
        self._over = odd is not None
        for mark in ENTRY_MARK.finditer(others, 0, odd.start() if odd else len(others)):
            name, info, _, index, value, size = SYMBOL.unpack_from(data, at + mark.start() * _BYTES)
            named = 0 < name < self._table
            if info & 15 == FUNCTION and named and size and not value and 0 < index < self._sections:
                return True
        self._keep(data, end)
        return False
