from __future__ import annotations

import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.image.code.forward import CutOffError, Forward, Tap
from orchestrator.image.code.needle import Needle
from tests.support.generated import examples

KEY = Needle(b"abca")


def forward(data: bytes, step: int) -> Forward:
    return Forward(iter([data[at : at + step] for at in range(0, len(data), step)]))


@examples(100)
@given(st.text(alphabet="abc", max_size=60), st.integers(1, 9), st.integers(0, 70))
def test_find_is_bytes_find_whatever_the_chunks(text: str, step: int, limit: int) -> None:
    data = text.encode()
    stream = forward(data, step)
    expected = data[:limit].find(b"abca")
    if expected >= 0:
        assert stream.find(KEY, limit)
        assert stream.offset == expected
        assert stream.peek(4) == b"abca"
    elif limit > len(data):
        with pytest.raises(CutOffError):
            stream.find(KEY, limit)
    else:
        assert not stream.find(KEY, limit)
        assert stream.offset == limit
        assert stream.read(100) == data[limit:]


@pytest.mark.parametrize("step", range(1, 9))
def test_a_key_across_the_border_of_chunks_is_found(step: int) -> None:
    for before in range(9):
        stream = forward(b"x" * before + b"abca" + b"y" * 9, step)
        assert stream.find(KEY, before + 13)
        assert stream.offset == before
        assert stream.read(4) == b"abca"
        assert not forward(b"x" * before + b"abca", step).find(KEY, before + 3)


@examples(60)
@given(st.binary(min_size=1, max_size=60), st.integers(1, 9), st.data())
def test_a_tap_keeps_its_range_however_it_passes(data: bytes, step: int, draw: st.DataObject) -> None:
    start = draw.draw(st.integers(0, len(data)))
    tap = Tap(start, draw.draw(st.integers(start, len(data))))
    stream = forward(data, step)
    stream.tap(tap)
    while stream.offset < len(data):
        count = draw.draw(st.integers(1, len(data) - stream.offset))
        way = draw.draw(st.sampled_from(["read", "skip", "find"]))
        if way == "find":
            stream.find(KEY, count)
            if stream.peek(4) == b"abca":
                stream.skip(1)
        else:
            getattr(stream, way)(count)
    assert bytes(tap.data) == data[tap.start : tap.end]


def test_what_ends_early_says_so() -> None:
    with pytest.raises(CutOffError):
        forward(b"abc", 2).skip(4)
    with pytest.raises(CutOffError):
        forward(b"abc", 2).exactly(4)
    assert forward(b"abc", 2).read(4) == b"abc"
    assert forward(b"abc", 2).peek(4) == b"abc"


@examples(100)
@given(st.binary(max_size=80), st.integers(1, 9), st.lists(st.tuples(st.sampled_from("rspf"), st.integers(0, 9))))
def test_a_digest_sees_every_byte_that_passes_once(data: bytes, step: int, moves: list[tuple[str, int]]) -> None:
    stream = forward(data + b"abca" * 40, step)
    stream.skip(min(3, len(data)))
    before, digest = stream.offset, hashlib.sha256()
    stream.digest(digest)
    with contextlib.suppress(CutOffError):
        for kind, count in moves:
            if kind == "f":
                stream.find(KEY, count)
            else:
                {"r": stream.read, "s": stream.skip, "p": stream.peek}[kind](count)
    stream.digest(None)
    end = stream.offset
    stream.read(1)
    assert digest.digest() == hashlib.sha256((data + b"abca" * 40)[before:end]).digest()
