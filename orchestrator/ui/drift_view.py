"""How a check looks: lines for people, JSON for programs, annotations for GitHub.

It knows the values of the drift room and nothing of files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.ui import github

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.drift.check import Disagreement, Report
    from orchestrator.drift.find import Group


def lines(report: Report) -> list[str]:
    """One line for each disagreement, `file:line: …`, with its reason below where the claim gives one."""
    shown = []
    for one in report.disagreements:
        shown.append(str(one))
        if one.why:
            shown.append(f"    why: {one.why}")
        if one.edit is None and one.unfixable and one.says is not None:
            shown.append(f"    not fixed by --fix: {one.unfixable}")
    return shown


def summary(report: Report) -> str:
    """The counts: "32 claims, 175 places in 14 files agree with the matrix"."""
    counts = f"{count(report.claims, 'claim')}, {count(report.places, 'place')} in {count(len(report.files), 'file')}"
    return f"{counts}: all agree" if report.clean else f"{counts}: {count(len(report.disagreements), 'disagreement')}"


def as_json(report: Report, diff: str | None = None) -> dict[str, Any]:
    """The report for programs; `diff` where one was asked for."""
    content: dict[str, Any] = {
        "schema": 1,
        "claims": report.claims,
        "places": report.places,
        "files": list(report.files),
        "disagreements": [
            {
                "file": one.file,
                "line": one.line,
                "column": one.column,
                "end_column": one.end_column,
                "claim": one.claim,
                "place": one.place,
                "says": one.says,
                "expected": one.expected or None,
                "words": list(one.words),
                "why": one.why,
                "fixable": one.edit is not None,
                "unfixable": one.unfixable,
            }
            for one in report.disagreements
        ],
    }
    return content if diff is None else {**content, "diff": diff}


def as_github(report: Report, prefix: str = "") -> list[str]:
    """Workflow commands that annotate the very lines.

    Args:
        report: What a check found.
        prefix: Directory of the matrix below the repository's root, "" or ending with a slash.
    """
    return [_annotation(one, prefix) for one in report.disagreements]


def _annotation(one: Disagreement, prefix: str) -> str:
    _, _, text = str(one).partition(": ")
    why = f" ({one.why})" if one.why else ""
    place = github.Place(file=prefix + one.file, line=one.line, column=one.column, end_column=one.end_column)
    return github.command("error", text + why, place=place, title=one.place)


def groups_as_json(groups: Sequence[Group]) -> dict[str, Any]:
    """What `check --find` found, for programs."""
    return {
        "schema": 1,
        "subjects": [
            {
                "subject": group.subject,
                "contradicts": group.contradicts,
                "values": [
                    {
                        "value": value,
                        "places": [
                            {"file": sight.file, "line": sight.line, "name": sight.name, "claim": dict(sight.claim)}
                            for sight in sights
                        ],
                    }
                    for value, sights in group.values.items()
                ],
            }
            for group in groups
        ],
    }


def count(number: int, noun: str) -> str:
    """A number with its noun: 1 claim, 2 claims."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
