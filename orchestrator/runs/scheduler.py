"""Runs many variants: so many at once, one failure costing no other, stopping in order.

Does not depend on what a variant is made of nor on how the run is shown.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.durations import duration
from orchestrator.engine.machine import free_bytes
from orchestrator.errors import InterruptedRunError
from orchestrator.process import stoppable
from orchestrator.runs.breaker import Breaker
from orchestrator.runs.fleet import Fleet, Member
from orchestrator.runs.halt import Halt
from orchestrator.runs.job import Job, Shared
from orchestrator.runs.line import Line, Turn
from orchestrator.runs.outcome import Outcome, Status, error_info, internal_error
from orchestrator.runs.resume import Decision
from orchestrator.runs.retry import RetryPolicy
from orchestrator.runs.variant import VariantBuild
from orchestrator.runs.wishes import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from orchestrator.process import Stop
    from orchestrator.runs.journal import Journal
    from orchestrator.runs.reporter import Reporter

__all__ = ["Job", "Memory", "build_all"]

_TICK = 0.05  # seconds between looks at the stop
_DISK_EVERY = 1.0  # seconds between looks at the disk


class Memory(Struct, frozen=True, kw_only=True):
    """What a run reads of earlier runs, keeps for later ones, and builds on.

    Attributes:
        journal: Gets every outcome of a variant that was started; None for no journal.
        disk: Where the engine keeps its layers, to remember how much of it a variant takes; None where unknown.
        room: Free bytes of that disk below which no variant is started beside one that runs.
        fleet: The builders that share the variants; None for one of `limits.parallel` slots.
    """

    journal: Journal | None = None
    disk: Path | None = None
    room: int = 0
    fleet: Fleet | None = None


def build_all(
    jobs: Sequence[Job],
    *,
    reporter: Reporter,
    stop: Stop,
    limits: Limits | None = None,
    retry: RetryPolicy | None = None,
    memory: Memory | None = None,
) -> list[Outcome]:
    """Build variants, at most `limits.parallel` at once; one that fails never ends the others.

    Args:
        jobs: In the order to start them.
        reporter: Hears of everything; what it raises is noted in the outcome and harms nothing.
        stop: Ends the run: running variants are stopped, those to come cancelled (`signals.stop_on_signals`).
        limits: How many at once, and how the run ends.
        retry: How often and how soon a variant is tried again; three attempts by default.
        memory: The journal and what is read of it; none by default.

    Returns:
        One outcome for each job, in the order of the jobs. It returns within about `terminate_after_s` + `grace_s` of
        a stop, whatever else ended the run before.
    """
    run = _Run(
        jobs,
        reporter=_Careful(reporter),
        stop=stop,
        limits=limits or Limits(),
        retry=retry or RetryPolicy(),
        memory=memory or Memory(),
    )
    return run.all()


class _Run:
    """One call of `build_all`. Outcomes are written by worker threads under the lock, each slot once."""

    def __init__(
        self,
        jobs: Sequence[Job],
        *,
        reporter: _Careful,
        stop: Stop,
        limits: Limits,
        retry: RetryPolicy,
        memory: Memory,
    ) -> None:
        self._jobs = jobs
        self._reporter = reporter
        self._stop = stop
        self._limits = limits
        self._memory = memory
        # Workers obey a halt of this run: --fail-fast sets it without touching the caller's stop.
        self._halt = Halt()
        fleet = memory.fleet or Fleet(members=(Member(name="", slots=limits.parallel),))
        self._shared = Shared(
            limits=limits,
            retry=retry,
            reporter=reporter,
            halt=self._halt,
            breaker=Breaker(),
            fleet=fleet,
        )
        self._lock = threading.Lock()
        self._slots: list[Outcome | None] = [None] * len(jobs)
        self._running: set[str] = set()
        self._disk = _DiskWatch(memory.disk)

    def all(self) -> list[Outcome]:
        with self._shared.fleet.watched(self._halt.stop):
            self._build()
        for index in range(len(self._jobs)):
            self._finish(index, self._cancelled(index))  # those that did not end in time
        return [outcome for outcome in self._slots if outcome is not None]

    def _build(self) -> None:
        line = Line([job.id for job in self._jobs], self._shared.fleet, self._halt.stop)
        # Daemon threads: one that hangs in a verification hook must not keep the program from ending.
        workers = [
            threading.Thread(target=self._work, args=(line,), name=f"variant-{n}", daemon=True)
            for n in range(min(max(1, self._limits.parallel), len(self._jobs)))
        ]
        for worker in workers:
            worker.start()
        try:
            self._watch(workers)
        except BaseException:  # KeyboardInterrupt where nobody installed handlers
            self._halt.interrupt(immediate=False)
            self._watch(workers)
            raise

    def _watch(self, workers: Sequence[threading.Thread]) -> None:
        deadline: float | None = None
        while alive := [worker for worker in workers if worker.is_alive()]:
            self._obey()
            if self._halt.interrupted and deadline is None:
                deadline = time.monotonic() + self._limits.terminate_after_s + self._limits.grace_s
            if deadline is not None and time.monotonic() > deadline:
                return
            self._disk.look()
            alive[0].join(_TICK)

    def _obey(self) -> None:
        if self._stop.is_set():
            self._halt.interrupt(immediate=self._stop.immediate)

    def _work(self, line: Line) -> None:
        while True:
            self._obey()
            turn = line.next()
            if turn is None:
                return
            outcome = self._built(turn) if turn.decided else self._skipped(turn, line)
            if outcome is not None:
                self._finish(turn.index, self._named(turn.index, outcome))

    def _named(self, index: int, outcome: Outcome) -> Outcome:
        """An outcome with what names its result."""
        job = self._jobs[index]
        if outcome.status is Status.FAILED and outcome.error is not None and job.blame is not None:
            outcome = replace(outcome, notes=(*outcome.notes, *job.blame(outcome.error)))
        if outcome.status not in (Status.BUILT, Status.SKIPPED) or job.references is None:
            return outcome
        return replace(outcome, references=job.references(outcome.digest))

    def _skipped(self, turn: Turn, line: Line) -> Outcome | None:
        """How a job ended that needs no build; None for one that now waits for a builder."""
        job = self._jobs[turn.index]
        if self._halt.asked:
            return self._cancelled(turn.index)
        try:
            with stoppable(self._halt.stop):
                decision = self._decided(job)
        except InterruptedRunError:
            return self._cancelled(turn.index)
        if decision.outcome is not None:
            return decision.outcome
        line.ready(turn, (f"needs a build: {decision.why}",) if decision.why else ())
        return None

    def _built(self, turn: Turn) -> Outcome:
        job, notes, seat = self._jobs[turn.index], list(turn.notes), turn.seat
        if self._halt.asked or (seat is None and turn.refused is None):
            if seat is not None:
                self._shared.fleet.leave(seat)
            return self._cancelled(turn.index)
        if seat is None:
            error = error_info(turn.refused) if turn.refused is not None else None
            return Outcome(id=job.id, status=Status.FAILED, tags=job.tags, log=job.log, error=error, notes=turn.notes)
        if seat.builder.here and (waited := self._held_back(job)):
            notes.append(f"held back for {duration(waited)}: the engine's disk had too little room beside the others")
        if self._halt.asked:
            self._shared.fleet.leave(seat)
            return self._cancelled(turn.index)
        try:
            self._reporter.started(job.id)
            if seat.builder.here:
                self._disk.begin(job.id)
            outcome = VariantBuild(job, self._shared, seat).outcome()
        finally:
            with self._lock:
                self._running.discard(job.id)
        return replace(outcome, notes=(*notes, *outcome.notes)) if notes else outcome

    def _held_back(self, job: Job) -> float:
        """Wait while others run and the disk has too little room for one more; the seconds that it took."""
        journal, begun = self._memory.journal, time.monotonic()
        need = max(self._memory.room, journal.peak(job.id) if journal is not None else 0)
        waited = False
        while True:
            free = free_bytes(self._memory.disk) if self._memory.disk is not None else None
            with self._lock:
                if free is None or free >= need or not self._running or self._halt.asked:
                    self._running.add(job.id)
                    return time.monotonic() - begun if waited else 0.0
            waited = True
            self._halt.stop.wait(_DISK_EVERY)

    def _decided(self, job: Job) -> Decision:
        """Whether a variant is built; what goes wrong in the decision costs a build and nothing else."""
        journal = self._memory.journal
        if journal is None or job.decide is None:
            return Decision()
        try:
            return job.decide(journal)
        except InterruptedRunError:
            raise
        except Exception as error:  # noqa: BLE001 - ours or the machine's: the variant is built
            return Decision(why=internal_error(error).message)

    def _finish(self, index: int, outcome: Outcome) -> None:
        with self._lock:
            if self._slots[index] is not None:
                return
            self._record(self._jobs[index], outcome)
            if self._reporter.trouble and not self._reporter.mentioned:
                self._reporter.mentioned = True
                outcome = replace(outcome, notes=(*outcome.notes, self._reporter.trouble))
            self._slots[index] = outcome
        if outcome.status is Status.FAILED and self._limits.fail_fast:
            self._halt.failed(outcome.id)
        self._reporter.finished(outcome)

    def _record(self, job: Job, outcome: Outcome) -> None:
        peak = self._disk.end(job.id)
        journal = self._memory.journal
        if journal is None or outcome.status is Status.SKIPPED or not outcome.attempts:
            return
        try:
            journal.add(outcome, key=outcome.key, peak=peak)
        except OSError as error:
            self._reporter.trouble = self._reporter.trouble or f"the journal was not written: {error}"

    def _cancelled(self, index: int) -> Outcome:
        job = self._jobs[index]
        return Outcome(id=job.id, status=Status.CANCELLED, tags=job.tags, log=job.log, error=self._halt.reason)


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
    """Wraps a reporter: what it raises (a closed terminal, a fault of ours) must not cost a build."""

    def __init__(self, inner: Reporter) -> None:
        self._inner = inner
        self.trouble = ""
        self.mentioned = False

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
