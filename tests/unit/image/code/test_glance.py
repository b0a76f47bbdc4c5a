"""What the start of a cubin shows, in pieces of any size; proven against every cubin of real wheels elsewhere."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.image.code import cubin
from orchestrator.image.code.elf import Window
from orchestrator.image.code.glance import Glance
from tests.support import fatbins
from tests.support.generated import examples


def shown(data: bytes, step: int = 1 << 20) -> int:
    """After how many bytes a kernel is seen, 0 if none is."""
    glance = Glance()
    for at in range(0, len(data), step):
        if glance.shows(data[at : at + step]):
            return min(at + step, len(data))
    return 0


@pytest.mark.parametrize("ahead", [0, 5000, 300_000])
@pytest.mark.parametrize("step", [100, 4096, 1 << 20])
def test_the_start_of_a_cubin_shows_its_kernels(ahead: int, step: int) -> None:
    sections = {".nv.info": b"1234", ".text.helper": b"1" * 128, ".text.kernel": b"1" * 128, ".data": bytes(500_000)}
    data = fatbins.cubin(sections, functions=["helper"], ahead=ahead)
    assert shown(data, step)
    assert shown(data[: ahead + 2000], step)
    assert not shown(data[: ahead + 100], step)
    assert not shown(fatbins.cubin(sections, functions=["helper", "kernel"], ahead=ahead), step)
    assert shown(data, 4096) <= ahead + 2 * 4096


def test_a_kernel_of_an_anonymous_namespace_is_one() -> None:
    """Its symbol is a local one: a quarter of those of libtorch_cuda.so are."""
    data = fatbins.cubin()
    mark = b"\x12\x10"
    assert data.count(mark) == 1
    local = data.replace(mark, b"\x02\x10")
    assert cubin.holds_kernel(Window(local))
    assert shown(local)


def test_zeros_before_the_symbols_are_no_symbols() -> None:
    data = fatbins.cubin({".text.kernel": b"1" * 128})
    at = data.index(bytes(24), 64)
    gap = data[:at] + bytes(1000) + b"names" + bytes(3) + data[at:]
    assert shown(gap)
    assert all(shown(gap, step) for step in range(1, 60))


@examples(100)
@given(st.binary(min_size=0, max_size=600), st.integers(0, 60), st.integers(1, 400))
def test_the_start_shows_nothing_that_the_whole_does_not_hold(data: bytes, zeros: int, step: int) -> None:
    inside = bytes(zeros) + data.replace(b"\x77", b"\x12\x10") + b"\x12\x10\1\0" + bytes(8) + b"\x80" + bytes(7)
    frame = b"\x10\0\0\0\xff\xff\xff\xff" * 8  # as ptxas writes it behind the symbols
    empty = fatbins.cubin({".debug_frame": frame, ".nv.constant3": inside, ".text.f": b"1" * 64}, functions=["f"])
    assert not cubin.holds_kernel(Window(empty))
    assert not shown(empty, step)


@examples(60)
@given(
    st.lists(st.sampled_from("abcdef"), unique=True, min_size=1), st.sets(st.sampled_from("abcdef")),
    st.integers(0, 300), st.integers(1, 300),
)  # fmt: skip
def test_pieces_of_any_size_show_the_same(names: list[str], functions: set[str], ahead: int, step: int) -> None:
    sections = {f".text.{name}": b"1" * 64 for name in names}
    data = fatbins.cubin({".nv.info": b"1", **sections}, functions=functions, ahead=ahead)
    assert bool(shown(data, step)) == cubin.holds_kernel(Window(data)) == bool(set(names) - functions)


@pytest.mark.parametrize("data", [b"", b"text", b"\x7fELF" + bytes(100), fatbins.library([["80"]]), os.urandom(500)])
def test_what_is_no_cubin_shows_nothing(data: bytes) -> None:
    assert not shown(data)


@pytest.mark.parametrize("ahead", [0, 300_000])
def test_names_of_sections_show_no_kernel(ahead: int) -> None:
    """As ptxas writes them, at the start; those of an emptied section stay, and its symbol has no size."""
    names = b"\0.nv.constant0.kernel\0.text.kernel\0.rel.text.kernel\0"
    sections = {".names": names, ".nv.constant0.kernel": bytes(528), ".text.kernel": b"", ".data": bytes(500_000)}
    data = fatbins.cubin(sections, ahead=ahead)
    assert not cubin.holds_kernel(Window(data))
    assert not any(shown(data, step) for step in (1000, cubin.PIECE, 1 << 20))
    assert not shown(fatbins.cubin()[:64] + names)
    assert shown(fatbins.cubin({**sections, ".text.kernel": b"1" * 128}, ahead=ahead))
