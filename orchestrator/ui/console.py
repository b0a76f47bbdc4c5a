"""The two consoles: results on standard output, everything else on standard error.

rich honours NO_COLOR, FORCE_COLOR and TERM=dumb by itself; this module adds a width for output that is not a terminal,
so that a table in a log or a pipe is not folded at 80 columns.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

WIDE = 160
"""Columns of a table that goes to a file or a pipe."""


def out() -> Console:
    """The console for results."""
    return _console(stderr=False)


def err() -> Console:
    """The console for everything that is not a result."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    from rich.console import Console
    from rich.segment import Segment

    from orchestrator.ui.text import clean_lines

    class PipedConsole(Console):
        """Removes control sequences from what is printed, and leaves a reader that went away to cli/app.py.

        rich would end the process with the code of a failed build.
        """

        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                text, style, control = segment
                yield segment if control or text.isprintable() else Segment(clean_lines(text), style, control)

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return PipedConsole(stderr=stderr, highlight=False, soft_wrap=False, width=None if terminal else WIDE)
