"""`orchestrate check`: compares the repository's other files with the matrix, and makes them agree."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from typing import TYPE_CHECKING

from orchestrator.cli import common, kit, options
from orchestrator.cli.kit import Heading
from orchestrator.errors import DriftError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.cli.common import Location
    from orchestrator.drift.check import Report
    from orchestrator.matrix.model import Matrix


class CheckFormat(StrEnum):
    """How disagreements are printed."""

    TABLE = "table"
    JSON = "json"
    GITHUB = "github"


@kit.command(
    "check",
    examples=(
        "orchestrate check",
        "orchestrate check --diff                what --fix would change",
        "orchestrate check --fix",
        "orchestrate check --format github       annotations on the lines that disagree",
        "orchestrate check --find > claims.yaml  claims for a repository that has none",
    ),
    conflicts={
        "--find": ("--fix", "--diff", "--file", "--format=github"),
        "--fix": ("--diff", "--format=github"),
        "--diff": ("--format=github",),
    },
)
@options.location
@kit.option("--fix", heading=Heading.BEHAVIOUR, is_flag=True, help="Write the matrix's values into the files.")
@kit.option("--diff", heading=Heading.BEHAVIOUR, is_flag=True, help="Print what --fix would change; write nothing.")
@kit.option(
    "--find", heading=Heading.BEHAVIOUR, is_flag=True,
    help="Look for places to claim, and propose claims; needs no matrix.",
)  # fmt: skip
@options.formats(CheckFormat, explanation="Print the disagreements in this format.")
def command(*, given: Location, fix: bool, diff: bool, find: bool, format_: CheckFormat) -> None:
    """Compare the repository's other files with the matrix.

    The places are those that `claims:` of the matrix names. Exits 0 when all agree, 3 when one does not; a claimed
    place that is gone is a disagreement too.
    """
    if find:
        _find(given.root, format_)
        return
    matrix = common.open_matrix(given)
    if fix or diff:
        _fix(matrix, format_, write=fix)
    else:
        _check(matrix, format_)


def _check(matrix: Matrix, format_: CheckFormat) -> None:
    from orchestrator.drift.check import check
    from orchestrator.drift.evaluate import Buildx
    from orchestrator.drift.guard import headers

    report = check(matrix, buildx=Buildx(root=matrix.root))
    _print(matrix, report, format_)
    if not matrix.spec.claims:
        sys.stderr.write("the matrix has no claims: `orchestrate check --find` proposes some\n")
    carried = headers(matrix)
    if not report.clean or carried:
        fixable = sum(one.edit is not None for one in report.disagreements)
        hint = f"`orchestrate check --fix` repairs {fixable} of them" if fixable else ""
        told = [_contradict(report)] if not report.clean else []
        told += ["the FlashInfer headers would not arrive, or not be proven"] if carried else []
        raise DriftError("; ".join(told), problems=carried, hint=hint)


def _fix(matrix: Matrix, format_: CheckFormat, *, write: bool) -> None:
    from orchestrator.drift import fix
    from orchestrator.drift.evaluate import Buildx
    from orchestrator.ui import drift_view

    found = fix.fix(matrix, buildx=Buildx(root=matrix.root))
    if write:
        fix.write(found.texts, matrix.root)
    shown = found.after if write else found.before
    if format_ is CheckFormat.JSON:
        _write(json.dumps(drift_view.as_json(shown, found.diff), indent=2, ensure_ascii=False))
    else:
        _write(found.diff.rstrip("\n")) if found.diff else None
        for line in drift_view.lines(found.after):
            _write(line)
        sys.stderr.write(drift_view.summary(shown) + "\n")
    if not shown.clean:
        hint = "" if write else "`orchestrate check --fix` makes the change above"
        raise DriftError(_contradict(shown), hint=hint if found.diff else "")


def _find(root: Path, format_: CheckFormat) -> None:
    from orchestrator.drift.adopt import propose
    from orchestrator.drift.find import find
    from orchestrator.ui import drift_view

    if not root.is_dir():
        raise UsageError(f"{root}: the directory was not found")
    groups = find(root)
    if format_ is CheckFormat.JSON:
        _write(json.dumps(drift_view.groups_as_json(groups), indent=2, ensure_ascii=False))
    else:
        _write(propose(groups).rstrip("\n"))


def _print(matrix: Matrix, report: Report, format_: CheckFormat) -> None:
    from orchestrator.ui import drift_view

    match format_:
        case CheckFormat.JSON:
            _write(json.dumps(drift_view.as_json(report), indent=2, ensure_ascii=False))
        case CheckFormat.GITHUB:
            parent = matrix.path.parent.as_posix()
            prefix = "" if parent == "." or matrix.path.is_absolute() else f"{parent}/"
            for line in drift_view.as_github(report, prefix):
                _write(line)
        case CheckFormat.TABLE:
            for line in drift_view.lines(report):
                _write(line)
            if report.clean:
                _write(drift_view.summary(report))


def _contradict(report: Report) -> str:
    number = len(report.disagreements)
    return f"{number} place{' contradicts' if number == 1 else 's contradict'} the matrix"


def _write(text: str) -> None:
    """One line (or several) of the result; bytes of a file that are not UTF-8 are shown as escapes."""
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode() + "\n")
