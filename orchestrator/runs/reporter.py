"""The interface through which a run is shown. Implemented above; nothing here decides how anything looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from orchestrator.bake.events import Event
    from orchestrator.runs.outcome import Outcome


class Reporter(Protocol):
    """Hears what happens. Called from several threads at once; an error that it raises never harms a build."""

    def started(self, variant: str) -> None:
        """A variant begins, with its preflight."""

    def attempt(self, variant: str, number: int, of: int) -> None:
        """Attempt `number` (from 1) of at most `of` begins."""

    def event(self, variant: str, event: Event) -> None:
        """Its bake reported something."""

    def waiting(self, variant: str, number: int, of: int, seconds: float, reason: str) -> None:
        """Attempt `number`, of a build or of setting its tags, failed; the next comes after `seconds`."""

    def finished(self, outcome: Outcome) -> None:
        """A variant ended, whichever way. Called once for each, also for those never started."""


class Screen(Struct, frozen=True, kw_only=True):
    """How a run is shown.

    Attributes:
        reporter: Makes the reporter for these variants.
        warn: Shows a warning that belongs to no variant.
        tell: Shows what goes on before the first variant starts, where it takes long.
    """

    reporter: Callable[[list[str]], AbstractContextManager[Reporter]]
    warn: Callable[[str], None]
    tell: Callable[[str], None]
