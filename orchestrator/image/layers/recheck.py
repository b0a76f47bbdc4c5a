"""Layers whose scan is kept, and whose bytes must still be what their digest says: a file may have changed since.

What was checked once is known by its file (device, inode, size, times) and is not hashed again.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from orchestrator import process
from orchestrator.errors import InterruptedRunError
from orchestrator.image.layers.checked import Checked, WrongDigestError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

_STEP = 1 << 20


class Stored(Protocol):
    """What is asked of a `parallel.Layer`."""

    @property
    def digest(self) -> str:
        """Of its bytes, or of what they unpack to."""

    @property
    def content(self) -> bool:
        """Whether the digest is that of what they unpack to."""

    @property
    def path(self) -> Path | None:
        """The file that holds them."""

    @property
    def offset(self) -> int:
        """Where they begin."""

    @property
    def size(self) -> int:
        """How many they are."""


def place_of(layer: Stored) -> str:
    """What tells the bytes of a layer that lies in a file from all others, "" for a layer that does not.

    Args:
        layer: The layer.

    Raises:
        OSError: The file is gone.
    """
    if layer.path is None or str(layer.path) == os.devnull:  # hopped over in a stream: nothing lies there
        return ""
    about = layer.path.stat()
    numbers = (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
    return ":".join(map(str, (*numbers, layer.offset, layer.size, int(layer.content))))


def require(layer: Stored) -> None:
    """Hash the bytes of a layer that lies in a file, or what they unpack to.

    Args:
        layer: The layer.

    Raises:
        VerificationError: They are not what its digest names, or do not unpack.
        InterruptedRunError: A stop was asked for.
    """
    from orchestrator.image.layers.unpack import unpacked

    checked = Checked(layer.digest)
    if layer.path is None:
        raise WrongDigestError("its bytes were not found")
    with layer.path.open("rb") as stream:
        stream.seek(layer.offset)
        part = _Part(stream, layer.size)
        for chunk in unpacked(part, layer.size) if layer.content else iter(lambda: part.read(_STEP), b""):
            checked.update(chunk)
            if process.asked_to_stop():
                raise InterruptedRunError("stopped")
    checked.require()


class _Part:
    """The next bytes of a file."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._stream = stream
        self._left = size

    def read(self, count: int, /) -> bytes:
        data = self._stream.read(min(count, self._left))
        self._left -= len(data)
        return data
