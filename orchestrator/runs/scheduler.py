"""Running many variants: so many at once, one failure costing no other, stopping in order.

It knows jobs and outcomes; it must not know what a variant is made of nor how the run is shown.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orchestrator.bake.process import Stop, run_bake
from orchestrator.runs.disk import free_bytes
from orchestrator.runs.journal import skipped
from orchestrator.runs.outcome import ErrorInfo, Outcome, Status
from orchestrator.runs.retry import RetryPolicy
from orchestrator.runs.variant import Job, build_variant, internal_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from orchestrator.runs.journal import Journal
    from orchestrator.runs.reporter import Reporter
    from orchestrator.runs.variant import RunBake

__all__ = ["Job", "build_all"]

_TICK = 0.05  # seconds between looks at the wish to stop
_DISK_EVERY = 1.0  # seconds between looks at the disk
_GRACE = 2.0  # seconds beyond terminate_after in which a variant must have ended
_SIGNALLED = "stopped by a signal"


def build_all(
    jobs: Sequence[Job],
    *,
    parallel: int,
    fail_fast: bool,
    reporter: Reporter,
    stop: threading.Event,
    policy: RetryPolicy | None = None,
    journal: Journal | None = None,
    resume: bool = False,
    disk: Path | None = None,
    terminate_after: float = 10,
    run: RunBake = run_bake,
    sleep: Callable[[float], object] | None = None,
) -> list[Outcome]:
    """Build variants, at most `parallel` at once, and go on whatever becomes of one of them.

    Args:
        jobs: In the order to start them.
        parallel: How many at once, at least 1.
        fail_fast: Whether the first failed variant cancels the others.
        reporter: Hears of everything; what it raises is noted in the outcome and harms nothing.
        stop: Ends the run: running variants are stopped, those to come cancelled (`signals.stop_on_signals`).
        policy: Retries; three attempts by default.
        journal: Gets every outcome of a variant that was started.
        resume: Whether variants that the journal knows as built from the same inputs are skipped.
        disk: Where the engine keeps its layers, to remember how much of it a variant takes.
        terminate_after: Seconds between SIGTERM and SIGKILL for a bake that is to stop.
        run: Runs one bake; tests put another in its place.
        sleep: Waits between attempts; `stop.wait` if not given.

    Returns:
        One outcome for each job, in the order of the jobs. It returns within about `terminate_after` + 2 s of a stop.
    """
    return _Run(
        jobs=jobs,
        fail_fast=fail_fast,
        reporter=_Careful(reporter),
        stop=stop,
        policy=policy or RetryPolicy(),
        journal=journal,
        resume=resume,
        disk=disk,
        terminate_after=terminate_after,
        run=run,
        sleep=sleep,
    ).all(max(1, parallel))


class _Run:
    """One call of `build_all`. Outcomes are written by worker threads under the lock, each slot once."""

    def __init__(
        self,
        *,
        jobs: Sequence[Job],
        fail_fast: bool,
        reporter: _Careful,
        stop: threading.Event,
        policy: RetryPolicy,
        journal: Journal | None,
        resume: bool,
        disk: Path | None,
        terminate_after: float,
        run: RunBake,
        sleep: Callable[[float], object] | None,
    ) -> None:
        self._jobs = jobs
        self._fail_fast = fail_fast
        self._reporter = reporter
        self._stop = stop
        self._policy = policy
        self._journal = journal
        self._resume = resume
        self._terminate_after = terminate_after
        self._run_bake = run
        self._sleep = sleep
        # Workers obey an event of this run: --fail-fast sets it without touching the caller's.
        self._halt = Stop()
        self._why = ""
        self._lock = threading.Lock()
        self._slots: list[Outcome | None] = [None] * len(jobs)
        self._disk = _DiskWatch(disk)

    def all(self, parallel: int) -> list[Outcome]:
        waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        for index in range(len(self._jobs)):
            waiting.put(index)
        # Daemon threads: one that hangs in a verification hook must not keep the program from ending.
        workers = [
            threading.Thread(target=self._work, args=(waiting,), name=f"variant-{n}", daemon=True)
            for n in range(min(parallel, len(self._jobs)))
        ]
        for worker in workers:
            worker.start()
        try:
            self._watch(workers)
        except BaseException:  # KeyboardInterrupt where nobody installed handlers
            self._halt_for(_SIGNALLED)
            self._watch(workers)
            raise
        for index in range(len(self._jobs)):
            self._finish(index, self._cancelled(index))  # those that did not end in time
        return [outcome for outcome in self._slots if outcome is not None]

    def _watch(self, workers: Sequence[threading.Thread]) -> None:
        deadline: float | None = None
        while alive := [worker for worker in workers if worker.is_alive()]:
            if self._stop.is_set():
                self._halt_for(_SIGNALLED)
                self._halt.immediate = isinstance(self._stop, Stop) and self._stop.immediate
            if self._halt.is_set() and deadline is None and self._why == _SIGNALLED:
                deadline = time.monotonic() + self._terminate_after + _GRACE
            if deadline is not None and time.monotonic() > deadline:
                return
            self._disk.look()
            alive[0].join(_TICK)

    def _work(self, waiting: queue.SimpleQueue[int]) -> None:
        while True:
            try:
                index = waiting.get_nowait()
            except queue.Empty:
                return
            self._finish(index, self._one(index))

    def _one(self, index: int) -> Outcome:
        job = self._jobs[index]
        if self._stop.is_set():
            self._halt_for(_SIGNALLED)
        if self._halt.is_set():
            return self._cancelled(index)
        entry = self._journal.built(job.id, job.key) if self._journal is not None and self._resume else None
        if entry is not None:
            return skipped(entry)
        self._reporter.started(job.id)
        self._disk.begin(job.id)
        return build_variant(
            job,
            run=self._run_bake,
            policy=self._policy,
            reporter=self._reporter,
            halt=self._halt,
            why_halted=lambda: self._why,
            terminate_after=self._terminate_after,
            sleep=self._sleep,
        )

    def _finish(self, index: int, outcome: Outcome) -> None:
        with self._lock:
            if self._slots[index] is not None:
                return
            self._record(self._jobs[index], outcome)
            if self._reporter.trouble and not self._reporter.told:
                self._reporter.told = True
                outcome = replace(outcome, notes=(*outcome.notes, self._reporter.trouble))
            self._slots[index] = outcome
        if outcome.status is Status.FAILED and self._fail_fast:
            self._halt_for(f"cancelled because {outcome.id} failed (--fail-fast)")
        self._reporter.finished(outcome)

    def _record(self, job: Job, outcome: Outcome) -> None:
        peak = self._disk.end(job.id)
        if self._journal is None or outcome.status is Status.SKIPPED or not outcome.attempts:
            return
        try:
            self._journal.add(outcome, key=job.key, peak=peak)
        except OSError as error:
            self._reporter.trouble = self._reporter.trouble or f"the journal was not written: {error}"

    def _halt_for(self, why: str) -> None:
        with self._lock:
            self._why = self._why or why
        self._halt.set()

    def _cancelled(self, index: int) -> Outcome:
        job = self._jobs[index]
        error = ErrorInfo(class_="interrupted", message=self._why or _SIGNALLED)
        return Outcome(id=job.id, status=Status.CANCELLED, tags=job.tags, log=job.log, error=error)


class _DiskWatch:
    """How far free space falls while each variant runs. With several at once each is charged with all of it."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._at_start: dict[str, int] = {}
        self._lowest: dict[str, int] = {}
        self._next = 0.0
        self._lock = threading.Lock()

    def begin(self, variant: str) -> None:
        free = free_bytes(self._path) if self._path is not None else None
        if free is not None:
            with self._lock:
                self._at_start[variant] = self._lowest[variant] = free

    def look(self) -> None:
        if self._path is None or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _DISK_EVERY
        free = free_bytes(self._path)
        if free is not None:
            with self._lock:
                self._lowest = {variant: min(free, low) for variant, low in self._lowest.items()}

    def end(self, variant: str) -> int:
        self.look()
        with self._lock:
            return max(0, self._at_start.pop(variant, 0) - self._lowest.pop(variant, 0))


class _Careful:
    """Stands before a reporter: what it raises (a closed terminal, a fault of ours) must not cost a build."""

    def __init__(self, inner: Reporter) -> None:
        self._inner = inner
        self.trouble = ""
        self.told = False

    def started(self, variant: str) -> None:
        self._tell(self._inner.started, variant)

    def attempt(self, variant: str, number: int, of: int) -> None:
        self._tell(self._inner.attempt, variant, number, of)

    def event(self, variant: str, event: Any) -> None:
        self._tell(self._inner.event, variant, event)

    def waiting(self, variant: str, number: int, of: int, seconds: float, reason: str) -> None:
        self._tell(self._inner.waiting, variant, number, of, seconds, reason)

    def finished(self, outcome: Outcome) -> None:
        self._tell(self._inner.finished, outcome)

    def _tell(self, hear: Callable[..., None], *what: Any) -> None:
        try:
            hear(*what)
        except Exception as error:  # noqa: BLE001 - see the class
            self.trouble = self.trouble or f"progress was not shown: {internal_error(error).message}"
