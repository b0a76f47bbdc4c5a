"""Which of the steps of a build that run at once is shown, and what it said last."""

from __future__ import annotations

from orchestrator.bake.events import Event, LogLine, StepDone, StepFailed, StepStarted


class CurrentStep:
    """The steps of one attempt that run; shown is the one that began or spoke last.

    A build runs several steps at once, so the one that began last may have ended long before another, and a line of
    output belongs to the step of its own number.
    """

    def __init__(self) -> None:
        self._running: dict[int, tuple[str, str, str]] = {}

    def feed(self, event: Event) -> bool:
        """Take an event; returns whether another step, or another line of it, is shown now."""
        before = self.shown
        match event:
            case StepStarted(number=number, name=name, shared=shared):
                self._running.pop(number, None)
                self._running[number] = name, "", shared
            case LogLine(number=number, text=text) if number in self._running and text.strip():
                name, _, shared = self._running.pop(number)
                self._running[number] = name, text.strip(), shared
            case StepDone(number=number) | StepFailed(number=number):
                self._running.pop(number, None)
            case _:
                pass
        return self.shown != before

    @property
    def shown(self) -> tuple[str, str, str]:
        """The step's name, its last line, and the variant that it is shared with; "" each where none runs."""
        return next(reversed(self._running.values()), ("", "", ""))
