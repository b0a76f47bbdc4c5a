"""A byte stream that is read once, forward: what a compressed layer gives.

Reads, skips and searches in chunks without copying them, and keeps a range of bytes that lies ahead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orchestrator.image.code.needle import Needle


class CutOffError(Exception):
    """The stream ended in the middle of something."""


class Digest(Protocol):
    """What hashlib gives."""

    def update(self, data: memoryview, /) -> None:
        """Take in some bytes."""


class Taker(Protocol):
    """Takes a range of a stream as it passes: a `Tap` keeps it.

    Attributes:
        start: First offset to take.
        end: First offset behind it.
    """

    start: int
    end: int

    def take(self, data: bytes) -> None:
        """The next bytes."""


class Tap:
    """A range of a stream that is kept while it passes.

    Args:
        start: First offset to keep.
        end: First offset behind it.
    """

    __slots__ = ("data", "end", "start")

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end
        self.data = bytearray()

    def take(self, data: bytes) -> None:
        """Keep the next bytes."""
        self.data += data


class Forward:
    """Reads an iterator of byte chunks as one stream.

    Args:
        chunks: Non-empty pieces of any size; the end of the iterator is the end of the stream.
        asked: Ranges that an earlier reading of the same stream put into `missed`.

    Attributes:
        offset: Bytes consumed so far.
        asked: As given.
        missed: Ranges, first offset and the one behind, that were needed after they had passed: who can read the stream
            again asks for them.
    """

    __slots__ = ("_chunk", "_chunks", "_digest", "_pos", "_tapped", "_taps", "asked", "missed", "offset")

    def __init__(self, chunks: Iterator[bytes], asked: Sequence[tuple[int, int]] = ()) -> None:
        self._chunks = chunks
        self._chunk = b""
        self._pos = 0
        self._taps: tuple[Taker, ...] = ()
        self._tapped = 0  # the first offset that one of them takes
        self._digest: Digest | None = None
        self.offset = 0
        self.asked = asked
        self.missed: list[tuple[int, int]] = []

    def tap(self, *taps: Taker) -> None:
        """Hand the bytes of these that pass from now on, and no others."""
        self._taps = taps
        self._tapped = min((tap.start for tap in taps), default=0)

    def digest(self, digest: Digest | None) -> None:
        """Feed a digest with every byte that passes from now on; None stops it."""
        self._digest = digest

    def _more(self) -> bool:
        """Make sure that a byte is buffered; False at the end of the stream."""
        while self._pos >= len(self._chunk):
            chunk = next(self._chunks, None)
            if chunk is None:
                return False
            self._chunk = chunk
            self._pos = 0
        return True

    def _pass(self, count: int) -> None:
        """Consume bytes of the current chunk."""
        for tap in self._taps if self.offset + count > self._tapped else ():
            if self.offset < tap.end and self.offset + count > tap.start:
                first = self._pos + max(0, tap.start - self.offset)
                last = self._pos + min(count, tap.end - self.offset)
                tap.take(self._chunk[first:last])
        if self._digest is not None:
            self._digest.update(memoryview(self._chunk)[self._pos : self._pos + count])
        self._pos += count
        self.offset += count

    def read(self, count: int) -> bytes:
        """The next `count` bytes, fewer only at the end of the stream. The caller bounds `count`."""
        if len(self._chunk) - self._pos >= count:
            data = self._chunk[self._pos : self._pos + count]
            self._pass(count)
            return data
        parts = []
        while count and self._more():
            step = min(count, len(self._chunk) - self._pos)
            parts.append(self._chunk[self._pos : self._pos + step])
            self._pass(step)
            count -= step
        return b"".join(parts)

    def exactly(self, count: int) -> bytes:
        """The next `count` bytes.

        Raises:
            CutOffError: The stream has fewer.
        """
        data = self.read(count)
        if len(data) < count:
            raise CutOffError(f"{len(data)} bytes where {count} must be")
        return data

    def skip(self, count: int) -> None:
        """Hop over `count` bytes.

        Raises:
            CutOffError: The stream has fewer.
        """
        if count <= len(self._chunk) - self._pos:  # nearly always
            self._pass(count)
            return
        while count:
            if not self._more():
                raise CutOffError(f"the stream ends {count} bytes early")
            step = min(count, len(self._chunk) - self._pos)
            self._pass(step)
            count -= step

    def peek(self, count: int) -> bytes:
        """The next `count` bytes without consuming them, fewer only at the end of the stream."""
        data = self._chunk[self._pos : self._pos + count]
        if len(data) == count:
            return data
        while len(self._chunk) - self._pos < count:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._chunk = self._chunk[self._pos :] + chunk
            self._pos = 0
        return self._chunk[self._pos : self._pos + count]

    def find(self, key: Needle, limit: int) -> bool:
        """Move to the next occurrence of `key` that lies whole within `limit` bytes.

        Returns:
            True when the stream stands at it; False when it was not found and `limit` bytes were consumed.

        Raises:
            CutOffError: The stream has fewer than `limit` bytes and no key.
        """
        end = self.offset + limit
        while self.offset < end:
            if not self._more():
                raise CutOffError(f"the stream ends {end - self.offset} bytes early")
            reach = min(len(self._chunk), self._pos + end - self.offset)
            found = key.find(self._chunk, self._pos, reach)
            if found >= 0:
                self._pass(found - self._pos)
                return True
            keep = key.length - 1
            if reach - self._pos > keep:
                self._pass(reach - self._pos - keep)
            if reach < len(self._chunk):  # the limit lies in this chunk: no whole key is left before it
                self._pass(end - self.offset)
                return False
            self._cross_border(key)
        return False

    def _cross_border(self, key: Needle) -> None:
        """Go to the next chunk, joined to this one only if a key lies across their border: joining copies both."""
        tail = self._chunk[self._pos :]
        following = next(self._chunks, b"")
        border = tail + following[: key.length - 1]
        joined = len(following) < key.length or key.find(border, 0, len(border)) >= 0
        if not joined:
            self._pass(len(tail))
        elif not following:
            self._pass(len(tail))  # the end of the stream, which the next read notices
            return
        self._chunk = tail + following if joined else following
        self._pos = 0
