"""A verdict, or what a new image lost, as SARIF: a result for each library.

What concerns no library stands at the image's name. It knows verdicts and shows them; it decides nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.sizes import size_text
from orchestrator.ui import sarif
from orchestrator.ui.github import Place
from orchestrator.ui.sarif import Finding, Level, Rule

if TYPE_CHECKING:
    from orchestrator.errors import Problem
    from orchestrator.image.verdict.compare import Comparison
    from orchestrator.image.verdict.verify import Verdict

MISSING = Rule(
    id="orchestrate/kernels-missing",
    text="A required library holds machine code for every architecture that was promised.",
    help="Add the architecture to the arch list of the matrix, and build again.",
)
HEADERS = Rule(
    id="orchestrate/headers-missing",
    text="The image holds every header that FlashInfer looks for, as locked.",
    help="Build with the bundle of `orchestrate headers lock`.",
)
REMARK = Rule(id="orchestrate/kernels-remark", text="The image's device code holds nothing that should be looked at.")
UNREAD = Rule(id="orchestrate/kernels-not-read", text="Every file that may hold device code is read.")
LOST = Rule(id="orchestrate/kernels-lost", text="A new image holds all device code that the old one holds.")


def verdict_log(verdict: Verdict) -> dict[str, Any]:
    """Return the verdict as a SARIF log, a value for `json.dumps`."""
    headers = verdict.headers.problems if verdict.headers else ()
    findings = [
        _finding(HEADERS if problem in headers else MISSING, Level.ERROR, problem) for problem in verdict.problems
    ]
    findings += [_finding(REMARK, Level.WARNING, remark) for remark in verdict.remarks]
    findings += [
        Finding(rule=UNREAD, level=Level.NOTE, text=f"not read ({size_text(size)}): {why}", place=Place(file=path))
        for path, size, why in verdict.unread
    ]
    return sarif.log(findings, elsewhere=verdict.scanned.source)


def comparison_log(comparison: Comparison) -> dict[str, Any]:
    """Return what the new image lost as a SARIF log, a value for `json.dumps`."""
    findings = [_finding(LOST, Level.ERROR, problem) for problem in comparison.lost]
    return sarif.log(findings, elsewhere=comparison.new)


def _finding(rule: Rule, level: Level, problem: Problem) -> Finding:
    text = f"{problem.what}; {problem.hint}" if problem.hint else problem.what
    return Finding(rule=rule, level=level, text=text, place=Place(file=problem.file, line=problem.line))
