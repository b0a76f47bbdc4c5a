"""When a bake is ended: a step that takes too long, a builder that went silent; no process."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.bake.events import Notice, StepDone, StepKind, Steps, StepStarted, step_kind
from orchestrator.bake.progress import Progress
from orchestrator.bake.watch import Answer, Bounds, Watch, ask
from orchestrator.engine import history, machine
from orchestrator.engine.buildx import BakeCall
from orchestrator.engine.history import Record, Silence
from orchestrator.errors import FailureClass

if TYPE_CHECKING:
    from pathlib import Path

GOES_ON = Answer(alive=True)
LOST = Answer(alive=False, why="no answer")


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.busy = 1.0
        monkeypatch.setattr("orchestrator.bake.watch.time.monotonic", lambda: self.now)
        monkeypatch.setattr("orchestrator.bake.watch.machine.busy", lambda: self.busy)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def started(number: int, kind: StepKind = StepKind.RUN) -> StepStarted:
    return StepStarted(number=number, name=f"step {number}", kind=kind, steps=Steps())


def done(number: int) -> StepDone:
    return StepDone(number=number, name="", kind=StepKind.RUN, seconds=1, cached=False, steps=Steps())


def watching(bounds: Bounds, *answers: Answer) -> tuple[Watch, list[Answer], list[Notice]]:
    left, told = list(answers), list[Notice]()
    return Watch(bounds, ask=lambda: left.pop(0), tell=told.append), left, told


def test_nothing_is_asked_within_the_limit(clock: Clock) -> None:
    watch, _, _ = watching(Bounds(silence_s=60))
    clock.now += 59
    assert watch.look() is None
    watch.arrived()
    clock.now += 59
    assert watch.look() is None


def test_without_limits_nothing_is_ever_asked_or_ended(clock: Clock) -> None:
    watch, _, _ = watching(Bounds())
    watch.event(started(1))
    clock.now += 1e6
    assert watch.look() is None


def test_a_quiet_build_is_told_and_goes_on_for_ever(clock: Clock) -> None:
    watch, left, told = watching(Bounds(silence_s=60), *[GOES_ON] * 3)
    watch.event(started(1))
    for number in range(1, 4):
        clock.now += 61
        assert watch.look() is None
        assert watch.look() is None  # not asked again before another limit has passed
        assert told[-1].text == f"no output for {number}m0{number}s: the builder still runs step 1"
    assert left == []


@pytest.mark.parametrize(
    "name",
    [
        "[internal] load build context", "[context docs] load from client", "[internal] load .dockerignore",
        "[internal] load build definition from Dockerfile",
    ],
)  # fmt: skip
def test_a_builder_that_waits_for_our_files_is_no_quiet_build(clock: Clock, name: str) -> None:
    """It is alive, and the connection that the files come by is not."""
    watch, left, told = watching(Bounds(silence_s=60), *[GOES_ON] * 4)
    waits = StepStarted(number=1, name=name, kind=step_kind(name), steps=Steps())
    watch.event(waits)
    watch.event(started(2))
    clock.now += 61
    assert watch.look() is None  # the other step compiles
    assert len(told) == 1
    watch.event(done(2))
    clock.now += 61
    assert watch.look() is None
    clock.now += 6
    found = watch.look()
    assert found is not None
    assert (found.failure, found.step, found.again) == (FailureClass.STALLED, name, True)
    assert "waits for files of this machine" in found.message
    assert (len(left), len(told)) == (1, 1)


def test_a_lost_build_is_ended_after_a_second_look(clock: Clock) -> None:
    watch, left, told = watching(Bounds(silence_s=60), LOST, LOST)
    watch.event(started(4))
    clock.now += 61
    assert watch.look() is None
    assert len(left) == 1
    clock.now += 4
    assert watch.look() is None
    assert len(left) == 1
    clock.now += 2
    found = watch.look()
    assert found is not None
    assert (found.failure, found.step, found.again) == (FailureClass.STALLED, "step 4", True)
    assert found.message == "no output for 1m07s (limits.silence): no answer"
    assert told == []


def test_a_builder_that_was_waited_for_in_vain_is_asked_again_at_once(clock: Clock) -> None:
    late = Answer(alive=False, why="no answer", late=True)
    watch, left, _ = watching(Bounds(silence_s=60), late, late)
    clock.now += 61
    assert watch.look() is None
    clock.now += 0.1
    found = watch.look()
    assert found is not None
    assert (found.failure, left) == (FailureClass.STALLED, [])


@pytest.mark.parametrize(
    ("silence", "busy", "answer"),
    [(None, 1, 20), (1, 1, 3), (4, 1, 4), (600, 1, 20), (None, 9, 20), (1, 4, 12), (1, 90, 20), (15, 2, 15)],
)
def test_an_answer_is_waited_for_as_long_as_the_silence_and_longer_on_a_busy_machine(
    silence: float | None, busy: float, answer: float
) -> None:
    assert Bounds(silence_s=silence).answer_s(busy) == answer


def test_how_busy_a_machine_is_is_at_least_one() -> None:
    assert machine.busy() >= 1


def test_a_second_look_comes_later_on_a_busy_machine_however_short_the_limit(clock: Clock) -> None:
    watch, left, _ = watching(Bounds(silence_s=2), LOST, LOST)
    clock.busy = 3.0
    clock.now += 3
    assert watch.look() is None
    clock.now += 14
    assert watch.look() is None
    assert len(left) == 1
    clock.now += 2
    assert watch.look() is not None


def test_what_lies_unread_is_no_silence(clock: Clock) -> None:
    ours, theirs = os.pipe()
    watch, left, _ = watching(Bounds(silence_s=60), LOST, LOST)
    with os.fdopen(ours, "rb", 0) as pipe, os.fdopen(theirs, "wb", 0) as builder:
        watch.pipe = pipe
        builder.write(b"{")
        clock.now += 61
        assert watch.look() is None  # the builder is not even asked
        assert len(left) == 2
        pipe.read(1)
        assert watch.look() is None
        assert len(left) == 1
        clock.now += 61
        builder.close()
        assert watch.look() is not None  # an end is nothing that could still be read


@pytest.mark.parametrize("looks", [1, 2])
def test_what_comes_while_the_builder_is_asked_saves_the_build(clock: Clock, looks: int) -> None:
    """The record is ahead of what was read: the rest lies in our own pipe."""
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb", 0) as pipe, os.fdopen(theirs, "wb", 0) as builder:
        asked = list[int]()

        def ask() -> Answer:
            asked.append(1)
            if len(asked) == looks:
                builder.write(b"{")
            return LOST

        watch = Watch(Bounds(silence_s=60), ask=ask, tell=list[Notice]().append)
        watch.pipe = pipe
        for _ in range(looks + 3):
            clock.now += 61
            assert watch.look() is None
        assert len(asked) == looks
        pipe.read(1)
        watch.arrived()
        clock.now += 61
        assert watch.look() is None  # the first doubt of a new silence
        clock.now += 61
        assert watch.look() is not None


def test_what_arrives_between_the_looks_saves_the_build(clock: Clock) -> None:
    watch, left, _ = watching(Bounds(silence_s=60), LOST, LOST)
    clock.now += 61
    assert watch.look() is None
    watch.arrived()
    clock.now += 61
    assert watch.look() is None  # the first doubt of a new silence
    assert left == []


def test_a_builder_that_cannot_tell_gets_another_whole_limit(clock: Clock) -> None:
    watch, left, _ = watching(Bounds(silence_s=60), Answer(why="not begun"), Answer(why="not begun"))
    clock.now += 61
    assert watch.look() is None
    clock.now += 59
    assert watch.look() is None
    assert len(left) == 1
    clock.now += 2
    found = watch.look()
    assert found is not None
    assert found.failure is FailureClass.STALLED


@pytest.mark.parametrize(("kind", "again"), [(StepKind.RUN, False), (StepKind.FILE, False), (StepKind.FETCH, True)])
def test_a_step_has_an_end(clock: Clock, kind: StepKind, again: bool) -> None:
    watch, _, _ = watching(Bounds(step_s=600))
    watch.event(started(1))
    clock.now += 590
    watch.event(done(1))
    watch.event(started(2, kind))
    clock.now += 590
    assert watch.look() is None
    clock.now += 20
    found = watch.look()
    assert found is not None
    assert (found.failure, found.step, found.again) == (FailureClass.LIMIT, "step 2", again)
    assert "10m00s (limits.step)" in found.message


def fed(*lines: dict[str, Any]) -> Progress:
    progress = Progress()
    for line in lines:
        for _ in progress.feed(json.dumps(line).encode()):
            pass
    return progress


START = {"vertexes": [{"digest": "d", "name": "[a 1/1] RUN x", "started": "2026-11-26T07:00:00Z"}]}
END = {
    "vertexes": [
        {"digest": "d", "name": "[a 1/1] RUN x", "started": "2026-11-26T07:00:00Z", "completed": "2026-11-26T07:01:00Z"}
    ]
}
LINE = {"logs": [{"vertex": "d", "stream": 1, "data": "YQo=", "timestamp": "2026-11-26T07:00:01Z"}]}
OWN = {
    "vertexes": [{"digest": "own", "name": "[internal] load local bake definitions", "started": "2026-11-26T07:00:00Z"}]
}


def test_the_record_is_ahead_only_where_it_knows_more() -> None:
    assert not fed(OWN, START, LINE).behind(fed(START, LINE))
    assert not fed(START, LINE, LINE).behind(fed(START, LINE))
    assert not fed(START, END).behind(fed(START))
    assert fed(OWN, START).behind(fed(START, LINE))
    assert fed(START, LINE).behind(fed(START, LINE, END))
    assert fed(OWN).behind(fed(START, END))


def state(place: Path, target: str, local: Path, *, at: float) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps({"Target": target, "LocalPath": str(local)}))
    os.utime(place, (at, at))


def test_the_reference_of_a_build_is_that_of_its_target_checkout_and_time(tmp_path: Path) -> None:
    refs, now, here = tmp_path / "buildx" / "refs", time.time(), tmp_path / "here"
    env = {"DOCKER_CONFIG": str(tmp_path)}

    def found() -> str:
        return history.reference("app", root=here, since=now, env=env)

    assert found() == ""
    state(refs / "b" / "b0" / "before", "app", here, at=now - 60)
    state(refs / "b" / "b0" / "another", "base", here, at=now + 1)
    state(refs / "__group__" / "b0" / "group", "app", here, at=now + 1)
    (refs / "b" / "b0" / "torn").write_text("{")
    (refs / "b" / "b0" / "list").write_text("[]")
    assert found() == ""
    state(refs / "b" / "b0" / "elsewhere", "app", tmp_path / "there", at=now + 1)
    assert found() == "elsewhere"  # a remote context has no path: better than none
    state(refs / "b" / "b0" / "ours", "app", here / "src", at=now + 2)
    assert found() == "ours"
    state(refs / "b" / "b0" / "later", "app", here / "src", at=now + 9)
    assert found() == "ours"
    assert history.reference("app", root=here, since=now, env={"BUILDX_CONFIG": str(tmp_path / "buildx")}) == "ours"


DOWN = Silence(why="it is down", late=True)


@pytest.mark.parametrize(
    ("ref", "found", "silence", "answer"),
    [
        ("", Record(), None, Answer(why="the build has not started on the builder")),
        ("", Record(), DOWN, Answer(alive=False, why="it is down", late=True)),
        ("r", Record(missing=True, problem="p"), None,
         Answer(alive=False, why="the builder does not know the build any more", build="r")),
        ("r", Record(silent=True, problem="late"), None, Answer(alive=False, why="late", late=True, build="r")),
        ("r", Record(problem="unknown command"), None, Answer(why="unknown command", build="r")),
        ("r", Record(problem="refused"), DOWN, Answer(alive=False, why="it is down", late=True, build="r")),
        ("r", Record(ended=True), None,
         Answer(alive=False, why="the build ended on the builder, and its result did not arrive", build="r")),
        ("r", Record(lines=()), None, Answer(alive=True, build="r")),
    ],
)  # fmt: skip
def test_what_the_builder_says_of_a_build_that_is_quiet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ref: str, found: Record, silence: Silence | None, answer: Answer
) -> None:
    call = BakeCall(docker=("docker",), files=(), root=tmp_path)
    bounds = Bounds(silence_s=60)
    waits: list[float] = []

    def reference(target: str, *, root: Path, since: float) -> str:
        assert (target, root, since) == ("t", tmp_path, 7.0)
        return ref

    def record(of: BakeCall, named: str, *, timeout: float) -> Record:
        assert (of, named) == (call, ref)
        waits.append(timeout)
        return found

    def silent(of: BakeCall, *, timeout: float) -> Silence | None:
        assert of is call
        waits.append(timeout)
        return silence

    monkeypatch.setattr(history, "reference", reference)
    monkeypatch.setattr(history, "record", record)
    monkeypatch.setattr(history, "silent", silent)
    monkeypatch.setattr(machine, "busy", lambda: 2.0)
    assert ask(call, "t", Progress(), since=7.0, bounds=bounds) == answer
    assert set(waits) == {bounds.answer_s(2.0)}
