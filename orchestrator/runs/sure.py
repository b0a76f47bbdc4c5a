"""Bakes a variant so that its image holds what its content key says, also where somebody edits files meanwhile.

A run reads what goes into its variants when it begins, and the last of them may start hours later. So the inputs are
read again when a bake starts, and whenever docker has sent files: what is edited after that is not in the image. Where
they are others by then, the bake is stopped and begun again with their key; where they still change, without a key.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.bake.events import StepDone, StepKind, StepStarted
from orchestrator.cache import explain
from orchestrator.cache.taken import taken
from orchestrator.runs.halt import VariantStop

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Protocol

    from orchestrator.bake.events import Event
    from orchestrator.bake.exports import SafeBake
    from orchestrator.bake.process import BakeResult
    from orchestrator.cache.contents import Contents
    from orchestrator.cache.keys import Inputs
    from orchestrator.engine.history import Silence
    from orchestrator.process import Stop

    class Keyed(Protocol):
        """The inputs of a variant."""

        @property
        def found(self) -> Inputs:
            """What goes in, as the key of the bake says."""

        @property
        def moving(self) -> bool:
            """Whether the bake has no key because the inputs change while they are sent."""

        def read(self, *, age_s: float = 0.0) -> Inputs:
            """Read what goes in now; a reading of at most so many seconds will do."""

        def keyed_as(self, found: Inputs | None) -> SafeBake:
            """Make the bake for these inputs; None for one without a key."""


_DOCKERFILE = "[internal] load build definition"
_AFTER = frozenset({StepKind.CONTEXT, StepKind.RUN, StepKind.FILE})  # the Dockerfile was sent before any of them
_TIMES = 2  # with a key
_YOUNG_S = 5.0  # a reading that need not be made again when a bake starts: what changed since is seen once it was sent
MOVING = "its files change while they are sent: built without a content key, so the next run builds it again"


class Rereading:
    """The inputs of a run's variants at a later moment; safe to share between threads.

    Args:
        make: Makes what lists the contexts anew.
        first: What lists them for the run's first reading, which begins now.
    """

    def __init__(self, make: Callable[[], Contents], first: Contents | None = None) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._contents = first
        self._begun = time.monotonic()

    def since(self, moment: float, read: Callable[[Contents], Inputs]) -> Inputs:
        """Return what goes into a variant, read no sooner than a moment of the monotonic clock."""
        with self._lock:
            if self._contents is None or self._begun < moment:
                self._begun = time.monotonic()
                self._contents = self._make()
            return read(self._contents)


class SureBake(Struct, frozen=True, kw_only=True):
    """One variant, ready to be baked.

    Attributes:
        bake: How it is baked.
        keyed: Its inputs.
    """

    bake: SafeBake
    keyed: Keyed

    @property
    def target(self) -> str:
        """The target to bake."""
        return self.bake.target

    @property
    def log(self) -> Path:
        """Its log file."""
        return self.bake.log

    def silent(self) -> Silence | None:
        """Why its builder does not answer, None if it does."""
        return self.bake.silent()

    def run(self, *, on_event: Callable[[Event], None], stop: Stop, terminate_after: float) -> BakeResult:
        """Run it to its end, and again where other files were sent than its key says."""
        keyed, bake, told = self.keyed, self.bake, ""
        if not keyed.found.unknown or keyed.moving:
            now = keyed.read(age_s=_YOUNG_S)
            bake = keyed.keyed_as(now) if taken(keyed.found, now) else bake
        for number in range(_TIMES):
            watch = _Watch(keyed, on_event, VariantStop(stop, None))
            result = bake.run(on_event=watch.heard, stop=watch.stop, terminate_after=terminate_after)
            if watch.other is None or stop.is_set() or (result.failure is not None and not result.stopped):
                return _with_note(result, told)
            changed = explain.causes(keyed.found, watch.other)
            told = f"{changed[0].text if changed else 'its inputs changed'} while it was sent: started again"
            bake = keyed.keyed_as(keyed.read() if number + 1 < _TIMES else None)
        return _with_note(bake.run(on_event=on_event, stop=stop, terminate_after=terminate_after), MOVING)


def _with_note(result: BakeResult, note: str) -> BakeResult:
    return replace(result, cache_problems=(note, *result.cache_problems)) if note else result


class _Watch:
    """Reads the inputs of a bake with a key once files were sent, and stops it where they are others."""

    def __init__(self, keyed: Keyed, tell: Callable[[Event], None], stop: Stop) -> None:
        self._keyed, self._tell, self.stop = keyed, tell, stop
        self._loading: set[int] = set()
        self._unread = False
        self.other: Inputs | None = None

    def heard(self, event: Event) -> None:
        """Hear of an event."""
        if isinstance(event, StepStarted) and event.kind is StepKind.CONTEXT:
            self._loading.add(event.number)
        elif isinstance(event, StepDone):
            self._loading.discard(event.number)
            self._unread |= event.kind is StepKind.CONTEXT or event.name.startswith(_DOCKERFILE)
            if self._unread and not self._loading and event.kind in _AFTER:
                self._unread = False
                self._look()
        self._tell(event)

    def _look(self) -> None:
        if self.other is not None or not self._keyed.found.key:
            return
        now = self._keyed.read()
        if taken(self._keyed.found, now):
            self.other = now
            self.stop.set()
