"""What became of each cache reference that a build read."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

_SILENT = ("gha:", "s3:", "azblob:")


class SourceState(StrEnum):
    """What was found at a reference."""

    FOUND = "found"
    EMPTY = "empty"
    UNREADABLE = "unreadable"
    ASKED = "asked"  # the import of an object store ends without a word, whether there is an entry or not


class CacheSource(Struct, frozen=True, kw_only=True):
    """One cache reference that was read.

    Attributes:
        ref: As BuildKit names it.
        state: What was found there.
    """

    ref: str
    state: SourceState


def source(step: str, error: str) -> CacheSource:
    """Return what an import says, from the step's name and its error, "" for none."""
    ref = step.rpartition(" ")[2]
    state = SourceState.ASKED if ref.startswith(_SILENT) else SourceState.FOUND
    if error:
        state = SourceState.EMPTY if error.endswith("not found") else SourceState.UNREADABLE
    return CacheSource(ref=ref, state=state)
