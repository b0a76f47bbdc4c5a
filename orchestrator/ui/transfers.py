"""Shows the progress of downloads and removals: a bar on a terminal, lines in a log."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from orchestrator.sizes import size_text

if TYPE_CHECKING:
    from typing import Protocol

    class Report(Protocol):
        """What hears of the progress."""

        def __call__(self, done: int, total: int, received: int | None = None, /) -> None:
            """Hear how many are done, of how many, and of the bytes that came."""


_SECONDS_BETWEEN_LINES = 5.0


class TransferProgress:
    """A bar on a terminal, a line every 5 seconds in a log; on standard error in either case.

    Args:
        what: The word before the numbers.
        unit: What is counted.
    """

    def __init__(self, what: str, unit: str = "files") -> None:
        self.what, self.unit = what, unit
        self._bar: Any = None
        self._last = 0.0

    def __enter__(self) -> Report:
        if sys.stderr.isatty():
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            from orchestrator.ui import console

            self._bar = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[size]}"),
                console=console.err(), transient=True,
            )  # fmt: skip
            self._bar.start()
        return self._report

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _report(self, done: int, total: int, received: int | None = None) -> None:
        size = "" if received is None else size_text(received)
        if self._bar is not None:
            if not self._bar.tasks:
                self._bar.add_task(self.what, total=total, size=size)
            self._bar.update(self._bar.tasks[0].id, completed=done, total=total, size=size)
        elif done == total or time.monotonic() - self._last > _SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            sys.stderr.write(f"{self.what}: {done} of {total} {self.unit}{size and ', '}{size}\n")
