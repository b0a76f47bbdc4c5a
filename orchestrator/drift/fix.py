"""`orchestrate check --fix`: writes the values of the matrix into the characters that contradict it.

Edits are made in memory and read back by the same claims before anything is written. A file is replaced whole, so that
a crash leaves the old one or the new one. Everything outside the edited spans stays as it is, byte for byte.
"""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.drift.check import check
from orchestrator.drift.files import Files
from orchestrator.errors import EnvironmentLacksError, MatrixError
from orchestrator.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from orchestrator.drift.evaluate import Buildx
    from orchestrator.drift.report import Disagreement, Edit, Report
    from orchestrator.matrix.model import Matrix

_ROUNDS = 10  # a fix can uncover another, and is tried again without the edits that fail; real repositories need two


@dataclass(frozen=True, kw_only=True, slots=True)
class Fix:
    """What a fix would change, or has changed.

    Attributes:
        before: The report before.
        after: The report on the changed texts.
        texts: New text of each changed file, by name below the root.
        diff: The change as a unified diff.
    """

    before: Report
    after: Report
    texts: Mapping[str, str]
    diff: str


def fix(matrix: Matrix, root: Path | None = None, *, buildx: Buildx | None = None) -> Fix:
    """Compute the repair of everything that can be edited safely; nothing is written.

    Args:
        matrix: A loaded matrix.
        root: The directory that claims' paths start from, by default the matrix's own.
        buildx: Evaluates claimed expressions of bake files.

    Raises:
        MatrixError: Invalid claims, or two that demand different values of one place.
    """
    base = root or matrix.root
    files = Files(root=base)
    before = report = check(matrix, base, buildx=buildx)
    texts: dict[str, str] = {}
    refused: set[_Place] = set()
    for _ in range(_ROUNDS):
        wanted = [one for one in report.disagreements if one.edit is not None and _place(one) not in refused]
        if not wanted:
            break
        tried = dict(texts)
        for name in dict.fromkeys(one.file for one in wanted):
            group = dict.fromkeys(one.edit for one in wanted if one.edit is not None and one.file == name)
            tried[name] = apply(texts.get(name, files.read(name).text), group)
        outcome = check(matrix, base, overlay=tried, buildx=buildx)
        failed = _not_taken(wanted, report, outcome)
        if failed:  # they are reported, and the others are tried again without them
            refused |= failed
        else:
            texts, report = tried, outcome
    changed = {name: text for name, text in texts.items() if text != files.read(name).text}
    diff = "".join(unified_diff(name, files.read(name).text, text) for name, text in sorted(changed.items()))
    return Fix(before=before, after=report, texts=changed, diff=diff)


_Place = tuple[int | None, str]


def _place(one: Disagreement) -> _Place:
    return one.claim, one.file


def _not_taken(wanted: Sequence[Disagreement], before: Report, after: Report) -> set[_Place]:
    """The claims (with the file) whose edits did not repair their places, or broke others."""
    asked = Counter(_place(one) for one in wanted)
    was = Counter(_place(one) for one in before.disagreements)
    now = Counter(_place(one) for one in after.disagreements)
    failed = {place for place, count in asked.items() if now[place] > was[place] - count}
    harmed = {file for (claim, file), count in now.items() if count > was[(claim, file)]}
    return failed | {place for place in asked if place[1] in harmed}


def apply(text: str, group: Iterable[Edit]) -> str:
    """The text with edits made.

    Raises:
        MatrixError: Two edits touch the same characters and differ: two claims contradict each other.
    """
    ordered = sorted(group, key=lambda edit: (edit.start, edit.end))
    pieces = []
    end = 0
    last: Edit | None = None
    for edit in ordered:
        if last is not None and (edit.start < end or (edit.start, edit.end) == (last.start, last.end)):
            line = text.count("\n", 0, edit.start) + 1
            raise MatrixError(
                f"{edit.file}:{line}: two claims contradict each other: one says {last.text}, the other {edit.text}",
                hint="narrow one of them (stage, branch, where, when), or remove it",
            )
        pieces += [text[end : edit.start], edit.text]
        end = edit.end
        last = edit
    return "".join([*pieces, text[end:]])


def write(texts: Mapping[str, str], root: Path) -> None:
    """Replace files by new texts, each in one step; permissions stay.

    Args:
        texts: New text by name below the root.
        root: The directory that the names start from.

    Raises:
        EnvironmentLacksError: A file cannot be written, or is a link that leads out of the root.
    """
    base = root.resolve()
    for name, text in texts.items():
        path = (root / name).resolve()
        if not path.is_relative_to(base):
            raise EnvironmentLacksError(
                f"{name}: not written: the link leads out of {root}", hint=f"edit {path} by hand, or claim that file"
            )
        try:
            write_whole(path, text.encode("utf-8", "surrogateescape"))
        except OSError as error:
            raise EnvironmentLacksError(f"{name}: the file cannot be written: {error.strerror}") from error


def unified_diff(name: str, before: str, after: str) -> str:
    """A unified diff of one file, as `git apply` and `patch -p1` take it.

    Args:
        name: The file, below the root.
        before: The old text.
        after: The new text.
    """
    old, new = ([f"{line}\n" for line in text.split("\n")] for text in (before, after))
    for lines in (old, new):
        if lines[-1] == "\n":
            lines.pop()
        else:
            lines[-1] = lines[-1] + "\\ No newline at end of file\n"
    return "".join(difflib.unified_diff(old, new, f"a/{name}", f"b/{name}"))
