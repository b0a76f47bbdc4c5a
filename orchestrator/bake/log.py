"""Writes the log file of one variant: bake's events in the form of `--progress plain`.

Does not depend on what an event means for the build. Everything that is written is untrusted: it is cleaned, as the
log is shown by other programs, and passes `redact`.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from orchestrator.bake.events import (
    LogLine,
    Notice,
    PlainLine,
    StepDone,
    StepFailed,
    StepStarted,
    StepStatus,
    StepWarning,
)
from orchestrator.files import make_private, named, open_append
from orchestrator.process import command_line
from orchestrator.redact import redact
from orchestrator.untrusted import clean

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from orchestrator.bake.events import Event


class LogFile:
    """A log that several attempts append to; every write is whole lines, so a reader never sees half a one.

    One that is removed while it is written (by somebody who cleans up) comes back with what follows.

    Args:
        path: The file; its directory is made if it is missing.

    Raises:
        OSError: It cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = self._opened()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def begin(self, name: str, argv: Sequence[str]) -> None:
        """Write the head of an attempt: when, and the command as typed in a shell."""
        self._lines(f"=== {name}: {_now()}", f"$ {command_line(argv)}")

    def write(self, *events: Event) -> None:
        """Write events at once; what only a progress bar needs is left out."""
        self._put("".join(_text(*render(event)) for event in events))

    def end(self, returncode: int, *, stopped: bool) -> None:
        """Write the foot of an attempt."""
        self._lines(f"=== ended with status {returncode}{', stopped by orchestrate' if stopped else ''}: {_now()}", "")

    def note(self, *lines: str) -> None:
        """Write lines of our own."""
        self._lines(*lines)

    def _lines(self, *lines: str) -> None:
        self._put(_text(*lines))

    def _put(self, text: str) -> None:
        data = text.encode(errors="replace")
        if not data:
            return
        with named(self._path):
            if not os.fstat(self._fd).st_nlink:
                os.close(self._fd)
                self._fd = self._opened()
            while data:
                data = data[os.write(self._fd, data) :]

    def _opened(self) -> int:
        make_private(self._path.parent)
        return open_append(self._path)


def _text(*lines: str) -> str:
    """Lines as they are written, those of one event or note: a credential may reach over several of them."""
    return redact("".join(f"{clean(one)}\n" for line in lines for one in line.split("\n"))) if lines else ""


def render(event: Event) -> tuple[str, ...]:
    """Return the lines of one event, without line ends; none for a progress bar's events."""
    match event:
        case StepStarted(number=number, name=name):
            return (f"#{number} {name}",)
        case StepDone(number=number, name=name, cached=True):
            return (f"#{number} {name}", f"#{number} CACHED")
        case StepDone(number=number, seconds=seconds):
            return (f"#{number} DONE {seconds:.1f}s",)
        case StepFailed(number=number, cancelled=True):
            return (f"#{number} CANCELED",)
        case StepFailed(number=number, error=error):
            return (f"#{number} ERROR: {' '.join(error.split())}",)
        case LogLine(number=number, text=text):
            return (f"#{number} | {text}",)
        case StepStatus():
            return ()
        case StepWarning(text=text, file=file, line=line):
            return (f"WARNING: {text}{f' ({file}:{line})' if file else ''}",)
        case PlainLine(text=text):
            return (text,)
        case Notice(text=text):
            return (f"=== {text}: {_now()}",)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
