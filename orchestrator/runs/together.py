"""Which steps of a run's variants BuildKit runs once for several of them.

BuildKit merges equal steps of builds that run beside each other and reports one vertex to all of them (measured with
buildx 0.29, engine 28.5: the same digest, each with its start). Does not depend on how that is shown.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from msgspec.structs import replace

from orchestrator.bake.events import StepDone, StepFailed, StepKind, StepStarted

if TYPE_CHECKING:
    from orchestrator.bake.events import Event

_WORK = frozenset({StepKind.RUN, StepKind.FILE, StepKind.FETCH, StepKind.BASE})


class Together:
    """The steps that run now, each with the variants that wait for it. Safe for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, str], list[str]] = {}
        self._steps: dict[str, dict[int, tuple[str, str]]] = {}

    def seen(self, builder: str, variant: str, event: Event) -> Event:
        """Return an event of a variant; the start of a step that another one waits for names that one as `shared`.

        Args:
            builder: Where the variant is built: builders share nothing.
            variant: The variant.
            event: What happened.
        """
        match event:
            case StepStarted(number=number, vertex=vertex, kind=kind) if vertex and kind in _WORK:
                with self._lock:
                    waiting = self._waiting.setdefault((builder, vertex), [])
                    first = waiting[0] if waiting and waiting[0] != variant else ""
                    if variant not in waiting:
                        waiting.append(variant)
                    self._steps.setdefault(variant, {})[number] = (builder, vertex)
                return replace(event, shared=first) if first else event
            case StepDone(number=number) | StepFailed(number=number):
                with self._lock:
                    self._drop(variant, self._steps.get(variant, {}).pop(number, None))
            case _:
                pass
        return event

    def left(self, variant: str) -> None:
        """Forget a variant whose attempt has ended."""
        with self._lock:
            for step in self._steps.pop(variant, {}).values():
                self._drop(variant, step)

    def _drop(self, variant: str, step: tuple[str, str] | None) -> None:
        if step is None or (waiting := self._waiting.get(step)) is None:
            return
        if variant in waiting:
            waiting.remove(variant)
        if not waiting:
            del self._waiting[step]
