"""Builds one variant from preflight to outcome: prepare, bake with retries, verify.

Does not depend on the other jobs of the run.
"""

from __future__ import annotations

import contextlib
import time
import traceback
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.bake.events import Notice, StepKind, StepStarted
from orchestrator.bake.log import LogFile
from orchestrator.bake.moved import Moved, Timeline
from orchestrator.cache import compile_statistics
from orchestrator.durations import duration
from orchestrator.errors import FailureClass, InterruptedRunError, OrchestrateError
from orchestrator.process import stoppable
from orchestrator.runs.breaker import host
from orchestrator.runs.fleet import NoBuilderError
from orchestrator.runs.given_up import LEAST_S, Registries, settled, unsettled
from orchestrator.runs.halt import VariantStop
from orchestrator.runs.outcome import (
    ErrorInfo,
    Outcome,
    Status,
    Try,
    digest_of,
    error_info,
    internal_error,
    located,
    of_target,
)
from orchestrator.runs.remarks import remarks
from orchestrator.runs.resources import killed
from orchestrator.runs.retry import Judgement, attempts, broke, judge, may_be_lost
from orchestrator.runs.tagging import Tagging
from orchestrator.runs.tried import Tried

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.bake.events import Event
    from orchestrator.bake.process import BakeResult
    from orchestrator.bake.progress import Failure
    from orchestrator.engine.history import Build
    from orchestrator.runs.fleet import Seat
    from orchestrator.runs.job import Bake, Job, Shared


class _Early(Struct, frozen=True, kw_only=True):
    """How a variant ends that is stopped, and why."""

    status: Status
    error: ErrorInfo


class VariantBuild:
    """One build of one variant.

    Args:
        job: The variant.
        run: What it shares with the others.
        seat: The slot of its first attempt, which it gives back.
    """

    def __init__(self, job: Job, run: Shared, seat: Seat) -> None:
        self._whole = self._job = job
        self._limits = run.limits
        self._retry = run.retry
        self._reporter = run.reporter
        self._halt = run.halt
        self._breaker = run.breaker
        self._fleet = run.fleet
        self._together = run.together
        self._seat: Seat | None = seat
        self._builder = ""
        self._moves: tuple[str, ...] = ()
        self._last = Tried()
        self._refused = ""
        self._begun, self._began = time.monotonic(), time.time()
        self._stop = VariantStop(run.halt.stop, run.limits.variant_s)
        self._stalled = False
        self._bake: Bake | None = None
        self._tries = 0
        self._made: list[Try] = []
        self._moved = Moved()
        self._adapted = ""
        self._given_up: list[Build] = []

    def outcome(self) -> Outcome:
        """Build the variant; every end of it is an outcome, no exception leaves here."""
        with stoppable(self._stop):
            outcome = self._settled(self._built())
            if outcome.status is Status.BUILT and self._job.after is not None:
                outcome = self._after(outcome)
        if outcome.status is not Status.BUILT and self._job.discard is not None:
            self._job.discard()
        return replace(
            outcome, seconds=time.monotonic() - self._begun, began=self._began, tries=tuple(self._made),
            moved=self._moved,
        )  # fmt: skip

    def _built(self) -> Outcome:
        try:
            tried = attempts(
                self._once,
                again=lambda tried: tried.again,
                policy=self._retry,
                stop=self._stop,
                before_wait=self._waiting,
                least_s=lambda tried: tried.after_s,
            )
            outcome = self._ending(tried)
            notes = (*self._moves, *outcome.notes, *([self._refused] if self._refused else []))
            return replace(outcome, notes=notes) if notes else outcome
        except (OrchestrateError, OSError) as error:  # docker itself is missing, say, or the log cannot be written
            return self._outcome(status=Status.FAILED, error=error_info(error))
        except Exception as error:  # noqa: BLE001 - one variant's fault, ours included, must not cost the others
            return self._broken(self._outcome(status=Status.FAILED), error)
        finally:
            self._breaker.left(self._job.id, self._last.host)
            self._leave()

    def _once(self, number: int) -> Tried:
        if self._last.host:
            self._refused = self._breaker.refuses(self._job.id, self._last.host, stop=self._stop)
            if self._refused:
                return replace(self._last, again=False)
        begun, began = time.monotonic(), time.time()
        try:
            self._last = self._attempt(number)
        finally:
            self._leave()
        result = self._last.result
        steps = Timeline(result.timeline if result is not None else ())
        took = time.monotonic() - begun
        self._made.append(Try(began=began, seconds=took, reason=self._last.reason, steps=steps))
        if result is not None:
            self._moved += result.moved
            self._given_up += [result.given_up] if result.given_up is not None else []
        self._breaker.ended(self._job.id, self._last.host)
        return self._last

    def _attempt(self, number: int) -> Tried:
        self._tries = number
        self._reporter.attempt(self._job.id, number, self._retry.attempts)
        bake = self._ready()
        if isinstance(bake, Tried):
            return bake
        result = bake.run(
            on_event=self._event,
            stop=self._stop,
            terminate_after=self._limits.terminate_after_s,
        )
        if (overrun := result.overrun) is not None:
            self._stalled = overrun.failure is FailureClass.STALLED
            lost = self._gone(overrun.message) if self._stalled else ""
            return Tried(result=result, again=overrun.again, lost=lost)
        if self._adapts(result):
            return Tried(result=result, again=True)
        if result.failure is None or result.stopped:
            return Tried(result=result)
        judged = judge(result.failure)
        if lost := self._lost(result.failure, judged):
            return Tried(result=result, again=True, lost=lost)
        down = judged.again and judged.failure is FailureClass.NETWORK
        return Tried(
            result=result, again=judged.again, host=host(result.failure) if down else "", after_s=judged.after_s
        )

    def _ready(self) -> Bake | Tried:
        """The bake of an attempt, on a builder that has a slot for it; or how the attempt ends without one."""
        try:
            self._take()
            if self._bake is None:
                self._bake = self._job.prepare()
            # A builder that went silent answers a question first: otherwise each attempt waits for the whole limit.
            silent = self._bake.silent() if self._stalled else None
        except InterruptedRunError:  # by the halt, which knows the reason
            return Tried()
        except OrchestrateError as error:
            again = error.failure.retried and not isinstance(error, NoBuilderError)
            return Tried(error=error_info(error), again=again)
        if self._stop.is_set():
            return Tried()
        if silent is not None:
            message = f"the builder went silent and has not answered since: {silent.why}"
            # One that refuses connections may be restarting; one that hangs has not answered three times now.
            return Tried(error=ErrorInfo(failure=FailureClass.STALLED, message=message), again=not silent.late)
        return self._bake

    def _take(self) -> None:
        """Take a slot, and what the builder of that slot is told."""
        if self._seat is None:
            self._seat = self._fleet.take(self._whole.id, stop=self._stop, tell=self._tell)
        name = self._seat.builder.name
        if name == self._builder:
            return
        self._builder = name
        if self._whole.at is None:
            return
        self._tell(f"builder {self._seat.builder}")
        self._job, self._stalled = self._whole.at(name), False
        self._bake = self._job.smaller() if self._adapted and self._job.smaller is not None else None

    def _event(self, event: Event) -> None:
        self._reporter.event(self._whole.id, self._together.seen(self._builder, self._whole.id, event))

    def _leave(self) -> None:
        self._together.left(self._whole.id)
        if self._seat is not None:
            self._fleet.leave(self._seat)
            self._seat = None

    def _tell(self, text: str) -> None:
        self._reporter.event(self._whole.id, Notice(text=text))

    def _lost(self, failure: Failure, judged: Judgement) -> str:
        """Why it failed though the build is right: its builder is lost; "" where that is not so."""
        if self._seat is None or not self._fleet.several or not may_be_lost(failure, judged):
            return ""
        if broke(failure, judged):
            return self._gone(failure.client or failure.message)
        try:
            reason = self._seat.builder.look() or self._seat.builder.ask()
        except InterruptedRunError:
            return ""
        return self._gone(reason) if reason else ""

    def _gone(self, reason: str) -> str:
        """Take the builder out of the run; the sentence that says so."""
        if self._seat is None or not self._fleet.several:
            return ""
        self._fleet.take_out(self._seat.builder, reason)
        said = f"builder {self._seat.builder} is lost: {reason}"
        self._moves = (*self._moves, f"attempt {self._tries}: {said}")
        return said

    def _adapts(self, result: BakeResult) -> bool:
        """Whether it is tried once more with half of the compile jobs, for it was killed for lack of memory."""
        failure, compiling, smaller = result.failure, self._job.compiling, self._job.smaller
        if not self._limits.adapt or self._adapted or failure is None or result.stopped:
            return False
        if compiling is None or compiling.jobs < 2 or smaller is None or not killed(failure, result.last_lines):
            return False
        self._bake = smaller()
        self._adapted = f"{compiling.told().partition(': ')[0]}: tried again with max_jobs {compiling.half}"
        return True

    def _waiting(self, number: int, seconds: float, tried: Tried) -> None:
        self._reporter.waiting(self._job.id, number, self._retry.attempts, seconds, tried.reason)

    def _ending(self, tried: Tried) -> Outcome:
        """The outcome that the last attempt gives."""
        result = tried.result
        if result is None:
            if ended := self._ended_early():
                return self._outcome(status=ended.status, error=ended.error)
            return self._outcome(status=Status.FAILED, error=tried.error)
        metadata = of_target(result.metadata, self._bake.target if self._bake else "")
        compiled = compile_statistics.read(result.marked)
        notes = remarks(result, self._job, compiled, adapted=self._adapted)
        seen = self._outcome(
            status=Status.BUILT,
            steps=result.steps,
            first_ran=result.first_ran,
            cache_sources=result.cache_sources,
            metadata=metadata,
            notes=notes,
            compile_cache=compiled,
        )
        if result.failure is None:
            return replace(seen, digest=digest_of(metadata))
        early = self._ended_early()
        status = early.status if early is not None else Status.FAILED
        error = replace(early.error, step=result.failure.step) if early is not None else tried.problem
        return replace(seen, status=status, error=located(error, result.origin), last_lines=result.last_lines)

    def _ended_early(self) -> _Early | None:
        """How a variant ends that the run, or the end of its own time, has stopped."""
        if self._halt.asked:
            return _Early(status=Status.CANCELLED, error=self._halt.reason)
        if not self._stop.late or self._limits.variant_s is None:
            return None
        message = f"it took longer than {duration(self._limits.variant_s)} (limits.variant)"
        return _Early(status=Status.FAILED, error=ErrorInfo(failure=FailureClass.LIMIT, message=message))

    def _settled(self, outcome: Outcome) -> Outcome:
        """The outcome, once no build that was given up can have moved its tags since."""
        if not self._given_up or not self._job.pushes:
            return outcome
        if outcome.status is not Status.BUILT or not outcome.digest:
            return replace(outcome, notes=(*outcome.notes, *unsettled(self._given_up)))
        registries = Registries(tags=self._job.pushes, tagging=Tagging(retry=self._retry))
        within_s = max(LEAST_S, self._limits.bounds.silence_s or LEAST_S)
        return settled(outcome, self._given_up, registries, within_s=within_s, stop=self._stop, reporter=self._reporter)

    def _after(self, outcome: Outcome) -> Outcome:
        if self._stop.is_set() or self._job.after is None:
            return self._unverified(outcome)
        if self._job.then:
            step = StepStarted(number=0, name=self._job.then, kind=StepKind.EXPORT, steps=outcome.steps)
            self._reporter.event(outcome.id, step)
        try:
            return self._job.after(outcome, stop=self._stop, reporter=self._reporter)
        except InterruptedRunError:
            return self._unverified(outcome)
        except (OrchestrateError, OSError) as error:
            return replace(outcome, status=Status.FAILED, error=error_info(error))
        except Exception as error:  # noqa: BLE001 - as in `_built`; the digest is kept
            return self._broken(outcome, error)

    def _unverified(self, outcome: Outcome) -> Outcome:
        note = f"built as {outcome.digest}, but not verified"
        early = self._ended_early() or _Early(status=Status.CANCELLED, error=self._halt.reason)
        return replace(outcome, status=early.status, error=early.error, notes=(*outcome.notes, note))

    def _broken(self, outcome: Outcome, error: Exception) -> Outcome:
        _log_traceback(outcome.log, error)
        return replace(outcome, status=Status.FAILED, error=internal_error(error), last_lines=_traceback(error))

    def _outcome(self, **fields: Any) -> Outcome:
        log = self._bake.log if self._bake is not None else self._job.log
        return Outcome(
            id=self._job.id, tags=self._job.tags, attempts=self._tries, log=log, key=self._job.key,
            builder=self._builder, **fields,
        )  # fmt: skip


def _traceback(error: BaseException) -> tuple[str, ...]:
    return tuple("".join(traceback.format_exception(error)).splitlines()[-12:])


def _log_traceback(log: Path | None, error: BaseException) -> None:
    if log is None:
        return
    with contextlib.suppress(OSError), LogFile(log) as file:
        file.note(*"".join(traceback.format_exception(error)).splitlines())
