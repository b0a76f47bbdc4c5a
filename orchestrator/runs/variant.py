"""One variant from preflight to outcome: prepare, bake with retries, verify.

It knows the phases of one job; it must not know of the other jobs of the run.
"""

from __future__ import annotations

import contextlib
import time
import traceback
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from orchestrator.bake.events import StepKind, StepStarted
from orchestrator.engine.client import PRUNE
from orchestrator.errors import (
    EnvironmentLacksError,
    InterruptedRunError,
    NetworkError,
    OrchestrateError,
    VerificationError,
)
from orchestrator.process import stoppable
from orchestrator.runs.outcome import ErrorInfo, Outcome, Status
from orchestrator.runs.retry import Kind, RetryPolicy, attempts, classify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Protocol

    from orchestrator.bake.events import Event
    from orchestrator.bake.process import BakeCommand, BakeResult, Stop
    from orchestrator.runs.reporter import Reporter

    class RunBake(Protocol):
        """The shape of `orchestrator.bake.process.run_bake`."""

        def __call__(
            self,
            command: BakeCommand,
            *,
            on_event: Callable[[Event], None],
            stop: Stop,
            terminate_after: float,
        ) -> BakeResult:
            """Run one bake to its end."""


CLIPPED = (
    "BuildKit clipped a step's output (the limit is the builder's): create the builder with "
    "--driver-opt env.BUILDKIT_STEP_LOG_MAX_SIZE=-1 --driver-opt env.BUILDKIT_STEP_LOG_MAX_SPEED=-1"
)
KILLED = "the step was killed (exit code 137), mostly for want of memory: lower max_jobs or --jobs"
STEP_DISK = f"the step's output says that no space is left: see `docker buildx du`, free some with `{PRUNE}`"


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One variant to build.

    Attributes:
        id: The variant.
        prepare: Does the preflight and gives the command. An OrchestrateError fails the variant alone.
        after: Looks at what was built and gives the outcome back, as it is or failed (verification).
        then: What `after` does, in a word for whoever watches; "" if it takes no time worth a word.
        key: Stands for all inputs, for `--resume`; "" where they are not known.
        tags: References it will get, shown also if it never comes that far.
        log: Its log file, if known before `prepare`.
    """

    id: str
    prepare: Callable[[], BakeCommand]
    after: Callable[[Outcome], Outcome] | None = None
    then: str = ""
    key: str = ""
    tags: tuple[str, ...] = ()
    log: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Tried:
    """What one attempt gave: a result of bake, or the error that came before it."""

    result: BakeResult | None = None
    error: ErrorInfo | None = None
    transient: bool = False


@dataclass(slots=True)
class _State:
    command: BakeCommand | None = None
    tries: int = 0


def build_variant(
    job: Job,
    *,
    run: RunBake,
    policy: RetryPolicy,
    reporter: Reporter,
    halt: Stop,
    why_halted: Callable[[], str],
    terminate_after: float,
    sleep: Callable[[float], object] | None = None,
) -> Outcome:
    """Build one variant; every end of it is an outcome, no exception leaves here.

    Args:
        job: The variant.
        run: `run_bake`, or what a test puts in its place.
        policy: How often and how soon to try again.
        reporter: Told of attempts and events; must not raise.
        halt: Set when the run is to end.
        why_halted: The reason in a sentence, once `halt` is set.
        terminate_after: Seconds between SIGTERM and SIGKILL.
        sleep: Waits between attempts; tests give a clock of their own.
    """
    begun = time.monotonic()
    state = _State()

    def done(**fields: Any) -> Outcome:
        log = state.command.log if state.command is not None else job.log
        base = Outcome(id=job.id, status=Status.FAILED, tags=job.tags, attempts=state.tries, log=log)
        return replace(base, seconds=time.monotonic() - begun, **fields)

    def once(number: int) -> _Tried:
        state.tries = number
        reporter.attempt(job.id, number, policy.attempts)
        if state.command is None:
            try:
                state.command = job.prepare()
            except InterruptedRunError:  # by `halt`, which tells the reason
                return _Tried()
            except NetworkError as error:
                return _Tried(error=error_info(error, "arrived"), transient=True)
            except OrchestrateError as error:
                return _Tried(error=error_info(error, "arrived"))
        if halt.is_set():
            return _Tried()
        result = run(
            state.command,
            on_event=lambda event: reporter.event(job.id, event),
            stop=halt,
            terminate_after=terminate_after,
        )
        failure = result.failure
        transient = failure is not None and not result.stopped and classify(failure) is Kind.TRANSIENT
        return _Tried(result=result, transient=transient)

    def before_wait(number: int, seconds: float, tried: _Tried) -> None:
        reporter.waiting(job.id, number, policy.attempts, seconds, _reason(tried))

    try:
        with stoppable(halt):
            tried = attempts(
                once, again=lambda t: t.transient, policy=policy, stop=halt, before_wait=before_wait, sleep=sleep
            )
            outcome = done(**_ending(tried, state.command, halted=why_halted() if halt.is_set() else ""))
            if outcome.status is not Status.BUILT or job.after is None:
                return outcome
            after = partial(_after, job.after, job.then, reporter)
            return _verified(after, outcome, halt=halt, why_halted=why_halted, begun=begun)
    except (OrchestrateError, OSError) as error:  # docker itself is missing, say, or the log cannot be written
        return done(error=error_info(error, "environment"))
    except Exception as error:  # noqa: BLE001 - one variant's fault, ours included, must not cost the others
        _log_traceback(state.command.log if state.command else job.log, error)
        return done(error=internal_error(error), last_lines=_traceback(error))


def error_info(error: OrchestrateError | OSError, otherwise: str) -> ErrorInfo:
    """The report's form of an error that was raised: its class, `otherwise` where the type tells nothing."""
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return ErrorInfo(class_=otherwise, message=f"{where}{error.strerror or error}")
    classes: tuple[tuple[type[OrchestrateError], str], ...] = (
        (NetworkError, "network"),
        (VerificationError, "verification"),
        (EnvironmentLacksError, "environment"),
        (InterruptedRunError, "interrupted"),
    )
    class_ = next((name for type_, name in classes if isinstance(error, type_)), otherwise)
    return ErrorInfo(class_=class_, message=str(error))


def internal_error(error: BaseException) -> ErrorInfo:
    """The report's form of an exception that nobody expected."""
    text = " ".join(str(error).split())
    return ErrorInfo(class_="internal", message=f"{type(error).__name__}: {text}" if text else type(error).__name__)


def _ending(tried: _Tried, command: BakeCommand | None, *, halted: str) -> dict[str, Any]:
    """The fields of the outcome that the last attempt gives."""
    result = tried.result
    if result is None:
        if halted:
            return {"status": Status.CANCELLED, "error": ErrorInfo(class_="interrupted", message=halted)}
        return {"status": Status.FAILED, "error": tried.error}
    metadata = _of_target(result.metadata, command.target if command else "")
    fields: dict[str, Any] = {"steps": result.steps, "metadata": metadata, "notes": _notes(result)}
    if result.failure is None:
        return {**fields, "status": Status.BUILT, "digest": _digest(metadata)}
    if result.stopped or halted:
        error = ErrorInfo(class_="interrupted", message=halted or "stopped", step=result.failure.step)
        return {**fields, "status": Status.CANCELLED, "error": error, "last_lines": result.last_lines}
    kind = classify(result.failure)
    error = ErrorInfo(class_=kind.error_class, message=result.failure.message, step=result.failure.step)
    return {**fields, "status": Status.FAILED, "error": error, "last_lines": result.last_lines}


def _after(after: Callable[[Outcome], Outcome], then: str, reporter: Reporter, outcome: Outcome) -> Outcome:
    if then:
        step = StepStarted(number=0, name=then, kind=StepKind.EXPORT, steps=outcome.steps)
        reporter.event(outcome.id, step)
    return after(outcome)


def _verified(
    after: Callable[[Outcome], Outcome],
    outcome: Outcome,
    *,
    halt: Stop,
    why_halted: Callable[[], str],
    begun: float,
) -> Outcome:
    if halt.is_set():
        return _unverified(outcome, why_halted())
    try:
        outcome = after(outcome)
    except InterruptedRunError:
        outcome = _unverified(outcome, why_halted())
    except OrchestrateError as error:
        outcome = replace(outcome, status=Status.FAILED, error=error_info(error, "verification"))
    except Exception as error:  # noqa: BLE001 - as in build_variant; the digest is kept
        _log_traceback(outcome.log, error)
        outcome = replace(outcome, status=Status.FAILED, error=internal_error(error), last_lines=_traceback(error))
    return replace(outcome, seconds=time.monotonic() - begun)


def _unverified(outcome: Outcome, why: str) -> Outcome:
    note = f"built as {outcome.digest}, but not verified"
    error = ErrorInfo(class_="interrupted", message=why or "stopped")
    return replace(outcome, status=Status.CANCELLED, error=error, notes=(*outcome.notes, note))


def _reason(tried: _Tried) -> str:
    if tried.error is not None:
        return tried.error.message
    failure = tried.result.failure if tried.result is not None else None
    if failure is None:
        return ""
    return f"{failure.step}: {failure.message}" if failure.step else failure.message


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
    if failure is not None and failure.kind is StepKind.RUN:
        if failure.message.endswith("exit code: 137"):
            notes.append(KILLED)
        if any("no space left on device" in line.lower() for line in result.last_lines):
            notes.append(STEP_DISK)
    return tuple(notes)


def _traceback(error: BaseException) -> tuple[str, ...]:
    return tuple("".join(traceback.format_exception(error)).splitlines()[-12:])


def _log_traceback(log: Path | None, error: BaseException) -> None:
    if log is None:
        return
    with contextlib.suppress(OSError):
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8", errors="replace") as file:
            file.write("".join(traceback.format_exception(error)))
