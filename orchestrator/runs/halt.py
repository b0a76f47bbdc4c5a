"""Ends the variants of a run. That the user asked to stop is a flag; the reason that is shown is another thing."""

from __future__ import annotations

import threading

from orchestrator.errors import FailureClass
from orchestrator.process import Stop
from orchestrator.runs.outcome import ErrorInfo

SIGNALLED = ErrorInfo(failure=FailureClass.INTERRUPTED, message="stopped by a signal")


class Halt:
    """Ends the variants of one run; the first reason is the one that each cancelled variant gives.

    Attributes:
        stop: What running work looks at; set once the run is to end.
    """

    def __init__(self) -> None:
        self.stop = Stop()
        self._lock = threading.Lock()
        self._reason: ErrorInfo | None = None
        self._interrupted = False

    def failed(self, variant: str) -> None:
        """End the others because a variant failed (--fail-fast)."""
        self._ask(
            ErrorInfo(failure=FailureClass.CANCELLED, message=f"cancelled because {variant} failed (--fail-fast)")
        )

    def interrupt(self, *, immediate: bool) -> None:
        """End everything because the user asked, also where another reason came first.

        Args:
            immediate: Whether children are killed at once.
        """
        self._interrupted = True
        self.stop.immediate = self.stop.immediate or immediate
        self._ask(SIGNALLED)

    @property
    def asked(self) -> bool:
        """Whether the run is to end."""
        return self.stop.is_set()

    @property
    def interrupted(self) -> bool:
        """Whether the user asked, which bounds the time that the run still takes."""
        return self._interrupted

    @property
    def reason(self) -> ErrorInfo:
        """Why the run is to end."""
        return self._reason or SIGNALLED

    def _ask(self, reason: ErrorInfo) -> None:
        with self._lock:
            self._reason = self._reason or reason
        self.stop.set()
