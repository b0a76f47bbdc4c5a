"""Running many: order, keeping going, fail-fast, retries, stopping, resume; without any process."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.bake.events import StepKind
from orchestrator.bake.process import BakeCommand, BakeResult, Stop
from orchestrator.errors import (
    EnvironmentLacksError,
    MatrixError,
    NetworkError,
    OrchestrateError,
    VerificationError,
)
from orchestrator.runs import scheduler
from orchestrator.runs.journal import Journal
from orchestrator.runs.outcome import Outcome, Status
from orchestrator.runs.reporter import Silent
from orchestrator.runs.scheduler import Job, build_all
from orchestrator.runs.variant import CLIPPED, KILLED, STEP_DISK
from tests.unit.runs.support import DIGEST, Bakes, Heard, built, command, failed, failure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BUSY = "unexpected status: 503 Service Unavailable"


def job(variant: str, **fields: Any) -> Job:
    return Job(id=variant, prepare=fields.pop("prepare", lambda: command(variant)), **fields)


def raising(error: BaseException) -> Callable[..., Any]:
    def prepare(*_: object) -> Any:
        raise error

    return prepare


def run(*jobs: Job, bakes: Bakes | None = None, **options: Any) -> list[Outcome]:
    settings: dict[str, Any] = {
        "parallel": 2,
        "fail_fast": False,
        "reporter": Silent(),
        "stop": Stop(),
        "sleep": lambda _: None,
        "terminate_after": 0.2,
        **options,
    }
    return build_all(jobs, run=bakes or Bakes(), **settings)


def until(stop: threading.Event) -> BakeResult:
    """A bake that goes on until it is stopped, and then ends as buildx does."""
    assert stop.wait(10)
    return BakeResult(returncode=130, failure=failure("context canceled", kind=StepKind.RUN), stopped=True)


def test_all_are_built_in_the_order_of_the_jobs() -> None:
    outcomes = run(*map(job, "cab"))
    assert [outcome.id for outcome in outcomes] == ["c", "a", "b"]
    assert {outcome.status for outcome in outcomes} == {Status.BUILT}
    assert {outcome.digest for outcome in outcomes} == {DIGEST}
    assert {outcome.attempts for outcome in outcomes} == {1}
    assert outcomes[0].metadata == {"containerimage.digest": DIGEST}


def test_nothing_to_build() -> None:
    assert run() == []


@pytest.mark.parametrize("parallel", [0, 1, 3])
def test_never_more_at_once_than_asked_for(parallel: int) -> None:
    def slow(_: threading.Event) -> BakeResult:
        time.sleep(0.02)
        return built("x")

    bakes = Bakes(results={variant: [slow] for variant in "abcdef"})
    run(*map(job, "abcdef"), bakes=bakes, parallel=parallel)
    assert bakes.most_at_once == max(1, parallel)


def test_one_failure_costs_no_other() -> None:
    bakes = Bakes(results={"b": [failed("exit code: 1", kind=StepKind.RUN)]})
    outcomes = run(*map(job, "abc"), bakes=bakes, parallel=1)
    assert [outcome.status for outcome in outcomes] == [Status.BUILT, Status.FAILED, Status.BUILT]
    error = outcomes[1].error
    assert error is not None
    assert (error.class_, error.message, error.step) == ("run", "exit code: 1", "step")
    assert outcomes[1].last_lines == ("last words",)
    assert bakes.asked == ["a", "b", "c"]


def test_fail_fast_stops_those_that_run_and_starts_no_more() -> None:
    bakes = Bakes(results={"a": [until], "b": [failed("exit code: 1", kind=StepKind.RUN)]})
    stop = Stop()
    outcomes = run(*map(job, "abc"), bakes=bakes, fail_fast=True, stop=stop)
    assert [outcome.status for outcome in outcomes] == [Status.CANCELLED, Status.FAILED, Status.CANCELLED]
    assert [outcome.error.message for outcome in outcomes if outcome.error and outcome.id != "b"] == [
        "cancelled because b failed (--fail-fast)"
    ] * 2
    assert outcomes[2].attempts == 0
    assert not stop.is_set()


def test_a_passing_failure_is_tried_again_and_told() -> None:
    heard = Heard()
    bakes = Bakes(results={"a": [failed(BUSY), failed(BUSY), built("a")]})
    (outcome,) = run(job("a"), bakes=bakes, reporter=heard)
    assert (outcome.status, outcome.attempts, outcome.error) == (Status.BUILT, 3, None)
    assert heard.said == [
        ("started", "a"),
        ("attempt", "a", 1, 3),
        ("waiting", "a", 1, 3, True, f"step: {BUSY}"),
        ("attempt", "a", 2, 3),
        ("waiting", "a", 2, 3, True, f"step: {BUSY}"),
        ("attempt", "a", 3, 3),
        ("finished", "a", Status.BUILT),
    ]


@pytest.mark.parametrize(
    ("result", "tries", "class_"),
    [
        (failed(BUSY), 3, "network"),
        (failed("unexpected status: 401 Unauthorized"), 1, "auth"),
        (failed("x: not found"), 1, "not-found"),
        (failed("no space left on device"), 1, "disk"),
        (failed(BUSY, kind=StepKind.RUN), 1, "run"),
    ],
)
def test_how_often_and_under_which_class_a_failure_ends(result: BakeResult, tries: int, class_: str) -> None:
    (outcome,) = run(job("a"), bakes=Bakes(results={"a": [result] * 3}))
    assert outcome.error is not None
    assert (outcome.status, outcome.attempts, outcome.error.class_) == (Status.FAILED, tries, class_)


@pytest.mark.parametrize(
    ("error", "class_", "tries"),
    [
        (MatrixError("TORCH_ARCHS does not arrive"), "arrived", 1),
        (EnvironmentLacksError("no engine"), "environment", 1),
        (NetworkError("no route"), "network", 3),
        (OrchestrateError("something"), "arrived", 1),
    ],
)
def test_a_failed_preflight_fails_the_variant_alone(error: OrchestrateError, class_: str, tries: int) -> None:
    bakes = Bakes()
    first, second = run(job("a", prepare=raising(error)), job("b"), bakes=bakes)
    assert first.error is not None
    assert (first.status, first.error.class_, first.attempts) == (Status.FAILED, class_, tries)
    assert first.error.message == str(error)
    assert second.status is Status.BUILT
    assert bakes.asked == ["b"]


def test_a_fault_of_ours_costs_one_variant_and_is_in_its_log(tmp_path: Path) -> None:
    first, second = run(
        job("a", prepare=raising(KeyError("oops")), log=tmp_path / "logs" / "a.log"), job("b"), parallel=1
    )
    assert first.error is not None
    assert (first.status, first.error.class_, first.error.message) == (Status.FAILED, "internal", "KeyError: 'oops'")
    assert "Traceback" in (tmp_path / "logs" / "a.log").read_text()
    assert second.status is Status.BUILT


def test_a_missing_docker_is_said_once_for_each_variant() -> None:
    def missing(_: threading.Event) -> BakeResult:
        raise EnvironmentLacksError("docker is not installed or not on PATH")

    (outcome,) = run(job("a"), bakes=Bakes(results={"a": [missing]}))
    assert outcome.error is not None
    assert (outcome.status, outcome.error.class_) == (Status.FAILED, "environment")


def test_the_hook_afterwards_sees_the_outcome_and_may_fail_it() -> None:
    seen: list[Outcome] = []

    def after(outcome: Outcome) -> Outcome:
        seen.append(outcome)
        raise VerificationError("sm_110 is missing")

    bakes = Bakes(results={"b": [failed("exit code: 1", kind=StepKind.RUN)]})
    first, second = run(job("a", after=after), job("b", after=after), bakes=bakes)
    assert [outcome.id for outcome in seen] == ["a"]
    assert first.error is not None
    assert (first.status, first.error.class_, first.digest) == (Status.FAILED, "verification", DIGEST)
    assert second.error is not None
    assert second.error.class_ == "run"


def test_a_hook_that_takes_time_is_told() -> None:
    heard = Heard()
    run(replace(job("a", after=lambda outcome: outcome), then="verifying"), reporter=heard)
    run(job("b", after=lambda outcome: outcome), reporter=heard)
    events = [said for said in heard.said if said[0] == "event"]
    assert [(variant, event.name) for _, variant, event in events] == [("a", "verifying")]


def test_a_fault_in_the_hook_keeps_the_digest() -> None:
    (outcome,) = run(job("a", after=raising(KeyError("oops"))))
    assert outcome.error is not None
    assert (outcome.status, outcome.error.class_, outcome.digest) == (Status.FAILED, "internal", DIGEST)


def test_a_reporter_that_fails_harms_nothing_and_is_mentioned() -> None:
    class Broken(Silent):
        def started(self, variant: str) -> None:
            raise BrokenPipeError(variant)

    outcomes = run(*map(job, "aa"), reporter=Broken())
    assert {outcome.status for outcome in outcomes} == {Status.BUILT}
    notes = [note for outcome in outcomes for note in outcome.notes]
    assert notes == ["progress was not shown: BrokenPipeError: a"]


def test_a_stop_ends_what_runs_and_cancels_the_rest() -> None:
    stop = Stop()

    def stopping(halt: threading.Event) -> BakeResult:
        stop.set()
        return until(halt)

    heard = Heard()
    outcomes = run(*map(job, "abc"), bakes=Bakes(results={"a": [stopping]}), parallel=1, stop=stop, reporter=heard)
    assert [outcome.status for outcome in outcomes] == [Status.CANCELLED] * 3
    assert {outcome.error.class_ for outcome in outcomes if outcome.error} == {"interrupted"}
    assert [said[1] for said in heard.said if said[0] == "finished"] == ["a", "b", "c"]


def test_a_stop_during_the_wait_between_attempts() -> None:
    stop = Stop()
    threading.Timer(0.1, stop.set).start()
    bakes = Bakes(results={"a": [failed(BUSY), built("a")]})
    (outcome,) = run(job("a"), bakes=bakes, stop=stop, sleep=None)
    assert (outcome.status, bakes.asked) == (Status.CANCELLED, ["a"])


def test_a_stop_does_not_wait_for_a_preflight_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "_GRACE", 0.1)
    stop, release = Stop(), threading.Event()

    def hang() -> BakeCommand:
        stop.set()
        assert release.wait(30)
        return command("a")

    started = time.monotonic()
    try:
        outcomes = run(job("a", prepare=hang), job("b"), parallel=1, stop=stop)
        assert time.monotonic() - started < 10
    finally:
        release.set()
    assert [outcome.status for outcome in outcomes] == [Status.CANCELLED] * 2


def test_no_bake_is_started_after_a_stop_during_preflight() -> None:
    stop, bakes = Stop(), Bakes()

    def prepare() -> BakeCommand:
        stop.set()
        time.sleep(0.2)  # longer than the run takes to notice
        return command("a")

    (outcome,) = run(job("a", prepare=prepare), bakes=bakes, stop=stop, terminate_after=5)
    assert (outcome.status, outcome.attempts, bakes.asked) == (Status.CANCELLED, 1, [])


def test_what_was_built_but_not_verified_before_a_stop_is_not_called_built() -> None:
    stop = Stop()

    def last_moment(halt: threading.Event) -> BakeResult:
        stop.set()
        assert halt.wait(10)
        return built("a")

    hook = raising(AssertionError("nobody waits for a verification any more"))
    (outcome,) = run(job("a", after=hook), bakes=Bakes(results={"a": [last_moment]}), stop=stop)
    assert (outcome.status, outcome.digest) == (Status.CANCELLED, DIGEST)
    assert outcome.notes == (f"built as {DIGEST}, but not verified",)


def test_resume_skips_what_was_built_from_the_same_inputs(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    jobs = [job("a", key="1", tags=("r:a",)), job("b", key="1"), job("c")]
    bakes = Bakes(results={"b": [failed("exit code: 1", kind=StepKind.RUN)]})
    run(*jobs, bakes=bakes, journal=Journal(path))
    again = Bakes()
    outcomes = run(*jobs, bakes=again, journal=Journal(path), resume=True)
    assert [outcome.status for outcome in outcomes] == [Status.SKIPPED, Status.BUILT, Status.BUILT]
    assert outcomes[0].digest == DIGEST
    assert "same inputs" in outcomes[0].notes[0]
    assert sorted(again.asked) == ["b", "c"]
    changed = Bakes()
    run(job("a", key="2"), bakes=changed, journal=Journal(path), resume=True)
    assert changed.asked == ["a"]
    plain = Bakes()
    run(jobs[0], bakes=plain, journal=Journal(path))
    assert plain.asked == ["a"]


def test_a_journal_that_cannot_be_written_costs_no_build(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (outcome,) = run(job("a"), journal=Journal(tmp_path / "file" / "journal.jsonl"))
    assert outcome.status is Status.BUILT
    assert outcome.notes[0].startswith("the journal was not written: ")


@pytest.mark.parametrize(
    ("result", "note"),
    [
        (BakeResult(returncode=0, failure=None, clipped=True), CLIPPED),
        (BakeResult(returncode=0, failure=None, cache_problems=("no cache at r yet",)), "no cache at r yet"),
        (BakeResult(returncode=1, failure=failure("exit code: 137", kind=StepKind.RUN)), KILLED),
        (
            BakeResult(
                returncode=1,
                failure=failure("exit code: 1", kind=StepKind.RUN),
                last_lines=("cp: /x: No space left on device",),
            ),
            STEP_DISK,
        ),
    ],
)
def test_notes(result: BakeResult, note: str) -> None:
    (outcome,) = run(job("a"), bakes=Bakes(results={"a": [result]}))
    assert outcome.notes == (note,)
