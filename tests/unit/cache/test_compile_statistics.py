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
        ({"fallbacks": 2}, "2 compiles ran without sccache"),
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


def told(**fields: Any) -> CompileStatistics:
    return CompileStatistics(**{"tool": "sccache", "on": True, "requests": 4, "writes": 1, **fields})


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (told(on=False, why="no backend"), "not used: no backend"),
        (told(on=False), "not used: no reason given"),
        (told(), "nothing was compiled through it"),
        (
            told(ptx=Counts(hits=4), cubin=Counts(hits=8, misses=4)),
            "device code: 12 of 16 from cache (PTX 4/4, cubin 8/12)",
        ),
        (told(units=Counts(hits=1, misses=1)), "units: 1 of 2 from cache"),
        (told(units=Counts(hits=1), read_s=1.25), "units: 1 of 1 from cache, read 1.2 s, written 0.0 s"),
        (told(write_s=0.5), "nothing was compiled through it, read 0.0 s, written 0.5 s"),
    ],
)
def test_the_statistics_in_one_line(found: CompileStatistics, line: str) -> None:
    assert sentence(found) == line


LAUNCHER = (
    "no compiler call went through sccache: the build must use it as its compiler launcher, as in "
    "CMAKE_CUDA_COMPILER_LAUNCHER (vllm-project/vllm#13697)"
)
ANEW = "sources include thrust, CUB or torch and are compiled again after every change of the list: a.cu"
CCCL = "(compile_cache.fixed_cccl_namespaces, docs/compile-cache.md)"
MISSED = Counts(misses=1)


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        (told(), []),
        (told(on=False, fallbacks=3, requests=0), []),
        (told(fallbacks=3), ["3 compiles ran without sccache, which failed or lost its backend"]),
        (told(requests=0), [LAUNCHER]),
        (told(writes=0, refused=(("x", 2), ("y", 1))), ["nothing was cached: x (2), y (1)"]),
        (told(writes=0, write_errors=3), ["nothing was cached: 3 writes failed"]),
        (told(writes=0), ["nothing was cached: it is read-only or full"]),
        (told(writes=0, units=Counts(hits=1)), []), (told(writes=0, ptx=Counts(hits=1)), []),
        (told(held=2_000_000, cubin=MISSED),
         ["nothing was reused although the cache held 2.0 MB: another toolkit or flags"]),
        (told(held=0, cubin=MISSED), []), (told(held=9, cubin=Counts(hits=1, misses=1)), []), (told(held=9), []),
        (told(cccl=2, cccl_named="a.cu", cubin=MISSED), [f"2 {ANEW} {CCCL}"]),
        (told(cccl=3, cccl_named="a.cu", cubin=MISSED), [f"3 {ANEW} {CCCL}"]),
        (told(cccl=5, cccl_named="a.cu", cubin=MISSED), [f"5 {ANEW} and 2 more {CCCL}"]),
        (told(cccl=2, fixed=True, cubin=MISSED), []), (told(cccl=2), []),
        (told(read_s=99.0, seconds=100.0), ["reading the cache took 99 s of 100 s: a nearer backend is faster"]),
        (told(read_s=1.0, seconds=100.0), []), (told(read_s=1.0, seconds=0.0), []),
    ],
)  # fmt: skip
def test_what_a_user_should_know(found: CompileStatistics, lines: list[str]) -> None:
    assert list(notes(found)) == lines
