"""Builds one variant from preflight to outcome: prepare, bake with retries, verify.

Does not depend on the other jobs of the run.
"""

from __future__ import annotations

import contextlib
import time
import traceback
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator.bake.events import StepKind, StepStarted
from orchestrator.bake.log import LogFile
from orchestrator.bake.moved import Moved
from orchestrator.cache import compile_statistics
from orchestrator.durations import duration
from orchestrator.engine.machine import prune_command
from orchestrator.errors import FailureClass, InterruptedRunError, OrchestrateError
from orchestrator.process import stoppable
from orchestrator.runs.breaker import Breaker, host
from orchestrator.runs.halt import VariantStop
from orchestrator.runs.outcome import ErrorInfo, Outcome, Status, Try, error_info, internal_error, located
from orchestrator.runs.resources import killed
from orchestrator.runs.retry import RetryPolicy, attempts, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from orchestrator.bake.events import Event
    from orchestrator.bake.process import BakeResult
    from orchestrator.bake.watch import Overrun
    from orchestrator.cache.compile_statistics import CompileStatistics
    from orchestrator.engine.history import Silence
    from orchestrator.process import Stop
    from orchestrator.runs.halt import Halt
    from orchestrator.runs.journal import Journal
    from orchestrator.runs.reporter import Reporter
    from orchestrator.runs.resources import CompileJobs
    from orchestrator.runs.resume import Decision
    from orchestrator.runs.wishes import Limits

    class Bake(Protocol):
        """One bake, ready to run (`orchestrator.bake.process.BakeCommand`)."""

        @property
        def target(self) -> str:
            """The target to bake."""

        @property
        def log(self) -> Path:
            """Its log file."""

        def silent(self) -> Silence | None:
            """Why its builder does not answer, None if it does."""

        def run(self, *, on_event: Callable[[Event], None], stop: Stop, terminate_after: float) -> BakeResult:
            """Run it to its end."""

    class After(Protocol):
        """What follows a build that succeeded."""

        def __call__(self, outcome: Outcome, /, *, stop: Stop, reporter: Reporter) -> Outcome:
            """Return the outcome as it is, or failed."""


CLIPPED = (
    "BuildKit clipped a step's output (the limit is the builder's): create the builder with "
    "--driver-opt env.BUILDKIT_STEP_LOG_MAX_SIZE=-1 --driver-opt env.BUILDKIT_STEP_LOG_MAX_SPEED=-1"
)
KILLED = "a compiler was killed, usually for lack of memory (exit code 137): lower max_jobs or --jobs"
STEP_DISK = f"the step's output says that no space is left: free some with `{prune_command()}`"


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One variant to build.

    Attributes:
        id: The variant.
        prepare: Does the preflight and returns the bake. An OrchestrateError fails the variant alone.
        after: Looks at what was built and returns the outcome, as it is or failed (verification); None for nothing.
        then: What `after` does, as it is shown ("verifying"); "" if it takes no noticeable time.
        discard: Removes what a build that did not succeed leaves behind; None for nothing.
        references: What names the result with this digest, where it was put; None for nothing.
        decide: Whether it is built at all, asked with the journal before it is started; None for always.
        key: Its content key; "" where that is not known.
        tags: References it will get, shown also if it never comes that far.
        log: Its log file, if known before `prepare`.
        compile_cache: Whether a compile cache was given to it.
        compiling: How many compile jobs it runs; None where nobody says.
        smaller: Returns the bake with half of them; None where that cannot be.
    """

    id: str
    prepare: Callable[[], Bake]
    after: After | None = None
    then: str = ""
    discard: Callable[[], None] | None = None
    references: Callable[[str | None], tuple[str, ...]] | None = None
    decide: Callable[[Journal], Decision] | None = None
    key: str = ""
    tags: tuple[str, ...] = ()
    log: Path | None = None
    compile_cache: bool = False
    compiling: CompileJobs | None = None
    smaller: Callable[[], Bake] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Tried:
    """What one attempt gave: a result of bake, or the error that came before it."""

    result: BakeResult | None = None
    error: ErrorInfo | None = None
    again: bool = False
    host: str = ""
    after_s: float = 0.0

    @property
    def overrun(self) -> Overrun | None:
        """Why bake was ended though nobody asked."""
        return self.result.overrun if self.result is not None else None

    @property
    def reason(self) -> str:
        """Why it failed, in one line."""
        if self.error is not None:
            return self.error.message
        if (overrun := self.overrun) is not None:
            return f"{overrun.step}: {overrun.message}" if overrun.step else overrun.message
        failure = self.result.failure if self.result is not None else None
        if failure is None:
            return ""
        return f"{failure.step}: {failure.message}" if failure.step else failure.message


@dataclass(frozen=True, kw_only=True, slots=True)
class _Early:
    """How a variant ends that is stopped, and why."""

    status: Status
    error: ErrorInfo


class VariantBuild:
    """One build of one variant.

    Args:
        job: The variant.
        limits: How a bake is stopped.
        retry: How often and how soon to try again.
        reporter: Hears of attempts and events; must not raise.
        halt: Ends the run.
        breaker: What the run knows of hosts that are down.
    """

    def __init__(
        self, job: Job, *, limits: Limits, retry: RetryPolicy, reporter: Reporter, halt: Halt, breaker: Breaker
    ) -> None:
        self._job = job
        self._limits = limits
        self._retry = retry
        self._reporter = reporter
        self._halt = halt
        self._breaker = breaker
        self._last = _Tried()
        self._refused = ""
        self._begun, self._began = time.monotonic(), time.time()
        self._stop = VariantStop(halt.stop, limits.variant_s)
        self._stalled = False
        self._bake: Bake | None = None
        self._tries = 0
        self._made: list[Try] = []
        self._moved = Moved()
        self._adapted = ""

    def outcome(self) -> Outcome:
        """Build the variant; every end of it is an outcome, no exception leaves here."""
        with stoppable(self._stop):
            outcome = self._built()
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
            return replace(outcome, notes=(*outcome.notes, self._refused)) if self._refused else outcome
        except (OrchestrateError, OSError) as error:  # docker itself is missing, say, or the log cannot be written
            return self._outcome(status=Status.FAILED, error=error_info(error))
        except Exception as error:  # noqa: BLE001 - one variant's fault, ours included, must not cost the others
            return self._broken(self._outcome(status=Status.FAILED), error)
        finally:
            self._breaker.left(self._job.id, self._last.host)

    def _once(self, number: int) -> _Tried:
        if self._last.host:
            self._refused = self._breaker.refuses(self._job.id, self._last.host, stop=self._stop)
            if self._refused:
                return replace(self._last, again=False)
        begun, began = time.monotonic(), time.time()
        self._last = self._attempt(number)
        result = self._last.result
        steps = result.timeline if result is not None else ()
        took = time.monotonic() - begun
        self._made.append(Try(began=began, seconds=took, reason=self._last.reason, steps=steps))
        self._moved += result.moved if result is not None else Moved()
        self._breaker.ended(self._job.id, self._last.host)
        return self._last

    def _attempt(self, number: int) -> _Tried:
        self._tries = number
        self._reporter.attempt(self._job.id, number, self._retry.attempts)
        if self._bake is None:
            try:
                self._bake = self._job.prepare()
            except InterruptedRunError:  # by the halt, which knows the reason
                return _Tried()
            except OrchestrateError as error:
                return _Tried(error=error_info(error), again=error.failure.retried)
        try:
            # A builder that went silent answers a question first: otherwise each attempt waits for the whole limit.
            silent = self._bake.silent() if self._stalled else None
        except InterruptedRunError:
            return _Tried()
        if self._stop.is_set():
            return _Tried()
        if silent is not None:
            message = f"the builder went silent and does not answer since: {silent.why}"
            # One that refuses connections may be restarting; one that hangs has not answered three times now.
            return _Tried(error=ErrorInfo(failure=FailureClass.STALLED, message=message), again=not silent.late)
        result = self._bake.run(
            on_event=lambda event: self._reporter.event(self._job.id, event),
            stop=self._stop,
            terminate_after=self._limits.terminate_after_s,
        )
        if (overrun := result.overrun) is not None:
            self._stalled = overrun.failure is FailureClass.STALLED
            return _Tried(result=result, again=overrun.again)
        if self._adapts(result):
            return _Tried(result=result, again=True)
        if result.failure is None or result.stopped:
            return _Tried(result=result)
        judged = judge(result.failure)
        down = judged.again and judged.failure is FailureClass.NETWORK
        return _Tried(
            result=result, again=judged.again, host=host(result.failure) if down else "", after_s=judged.after_s
        )

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

    def _waiting(self, number: int, seconds: float, tried: _Tried) -> None:
        self._reporter.waiting(self._job.id, number, self._retry.attempts, seconds, tried.reason)

    def _ending(self, tried: _Tried) -> Outcome:
        """The outcome that the last attempt gives."""
        result = tried.result
        if result is None:
            if ended := self._ended_early():
                return self._outcome(status=ended.status, error=ended.error)
            return self._outcome(status=Status.FAILED, error=tried.error)
        metadata = _of_target(result.metadata, self._bake.target if self._bake else "")
        compiled = compile_statistics.read(result.marked)
        notes = (*_notes(result), *self._memory_notes(result), *self._compile_notes(result, compiled))
        seen = self._outcome(
            status=Status.BUILT,
            steps=result.steps,
            first_ran=result.first_ran,
            cache_sources=result.cache_sources,
            metadata=metadata,
            notes=notes,
            compile_cache=compiled,
        )
        failure = result.failure
        if failure is None:
            return replace(seen, digest=_digest(metadata))
        early = self._ended_early()
        if early is not None:
            status, error = early.status, replace(early.error, step=failure.step)
        elif (overrun := result.overrun) is not None:
            status = Status.FAILED
            error = ErrorInfo(failure=overrun.failure, message=overrun.message, step=overrun.step)
        else:
            error = ErrorInfo(failure=judge(failure).failure, message=failure.message, step=failure.step)
            status = Status.FAILED
        error = located(error, result.origin)
        return replace(seen, status=status, error=error, last_lines=result.last_lines)

    def _ended_early(self) -> _Early | None:
        """How a variant ends that the run, or the end of its own time, has stopped."""
        if self._halt.asked:
            return _Early(status=Status.CANCELLED, error=self._halt.reason)
        if not self._stop.late or self._limits.variant_s is None:
            return None
        message = f"it took longer than {duration(self._limits.variant_s)} (limits.variant)"
        return _Early(status=Status.FAILED, error=ErrorInfo(failure=FailureClass.LIMIT, message=message))

    def _memory_notes(self, result: BakeResult) -> tuple[str, ...]:
        """That it was adapted, or that it was killed and what would fit."""
        notes = (self._adapted,) if self._adapted else ()
        if result.failure is None or not killed(result.failure, result.last_lines):
            return notes
        compiling = self._job.compiling
        if compiling is None:
            return (*notes, KILLED)
        return (*notes, replace(compiling, jobs=compiling.half).told() if self._adapted else compiling.told())

    def _compile_notes(self, result: BakeResult, compiled: CompileStatistics | None) -> tuple[str, ...]:
        if compiled is not None:
            return compile_statistics.notes(compiled)
        if not self._job.compile_cache or result.failure is not None:
            return ()
        return (compile_statistics.LAYER if result.steps.cached else compile_statistics.SILENT,)

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
        return Outcome(id=self._job.id, tags=self._job.tags, attempts=self._tries, log=log, key=self._job.key, **fields)


def _of_target(metadata: Mapping[str, Any] | None, target: str) -> Mapping[str, Any] | None:
    found = metadata.get(target) if metadata is not None else None
    return found if isinstance(found, dict) else None


def _digest(metadata: Mapping[str, Any] | None) -> str | None:
    digest = metadata.get("containerimage.digest") if metadata is not None else None
    return digest if isinstance(digest, str) else None


def _notes(result: BakeResult) -> tuple[str, ...]:
    notes = [*result.cache_problems]
    if result.clipped:
        notes.append(CLIPPED)
    failure = result.failure
    if failure is not None:
        notes.extend(f"tag moved: {reference} was pushed before the build ended" for reference in result.pushed)
    full = any("no space left on device" in line.lower() for line in result.last_lines)
    if full and failure is not None and failure.kind is StepKind.RUN:
        notes.append(STEP_DISK)
    return tuple(notes)


def _traceback(error: BaseException) -> tuple[str, ...]:
    return tuple("".join(traceback.format_exception(error)).splitlines()[-12:])


def _log_traceback(log: Path | None, error: BaseException) -> None:
    if log is None:
        return
    with contextlib.suppress(OSError), LogFile(log) as file:
        file.note(*"".join(traceback.format_exception(error)).splitlines())
