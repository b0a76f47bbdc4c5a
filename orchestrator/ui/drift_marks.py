"""Marks the lines of a check's disagreements: annotations for GitHub, SARIF for code scanning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.ui import github, sarif

if TYPE_CHECKING:
    from orchestrator.drift.report import Disagreement, Report


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
    """Return the report as a SARIF log.

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
    """Return a disagreement with what it matters for and what to do."""
    return one.message + "".join(f" ({text})" for text in (one.why, one.hint) if text)


def _place(one: Disagreement, prefix: str) -> github.Place:
    return github.Place(file=prefix + one.file, line=one.line, column=one.column, end_column=one.end_column)


def _annotation(one: Disagreement, prefix: str) -> str:
    return github.command("error", _text(one), place=_place(one, prefix), title=one.place)
