"""Which variants count when room is made on the engine's disk: a run builds some, the cache is for all."""

from __future__ import annotations

from msgspec.structs import replace

from orchestrator.matrix import expand
from orchestrator.matrix.layers import CommandLine
from orchestrator.runs.caches import whole
from tests.unit.matrix.support import SMALL, parse


def test_what_a_selection_leaves_out_counts_and_what_it_has_stays_as_it_is() -> None:
    matrix = parse(SMALL.replace("  linux/amd64:\n", "  linux/amd64:\n  linux/arm64:\n"))
    every = expand.plan(matrix, given=CommandLine(image="r.example/other", args={"X": "1"}))
    selected = replace(every, variants=every.variants[1:])
    found = whole(selected)
    assert {one.id for one in found.variants} == {one.id for one in every.variants}
    assert found.variants[0] == every.variants[1]
    assert "X" not in found.variants[1].args
    assert found.variants[1].tags[0].text.startswith("r.example/other:")
