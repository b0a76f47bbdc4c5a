"""Shows the report of a check: lines for people, JSON for programs, annotations for GitHub, SARIF for code scanning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.ui import github, sarif
from orchestrator.untrusted import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.drift.find import Findings
    from orchestrator.drift.report import Disagreement, Report
    from orchestrator.errors import Problem


def lines(report: Report) -> list[str]:
    """One line for each disagreement, `file:line: …`; below it why it matters, and what to do by hand."""
    shown = []
    for one in report.disagreements:
        shown.append(str(one))
        if one.why:
            shown.append(f"    why: {one.why}")
        if one.edit is None and one.unfixable and one.says is not None:
            shown.append(f"    not fixed by --fix: {one.unfixable}")
        if one.hint:
            shown.append(f"    hint: {one.hint}")
    return [clean(line) for line in shown]  # names and values come from untrusted files


def summary(report: Report) -> str:
    """The counts: "32 claims, 175 places in 14 files: all agree"."""
    counts = f"{count(report.claims, 'claim')}, {count(report.places, 'place')} in {count(len(report.files), 'file')}"
    return f"{counts}: all agree" if report.clean else f"{counts}: {count(len(report.disagreements), 'disagreement')}"


def as_json(report: Report, diff: str | None = None) -> dict[str, Any]:
    """The report for programs, with the diff of `--diff` and `--fix`."""
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
                "hint": one.hint,
            }
            for one in report.disagreements
        ],
        "skipped": list(report.skipped),
        "notes": list(report.notes),
    }
    return content if diff is None else {**content, "diff": diff}


def as_github(report: Report, prefix: str = "") -> list[str]:
    """Workflow commands that annotate the lines of the disagreements.

    Args:
        report: The result of a check.
        prefix: Directory of the matrix below the repository's root, "" or ending with a slash.
    """
    return [_annotation(one, prefix) for one in report.disagreements]


_DRIFT = sarif.Rule(
    id="orchestrate/drift",
    text="A file says something else than the matrix.",
    help="`orchestrate check --fix` writes the matrix's values; `claims:` in matrix.yaml names the places.",
)
_GUARD = sarif.Rule(
    id="orchestrate/guard", text="A Dockerfile defeats what the matrix promises about headers or the compile cache."
)


def as_sarif(report: Report, prefix: str, matrix: str) -> dict[str, Any]:
    """The report as a SARIF log.

    Args:
        report: The result of a check.
        prefix: As for `as_github`.
        matrix: The file of the matrix, for a problem without a file.
    """
    findings = [
        sarif.Finding(
            rule=_GUARD if one.claim is None else _DRIFT,
            level=sarif.Level.ERROR,
            text=_text(one),
            place=_place(one, prefix),
        )
        for one in report.disagreements
    ]
    return sarif.log(findings, elsewhere=prefix + matrix)


def _text(one: Disagreement) -> str:
    """A disagreement with what it matters for and what to do."""
    return one.message + "".join(f" ({text})" for text in (one.why, one.hint) if text)


def _place(one: Disagreement, prefix: str) -> github.Place:
    return github.Place(file=prefix + one.file, line=one.line, column=one.column, end_column=one.end_column)


def _annotation(one: Disagreement, prefix: str) -> str:
    return github.command("error", _text(one), place=_place(one, prefix), title=one.place)


def skipped_lines(skipped: Sequence[Problem]) -> list[str]:
    """One line for each file that `check --find` and `init` could not read."""
    return [clean(f"{problem.place}: skipped: {problem.what}") for problem in skipped]


def findings_as_json(findings: Findings) -> dict[str, Any]:
    """The result of `check --find`, for programs."""
    return {
        "schema": 1,
        "subjects": [
            {
                "subject": str(group.subject),
                "contradicts": group.contradicts,
                "contradictions": [
                    {
                        "file": one.sight.file,
                        "line": one.sight.line,
                        "value": one.sight.value,
                        "against": {"file": one.file, "line": one.line, "value": one.value},
                        "words": list(one.words),
                    }
                    for one in group.contradictions
                ],
                "values": [
                    {
                        "value": value,
                        "places": [
                            {
                                "file": sight.file,
                                "line": sight.line,
                                "name": sight.name,
                                "written": sight.written,
                                "claim": sight.locator.keys(),
                            }
                            for sight in sights
                        ],
                    }
                    for value, sights in group.values.items()
                ],
            }
            for group in findings.groups
        ],
        "mentions": [
            {"file": one.file, "line": one.line, "value": one.value, "cuda": one.cuda, "prose": one.prose}
            for one in findings.mentions
        ],
        "skipped": [
            {"file": problem.file, "line": problem.line, "column": problem.column, "what": problem.what}
            for problem in findings.skipped
        ],
    }


def count(number: int, noun: str) -> str:
    """A number with its noun: 1 claim, 2 claims."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
