"""Compressed layers as streams of chunks, bounded.

gzip (one member or many, as estargz writes them), zstd and none, told apart by their first bytes and never by the media
type that somebody wrote. A layer's unpacked size is declared nowhere before its end
(the OCI descriptor counts packed bytes), so it is bounded by the declared packed size: real layers grow two- to
twentyfold, and one that grows 250-fold to more than 4 GiB is a bomb.
"""

from __future__ import annotations

import queue
import threading
import zlib
from typing import IO, TYPE_CHECKING, Protocol, cast

from orchestrator.errors import VerificationError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

CHUNK = 1 << 20
_PACKED_CHUNK = 1 << 18
MAX_GROWTH = 250
ALWAYS_ALLOWED = 4 << 30
"""Unpacked bytes that any layer may have: files of zeros pack better under zstd than any ratio could foresee."""

GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
SKIPPABLE = (b"\x2a\x4d\x18",)  # zstd frames to be skipped: bytes 1 to 3; zstd:chunked layers hold some


class DamagedLayerError(VerificationError):
    """A layer does not unpack, or unpacks to more than its declared size could hold."""


class Raw(Protocol):
    """Something with `read`, as files and pipes have it."""

    def read(self, count: int, /) -> bytes:
        """Up to `count` bytes, none only at the end."""


class _Head:
    """A raw stream with some bytes put back in front of it, and an upper bound."""

    def __init__(self, head: bytes, raw: Raw, declared: int) -> None:
        self._head = head
        self._raw = raw
        self._left = declared

    def read(self, count: int = -1, /) -> bytes:
        data = self._head or self._raw.read(_PACKED_CHUNK if count < 0 else count)
        if self._head and 0 <= count < len(data):
            data, self._head = data[:count], data[count:]
        else:
            self._head = b""
        self._left -= len(data)
        if self._left < 0:
            raise DamagedLayerError("the layer is longer than its declared size")
        return data


def compression_of(head: bytes) -> str:
    """The compression of a stream by its first bytes: "gzip", "zstd" or ""."""
    if head.startswith(GZIP):
        return "gzip"
    return "zstd" if head.startswith(ZSTD) or head[1:4] in SKIPPABLE else ""


def unpacked(raw: Raw, declared: int, *, limit: int | None = None) -> Iterator[bytes]:
    """The content of a layer, in chunks of about 1 MiB.

    Args:
        raw: The layer's bytes as stored.
        declared: How many they are by the manifest, in bytes; more is an error.
        limit: Unpacked bytes at most; by default 250 times the declared ones, and at least 4 GiB.

    Raises:
        DamagedLayerError: It does not unpack, is longer than declared or grows beyond the limit.
    """
    head = b""
    while len(head) < 4 and (more := raw.read(4 - len(head))):
        head += more
    source = _Head(head, raw, declared)
    compression = compression_of(head)
    unpack: Callable[[_Head], Iterator[bytes]] = {"gzip": _gzip, "zstd": _zstd}.get(compression, _plain)
    bound = max(ALWAYS_ALLOWED, MAX_GROWTH * declared) if limit is None else limit
    total = 0
    for chunk in unpack(source):
        total += len(chunk)
        if total > bound:
            raise DamagedLayerError(
                f"the layer unpacks to more than {bound} bytes, though only {declared} packed bytes are declared"
            )
        yield chunk


def _plain(source: _Head) -> Iterator[bytes]:
    while chunk := source.read(CHUNK):
        yield chunk


def _gzip(source: _Head) -> Iterator[bytes]:
    packed = source.read()
    while packed:
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            if not packed:
                packed = source.read()
                if not packed:
                    raise DamagedLayerError("the gzip stream is cut off")
            try:
                chunk = member.decompress(packed, CHUNK)
            except zlib.error as error:
                raise DamagedLayerError(f"the gzip stream is damaged: {error}") from error
            packed = member.unused_data or member.unconsumed_tail
            if chunk:
                yield chunk
        packed = (packed or source.read()).lstrip(b"\0")  # padding after the last member


def _zstd(source: _Head) -> Iterator[bytes]:
    import zstandard

    # 128 MiB of window is what every decoder must offer at most for `--ultra -22`; more is asked for by bombs alone.
    unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    ended = _Ended(source)
    held = b""
    try:
        with unpacker.stream_reader(
            cast("IO[bytes]", ended), read_size=_PACKED_CHUNK, read_across_frames=True
        ) as reader:
            while chunk := reader.read(CHUNK):
                if not ended.reached:  # held chunks cost memory that is not in the processor's caches
                    yield chunk
                    continue
                if len(chunk) < len(_END):
                    chunk = held + chunk
                elif held:
                    yield held
                held = chunk
    except zstandard.ZstdError as error:
        raise DamagedLayerError(f"the zstd stream is damaged: {error}") from error
    if not held.endswith(_END):
        raise DamagedLayerError("the zstd stream is cut off")
    if rest := held[: -len(_END)]:
        yield rest


_END = b"behind every end"
_BEHIND = ZSTD + b"\x24\x10\x81\0\0" + _END + b"\xb6\xba\x19\x6c" + b"\x50\x2a\x4d\x18\x08\0\0\0" + bytes(8)
"""One raw block of 16 bytes, its checksum, and a frame to be skipped: what ends within a block takes some of these
bytes for its own, and then what is left is no frame, or what came out does not end like `_END`."""


class _Ended:
    """A stream of zstd with frames of its own at the end: where the last frame is cut off, that does not come out.

    The library's reader takes a stream that ends within a frame for one that ends there.

    Attributes:
        reached: Whether the stream's own bytes have been read.
    """

    def __init__(self, source: _Head) -> None:
        self._source = source
        self.reached = False
        self._rest = [_BEHIND[:2], _BEHIND[2:]]  # apart: libzstd takes a whole frame at the start of what it is given

    def read(self, count: int = -1, /) -> bytes:
        if data := self._source.read(count):
            return data
        self.reached = True
        return self._rest.pop(0) if self._rest else b""


def ahead(chunks: Iterator[bytes], depth: int = 4) -> Generator[bytes]:
    """The same chunks, made by a thread: unpacking lets go of the interpreter, so it runs beside the search.

    Args:
        chunks: Consumed by the thread alone.
        depth: Chunks that may wait at once.

    Raises:
        BaseException: What `chunks` raised, in its place among them.
    """
    waiting: queue.Queue[bytes | BaseException | None] = queue.Queue(depth)
    stop = threading.Event()

    def put(item: bytes | BaseException | None) -> None:
        while not stop.is_set():
            try:
                return waiting.put(item, timeout=0.1)
            except queue.Full:
                continue
        return None

    def work() -> None:
        try:
            for chunk in chunks:
                put(chunk)
                if stop.is_set():
                    return
            put(None)
        except BaseException as error:  # noqa: BLE001 - handed to the consumer, who raises it
            put(error)

    thread = threading.Thread(target=work, name="unpack", daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()
