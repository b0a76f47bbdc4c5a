"""Shows the report of a check: lines for people, JSON for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.sizes import counted
from orchestrator.untrusted import clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orchestrator.drift.find import Findings
    from orchestrator.drift.loose import Mention
    from orchestrator.drift.report import Report
    from orchestrator.errors import Problem


def lines(report: Report) -> list[str]:
    """Return one line for each disagreement, `file:line: …`; below it why it matters, and what to do by hand."""
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
    """Return the counts: "32 claims, 175 places in 14 files: all agree"."""
    counts = (
        f"{counted(report.claims, 'claim')}, {counted(report.places, 'place')} in {counted(len(report.files), 'file')}"
    )
    return f"{counts}: all agree" if report.clean else f"{counts}: {counted(len(report.disagreements), 'disagreement')}"


def as_json(report: Report, diff: str | None = None) -> dict[str, Any]:
    """Return the report for programs, with the diff of `--diff` and `--fix`."""
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


def unclaimed_lines(mentions: Sequence[Mention]) -> Iterator[str]:
    """How many places `init` cannot claim, one line at most; pages and comments do not count."""
    unread = [one for one in mentions if not one.prose]
    if unread:
        files = counted(len({one.file for one in unread}), "file")
        yield (
            f"note: {counted(len(unread), 'place')} in {files} with an arch list or a CUDA version, in lines that no "
            "reader understands, cannot be claimed: `orchestrate check --find` shows them"
        )


def skipped_lines(skipped: Sequence[Problem]) -> list[str]:
    """Return one line for each file that `check --find` and `init` could not read."""
    return [clean(f"{problem.place}: skipped: {problem.what}") for problem in skipped]


def findings_as_json(findings: Findings) -> dict[str, Any]:
    """Return the result of `check --find`, for programs."""
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
        "replaced": [
            {"file": one.sight.file, "line": one.sight.line, "value": one.sight.value, "by": one.by}
            for one in findings.replaced
        ],
        "skipped": [
            {"file": problem.file, "line": problem.line, "column": problem.column, "what": problem.what}
            for problem in findings.skipped
        ],
    }
