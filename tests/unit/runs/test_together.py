"""Steps that BuildKit runs once for several variants of a run."""

from __future__ import annotations

from orchestrator.bake.events import LogLine, StepDone, StepFailed, StepKind, Steps, StepStarted
from orchestrator.runs.together import Together


def began(vertex: str, number: int = 1, kind: StepKind = StepKind.RUN) -> StepStarted:
    return StepStarted(number=number, name="RUN make", kind=kind, steps=Steps(), vertex=vertex)


def shared(together: Together, variant: str, event: StepStarted, builder: str = "") -> str:
    found = together.seen(builder, variant, event)
    assert isinstance(found, StepStarted)
    return found.shared


DONE = StepDone(number=1, name="RUN make", kind=StepKind.RUN, seconds=1, cached=False, steps=Steps())
LOST = StepFailed(number=1, name="RUN make", kind=StepKind.RUN, seconds=1, error="x", steps=Steps())


def test_whoever_comes_later_is_told_who_came_first() -> None:
    together = Together()
    assert shared(together, "a", began("x")) == ""
    assert shared(together, "b", began("x", number=4)) == "a"
    assert shared(together, "c", began("x")) == "a"
    assert shared(together, "a", began("x")) == ""  # begun again
    assert shared(together, "b", began("y", number=5)) == ""
    assert shared(together, "d", began("x"), builder="farm") == ""


def test_what_has_ended_is_shared_with_nobody() -> None:
    for end in (DONE, LOST):
        together = Together()
        shared(together, "a", began("x"))
        shared(together, "b", began("x", number=2))
        assert together.seen("", "a", end) is end
        assert shared(together, "c", began("x")) == "b"
        together.left("b")
        together.left("c")
        assert shared(together, "d", began("x")) == ""
    assert Together().seen("", "nobody", DONE) is DONE


def test_only_work_is_shared() -> None:
    together = Together()
    for kind in (StepKind.INTERNAL, StepKind.CONTEXT, StepKind.EXPORT):
        shared(together, "a", began("x", kind=kind))
        assert shared(together, "b", began("x", kind=kind)) == ""
    line = LogLine(number=1, stream=1, text="x")
    assert together.seen("", "a", line) is line
    shared(together, "a", began(""))
    assert shared(together, "b", began("")) == ""
