"""What became of each cache reference that a build read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SourceState(StrEnum):
    """What was found at a reference."""

    FOUND = "found"
    EMPTY = "empty"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheSource:
    """One cache reference that was read.

    Attributes:
        ref: As BuildKit names it.
        state: What was found there.
    """

    ref: str
    state: SourceState


def source(step: str, error: str) -> CacheSource:
    """Return what an import says, from the step's name and its error, "" for none."""
    state = SourceState.FOUND
    if error:
        state = SourceState.EMPTY if error.endswith("not found") else SourceState.UNREADABLE
    return CacheSource(ref=step.rpartition(" ")[2], state=state)
