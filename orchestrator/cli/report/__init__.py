"""`orchestrate report …`: what earlier runs did."""

from __future__ import annotations

from orchestrator.cli.kit import Lazy, LazyGroup

_HELP = """Show what earlier runs of `orchestrate build` did.

Each run keeps its report beside its logs, in .orchestrate/runs, for the last twenty runs and two weeks at least.
"""

COMMANDS = {
    name: Lazy(module=f"orchestrator.cli.report.{name}", summary=summary)
    for name, summary in (("last", "Show the last run: when what ran, where the time went, what failed."),)
}

command = LazyGroup(
    name="report",
    help=_HELP,
    lazy=COMMANDS,
    examples=(
        "orchestrate report last                     the table, and the steps that took longest",
        "orchestrate report last --html build.html   one page: timeline, retries, sizes, against the run before",
    ),
)
