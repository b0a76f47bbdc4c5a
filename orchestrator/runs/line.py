"""The line of jobs in front of the builders: first each is decided on, then it waits for a slot that fits.

A job that one builder alone can build never holds up those behind it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.errors import OrchestrateError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.process import Stop
    from orchestrator.runs.fleet import Fleet, Seat

_POLL_S = 0.25


class Turn(Struct, frozen=True, kw_only=True):
    """What a worker does next.

    Attributes:
        index: The job.
        decided: Whether it was decided that the job is built.
        notes: What was said about it when it was decided.
        seat: Its slot; None for one that is to be decided on, or that gets none.
        refused: Why it gets no slot.
    """

    index: int
    decided: bool = False
    notes: tuple[str, ...] = ()
    seat: Seat | None = None
    refused: OrchestrateError | None = None


class Line:
    """The jobs of a run that have not begun. Safe for many workers.

    Args:
        variants: The variant of each job, in the order to start them.
        fleet: The builders.
        stop: Once set, every job is handed out without a slot.
    """

    def __init__(self, variants: Sequence[str], fleet: Fleet, stop: Stop) -> None:
        self._variants = variants
        self._fleet = fleet
        self._stop = stop
        self._undecided = deque(range(len(variants)))
        self._ready: list[Turn] = []

    def ready(self, turn: Turn, notes: tuple[str, ...]) -> None:
        """Put a job that is to be built among those that wait for a slot."""
        with self._fleet.changed:
            self._ready.append(Turn(index=turn.index, decided=True, notes=notes))
            self._ready.sort(key=lambda one: one.index)

    def next(self) -> Turn | None:
        """Wait for what is to be done next; None where nothing is left to begin."""
        told: tuple[str, ...] = ()
        while True:
            with self._fleet.changed:
                found = self._next()
                if found is None and not self._ready:
                    return None
                if found is None:
                    self._fleet.changed.wait(_POLL_S)
                    continue
            if found.seat is None:
                return found
            reason = self._fleet.settle(found.seat)
            if not reason:
                return found
            told = (f"builder {found.seat.builder} was down before this variant began: {reason}",)
            self.ready(found, (*found.notes, *told))

    def _next(self) -> Turn | None:
        if self._stop.is_set():
            if self._ready:
                return self._ready.pop(0)
            return Turn(index=self._undecided.popleft()) if self._undecided else None
        seat = self._fleet.seat([self._variants[turn.index] for turn in self._ready]) if self._ready else None
        if seat is not None:
            turn = next(one for one in self._ready if self._variants[one.index] == seat.variant)
            self._ready.remove(turn)
            return Turn(index=turn.index, decided=True, notes=turn.notes, seat=seat)
        if self._undecided:
            return Turn(index=self._undecided.popleft())
        for turn in self._ready:
            try:
                self._fleet.require(self._variants[turn.index])
            except OrchestrateError as error:
                self._ready.remove(turn)
                return Turn(index=turn.index, decided=True, notes=turn.notes, refused=error)
        return None
