from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cuda.arch import Arch, parse_list
from orchestrator.cuda.select import select
from orchestrator.cuda.toolkit import Toolkit, toolkit_for, toolkits
from tests.unit.cuda.strategies import archs, real_archs


def effective(text: str, cuda: str) -> str:
    selection = select(parse_list(text), toolkit_for(cuda))
    return " ".join(map(str, selection.effective))


@pytest.mark.parametrize(
    ("cuda", "expected"),
    [
        ("13.0.2", "7.5 8.0 8.6 8.9 9.0 10.0 11.0 12.0+PTX"),
        ("12.9.1", "7.5 8.0 8.6 8.9 9.0 10.0 12.0+PTX"),
        ("12.8.1", "7.5 8.0 8.6 8.9 9.0 10.0 12.0+PTX"),
        ("12.6.3", "7.5 8.0 8.6 8.9 9.0"),
    ],
)
def test_one_release_list_on_many_toolkits(cuda: str, expected: str) -> None:
    assert effective("7.5 8.0 8.6 8.9 9.0 10.0 11.0 12.0+PTX", cuda) == expected


@pytest.mark.parametrize(
    ("arch", "cuda", "why"),
    [
        ("11.0", "12.9", "sm_110 needs CUDA 13.0 or later; CUDA 12.8/12.9 name the same GPU 10.1"),
        ("11.0a", "12.4", "sm_110a needs CUDA 13.0 or later; CUDA 12.8/12.9 name the same GPU 10.1"),
        ("10.1", "13.0", "10.1 is the name CUDA 12.8/12.9 give Jetson Thor; CUDA 13.0 and later call it 11.0"),
        ("10.1", "12.6", "sm_101 needs CUDA 12.8 or 12.9; CUDA 13.0 and later call the same GPU 11.0"),
        ("7.0", "13.0", "sm_70 was dropped by CUDA 13.0; the last toolkit that compiles it is 12.9"),
        ("3.5", "12.9", "sm_35 was dropped by CUDA 12.0; the last toolkit that compiles it is 11.8"),
        ("10.7", "13.3", "sm_107 needs CUDA 13.4 or later"),
        ("10.0f", "12.8", "sm_100f needs CUDA 12.9 or later; CUDA 12.8 compiles sm_100"),
        ("9.0a", "11.8", "sm_90a needs CUDA 12.0 or later; CUDA 11.8 compiles sm_90"),
        ("12.0", "12.6", "sm_120 needs CUDA 12.8 or later"),
        ("9.9", "13.5", "no CUDA release up to 13.5 compiles sm_99"),
        ("9.0f", "13.5", "no CUDA release up to 13.5 compiles sm_90f: targets with f begin at sm_100"),
        ("8.0a", "13.5", "no CUDA release up to 13.5 compiles sm_80a: targets with a begin at sm_90"),
    ],
)
def test_what_is_dropped_says_why(arch: str, cuda: str, why: str) -> None:
    selection = select(parse_list(arch), toolkit_for(cuda))
    assert selection.empty
    assert [(str(drop.arch), drop.why) for drop in selection.dropped] == [(arch, why)]


@given(st.lists(archs | real_archs, max_size=12), st.sampled_from(toolkits()))
def test_nothing_is_lost_silently(requested: list[Arch], toolkit: Toolkit) -> None:
    selection = select(requested, toolkit)
    assert selection.requested == tuple(requested)
    assert all(toolkit.supports(arch) for arch in selection.effective)
    assert all(drop.why for drop in selection.dropped)
    effective_targets = {arch.target: arch for arch in selection.effective}
    assert len(effective_targets) == len(selection.effective)
    for arch in requested:
        kept = effective_targets.get(arch.target)
        dropped = arch in {drop.arch for drop in selection.dropped}
        assert dropped != (kept is not None)
        if kept:
            assert kept.ptx >= arch.ptx
    changed = len(requested) - len(selection.effective) - len(selection.dropped)
    assert bool(selection.notes) >= bool(changed)


@given(st.lists(real_archs, max_size=8), st.sampled_from(toolkits()))
def test_selecting_again_changes_nothing(requested: list[Arch], toolkit: Toolkit) -> None:
    once = select(requested, toolkit)
    twice = select(once.effective, toolkit)
    assert twice.effective == once.effective
    assert not twice.dropped
    assert all("nvcc refuses" in note for note in twice.notes)


@pytest.mark.parametrize(
    ("archs", "cuda", "expected"),
    [
        ("8.0 11.0 12.0", "12.9", "8.0 12.0"),
        ("8.0 10.1 12.0", "13.0", "8.0 12.0"),
        ("11.0f 9.0 10.1f 12.0+PTX", "12.9", "9.0 10.1f 12.0+PTX"),
    ],
)
def test_a_rename_is_dropped_and_the_rest_of_the_list_is_kept(archs: str, cuda: str, expected: str) -> None:
    assert effective(archs, cuda) == expected


def test_repetitions_are_folded_and_told() -> None:
    selection = select(parse_list("8.0 9.0 8.0 9.0+PTX"), toolkit_for("13.0"))
    assert " ".join(map(str, selection.effective)) == "8.0 9.0+PTX"
    assert selection.notes == (
        "8.0 is listed 2 times, kept once",
        "9.0 and 9.0+PTX are both listed, kept as 9.0+PTX",
    )


def test_what_nvcc_refuses_in_one_compilation_is_told() -> None:
    notes = select(parse_list("10.0 10.0a 10.0f 12.0f"), toolkit_for("13.0")).notes
    assert notes == ("10.0 and 10.0f are both listed: nvcc refuses them in one compilation",)


def test_an_empty_request_is_an_empty_selection() -> None:
    assert select([], toolkit_for("13.0")).empty
