"""`orchestrate check --fix`: writes the values of the matrix into the characters that contradict it.

Edits are made in memory, read back by the same claims and judged by another parser (second.py) before anything is
written. Each file is replaced whole, so that a crash leaves the old one or the new one, and where one cannot be
replaced the others are put back. Everything outside the edited spans stays as it is, byte for byte.
"""

from __future__ import annotations

import difflib
from collections import Counter
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.drift.check import check
from orchestrator.drift.files import Files
from orchestrator.drift.second import objection
from orchestrator.errors import MatrixError
from orchestrator.files import write_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from orchestrator.drift.evaluate import Buildx
    from orchestrator.drift.report import Disagreement, Edit, Report
    from orchestrator.matrix.model import Matrix

_ROUNDS = 10  # a fix can uncover another, and is tried again without the edits that fail; real repositories need two


class Fix(Struct, frozen=True, kw_only=True):
    """What a fix would change, or has changed.

    Attributes:
        before: The report before.
        after: The report on the changed texts.
        texts: New text of each changed file, by name below the root.
        diffs: The change of each file as a unified diff, by name.
    """

    before: Report
    after: Report
    texts: Mapping[str, str]
    diffs: Mapping[str, str]

    @property
    def diff(self) -> str:
        """The whole change as a unified diff."""
        return "".join(self.diffs[name] for name in sorted(self.diffs))


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
    refused: dict[_Place, str] = {}
    for _ in range(_ROUNDS):
        wanted = [one for one in report.disagreements if one.edit is not None and _place(one) not in refused]
        if not wanted:
            break
        tried = dict(texts)
        failed: dict[_Place, str] = {}
        for name in dict.fromkeys(one.file for one in wanted):
            there = texts.get(name, files.read(name).text)
            group = list(dict.fromkeys(one.edit for one in wanted if one.edit is not None and one.file == name))
            tried[name] = apply(there, group)
            for edit in group:
                values = sum(one.edit == edit for one in wanted) if edit.reader == "yaml" else 1  # an anchor is several
                if why := objection(edit.reader, there, apply(there, [edit]), values):
                    failed |= {_place(one): why for one in wanted if one.edit == edit}
        outcome = report if failed else check(matrix, base, overlay=tried, buildx=buildx)
        failed |= {} if failed else dict.fromkeys(_not_taken(wanted, report, outcome), "the edit does not repair it")
        if failed:  # they are reported, and the others are tried again without them
            refused |= failed
        else:
            texts, report = tried, outcome
    changed = {name: text for name, text in texts.items() if text != files.read(name).text}
    diffs = {name: unified_diff(name, files.read(name).text, text) for name, text in changed.items()}
    return Fix(before=before, after=_left(report, refused), texts=changed, diffs=diffs)


_Place = tuple[int | None, str]


def _place(one: Disagreement) -> _Place:
    return one.claim, one.file


def _left(report: Report, refused: Mapping[_Place, str]) -> Report:
    """A report in which the places whose edits were refused say why."""
    left = [
        replace(one, edit=None, unfixable=refused[_place(one)]) if one.edit and _place(one) in refused else one
        for one in report.disagreements
    ]
    return replace(report, disagreements=tuple(left))


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


def carry_out(matrix: Matrix, found: Fix, root: Path | None = None, *, buildx: Buildx | None = None) -> Fix:
    """Write a fix.

    Args:
        matrix: A loaded matrix.
        found: What `fix` gave.
        root: As for `fix`.
        buildx: As for `fix`.

    Returns:
        What was changed: the files that could not be written are left out, and their places say why.
    """
    base = root or matrix.root
    unwritten = write(found.texts, base)
    if not unwritten:
        return found
    report = check(matrix, base, buildx=buildx)
    left = [
        replace(one, edit=None, unfixable=f"the file is not written: {unwritten[one.file]}")
        if one.file in unwritten
        else one
        for one in report.disagreements
    ]
    texts = {name: text for name, text in found.texts.items() if name not in unwritten}
    diffs = {name: found.diffs[name] for name in texts}
    return replace(found, after=replace(report, disagreements=tuple(left)), texts=texts, diffs=diffs)


def write(texts: Mapping[str, str], root: Path) -> dict[str, str]:
    """Replace files by new texts, all that can be prepared or none; permissions stay.

    Args:
        texts: New text by name below the root.
        root: The directory that the names start from.

    Returns:
        The files that were not written, each with the reason. They are as they were. A link out of `root` or a file
        that cannot be prepared costs no other; one that cannot be replaced after that puts the others back.
    """
    base = root.resolve()
    unwritten: dict[str, str] = {}
    names: dict[Path, str] = {}
    for name in texts:
        path = (root / name).resolve()
        if path.is_relative_to(base):
            names[path] = name
        else:
            unwritten[name] = f"the link points outside of {root}: edit {path} by hand, or claim that file"
    failed = write_all({path: texts[name].encode("utf-8", "surrogateescape") for path, name in names.items()})
    return unwritten | {names[path]: str(error.strerror or error) for path, error in failed.items()}


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
