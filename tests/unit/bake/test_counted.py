"""Which vertexes are one step: asked after each of them, and once for all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.bake.counted import Counted
from orchestrator.bake.events import StepKind, step_kind
from tests.support.generated import examples

NAMES = st.builds(
    "[{}{}/{}] {}".format,
    st.sampled_from(["", "a ", "b "]),
    st.integers(1, 4),
    st.integers(1, 4),
    st.sampled_from(["RUN x", "RUN y", "COPY . .", "FROM base"]),
) | st.just("[internal] load build context")


def grouped(counted: Counted[int]) -> list[list[int]]:
    return sorted(sorted(same) for same in counted.steps())


@examples(300)
@given(st.lists(NAMES, max_size=12))
def test_counts_do_not_depend_on_when_they_are_asked_for(names: list[str]) -> None:
    often: Counted[int] = Counted()
    for number, name in enumerate(names):
        often.add(name, step_kind(name), number)
        once: Counted[int] = Counted()
        for before, other in enumerate(names[: number + 1]):
            once.add(other, step_kind(other), before)
        assert grouped(often) == grouped(once)


def test_a_stage_that_becomes_complete_takes_its_steps_back() -> None:
    counted: Counted[int] = Counted()
    counted.add("[other 1/2] RUN x", StepKind.RUN, 0)
    counted.add("[own 1/2] RUN x", StepKind.RUN, 1)
    assert grouped(counted) == [[0, 1]]
    counted.add("[own 2/2] RUN y", StepKind.RUN, 2)
    assert grouped(counted) == [[0, 1], [2]]
    counted.add("[other 2/2] RUN z", StepKind.RUN, 3)
    assert grouped(counted) == [[0], [1], [2], [3]]
