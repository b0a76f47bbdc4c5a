"""Every error that a user can meet, its failure class, and the exit code that it ends the program with.

`FailureClass` is the one table: it gives the exit code, the word in the build report and the words for people.

| code | class | meaning |
| --- | --- | --- |
| 0 | | done |
| 1 | | a variant failed to build (no error of its own: the build goes on and reports it) |
| 2 | MatrixError, UsageError | matrix.yaml or the arguments are wrong |
| 3 | DriftError | a file of the repository contradicts the matrix |
| 4 | VerificationError | an image (or a bundle, a wheel, a library) does not hold what was promised |
| 5 | EnvironmentLacksError | something is missing on the machine: engine, buildx too old, disk |
| 6 | NetworkError | network or registry failed after retries, denies access (401, 403), or the builder went silent |
| 130 | InterruptedRunError | SIGINT, SIGTERM or SIGHUP |

Scripts rely on these codes. This module imports `redact` alone; every package may import it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace  # scripts/action reads this module where no package is installed
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Self

from orchestrator.redact import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class FailureClass(StrEnum):
    """Why something failed; the value is the `error.class` of the build report.

    Attributes:
        exit_code: Exit code of a command, or of a run in which every failed variant has this class.
        words: What it means, for people.
        retried: Whether another attempt may help, judged by the class alone. A failed build step is judged by its own
            step and message (`runs.retry.judge`).
    """

    exit_code: int
    words: str
    retried: bool

    RUN = ("run", 1, "an instruction of the build failed: RUN, COPY, the Dockerfile, the bake file")
    NETWORK = ("network", 6, "network or registry failed after retries", True)
    STALLED = ("stalled", 6, "the builder went silent in mid-build and its record says that the build is lost", True)
    LIMIT = ("limit", 1, "it took longer than the limits of the matrix or the command line allow")
    AUTH = ("auth", 6, "the registry denies access (401, 403)")
    NOT_FOUND = ("not-found", 1, "the registry does not have it (404, manifest unknown)")
    DISK = ("disk", 5, "no space left on device")
    MATRIX = ("matrix", 2, "matrix.yaml or a file that it names is missing or invalid")
    USAGE = ("usage", 2, "the arguments are invalid")
    ARRIVED = ("arrived", 2, "an injected argument does not reach the target")
    DRIFT = ("drift", 3, "a file of the repository contradicts the matrix")
    VERIFICATION = ("verification", 4, "the image does not hold what was promised")
    CANCELLED = ("cancelled", 1, "ended by the engine, or because another variant failed")
    INTERRUPTED = ("interrupted", 130, "stopped by the user or the machine (SIGINT, SIGTERM, SIGHUP)")
    ENVIRONMENT = ("environment", 5, "something is missing on the machine: engine, buildx, platform")
    INTERNAL = ("internal", 1, "a fault of orchestrate itself")

    def __new__(cls, value: str, exit_code: int = 1, words: str = "", retried: bool = False) -> Self:  # noqa: FBT001, FBT002  # a row of the table
        """Make a member from its row; `FailureClass("disk")` looks one up, which the defaults are for."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.exit_code, member.words, member.retried = exit_code, words, retried
        return member


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
    """One thing that is wrong, where it is and what to do.

    Attributes:
        file: Path as the user gave it, or "" where no file is concerned.
        line: 1-based line, 0 where unknown.
        column: 1-based column, 0 if unknown.
        what: What is wrong, one line, no full stop.
        expected: What is valid there, or "".
        found: What is there instead, or "".
        hint: The next command or edit ("did you mean release?"), or "".
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

    Each subclass names its failure class: `class MatrixError(OrchestrateError, failure=FailureClass.MATRIX)`.
    What a registry, docker or a file says is in many of them, so no text of an error keeps the credentials of a URL.

    Args:
        message: What happened and where, one sentence or several lines.
        hint: The next command or edit, printed on a line of its own.
        problems: The single findings, each printed on its own line.
    """

    failure: ClassVar[FailureClass] = FailureClass.INTERNAL
    exit_code: ClassVar[int] = FailureClass.INTERNAL.exit_code

    def __init_subclass__(cls, *, failure: FailureClass | None = None) -> None:
        """Take the failure class, by default that of the parent."""
        if failure is not None:
            cls.failure, cls.exit_code = failure, failure.exit_code

    def __init__(self, message: str, *, hint: str = "", problems: Sequence[Problem] = ()) -> None:
        super().__init__(redact(message))
        self.message = redact(message)
        self.hint = redact(hint)
        self.problems: tuple[Problem, ...] = tuple(
            replace(
                one,
                what=redact(one.what),
                file=redact(one.file),
                expected=redact(one.expected),
                found=redact(one.found),
                hint=redact(one.hint),
            )
            for one in problems
        )

    def __str__(self) -> str:
        lines = [self.message] if self.message else []
        lines += [str(problem) for problem in self.problems]
        if self.hint:
            lines.append(self.hint)
        return "\n".join(lines)


class MatrixError(OrchestrateError, failure=FailureClass.MATRIX):
    """matrix.yaml (or a file that it names) is invalid; holds all problems of the file."""


class UsageError(OrchestrateError, failure=FailureClass.USAGE):
    """The arguments are invalid."""


class DriftError(OrchestrateError, failure=FailureClass.DRIFT):
    """A file of the repository contradicts the matrix."""


class VerificationError(OrchestrateError, failure=FailureClass.VERIFICATION):
    """Something does not hold what was promised."""


class EnvironmentLacksError(OrchestrateError, failure=FailureClass.ENVIRONMENT):
    """Something that the command needs is missing on the machine."""


class NetworkError(OrchestrateError, failure=FailureClass.NETWORK):
    """Network or registry failed after all retries."""


class InterruptedRunError(OrchestrateError, failure=FailureClass.INTERRUPTED):
    """The user or the machine asked the run to stop (SIGINT, SIGTERM, SIGHUP)."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Suggest a word for a misspelt one.

    Args:
        word: What the user wrote.
        known: The valid words.

    Returns:
        "did you mean release?", or "known: a, b, c" when nothing is near, or "" when nothing is known.
    """
    import difflib

    names = sorted(set(known))
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if not near:  # the same letters in another case are always a match
        near = [name for name in names if name.lower() == word.lower()]
    if near:
        return f"did you mean {near[0]}?"
    if not names:
        return ""
    shown = ", ".join(names[:12])
    return f"known: {shown}{', …' if len(names) > 12 else ''}"
