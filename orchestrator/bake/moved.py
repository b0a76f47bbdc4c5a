"""Counts the bytes that a build moves, and keeps when each of its steps ran.

BuildKit tells the bytes of what it pulls and of what it is sent; an engine that pushes says only that it pushes
(measured: engine 28.5, buildx 0.29).
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

from msgspec import Struct

from orchestrator.bake.events import StepKind, step_command
from orchestrator.reference import digests_in

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator.bake.events import RawStatus

_SHORTEST_S = 0.1  # of a step that is no instruction, to stand in a timeline
_PUSHES = frozenset({StepKind.EXPORT, StepKind.CACHE_EXPORT})


class Moved(Struct, frozen=True, kw_only=True):
    """Bytes that a build moved, as far as its builder tells.

    Attributes:
        pulled: Layers of images and caches that the builder fetched.
        sent: Contexts that it was sent from this machine.
        pushed: What it sent to registries; 0 also where it does not tell.
    """

    pulled: int = 0
    sent: int = 0
    pushed: int = 0

    def __add__(self, other: Moved) -> Moved:
        return Moved(pulled=self.pulled + other.pulled, sent=self.sent + other.sent, pushed=self.pushed + other.pushed)

    def __bool__(self) -> bool:
        return bool(self.pulled or self.sent or self.pushed)


class Tally:
    """Adds up the bytes of one build's statuses, each of which is told again as it grows."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], int] = {}
        self.moved = Moved()

    def add(self, status: RawStatus, kind: StepKind) -> None:
        """Count a status of a step of this kind."""
        key = (status.vertex, status.what)
        more = status.current - self._seen.get(key, 0)
        if more <= 0:
            return
        if kind in _PUSHES:
            gained = Moved(pushed=more)
        elif status.what.startswith("transferring"):
            gained = Moved(sent=more)
        elif digests_in(status.what) == [status.what]:
            gained = Moved(pulled=more)
        else:
            return
        self._seen[key] = status.current
        self.moved += gained


class StepTime(Struct, frozen=True, kw_only=True):
    """When one step of a build ran.

    Attributes:
        name: As BuildKit names it.
        kind: What it does.
        began: Seconds after the first step began.
        seconds: How long it ran, of one that did not end until the build did.
        state: done, cached, failed, or unfinished.
    """

    name: str
    kind: StepKind
    began: float
    seconds: float
    state: str


class Timeline(Sequence[StepTime]):
    """Step times in a fifth of their memory: a run keeps those of hundreds of variants until its end.

    Args:
        steps: The steps; times are kept in milliseconds.
    """

    __slots__ = ("_kinds", "_names", "_times")

    def __init__(self, steps: Sequence[StepTime]) -> None:
        self._names = tuple(step.name for step in steps)
        self._kinds = tuple(_interned(step.kind, step.state) for step in steps)
        times = (round(1000 * time) for step in steps for time in (step.began, step.seconds))
        self._times = array("Q", times).tobytes()

    @overload
    def __getitem__(self, index: int) -> StepTime: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[StepTime, ...]: ...
    def __getitem__(self, index: int | slice) -> StepTime | tuple[StepTime, ...]:
        if isinstance(index, slice):
            return tuple(self)[index]
        at = range(len(self))[index]
        began, seconds = array("Q", self._times[16 * at : 16 * at + 16])
        kind, _, state = self._kinds[at].partition(" ")
        return StepTime(
            name=self._names[at], kind=StepKind(kind), began=began / 1000, seconds=seconds / 1000, state=state
        )

    def __len__(self) -> int:
        return len(self._names)


def _interned(kind: StepKind, state: str) -> str:
    return sys.intern(f"{kind.value} {state}")


class Ran(Struct, frozen=True, kw_only=True):
    """A step as BuildKit's clock saw it; `completed` is None where it did not end."""

    name: str
    kind: StepKind
    started: datetime
    completed: datetime | None
    state: str


def timeline(steps: Sequence[Ran]) -> tuple[StepTime, ...]:
    """Return when steps ran, counted from the first; those that are no instruction only where they took time."""
    if not steps:
        return ()
    first = min((step.started for step in steps), key=_since)
    last = max((step.completed or step.started for step in steps), key=_since)
    found = (
        StepTime(
            name=sys.intern(step.name),  # hundreds of variants have the same steps
            kind=step.kind,
            began=round(seconds(first, step.started), 3),
            seconds=round(seconds(step.started, step.completed or last), 3),
            state=step.state,
        )
        for step in steps
    )
    shown = (one for one in found if one.seconds >= _SHORTEST_S or step_command(one.name) is not None)
    return tuple(sorted(shown, key=lambda one: one.began))


def seconds(start: datetime | None, end: datetime) -> float:
    """Return the seconds between two times, 0 where they cannot be compared."""
    try:
        return max(0.0, (end - start).total_seconds()) if start is not None else 0.0
    except TypeError:  # one with a time zone, one without
        return 0.0


def _since(at: datetime) -> float:
    try:
        return at.timestamp()
    except (OverflowError, ValueError, OSError):  # a year that no clock shows
        return 0.0
