"""Every error a user can meet, and the exit code that it ends the program with.

| code | class | meaning |
| --- | --- | --- |
| 0 | | done |
| 1 | BuildError | a variant failed to build |
| 2 | MatrixError, UsageError | matrix.yaml or the arguments are wrong |
| 3 | DriftError | a file of the repository contradicts the matrix |
| 4 | VerificationError | an image (or a bundle, a wheel, a library) does not hold what was promised |
| 5 | EnvironmentLacksError | the machine lacks something: engine, buildx too old, disk |
| 6 | NetworkError | network or registry failed after retries |
| 130 | InterruptedRunError | SIGINT or SIGTERM |

Scripts rely on these codes. This room knows nothing of the others; everything may import it.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A place in a file; its text is what editors and terminals understand: `matrix.yaml:14:9`.

    Attributes:
        file: Path as the user gave it.
        line: 1-based line, 0 if unknown.
        column: 1-based column, 0 if unknown.
    """

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return ":".join([self.file, *(str(n) for n in (self.line, self.column) if n)])


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that is wrong, with its place and its cure.

    Attributes:
        file: Path as the user gave it, or "" where no file is concerned.
        line: 1-based line, 0 if unknown.
        column: 1-based column, 0 if unknown.
        what: What is wrong, one line, no full stop.
        expected: What would have been right, or "".
        found: What stands there instead, or "".
        hint: The next step ("did you mean release?"), or "".
    """

    what: str
    file: str = ""
    line: int = 0
    column: int = 0
    expected: str = ""
    found: str = ""
    hint: str = ""

    @classmethod
    def at(cls, place: Place | None, what: str, *, hint: str = "") -> Problem:
        """A problem at a place, or one that concerns no file."""
        if place is None:
            return cls(what=what, hint=hint)
        return cls(file=place.file, line=place.line, column=place.column, what=what, hint=hint)

    @property
    def place(self) -> str:
        """The place as editors and terminals understand it: `matrix.yaml:14:9`."""
        return str(Place(file=self.file or "-", line=self.line, column=self.column))

    def __str__(self) -> str:
        parts = [self.what]
        if self.expected:
            parts.append(f"expected {self.expected}")
        if self.found:
            parts.append(f"found {self.found}")
        text = ", ".join(parts)
        if self.hint:
            text = f"{text}; {self.hint}"
        return f"{self.place}: {text}" if self.file else text


class OrchestrateError(Exception):
    """Base of every error that ends a command.

    Args:
        message: One clear sentence (or several lines): what happened and where.
        hint: The next step for the user, printed on a line of its own.
        problems: The single findings behind it, each printed on its own line.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "", problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.problems: tuple[Problem, ...] = tuple(problems)

    def __str__(self) -> str:
        lines = [self.message] if self.message else []
        lines += [str(problem) for problem in self.problems]
        if self.hint:
            lines.append(self.hint)
        return "\n".join(lines)


class BuildError(OrchestrateError):
    """A variant failed to build."""

    exit_code = 1


class MatrixError(OrchestrateError):
    """matrix.yaml (or a file that it names) is wrong; all problems of the file together."""

    exit_code = 2


class UsageError(OrchestrateError):
    """The arguments are wrong."""

    exit_code = 2


class DriftError(OrchestrateError):
    """A file of the repository contradicts the matrix."""

    exit_code = 3


class VerificationError(OrchestrateError):
    """Something does not hold what was promised."""

    exit_code = 4


class EnvironmentLacksError(OrchestrateError):
    """The machine lacks something that the command needs."""

    exit_code = 5


class NetworkError(OrchestrateError):
    """Network or registry failed after all retries."""

    exit_code = 6


class InterruptedRunError(OrchestrateError):
    """The user or the machine asked the run to stop (SIGINT, SIGTERM)."""

    exit_code = 130


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A suggestion for a misspelt word.

    Args:
        word: What the user wrote.
        known: The words that would have been right.

    Returns:
        "did you mean release?", or "known: a, b, c" when nothing is near, or "" when nothing is known.
    """
    names = sorted(set(known))
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if not near:  # the same letters in another case are always meant
        near = [name for name in names if name.lower() == word.lower()]
    if near:
        return f"did you mean {near[0]}?"
    if not names:
        return ""
    shown = ", ".join(names[:12])
    return f"known: {shown}{', …' if len(names) > 12 else ''}"
