"""Bakes a variant so that no cache costs its image: a bake that fails at one is repeated without it.

`ignore-error` covers an export that fails. An exporter that cannot be configured fails before the first step all the
same (measured, buildx 0.29.1: a malformed token for gha, s3 and azblob with the engine's own builder, a local directory
that cannot be made), and an export that fails without `ignore-error` cancels the push beside it.

A layer cache may hold a step whose snapshot is gone: BuildKit drops that of a step that was cancelled while it ended,
and keeps its record, in use for ever (moby/buildkit#6808). Every build that comes to it fails, however long it waits,
and `buildx prune` does not remove it; a build without the cache puts a new record in its place (measured, engine 28.5).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.bake.events import StepKind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orchestrator.bake.events import Event
    from orchestrator.bake.process import BakeCommand, BakeResult
    from orchestrator.engine.history import Silence
    from orchestrator.process import Stop

_EXPORTER = re.compile(r"\bcache export(?:er)?\b", re.IGNORECASE)
_STEPS = (
    (("--set", "*.cache-to="), "the cache was not written, built without"),
    (("--set", "*.cache-from="), "the cache was neither read nor written, built without"),
)
"""What is left out in turn: a local directory that is none cannot be read either."""
_LOST = re.compile(
    r"(?:^|: )failed to commit \S+ to \S+ during finalize: failed to stat active key during commit: snapshot \S+ "
    r"does not exist"
)
_ANEW = "the layer cache of the builder has lost the snapshot of a step: repeated without that cache"


class SafeBake(Struct, frozen=True, kw_only=True):
    """One variant, ready to be baked.

    Attributes:
        command: How it is baked.
        writes: Whether its bake file writes caches.
    """

    command: BakeCommand
    writes: bool

    @property
    def target(self) -> str:
        """The target to bake."""
        return self.command.target

    @property
    def log(self) -> Path:
        """Its log file."""
        return self.command.log

    def silent(self) -> Silence | None:
        """Why its builder does not answer, None if it does."""
        return self.command.silent()

    def run(self, *, on_event: Callable[[Event], None], stop: Stop, terminate_after: float) -> BakeResult:
        """Run it to its end, and once more without the cache, or the cache exports, that made it fail."""
        result = self._exported(self.command, on_event=on_event, stop=stop, terminate_after=terminate_after)
        if stop.is_set() or not lost_a_snapshot(result):
            return result
        anew = replace(self.command, argv=(*self.command.argv, "--no-cache"))
        result = self._exported(anew, on_event=on_event, stop=stop, terminate_after=terminate_after)
        return replace(result, cache_problems=(_ANEW, *result.cache_problems))

    def _exported(
        self, command: BakeCommand, *, on_event: Callable[[Event], None], stop: Stop, terminate_after: float
    ) -> BakeResult:
        result = command.run(on_event=on_event, stop=stop, terminate_after=terminate_after)
        reason = result.failure.message if result.failure is not None else ""
        dropped: tuple[str, ...] = ()
        for options, told in _STEPS:
            if not self.writes or stop.is_set() or not failed_at_export(result):
                break
            dropped = (*dropped, *options)
            without = replace(command, argv=(*command.argv, *dropped))
            result = without.run(on_event=on_event, stop=stop, terminate_after=terminate_after)
            if result.failure is None:
                return replace(result, cache_problems=(f"{told}: {reason}", *result.cache_problems))
        return result


def lost_a_snapshot(result: BakeResult) -> bool:
    """Whether a bake failed at a step of the layer cache whose snapshot is gone."""
    failure = result.failure
    if failure is None or result.overrun is not None or failure.message.startswith("exit code: "):
        return False
    return bool(_LOST.search(failure.message))


def failed_at_export(result: BakeResult) -> bool:
    """Whether a bake failed, or may have failed, at a cache export.

    A failure before the first step may be that of any exporter, whose words are its own: it costs one short attempt
    to find out, and a failure that comes again is reported as it is.
    """
    failure = result.failure
    if failure is None or result.overrun is not None:
        return False
    if failure.kind is StepKind.CACHE_EXPORT:
        return True
    if failure.kind is not StepKind.CLIENT:
        return False
    return bool(_EXPORTER.search(failure.message)) or not result.steps.total
