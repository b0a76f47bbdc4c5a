"""Ends the variants of a run. That the user asked to stop is a flag; the reason that is shown is another thing."""

from __future__ import annotations

import threading
import time

from orchestrator.errors import FailureClass
from orchestrator.process import Stop
from orchestrator.runs.outcome import ErrorInfo

_POLL_S = 0.1

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


class VariantStop(Stop):
    """The stop of one variant: set with that of the run, and once the variant's own time is over.

    Args:
        run: The stop of the run.
        seconds: The variant's time, from now; None for no limit.
    """

    def __init__(self, run: Stop, seconds: float | None) -> None:
        super().__init__()
        self._run = run
        self._end = None if seconds is None else time.monotonic() + seconds

    @property
    def immediate(self) -> bool:  # type: ignore[override]  # that of the run, which alone is set
        """Whether to end at once."""
        return self._run.immediate

    @property
    def late(self) -> bool:
        """Whether the variant's own time is over."""
        return self._end is not None and time.monotonic() >= self._end

    def is_set(self) -> bool:
        """Return whether the variant is to end."""
        return super().is_set() or self._run.is_set() or self.late

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, at most so many seconds; return whether it is."""
        end = None if timeout is None else time.monotonic() + timeout
        while not self.is_set():
            rest = _POLL_S if end is None else end - time.monotonic()
            if rest <= 0:
                return False
            self._run.wait(min(rest, _POLL_S))
        return True
