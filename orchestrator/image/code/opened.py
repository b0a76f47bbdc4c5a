"""Device images, opened as far as it takes to know whether they hold a kernel.

How a cubin and PTX say so is cubin.py's; what follows for a unit is library.py's.
"""

from __future__ import annotations

import io
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.image.code import cubin
from orchestrator.image.code.elf import HEADER_BYTES, DamagedFileError, Window
from orchestrator.image.code.fatbin import Kind
from orchestrator.image.code.glance import Glance, names_kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.image.code.fatbin import DeviceImage

_PTX_TRIES = 4  # pieces with an `.entry` that is none, in a comment or cut off, before only the whole is looked at
_AHEAD = 64  # pieces in which the symbols of a cubin that names kernels are looked for at once: 8 MiB
_BORDER = len(cubin.ENTRY_WORD) - 1  # bytes of it that may stand at the end of a piece
_REMEMBERED = 2048
"""Small images of one file whose answers are remembered: of the 4,594 small cubins of libcublasLt.so.13 189 differ."""
_SMALL = 4096  # stored bytes of one that is remembered, so 8 MiB at most
WHOLE = 256 * 1024
"""Bytes up to which a cubin is judged by its section table, which stands at its end; of larger ones the symbols near
the start nearly always tell. Unpacking all takes four times the processor time (libcublasLt.so.13: 0.8 s, not 0.2)."""

_EMPTIED = "the symbols of the cubin name kernels for which its section table has no code"


class Opened(NamedTuple):
    """What opening an image told.

    Attributes:
        kernel: Whether it holds a kernel.
        names: Deep mode: the mangled names of its kernels.
        damage: Why it could not be opened, or "".
        doubt: Deep mode: why it may hold less than `kernel` says, or "".
    """

    kernel: bool
    names: frozenset[str] = frozenset()
    damage: str = ""
    doubt: str = ""


class Opener:
    """Opens the images of one file.

    Whether an image holds a kernel is decided in one way, deep or not: every table is the same. Deep mode reads on, and
    where the rest of an image contradicts its start, that is a doubt.

    Args:
        deep: Note the names of the kernels of every cubin.
    """

    __slots__ = ("_remembered", "_unpacker", "deep")

    def __init__(self, *, deep: bool = False) -> None:
        self.deep = deep
        self._unpacker = cubin.Unpacker()
        self._remembered: dict[tuple[str, str, int, bytes], Opened] = {}

    def open(self, image: DeviceImage, read: Callable[[int], bytes]) -> Opened:
        """What an image holds.

        Args:
            image: A cubin or PTX.
            read: Returns the next of its bytes as they stand in the file; not all of them may be asked for.
        """
        count = image.stored - image.padding
        if count > _SMALL or self.deep:
            return self._guarded(image, cubin.Stored(read, count))
        stored = read(count)
        key = (image.tag, image.compression, image.size, stored)
        found = self._remembered.get(key)
        if found is None:
            found = self._guarded(image, cubin.Stored(io.BytesIO(stored).read, count))
            if len(self._remembered) < _REMEMBERED:
                self._remembered[key] = found
        return found

    def is_large(self, image: DeviceImage) -> bool:
        """Whether opening an image takes long enough that a first look at it pays."""
        return image.compression == "zstd" and image.size > WHOLE and not self.deep

    def shows_kernel(self, image: DeviceImage, read: Callable[[int], bytes]) -> bool:
        """Whether the start of a large image shows a kernel; False says nothing.

        Of a cubin that is the first piece, and more where that names kernels: then its symbols nearly always show one.

        Args:
            image: A cubin or PTX.
            read: Returns the next of its bytes as they stand in the file.
        """
        stored = cubin.Stored(read, image.stored - image.padding)
        try:
            with closing(self._unpacker.pieces(stored, image.compression, image.size)) as pieces:
                first = next(pieces, b"")
                if image.kind is Kind.PTX:
                    return cubin.holds_entry(first)
                look = _Look(image)
                return look.shows(first) or (names_kernel(first) and any(map(look.shows, islice(pieces, _AHEAD))))
        except DamagedFileError:
            return False

    def _guarded(self, image: DeviceImage, stored: cubin.Stored) -> Opened:
        try:
            return self._opened(image, stored)
        except DamagedFileError as error:  # judged where it is known whether the image counts: see `Folder.add`
            return Opened(kernel=False, damage=error.message)

    def _opened(self, image: DeviceImage, stored: cubin.Stored) -> Opened:
        if image.kind is Kind.PTX:
            return Opened(_has_entry(self._unpacker.pieces(stored, image.compression, image.size)))
        if not self.deep:
            return Opened(self._holds_kernel(image, stored))
        packed = stored.read()
        kernel = self._holds_kernel(image, cubin.Stored(io.BytesIO(packed).read, len(packed)))
        try:
            names = cubin.kernel_names(self._unpacker.unpack(packed, image.compression, image.size))
        except DamagedFileError as error:
            return Opened(kernel, doubt=f"the cubin is damaged behind its first kernel: {error.message}")
        return Opened(kernel, names, doubt=_EMPTIED if kernel and not names else "")

    def _holds_kernel(self, image: DeviceImage, stored: cubin.Stored) -> bool:
        """Whether a cubin holds a kernel: by its section table, or where that takes long by its symbols alone."""
        if image.compression != "zstd" or image.size <= WHOLE:
            whole = self._unpacker.unpack(stored.read(), image.compression, image.size)
            cubin.require_architecture(whole[:HEADER_BYTES], image)
            return cubin.holds_kernel(Window(whole))
        look = _Look(image)
        if any(map(look.shows, self._unpacker.pieces(stored, image.compression, image.size))):
            return True
        return cubin.holds_kernel(cubin.Pieces(look.pieces))


class _Look:
    """Looks at the pieces of a large cubin as they unpack: for its symbols, and at its tables where these come first.

    Tables come last in what ptxas and nvlink write, and first in what cuBLAS was assembled with, behind whose symbols
    the names are.

    Args:
        image: The cubin.

    Attributes:
        pieces: Those that came.
    """

    __slots__ = ("_glance", "_image", "_seen", "_tables_first", "_wanted", "pieces")

    def __init__(self, image: DeviceImage) -> None:
        self.pieces: list[bytes] = []
        self._glance = Glance()
        self._image = image
        self._seen = 0
        self._tables_first = False  # then they alone count, also against symbols
        self._wanted = 0  # bytes with which the tables are there, 0 where these do not tell before the end

    def shows(self, piece: bytes) -> bool:
        """Whether a kernel is seen.

        Args:
            piece: What follows the bytes that came before.

        Raises:
            DamagedFileError: It is not a cubin, or one for another architecture than the image says.
        """
        if not self.pieces:
            cubin.require_architecture(piece[:HEADER_BYTES], self._image)
            self._wanted = cubin.table_end(piece[:HEADER_BYTES])
        self.pieces.append(piece)
        self._seen += len(piece)
        if 0 < self._wanted <= self._seen < self._image.size:
            self._tables_first = True
            return self._tables_show()
        return not self._tables_first and self._glance.shows(piece)

    def _tables_show(self) -> bool:
        start = cubin.Start(self.pieces, self._image.size)
        try:
            end = cubin.symbols_end(start)
            if end > self._seen and end > self._wanted:
                self._wanted = end
                return False
            self._wanted = 0
            return cubin.holds_kernel(start)
        except DamagedFileError:  # the whole is judged then
            self._wanted = 0
            return False


def _has_entry(pieces: Iterator[bytes]) -> bool:
    """Whether PTX holds a kernel, which the first piece that holds `.entry` nearly always shows."""
    seen: list[bytes] = []
    tail = b""
    tries = 0
    for piece in pieces:
        seen.append(piece)
        if cubin.names_entry(piece) or cubin.names_entry(tail + piece[:_BORDER]):
            tries += 1
            if tries <= _PTX_TRIES and cubin.holds_entry(b"".join(seen)):
                return True
        tail = piece[-_BORDER:]
    return tries > 0 and cubin.holds_entry(b"".join(seen))
