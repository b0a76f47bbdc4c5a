from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.image.code import needle
from orchestrator.image.code.needle import Needle
from tests.support.generated import examples

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=["memmem", "pattern"], scope="module")
def _way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Both ways to search, whichever this machine would choose."""
    if request.param == "memmem" and needle.glibc() == (0, 0):
        pytest.skip("no glibc")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(needle, "FAST_GLIBC", (1, 0) if request.param == "memmem" else (999, 0))
        patch.setattr(needle, "_SHORT", -1)  # else the pattern searches all that is so short
        needle._memmem.cache_clear()
        assert (needle._memmem() is not None) == (request.param == "memmem")
        yield
    needle._memmem.cache_clear()


@pytest.mark.usefixtures("_way")
@examples(300)
@given(st.binary(max_size=40), st.binary(min_size=1, max_size=4), st.data())
def test_it_finds_what_bytes_find_finds(around: bytes, value: bytes, draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, len(around)))
    data = around[:at] + value + around[at:]
    start = draw.draw(st.integers(0, len(data)))
    end = draw.draw(st.integers(start, len(data)))
    assert Needle(value).find(data, start, end) == data.find(value, start, end)


@pytest.mark.usefixtures("_way")
def test_bytes_behind_the_end_are_not_looked_at() -> None:
    data = b"x" * 10 + b"abcd" + b"abcd"
    assert Needle(b"abcd").find(data, 0, 13) == -1
    assert Needle(b"abcd").find(data, 0, 14) == 10
    assert Needle(b"abcd").find(data, 11, len(data)) == 14


def test_short_and_long_ranges_are_searched_alike() -> None:
    for size in (10, 2047, 2048, 2049, 2050, 6000):
        data = b"x" * (size - 4) + b"abcd"
        assert Needle(b"abcd").find(data, 0, size) == size - 4
        assert Needle(b"abcd").find(data, 0, size - 1) == -1


def test_a_c_library_that_is_not_glibc_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(said: str | None) -> tuple[int, int]:
        monkeypatch.setattr("os.confstr", lambda _: said)
        return needle.glibc()

    assert [version(said) for said in ("glibc 2.36", "glibc 2.36.9000-dev")] == [(2, 36)] * 2
    assert {version(said) for said in (None, "", "musl 1.2.5", "glibc two")} == {(0, 0)}

    def unknown(_: str) -> str:
        raise ValueError

    monkeypatch.setattr("os.confstr", unknown)
    assert needle.glibc() == (0, 0)
