"""Statistics of a compile cache, read from output that a build wrote."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cache.compile_statistics import MARK, CompileStatistics, Counts, as_json, notes, read, sentence

# As sccache 0.16.0 printed it for one unit of examples/axpy, 9.0 and 11.0 warm and 12.0 added.
STATS = {
    "compile_requests": 1,
    "cache_hits": {"counts": {"CUDA (Device code)": 1, "PTX": 2, "CUBIN": 2}},
    "cache_misses": {"counts": {"CUDA": 1, "CUBIN": 1, "PTX": 1}},
    "cache_write_errors": 0,
    "cache_writes": 3,
    "cache_write_duration": {"secs": 0, "nanos": 788326},
    "cache_read_hit_duration": {"secs": 1, "nanos": 500000000},
    "not_cached": {},
}


def line(**changes: Any) -> str:
    said = {"version": 1, "tool": "sccache", "on": True, "why": "", "fallbacks": 0, "held": 679924, "seconds": 20}
    said |= {"cpu": 3564851, "cccl": 0, "cccl_named": "", "fixed": False, "statistics": {"stats": STATS}}
    return MARK + json.dumps(said | changes)


def found(**changes: Any) -> CompileStatistics:
    one = read([line(**changes)])
    assert one is not None
    return one


def test_sccaches_own_statistics_become_one_sentence() -> None:
    assert sentence(found()) == (
        "device code: 4 of 6 from cache (PTX 2/3, cubin 2/3), units: 0 of 1 from cache, read 1.5 s, written 0.0 s"
    )
    assert notes(found()) == ()
    assert as_json(found())["cubin"] == {"hits": 2, "misses": 1}
    assert as_json(found())["cpu_seconds"] == 3.565


def test_steps_of_one_build_are_added_up() -> None:
    both = read([line(), "other output", line(on=False, why="sccache is missing", statistics=None, held=None)])
    assert both is not None
    assert both.cubin == Counts(hits=2, misses=1)
    assert both.seconds == 40
    assert sentence(both) == "not used: sccache is missing"


def test_ccache_counts_whole_units() -> None:
    one = found(tool="ccache", statistics={"direct_cache_hit": 2, "preprocessed_cache_hit": 1, "cache_miss": 1})
    assert sentence(one) == "units: 3 of 4 from cache"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"statistics": {"stats": {**STATS, "compile_requests": 0}}}, "no compiler call went through sccache"),
        ({"fallbacks": 2}, "2 compiles were done without sccache"),
        ({"cccl": 5, "cccl_named": "a.cu b.cu c.cu"}, "5 sources include thrust, CUB or torch"),
        ({"seconds": 2}, "reading the cache took 2 s of 2 s"),
        (
            {"statistics": {"stats": {**STATS, "cache_hits": {}, "cache_writes": 0, "not_cached": {"-t0": 3}}}},
            "nothing was cached: -t0 (3)",
        ),
        (
            {"statistics": {"stats": {**STATS, "cache_hits": {}, "cache_writes": 0, "cache_write_errors": 4}}},
            "nothing was cached: 4 writes failed",
        ),
        ({"statistics": {"stats": {**STATS, "cache_hits": {}}}}, "nothing was reused although the cache held 679.9 kB"),
    ],
)
def test_what_defeats_the_cache_is_named(changes: dict[str, Any], said: str) -> None:
    assert any(said in note for note in notes(found(**changes))), notes(found(**changes))


def test_a_first_build_is_no_fault() -> None:
    cold = found(held=None, statistics={"stats": {**STATS, "cache_hits": {}}})
    assert notes(cold) == ()


def test_fixed_namespaces_silence_the_cause() -> None:
    assert not any("thrust" in note for note in notes(found(cccl=5, cccl_named="a.cu", fixed=True)))


@pytest.mark.parametrize(
    "text",
    [
        "", MARK, MARK + "{", MARK + "[]", MARK + "[" * 60000, "x" + line(), line(version=2), line(tool="rm"),
        line(why="x" * 70000),
    ],
)  # fmt: skip
def test_other_lines_are_none(text: str) -> None:
    assert read([text]) is None


@given(
    st.dictionaries(
        st.sampled_from(["on", "why", "fallbacks", "held", "seconds", "cpu", "cccl", "cccl_named", "statistics"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["stats", *STATS, "counts", "PTX"]), inner),
            max_leaves=12,
        ),
    )
)
def test_any_values_give_bounded_numbers(changes: dict[str, Any]) -> None:
    one = read([line(**changes)])
    if one is not None:
        assert 0 <= one.device.all <= 2**56
        assert len(sentence(one)) < 1000
        json.dumps(as_json(one), allow_nan=False)
        notes(one)
