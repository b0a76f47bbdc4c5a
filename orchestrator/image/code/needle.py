"""Where a few bytes stand in a chunk: the search that every byte of a compressed layer's libraries passes through.

It costs as much as a third of unpacking, so the C library's own search does it where that is known to be the fast one.
Does not depend on what is searched for.
"""

from __future__ import annotations

import functools
import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

FAST_GLIBC = (2, 29)
"""From here on glibc's memmem skips by hashed pairs of bytes (its commit "Improve performance of memmem"; measured with
2.36: 4.7 to 5.5 GB/s in libraries, a pattern 2.4). Before, and in musl, it is no faster than a pattern."""


_SHORT = 2048  # bytes in which the pattern, which is slower, has ended before a call of C begins


class Needle:
    """Bytes to search for.

    Args:
        value: What to find.

    Attributes:
        length: How many bytes they are.
    """

    __slots__ = ("_pattern", "_value", "length")

    def __init__(self, value: bytes) -> None:
        self._value = value
        # A compiled pattern finds the fatbin key in machine code 2.6 times as fast as `bytes.find` (CPython 3.11).
        self._pattern = re.compile(re.escape(value))
        self.length = len(value)

    def find(self, data: bytes, start: int, end: int) -> int:
        """Where the bytes first stand whole within `data[start:end]`, counted from the start of `data`; -1 if nowhere.

        Args:
            data: Must be `bytes`, which do not move while C looks at them.
            start: First offset looked at, at most `end`.
            end: First offset not looked at, at most the length of `data`.
        """
        memmem = _memmem() if end - start > _SHORT else None
        if memmem is None:
            found = self._pattern.search(data, start, end)
            return found.start() if found else -1
        return memmem(data, start, end, self._value)


@functools.cache
def _memmem() -> Callable[[bytes, int, int, bytes], int] | None:
    """The memmem of glibc, which searches twice as fast as a pattern and lets go of the interpreter; None elsewhere."""
    if glibc() < FAST_GLIBC:
        return None
    try:
        import ctypes
    except ImportError:  # a Python that was built without libffi
        return None
    search = ctypes.CDLL(None).memmem
    search.restype = ctypes.c_void_p
    search.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    address = ctypes.pythonapi.PyBytes_AsString  # a tenth of the time of ctypes.cast
    address.restype = ctypes.c_void_p
    address.argtypes = [ctypes.py_object]

    def find(data: bytes, start: int, end: int, value: bytes) -> int:
        base: int = address(data)
        at: int | None = search(base + start, end - start, value, len(value))
        return -1 if at is None else at - base

    return find


def glibc() -> tuple[int, int]:
    """Version of the C library, (0, 0) where it is not glibc."""
    try:
        name = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):
        return (0, 0)
    found = re.fullmatch(r"glibc (\d+)\.(\d+).*", name)
    return (int(found[1]), int(found[2])) if found else (0, 0)
