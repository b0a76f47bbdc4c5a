"""`orchestrate check`: compares the repository's other files with the matrix, and makes them agree."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from typing import TYPE_CHECKING

from orchestrator.cli import common, kit, options
from orchestrator.cli.kit import Heading
from orchestrator.errors import DriftError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.cli.common import Location
    from orchestrator.drift.report import Report
    from orchestrator.matrix.model import Matrix


class CheckFormat(StrEnum):
    """How disagreements are printed."""

    TABLE = "table"
    JSON = "json"
    GITHUB = "github"
    SARIF = "sarif"


@kit.command(
    "check",
    examples=(
        "orchestrate check",
        "orchestrate check --diff                what --fix changes",
        "orchestrate check --fix",
        "orchestrate check --format github       annotations on the lines that disagree",
        "orchestrate check --format sarif > check.sarif",
        "orchestrate check --find > claims.yaml  claims for a repository that has none",
    ),
    conflicts={
        "--find": ("--fix", "--diff", "--file", "--format=github", "--format=sarif"),
        "--fix": ("--diff", "--format=github", "--format=sarif"),
        "--diff": ("--format=github", "--format=sarif"),
    },
)
@options.location
@kit.option("--fix", heading=Heading.BEHAVIOUR, is_flag=True, help="Write the matrix's values into the files.")
@kit.option("--diff", heading=Heading.BEHAVIOUR, is_flag=True, help="Print what --fix changes; write nothing.")
@kit.option(
    "--find", heading=Heading.BEHAVIOUR, is_flag=True,
    help="Look for places to claim, and propose claims; needs no matrix.",
)  # fmt: skip
@options.formats(CheckFormat, explanation="Print the disagreements in this format.")
def command(*, given: Location, fix: bool, diff: bool, find: bool, format_: CheckFormat) -> None:
    """Compare the repository's other files with the matrix.

    The places are those that `claims:` of the matrix names, and the Dockerfiles that carry FlashInfer's headers. Exits
    0 when all agree, 3 when one does not; a claimed place that is gone is a disagreement too.
    """
    if find:
        _find(given.root, format_)
        return
    _report(common.open_matrix(given), format_, fix=fix, diff=diff)


def _report(matrix: Matrix, format_: CheckFormat, *, fix: bool, diff: bool) -> None:
    """Print one report; every format and `--diff` and `--fix` show the same places and end with the same exit code."""
    from orchestrator.drift.check import check
    from orchestrator.drift.evaluate import Buildx
    from orchestrator.ui import streams

    buildx = Buildx(matrix.root)
    if fix or diff:
        from orchestrator.drift import fix as fixing

        found = fixing.fix(matrix, buildx=buildx)
        if fix:
            found = fixing.carry_out(matrix, found, buildx=buildx)
            for name in sorted(found.texts):
                streams.tell(f"fixed: {name}")
        report = found.after if fix else found.before
        changes = found.diff
        left = found.after
    else:
        report = left = check(matrix, buildx=buildx)
        changes = None
    _print(matrix, report, format_, changes=changes, left=left)
    for reason in report.skipped:
        streams.tell(f"not checked: {reason}")
    for note in report.notes:
        streams.tell(f"note: {note}")
    if not matrix.spec.claims:
        streams.tell("the matrix has no claims: `orchestrate check --find` proposes some")
    if not report.clean:
        raise DriftError(_contradict(report), hint=_hint(report, changes, fix=fix))


def _hint(report: Report, changes: str | None, *, fix: bool) -> str:
    """What repairs a report, "" if only people can."""
    if fix:
        return ""
    if changes is not None:
        return "`orchestrate check --fix` makes the change above" if changes else ""
    fixable = sum(one.edit is not None for one in report.disagreements)
    return f"`orchestrate check --fix` repairs {fixable} of them" if fixable else ""


def _print(matrix: Matrix, report: Report, format_: CheckFormat, *, changes: str | None, left: Report) -> None:
    """Print a report, the changes that `--diff` and `--fix` make, and for people what is left after them."""
    from orchestrator.ui import drift_view, streams

    match format_:
        case CheckFormat.JSON:
            streams.write_json(drift_view.as_json(report, changes))
        case CheckFormat.GITHUB:
            from orchestrator.ui import drift_marks

            streams.write_commands(drift_marks.as_github(report, _prefix(matrix)), result=True)
        case CheckFormat.SARIF:
            from orchestrator.ui import drift_marks

            streams.write_json(drift_marks.as_sarif(report, _prefix(matrix), matrix.positions.file))
        case CheckFormat.TABLE:
            if changes:
                _write_diff(changes)
            for line in drift_view.lines(left):
                streams.say(line)
            if changes is not None:
                streams.tell(drift_view.summary(report))
            elif report.clean:
                streams.say(drift_view.summary(report))


def _prefix(matrix: Matrix) -> str:
    """The directory of the matrix below the repository's root, "" or ending with a slash."""
    parent = matrix.path.parent.as_posix()
    return "" if parent == "." or matrix.path.is_absolute() else f"{parent}/"


def _find(root: Path, format_: CheckFormat) -> None:
    from orchestrator.drift.adopt import propose
    from orchestrator.drift.find import find
    from orchestrator.ui import drift_view, streams

    if not root.is_dir():
        raise UsageError(f"{root}: the directory was not found")
    findings = find(root)
    if format_ is CheckFormat.JSON:
        streams.write_json(drift_view.findings_as_json(findings))
    else:
        streams.say(propose(findings).rstrip("\n"))
    for line in drift_view.skipped_lines(findings.skipped):
        streams.tell(line)


def _contradict(report: Report) -> str:
    number = len(report.disagreements)
    return f"{number} place{' contradicts' if number == 1 else 's contradict'} the matrix"


def _write_diff(text: str) -> None:
    """Write a diff: as it is for `patch`, cleaned where a terminal or the log of a workflow shows it."""
    from orchestrator.ui import github, streams
    from orchestrator.untrusted import disarmed_lines, without_controls

    whole = text.rstrip("\n") + "\n"
    shown = sys.stdout.isatty() or github.running(os.environ)
    streams.write_exact(disarmed_lines(without_controls(whole)) if shown else whole)
