"""The two consoles: results on standard output, everything else on standard error.

rich honours NO_COLOR, FORCE_COLOR and TERM=dumb by itself; this module adds a width for output that is not a terminal,
so that a table in a log or a pipe is not folded at 80 columns.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

WIDE = 160
"""Columns of a table that goes to a file or a pipe."""


def out() -> Console:
    """Return the console for results."""
    return _console(stderr=False)


def err() -> Console:
    """Return the console for everything that is not a result."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    from rich.console import Console
    from rich.segment import Segment

    from orchestrator.untrusted import disarmed_lines, without_controls

    class Stream:
        """What a console writes to: a folded text must not begin a line with a command to a CI runner."""

        def __init__(self, stream: TextIO) -> None:
            self._stream = stream

        def write(self, text: str) -> int:
            return self._stream.write(disarmed_lines(text))

        def __getattr__(self, name: str) -> Any:
            return getattr(self._stream, name)

    class PipedConsole(Console):
        """Removes control sequences from what is printed, and leaves a reader that went away to cli/app.py.

        rich would end the process with the code of a failed build.
        """

        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                text, style, control = segment
                yield segment if control or text.isprintable() else Segment(without_controls(text), style, control)

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else WIDE
    return PipedConsole(file=cast("TextIO", Stream(stream)), highlight=False, soft_wrap=False, width=width)
