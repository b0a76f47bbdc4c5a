"""Puts the columns of the live board together: a line of the terminal for each variant, and one for its output.

As rich's own text, which is wrapped and measured at each frame, the forty lines of a large terminal took a hundredth of
a processor. Does not depend on what a variant does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from rich.cells import cell_len, set_cell_size
from rich.segment import Segment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, ConsoleOptions, RenderResult

_BETWEEN = 5  # columns beside those of name, step, counts and time: the mark, and the blanks between them


class BoardLine(Struct, frozen=True, kw_only=True):
    """What stands in a variant's row, and in the line below it. Text without control sequences.

    Attributes:
        mark: One sign.
        style: Of the mark.
        rest: Style of the rest of the row.
        name: The variant.
        step: What it does.
        counts: How many steps are done, and the bytes that were moved.
        elapsed: How long it took.
        output: The last line of its output, "" for none.
        facts: What has no room in the row and stands at the right end of the line below it, "" for nothing.
    """

    mark: str
    style: str
    name: str
    rest: str = ""
    step: str = ""
    counts: str = ""
    elapsed: str = ""
    output: str = ""
    facts: str = ""


class Drawn(Struct, frozen=True):
    """Lines of a terminal, each the pieces that it consists of with their styles."""

    lines: Sequence[Sequence[tuple[str, str]]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """See rich."""
        for line in self.lines:
            for text, style in line:
                yield Segment(text, console.get_style(style) if style else None)
            yield Segment.line()


def drawn(lines: Sequence[BoardLine], last: str, *, width: int, most: int, indent: int) -> Drawn:
    """Return the lines as they stand on a terminal.

    Args:
        lines: A row of each variant; at most as many as `most`.
        last: A line below all of them, "" for none.
        width: Columns of the terminal.
        most: Lines beyond which no output is shown: it takes no line from a variant.
        indent: Columns in front of a line of output; 0 puts it below the step.
    """
    names = max((cell_len(line.name) for line in lines), default=0)
    counts = max((cell_len(line.counts) for line in lines), default=0)
    times = max((cell_len(line.elapsed) for line in lines), default=0)
    steps = max(0, width - names - counts - times - _BETWEEN)
    left = most - len(lines)
    shown: list[Sequence[tuple[str, str]]] = []
    for line in lines:
        # The two last columns end at the right.
        ends = f"{_blanks(counts, line.counts)} {_blanks(times, line.elapsed)}"
        row = f" {set_cell_size(line.name, names)} {set_cell_size(line.step, steps)} {ends}"
        shown.append(_cropped(((set_cell_size(line.mark, 1), line.style), (row, line.rest)), width))
        if (line.output or line.facts) and left > 0:
            left -= 1
            shown.append(_cropped(((_below(line, indent or names + 3, width), "dim"),), width))
    if last:
        shown.append(_cropped(((last, ""),), width))
    return Drawn(shown)


def _blanks(width: int, text: str) -> str:
    """A text that ends where its column does."""
    return f"{' ' * (width - cell_len(text))}{text}"


def _below(line: BoardLine, indent: int, width: int) -> str:
    """The line below a row: the output, cut before what stands at its right end."""
    if not line.facts:
        return f"{' ' * indent}{line.output}"
    left = max(0, width - indent - cell_len(line.facts) - 2)
    return f"{' ' * indent}{set_cell_size(line.output, left)}  {line.facts}"


def _cropped(line: Sequence[tuple[str, str]], width: int) -> Sequence[tuple[str, str]]:
    """A line that is at most as wide as the terminal."""
    found = []
    for text, style in line:
        cells = cell_len(text)
        found.append((text if cells <= width else set_cell_size(text, width), style))
        width = max(0, width - cells)
    return found
