"""What the shared options mean: where the matrix is, which variants are selected, and the plan they open."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator import durations
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.matrix.model import Matrix
    from orchestrator.matrix.variants import Plan

MATRIX = Path("matrix.yaml")
"""The matrix file where `--file` names none."""


class Format(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"


class Location(Struct, frozen=True, kw_only=True):
    """Where the matrix is: `--file` and `--directory`."""

    file: Path | None = None
    directory: Path | None = None

    @property
    def path(self) -> Path:
        """The matrix file: the one that is named, else the nearest one up to the root of the checkout."""
        return (above(self.root) if self.file is None else None) or self.place

    @property
    def place(self) -> Path:
        """Where the matrix is written: no search."""
        return self.root / (self.file or MATRIX)

    @property
    def root(self) -> Path:
        """The directory to work in."""
        return self.directory or Path()


class Selection(Location, frozen=True, kw_only=True):
    """Which variants of the matrix, and what the command line sets instead of it."""

    cuda: Sequence[str] = ()
    platform: Sequence[str] = ()
    target: Sequence[str] = ()
    axis: Sequence[str] = ()
    variant: Sequence[str] = ()
    args: Sequence[str] = ()
    archs: str = ""
    image: str = ""


def open_matrix(given: Location) -> Matrix:
    """Load the matrix that `--file` and `--directory` name.

    Raises:
        MatrixError: With every problem of the file.
    """
    from orchestrator.matrix.load import load

    path = given.path
    return load(path, shown=str(path) if path == given.place else os.path.relpath(path))


def above(directory: Path) -> Path | None:
    """The matrix.yaml of the nearest directory above in the same git checkout; None if one is here, or none is above.

    Without a checkout nothing is searched, and a file of another user is not taken: in a directory such as /tmp it may
    be anybody's.
    """
    if (directory / MATRIX).exists():
        return None
    here = Path(os.path.realpath(directory))
    found: Path | None = None
    for one in (here, *here.parents):
        candidate = one / MATRIX
        if found is None and one != here and candidate.is_file() and _owner(candidate) in (os.geteuid(), _owner(here)):
            found = candidate
        if (one / ".git").exists():
            return found
    return None


def _owner(path: Path) -> int:
    try:
        return path.stat().st_uid
    except OSError:
        return -1


def open_plan(given: Selection) -> Plan:
    """Load the matrix, expand it, and keep what the options select.

    Raises:
        MatrixError, UsageError: What is wrong with the file or the options.
    """
    return _expanded(given, open_matrix(given), strict=True)


def _expanded(given: Selection, matrix: Matrix, *, strict: bool) -> Plan:
    """Expand a matrix and keep what the options select; without `strict` they may select nothing."""
    from orchestrator.matrix.expand import plan
    from orchestrator.matrix.layers import CommandLine
    from orchestrator.matrix.selectors import Selector, matching, narrow, parse_axes

    selector = Selector(
        cuda=tuple(given.cuda),
        platform=tuple(given.platform),
        target=tuple(given.target),
        variant=tuple(given.variant),
        axes=parse_axes(given.axis),
    )
    values = CommandLine(
        args=_pairs(given.args), archs=given.archs, image=given.image, when=selector.conditions(matrix.spec)
    )
    return (narrow if strict else matching)(plan(matrix, given=values), selector)


def plan_at(given: Selection, plan: Plan, ref: str) -> tuple[Plan | None, str]:
    """The same plan from the matrix of another commit, with this checkout's `{git.…}`; and that commit.

    Args:
        given: The options.
        plan: The plan that they open here.
        ref: A branch, a tag or a hash.

    Returns:
        The plan, None where the commit has no such file.

    Raises:
        UsageError: The checkout has no such commit.
        MatrixError: With every problem of that file.
    """
    from orchestrator.matrix import git
    from orchestrator.matrix.load import parse

    matrix = plan.matrix
    commit = git.resolved(matrix.root, ref)
    data = git.file_at(matrix.root, commit, matrix.path.name)
    if data is None:
        return None, commit
    old = parse(data, path=matrix.path, shown=f"{ref}:{matrix.path.name}")
    return _expanded(given, old, strict=False), commit


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--arg {text}: expected NAME=VALUE")
        pairs[name] = value
    return pairs


def seconds(option: str, text: str) -> float:
    """Return a span of time such as 30m, 12h or 7d in seconds.

    Raises:
        UsageError: It is not one.
    """
    found = durations.parse(text)
    if found is None:
        raise UsageError(f"{option} {text}: the span is invalid: expected {durations.FORM}")
    return found


def size(option: str, text: str) -> int:
    """Return a size such as 60GB or 20GiB in bytes.

    Raises:
        UsageError: It is not one.
    """
    from orchestrator.sizes import InvalidSizeError, parse_size

    try:
        return parse_size(text)
    except InvalidSizeError as error:
        raise UsageError(f"{option} {text}: {error}") from error
