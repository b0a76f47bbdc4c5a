"""Running many: order, keeping going, fail-fast, retries, stopping, resume; without any process."""

from __future__ import annotations

import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from orchestrator.bake.events import StepKind
from orchestrator.bake.preflight import NotArrivedError
from orchestrator.bake.process import BakeCommand, BakeResult
from orchestrator.bake.watch import Overrun
from orchestrator.engine.buildx import BakeCall
from orchestrator.engine.history import Build, Silence
from orchestrator.errors import (
    EnvironmentLacksError,
    FailureClass,
    InterruptedRunError,
    MatrixError,
    NetworkError,
    OrchestrateError,
    VerificationError,
)
from orchestrator.process import Stop
from orchestrator.runs.halt import VariantStop
from orchestrator.runs.journal import Journal
from orchestrator.runs.outcome import Outcome, Status, exit_code
from orchestrator.runs.remarks import CLIPPED, KILLED, STEP_DISK
from orchestrator.runs.resume import Decision
from orchestrator.runs.retry import RetryPolicy
from orchestrator.runs.scheduler import Job, Memory, build_all
from orchestrator.runs.wishes import Limits
from tests.unit.runs.support import DIGEST, Bakes, Heard, Silent, built, command, failed, failure

if TYPE_CHECKING:
    from collections.abc import Callable

BUSY = "unexpected status: 503 Service Unavailable"
SOON = RetryPolicy(initial=0.001, maximum=0.001, jitter=0)
LIMITS = ("parallel", "fail_fast", "terminate_after_s", "grace_s", "variant_s")


def job(variant: str, **fields: Any) -> Job:
    return Job(id=variant, prepare=fields.pop("prepare", lambda: command(variant)), **fields)


def raising(error: BaseException) -> Callable[..., Any]:
    def prepare(*_: object, **__: object) -> Any:
        raise error

    return prepare


def run(*jobs: Job, bakes: Bakes | None = None, **options: Any) -> list[Outcome]:
    """Build with bakes of ours; what `Limits` and `Memory` hold is given by its own name."""
    limits: dict[str, Any] = {"parallel": 2, "terminate_after_s": 0.2, "grace_s": 0.3}
    limits |= {name: options.pop(name) for name in [*LIMITS] if name in options}
    memory = {name: options.pop(name) for name in ("journal",) if name in options}
    settings: dict[str, Any] = {"reporter": Silent(), "stop": Stop(), "retry": SOON, **options}
    fake = bakes or Bakes()
    return build_all([fake.of(job) for job in jobs], limits=Limits(**limits), memory=Memory(**memory), **settings)


def until(stop: Stop) -> BakeResult:
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
    def slow(_: Stop) -> BakeResult:
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
    assert (error.failure, error.message, error.step) == ("run", "exit code: 1", "step")
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


def test_after_fail_fast_an_interruption_still_bounds_the_run() -> None:
    stop, release = Stop(), threading.Event()

    def deaf(outcome: Outcome, **_: object) -> Outcome:  # a hook that looks at no stop
        assert release.wait(30)
        return outcome

    def failing(_: Stop) -> BakeResult:
        threading.Timer(0.3, stop.set).start()
        return failed("exit code: 1", kind=StepKind.RUN)

    def later(_: Stop) -> BakeResult:
        time.sleep(0.2)  # until the hook of the other one has begun
        return failing(_)

    started = time.monotonic()
    try:
        outcomes = run(
            job("slow", after=deaf), job("bad"), bakes=Bakes(results={"bad": [later]}), fail_fast=True, stop=stop
        )
        assert time.monotonic() - started < 5
    finally:
        release.set()
    assert [outcome.status for outcome in outcomes] == [Status.CANCELLED, Status.FAILED]
    assert exit_code(outcomes, interrupted=stop.is_set()) == 130


def test_cancelled_by_another_variant_is_not_interrupted_by_the_user() -> None:
    bakes = Bakes(results={"a": [until], "b": [failed("exit code: 1", kind=StepKind.RUN)]})
    outcomes = run(*map(job, "abc"), bakes=bakes, fail_fast=True)
    assert [outcome.error.failure for outcome in outcomes if outcome.error] == [
        FailureClass.CANCELLED,
        FailureClass.RUN,
        FailureClass.CANCELLED,
    ]


def test_a_builder_that_is_lost_ends_no_run_as_interrupted() -> None:
    lost = failed("context canceled", kind=StepKind.RUN)  # nobody asked to stop
    (outcome,) = run(job("a"), bakes=Bakes(results={"a": [lost]}))
    assert outcome.error is not None
    assert (outcome.status, outcome.error.failure) == (Status.FAILED, FailureClass.CANCELLED)
    assert exit_code([outcome]) == 1


def test_what_a_failed_build_leaves_is_discarded() -> None:
    gone: list[str] = []
    jobs = [replace(job(name), discard=partial(gone.append, name)) for name in "ab"]
    run(*jobs, bakes=Bakes(results={"b": [failed("exit code: 1", kind=StepKind.RUN)]}))
    assert gone == ["b"]


def test_credentials_are_in_no_outcome() -> None:
    secret = "https://ghp_SECRET@127.0.0.1:9/n.git"
    result = replace(failed(f"{secret}: no", kind=StepKind.RUN), last_lines=(secret,), cache_problems=(secret,))
    (outcome,) = run(job("a"), bakes=Bakes(results={"a": [result]}))
    (refused,) = run(job("a", prepare=raising(MatrixError(secret, hint=secret))))
    (broken,) = run(job("a", prepare=raising(KeyError(secret))))
    assert "ghp_SECRET" not in f"{outcome}{refused}{broken}"
    assert "127.0.0.1:9/n.git" in f"{outcome}"


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
    assert (outcome.status, outcome.attempts, outcome.error.failure) == (Status.FAILED, tries, class_)


@pytest.mark.parametrize(
    ("error", "class_", "tries"),
    [
        (NotArrivedError("TORCH_ARCHS does not arrive"), "arrived", 1),
        (MatrixError("Dockerfile: not found"), "matrix", 1),
        (EnvironmentLacksError("no engine"), "environment", 1),
        (NetworkError("no route"), "network", 3),
        (OrchestrateError("something"), "internal", 1),
    ],
)
def test_a_failed_preflight_fails_the_variant_alone(error: OrchestrateError, class_: str, tries: int) -> None:
    bakes = Bakes()
    first, second = run(job("a", prepare=raising(error)), job("b"), bakes=bakes)
    assert first.error is not None
    assert (first.status, first.error.failure, first.attempts) == (Status.FAILED, class_, tries)
    assert first.error.message == str(error)
    assert second.status is Status.BUILT
    assert bakes.asked == ["b"]


def test_a_fault_of_ours_costs_one_variant_and_is_in_its_log(tmp_path: Path) -> None:
    first, second = run(
        job("a", prepare=raising(KeyError("oops")), log=tmp_path / "logs" / "a.log"), job("b"), parallel=1
    )
    assert first.error is not None
    assert (first.status, first.error.failure, first.error.message) == (Status.FAILED, "internal", "KeyError: 'oops'")
    assert "Traceback" in (tmp_path / "logs" / "a.log").read_text()
    assert second.status is Status.BUILT


def test_a_missing_docker_is_said_once_for_each_variant() -> None:
    def missing(_: Stop) -> BakeResult:
        raise EnvironmentLacksError("docker is not installed or not on PATH")

    (outcome,) = run(job("a"), bakes=Bakes(results={"a": [missing]}))
    assert outcome.error is not None
    assert (outcome.status, outcome.error.failure) == (Status.FAILED, "environment")


def test_the_hook_afterwards_sees_the_outcome_and_may_fail_it() -> None:
    seen: list[Outcome] = []

    def after(outcome: Outcome, **_: object) -> Outcome:
        seen.append(outcome)
        raise VerificationError("sm_110 is missing")

    bakes = Bakes(results={"b": [failed("exit code: 1", kind=StepKind.RUN)]})
    first, second = run(job("a", after=after), job("b", after=after), bakes=bakes)
    assert [outcome.id for outcome in seen] == ["a"]
    assert first.error is not None
    assert (first.status, first.error.failure, first.digest) == (Status.FAILED, "verification", DIGEST)
    assert second.error is not None
    assert second.error.failure == "run"


def test_a_hook_that_takes_time_is_told() -> None:
    heard = Heard()
    run(replace(job("a", after=lambda outcome, **_: outcome), then="verifying"), reporter=heard)
    run(job("b", after=lambda outcome, **_: outcome), reporter=heard)
    events = [said for said in heard.said if said[0] == "event"]
    assert [(variant, event.name) for _, variant, event in events] == [("a", "verifying")]


def test_a_fault_in_the_hook_keeps_the_digest() -> None:
    (outcome,) = run(job("a", after=raising(KeyError("oops"))))
    assert outcome.error is not None
    assert (outcome.status, outcome.error.failure, outcome.digest) == (Status.FAILED, "internal", DIGEST)


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

    def stopping(halt: Stop) -> BakeResult:
        stop.set()
        return until(halt)

    heard = Heard()
    outcomes = run(*map(job, "abc"), bakes=Bakes(results={"a": [stopping]}), parallel=1, stop=stop, reporter=heard)
    assert [outcome.status for outcome in outcomes] == [Status.CANCELLED] * 3
    assert {outcome.error.failure for outcome in outcomes if outcome.error} == {"interrupted"}
    assert [said[1] for said in heard.said if said[0] == "finished"] == ["a", "b", "c"]


def test_a_stop_during_the_wait_between_attempts() -> None:
    stop = Stop()
    threading.Timer(0.1, stop.set).start()
    bakes = Bakes(results={"a": [failed(BUSY), built("a")]})
    (outcome,) = run(job("a"), bakes=bakes, stop=stop, retry=RetryPolicy(initial=60, maximum=60))
    assert (outcome.status, bakes.asked) == (Status.CANCELLED, ["a"])


def test_a_stop_does_not_wait_for_a_preflight_that_hangs() -> None:
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

    (outcome,) = run(job("a", prepare=prepare), bakes=bakes, stop=stop, terminate_after_s=5)
    assert (outcome.status, outcome.attempts, bakes.asked) == (Status.CANCELLED, 1, [])


def test_what_was_built_but_not_verified_before_a_stop_is_not_called_built() -> None:
    stop = Stop()

    def last_moment(halt: Stop) -> BakeResult:
        stop.set()
        assert halt.wait(10)
        return built("a")

    hook = raising(AssertionError("nobody waits for a verification any more"))
    (outcome,) = run(job("a", after=hook), bakes=Bakes(results={"a": [last_moment]}), stop=stop)
    assert (outcome.status, outcome.digest) == (Status.CANCELLED, DIGEST)
    assert outcome.notes == (f"built as {DIGEST}, but not verified",)


def test_what_is_decided_is_skipped_and_the_rest_says_why(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    skipped = Outcome(id="a", status=Status.SKIPPED, digest=DIGEST)
    bakes = Bakes()
    outcomes = run(
        job("a", decide=lambda _: Decision(outcome=skipped)),
        job("b", decide=lambda _: Decision(why="its tag was not found")),
        job("c", decide=raising(ValueError("odd"))),
        job("d", decide=lambda _: Decision()),
        bakes=bakes,
        journal=Journal(path),
    )
    assert outcomes[0] == skipped
    assert [outcome.status for outcome in outcomes[1:]] == [Status.BUILT] * 3
    notes = [outcome.notes for outcome in outcomes[1:]]
    assert notes == [("needs a build: its tag was not found",), ("needs a build: ValueError: odd",), ()]
    assert sorted(bakes.asked) == ["b", "c", "d"]
    assert Journal(path).last("a") is None


def test_a_stop_while_a_registry_is_asked_cancels(tmp_path: Path) -> None:
    bakes = Bakes()
    asking = job("a", decide=raising(InterruptedRunError("stopped")))
    (outcome,) = run(asking, bakes=bakes, journal=Journal(tmp_path / "journal.jsonl"))
    assert (outcome.status, outcome.attempts, bakes.asked) == (Status.CANCELLED, 0, [])


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


STALL = Overrun(failure=FailureClass.STALLED, message="no output for 10m00s", step="[a 1/1] RUN x", again=True)


def stalled() -> BakeResult:
    return BakeResult(returncode=1, failure=failure("context canceled", kind=StepKind.RUN), overrun=STALL)


def test_a_stalled_attempt_is_made_again_even_in_a_run_step() -> None:
    heard = Heard()
    bakes = Bakes({"a": [stalled()]})
    (outcome,) = run(job("a"), bakes=bakes, reporter=heard)
    assert (outcome.status, outcome.attempts) == (Status.BUILT, 2)
    assert ("waiting", "a", 1, 3, True, "[a 1/1] RUN x: no output for 10m00s") in heard.said


def test_a_variant_that_fails_says_what_a_build_that_was_given_up_may_do() -> None:
    build = Build(call=BakeCall(docker=(), files=(), root=Path(), builder="farm"), reference="r")
    bad = BakeResult(returncode=1, failure=failure("exit code: 1", kind=StepKind.RUN))
    note = "a build that was given up on builder farm may have pushed its tags, or push them later"
    for pushes, notes in (({"reg.test/app": ["reg.test/app:1"]}, (note,)), ({}, ())):
        bakes = Bakes({"a": [replace(stalled(), given_up=build), bad]})
        (outcome,) = run(replace(job("a"), pushes=pushes), bakes=bakes)
        assert (outcome.status, outcome.attempts, outcome.notes) == (Status.FAILED, 2, notes)


def test_a_builder_that_stays_silent_is_not_waited_for_in_each_attempt() -> None:
    bakes = Bakes({"a": [stalled()]}, silent=[Silence(why="no answer within 20 s", late=True)])
    (outcome,) = run(job("a"), bakes=bakes)
    assert bakes.asked == ["a"]  # the second attempt only asked the builder, and there was no third
    assert (outcome.status, outcome.attempts, exit_code([outcome])) == (Status.FAILED, 2, 6)
    assert outcome.error is not None
    assert outcome.error.failure is FailureClass.STALLED
    assert "has not answered since: no answer within 20 s" in outcome.error.message


def test_a_builder_that_refuses_connections_may_be_back_for_the_next_attempt() -> None:
    bakes = Bakes({"a": [stalled()]}, silent=[Silence(why="connection refused")])
    (outcome,) = run(job("a"), bakes=bakes)
    assert (outcome.status, outcome.attempts) == (Status.BUILT, 3)


def test_a_step_over_its_limit_fails_the_variant_and_is_not_made_again() -> None:
    over = replace(STALL, failure=FailureClass.LIMIT, again=False)
    bakes = Bakes({"a": [replace(stalled(), overrun=over)]})
    (outcome,) = run(job("a"), bakes=bakes)
    assert (outcome.status, outcome.attempts, exit_code([outcome])) == (Status.FAILED, 1, 1)


def test_a_variant_over_its_limit_fails_alone() -> None:
    bakes = Bakes({"a": [until]})
    outcomes = run(*map(job, "ab"), bakes=bakes, variant_s=0.2)
    a, b = outcomes
    assert (a.status, b.status, exit_code(outcomes)) == (Status.FAILED, Status.BUILT, 1)
    assert a.error is not None
    assert (a.error.failure, a.error.message) == (FailureClass.LIMIT, "it took longer than 0.2s (limits.variant)")


def test_the_limit_of_a_variant_ends_what_follows_its_build() -> None:
    def after(outcome: Outcome, /, *, stop: Stop, reporter: Any) -> Outcome:
        assert stop.wait(10)
        raise InterruptedRunError("stopped")

    (outcome,) = run(job("a", after=after), variant_s=0.2)
    assert outcome.error is not None
    assert (outcome.status, outcome.error.failure) == (Status.FAILED, FailureClass.LIMIT)


def test_the_stop_of_a_variant_follows_that_of_the_run() -> None:
    whole = Stop()
    stop = VariantStop(whole, None)
    assert (stop.is_set(), stop.late, stop.immediate, stop.wait(0.01)) == (False, False, False, False)
    whole.set()
    whole.immediate = True
    assert (stop.is_set(), stop.late, stop.immediate, stop.wait(0.01)) == (True, False, True, True)
    assert VariantStop(Stop(), 0).late


DOWN = 'failed to do request: Head "http://registry.lan:5000/v2/": connection refused'


@pytest.mark.parametrize("parallel", [1, 10])
def test_ten_variants_do_not_hammer_a_registry_that_is_down(parallel: int) -> None:
    names = "abcdefghij"
    bakes = Bakes({name: [failed(DOWN)] * 3 for name in names})
    outcomes = run(*map(job, names), bakes=bakes, parallel=parallel)
    assert len(bakes.asked) == 12  # one each, and two more of the one that tried
    assert {outcome.status for outcome in outcomes} == {Status.FAILED}
    assert exit_code(outcomes) == 6
    assert sorted(outcome.attempts for outcome in outcomes) == [1] * 9 + [3]
    refused = [outcome for outcome in outcomes if outcome.attempts == 1]
    assert all(outcome.notes[-1].startswith("not tried again: registry.lan:5000 was down") for outcome in refused)


def test_a_registry_that_comes_back_costs_no_variant() -> None:
    names = "abcdef"
    bakes = Bakes({name: [failed(DOWN)] for name in names})
    outcomes = run(*map(job, names), bakes=bakes, parallel=6)
    assert {outcome.status for outcome in outcomes} == {Status.BUILT}
    assert len(bakes.asked) == 12


@pytest.mark.parametrize("stopped", [False, True])
def test_a_tag_that_moved_is_told_where_the_build_did_not_end_well(stopped: bool) -> None:
    pushed = f"r.lan/a:x@{DIGEST}"
    result = replace(failed("invalid output path", kind=StepKind.CLIENT), pushed=(pushed,), stopped=stopped)
    (outcome,) = run(job("a"), bakes=Bakes({"a": [result]}))
    assert f"tag moved: {pushed} was pushed before the build ended" in outcome.notes
    (outcome,) = run(job("a"), bakes=Bakes({"a": [replace(built("a"), pushed=(pushed,))]}))
    assert outcome.notes == ()
