from __future__ import annotations

import collections
import functools
import gzip
import io
import zlib
from typing import TYPE_CHECKING

import pytest
import zstandard

from orchestrator.image.layers import unpack as unpack_module
from orchestrator.image.layers.unpack import CHUNK, DamagedLayerError, ahead, compression_of, unpacked

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

DATA = bytes(range(256)) * 20_000


def unpack(packed: bytes, declared: int | None = None, limit: int | None = None) -> bytes:
    return b"".join(unpacked(io.BytesIO(packed), len(packed) if declared is None else declared, limit=limit))


@functools.cache
def packings() -> dict[str, bytes]:
    many = b"".join(gzip.compress(DATA[at : at + 999_999]) for at in range(0, len(DATA), 999_999))
    frames = zstandard.ZstdCompressor().compress(DATA[:100]) + zstandard.ZstdCompressor().compress(DATA[100:])
    return {
        "plain": DATA,
        "gzip": gzip.compress(DATA),
        "gzip members": many,
        "gzip padded": gzip.compress(DATA) + bytes(100),
        "zstd": zstandard.ZstdCompressor().compress(DATA),
        "zstd frames": frames,
        "zstd skippable": b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + frames,
    }


@pytest.mark.parametrize("name", packings())
def test_every_packing_unpacks(name: str) -> None:
    assert unpack(packings()[name]) == DATA


def test_packings_are_told_by_their_bytes() -> None:
    assert compression_of(gzip.compress(b"")) == "gzip"
    assert compression_of(zstandard.ZstdCompressor().compress(b"")) == "zstd"
    assert compression_of(b"usr/lib/") == ""
    assert compression_of(b"") == ""
    assert unpack(b"") == b""
    assert unpack(b"abc") == b"abc"


@pytest.mark.parametrize("name", ["gzip", "gzip members", "zstd"])
def test_damage_is_an_error(name: str) -> None:
    packed = bytearray(packings()[name])
    packed[len(packed) // 2] ^= 0xFF
    packed[len(packed) // 2 + 1] ^= 0xFF
    with pytest.raises(DamagedLayerError):
        unpack(bytes(packed))


def test_a_gzip_stream_that_is_cut_off_is_an_error() -> None:
    with pytest.raises(DamagedLayerError, match="cut off"):
        unpack(gzip.compress(DATA)[:-20])


@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize("checked", [True, False])
def test_a_zstd_stream_that_is_cut_off_is_an_error_wherever_that_is(*, said: bool, checked: bool) -> None:
    """The library's own reader takes it for the end."""
    packer = zstandard.ZstdCompressor(write_content_size=said, write_checksum=checked)
    packed = packer.compress(DATA[:100]) + packer.compress(DATA[:300_000])
    first = len(packer.compress(DATA[:100]))
    for left in [*range(5, first + 60), *range(first + 1, len(packed), 97), *range(len(packed) - 60, len(packed))]:
        if left == first:
            continue
        with pytest.raises(DamagedLayerError, match=r"cut off|damaged"):
            unpack(packed[:left])
    assert unpack(packed[:first]) == DATA[:100]
    assert unpack(packed) == DATA[:100] + DATA[:300_000]


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, CHUNK - 1, CHUNK, CHUNK + 1])
def test_the_end_of_a_zstd_stream_leaves_nothing_behind(size: int) -> None:
    assert unpack(zstandard.ZstdCompressor().compress(DATA[:size])) == DATA[:size]


def test_more_bytes_than_declared_are_an_error() -> None:
    for packed in packings().values():
        with pytest.raises(DamagedLayerError, match="longer than its declared size"):
            unpack(packed + b"x", declared=len(packed) - 1)


@pytest.mark.parametrize("name", packings())
def test_bombs_are_bounded(name: str) -> None:
    with pytest.raises(DamagedLayerError, match="unpacks to more than 2000000 bytes"):
        unpack(packings()[name], limit=2_000_000)


def test_the_bound_grows_with_the_declared_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """32 MB of zeros are allowed in any packing; beyond that the declared size counts."""
    monkeypatch.setattr(unpack_module, "ALWAYS_ALLOWED", 32 << 20)
    block = zlib.compressobj(9, wbits=31)
    zeros = bytes(1 << 24)
    packed = b"".join(block.compress(zeros) for _ in range(2)) + block.flush()
    assert sum(len(chunk) for chunk in unpacked(io.BytesIO(packed), len(packed))) == 2 << 24
    bomb = zstandard.ZstdCompressor().compress(zeros) * 3
    with pytest.raises(DamagedLayerError, match="only"):
        collections.deque(unpacked(io.BytesIO(bomb), len(bomb)), maxlen=0)


def test_a_window_that_only_a_bomb_asks_for_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=30, compression_level=1)
    writer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = writer.compress(DATA) + writer.flush()
    with pytest.raises(DamagedLayerError, match="damaged"):
        unpack(packed)


def test_ahead_gives_chunks_in_order_and_hands_errors_over() -> None:
    def chunks() -> Iterator[bytes]:
        for number in range(40):
            yield bytes([number])
        raise DamagedLayerError("here")

    reader = ahead(chunks(), depth=2)
    assert [next(reader)[0] for _ in range(40)] == list(range(40))
    with pytest.raises(DamagedLayerError, match="here"):
        next(reader)


def test_ahead_stops_its_thread_when_nobody_reads_on() -> None:
    ended = []

    def endless() -> Generator[bytes]:
        try:
            while True:
                yield b"x"
        finally:
            ended.append(True)

    source = endless()
    reader = ahead(source, depth=2)
    next(reader)
    reader.close()
    source.close()
    assert ended == [True]
