"""What GPUs cost, in a terminal: titles with sums, at most twelve lines of each kind, nothing that acts."""

from __future__ import annotations

import io

from rich.console import Console

from orchestrator.image.verdict.cost import Copies, Cost, Place, Several, Toolkit
from orchestrator.ui import cost_view

COST = Cost(
    places=(
        Place(path="b\x1b[2J.so", size=9000, archs={"80": 4000, "p80": 50}),
        Place(path="a.so", size=1, archs={"90": 20}),
    ),
    copies=(Copies(sha256="0", size=2000, paths=("x", "y", "z")),),
    several=(Several(name="libx.so", sizes={"l/1": 2_000_000, "l/2": 3_000_000}),),
    toolkits=(Toolkit(root="usr/local/cuda", release="13.0.88", size=70),),
    without={"8.0": 4000, "9.0": 0, "12.0": 0},
    only={"8.0": 20, "9.0": 4050, "12.0": 4070},
)  # fmt: skip


def shown(cost: Cost) -> list[str]:
    stream = io.StringIO()
    cost_view.show(cost, Console(file=stream, width=60, highlight=False))
    return stream.getvalue().splitlines()


def test_everything_that_is_shown() -> None:
    assert shown(COST) == [
        "", "Device code by library: 4.1 kB",
        "  b.so  4.0 kB of 9.0 kB: 80 4.0 kB  p80 50 B",
        "  a.so  20 B of 1 B: 90 20 B",
        "", "What a shorter list saves of it",
        "  without 8.0: 4.0 kB less; with 8.0 alone: 20 B less",
        "  without 9.0: 0 B less; with 9.0 alone: 4.0 kB less",
        "", "The same file more than once: 4.0 kB that could be saved",
        "  4.0 kB: 3 copies: x, y, z",
        "", "One library in different builds",
        "  libx.so  5.0 MB: l/1 2.0 MB, l/2 3.0 MB",
        "", "CUDA toolkits, and parts of them",
        "  usr/local/cuda  CUDA 13.0.88, 70 B",
    ]  # fmt: skip


def test_long_lists_are_cut_and_empty_ones_left_out() -> None:
    def places(count: int) -> list[str]:
        many = tuple(Place(path=f"{number}", size=1, archs={"80": 1}) for number in range(count))
        return shown(Cost(places=many, copies=(), several=(), toolkits=(), without={}, only={}))

    assert len(places(12)) == 2 + 12
    assert places(13)[2 + 12 :] == ["  and 1 more (--format json lists them)"]
    assert shown(Cost(places=(), copies=(), several=(), toolkits=(), without={}, only={})) == []
