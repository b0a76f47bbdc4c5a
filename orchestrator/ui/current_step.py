"""Which of the steps of a build that run at once is shown, and what it said last."""

from __future__ import annotations

from orchestrator.bake.events import Event, LogLine, StepDone, StepFailed, StepStarted

_NONE = ("", "", "")


class CurrentStep:
    """The steps of one attempt that run; shown is the one that began or spoke last.

    A build runs several steps at once, so the one that began last may have ended long before another, and a line of
    output belongs to the step of its own number.
    """

    def __init__(self) -> None:
        self._running: dict[int, tuple[str, str, str]] = {}
        self._shown = _NONE

    def feed(self, event: Event) -> bool:
        """Take an event; returns whether another step, or another line of it, is shown now."""
        match event:
            case LogLine(number=number, text=text) if number in self._running and (said := text.strip()):
                name, _, shared = self._running.pop(number)
                self._running[number] = name, said, shared
            case StepStarted(number=number, name=name, shared=shared):
                self._running.pop(number, None)
                self._running[number] = name, "", shared
            case StepDone(number=number) | StepFailed(number=number):
                self._running.pop(number, None)
            case _:
                return False
        before, self._shown = self._shown, next(reversed(self._running.values()), _NONE)
        return self._shown != before

    @property
    def shown(self) -> tuple[str, str, str]:
        """The step's name, its last line, and the variant that it is shared with; "" each where none runs."""
        return self._shown
