"""The error of every reader, and the depth that they share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.dockerfile.spans import Lines

MAX_DEPTH = 100
"""How many brackets, blocks or tables of a file may contain each other; real files stay below 20.

Readers call themselves for each level, and Python stops at about 1,000 calls.
"""

TOO_DEEP = f"nested too deeply, expected at most {MAX_DEPTH} levels"


class ReadError(ValueError):
    """A file is not in the format that it is read as.

    Attributes:
        what: What is wrong, one line: "not HCL: expected {".
        line: 1-based line, 0 if unknown.
        column: 1-based column, 0 if unknown.
        offset: Offset in the file's text, where a reader knows only that; else None.
    """

    def __init__(self, what: str, *, line: int = 0, column: int = 0, offset: int | None = None) -> None:
        super().__init__(f"line {line}: {what}" if line else what)
        self.what = what
        self.line = line
        self.column = column
        self.offset = offset

    @classmethod
    def at(cls, text: str, offset: int, what: str) -> ReadError:
        """The error at an offset of a file's text."""
        start = text.rfind("\n", 0, offset) + 1
        return cls(what, line=text.count("\n", 0, start) + 1, column=offset - start + 1, offset=offset)

    def place(self, lines: Lines) -> tuple[int, int]:
        """Its line and column in a file, both 1 if unknown."""
        if self.line or self.offset is None:
            return self.line or 1, self.column or 1
        return lines.place(self.offset)


def too_deep(text: str, offset: int) -> ReadError:
    """The error for a text that is nested more than `MAX_DEPTH` deep; one bracket too many stands at `offset`."""
    return ReadError.at(text, offset, TOO_DEEP)
