"""Line and column of everything in a matrix.yaml, and the error that lists its problems by place."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from msgspec import Struct, field

from orchestrator.errors import MatrixError, Place, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KeyPath = tuple[str | int, ...]
"""The path of a value in the file: keys and list indexes from the top."""

_MAX_SHOWN = 400  # characters of one part of a message


class Positions(Struct, frozen=True, kw_only=True):
    """Line and column (1-based) of every key and value of one YAML file.

    Attributes:
        file: The file's name as the user gave it.
        keys: Position of the key that leads to a path.
        values: Position of the value at a path.
        source: The file's text.
        spans: Start and end of the scalar at a path, quotes included, as offsets in `source`.
    """

    file: str
    keys: Mapping[KeyPath, tuple[int, int]]
    values: Mapping[KeyPath, tuple[int, int]]
    source: str = ""
    spans: Mapping[KeyPath, tuple[int, int]] = field(default_factory=dict)

    def at(self, path: KeyPath, *, key: bool = False) -> tuple[int, int]:
        """Position of the value (or key) at `path`, or of its nearest ancestor that the file has."""
        while True:
            for table in (self.keys, self.values) if key else (self.values, self.keys):
                if path in table:
                    return table[path]
            if not path:
                return (1, 1)
            path = path[:-1]

    def arch_list(self, name: str) -> KeyPath:
        """Where the architectures of an arch list are written: in its `archs`, or in its short form."""
        path: KeyPath = ("arch_lists", name)
        return (*path, "archs") if (*path, "archs") in self.values else path

    def place(self, path: KeyPath) -> Place:
        """The place of the value at `path`."""
        line, column = self.at(path)
        return Place(file=self.file, line=line, column=column)

    def problem(
        self, path: KeyPath, what: str, *, key: bool = False, expected: str = "", found: str = "", hint: str = ""
    ) -> Problem:
        """A problem of the value at `path`, or of its key."""
        line, column = self.at(path, key=key)
        return Problem(file=self.file, line=line, column=column, what=what, expected=expected, found=found, hint=hint)

    def problem_in(self, path: KeyPath, piece: str, before: int, what: str, *, hint: str = "") -> Problem:
        """A problem of a piece of the scalar at `path`.

        Args:
            path: The scalar.
            piece: The piece of its text, "" for the whole.
            before: How many pieces like it stand before it.
            what: As in `Problem`.
            hint: As in `Problem`.
        """
        line, column = self._inside(path, piece, before) or self.at(path)
        return Problem(file=self.file, line=line, column=column, what=what, hint=hint)

    def _inside(self, path: KeyPath, piece: str, before: int) -> tuple[int, int] | None:
        """Position of a piece in the file: quotes, escapes and folded lines make it another one than in the text."""
        if not piece or path not in self.spans:
            return None
        start, end = self.spans[path]
        for _ in range(before + 1):
            start = self.source.find(piece, start, end) + 1
            if not start:
                return None  # written with escapes
        return line_and_column(self.source[: start - 1])


def line_and_column(before: str) -> tuple[int, int]:
    """Line and column (1-based) of the character after a text."""
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def invalid(shown: str, problems: Iterable[Problem]) -> MatrixError:
    """The error for a file with problems, sorted by position."""
    ordered = sorted({_readable(problem) for problem in problems}, key=lambda p: (p.line, p.column, p.what))
    count = f"{len(ordered)} problem{'s' if len(ordered) != 1 else ''}"
    return MatrixError(f"{shown}: {count}", problems=ordered)


def _readable(problem: Problem) -> Problem:
    """The problem on one line: what a file holds may be long, or end lines and move a terminal's cursor."""
    return replace(
        problem, what=_clean(problem.what), expected=_clean(problem.expected), found=_clean(problem.found),
        hint=_clean(problem.hint),
    )  # fmt: skip


def _clean(text: str) -> str:
    text = text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 1]}…"
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
