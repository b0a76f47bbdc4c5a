"""Shows the end of a build: a table of all variants, and for each failure its reason, last lines and log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cache import compile_statistics
from orchestrator.durations import duration
from orchestrator.runs.outcome import Status
from orchestrator.ui.text import short_digest, shorten, signs
from orchestrator.untrusted import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from orchestrator.runs.outcome import Outcome

SHOWN_LINES = 15  # of a failed step's output; the whole of it is in the log

STYLES = {Status.BUILT: "green", Status.FAILED: "red", Status.CANCELLED: "yellow", Status.SKIPPED: "cyan"}


def show_results(outcomes: Sequence[Outcome], *, console: Console) -> None:
    """Print the table, then what each failed variant said last.

    Args:
        outcomes: All outcomes of the run.
        console: Where to; its stream decides on colours and signs.
    """
    from rich.text import Text

    if not outcomes:
        return
    table = results_table(outcomes, console=console) if console.is_terminal else None
    lines: list[str] = []
    if table is not None and _width(table, console) <= console.width:
        console.print(table)
    else:
        # A file or a pipe gets whole lines, so that grep finds everything.
        lines = plain_results(outcomes, short=console.is_terminal)
    for line in [*lines, *_more(outcomes)]:
        console.print(Text(line), soft_wrap=True)


def plain(outcomes: Sequence[Outcome]) -> str:
    """Return the same for a file or a pipe, as lines; rich is not imported, which takes longer than a cached step."""
    return "\n".join([*plain_results(outcomes), *_more(outcomes)]) if outcomes else ""


def _more(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the lines below the table."""
    lines = references(outcomes)
    lines += [f"{outcome.id}: {text}" for outcome in outcomes if (text := compile_line(outcome))]
    lines += [f"{outcome.id}: note: {clean(note)}" for outcome in outcomes for note in outcome.notes]
    # Failures come last, next to the prompt.
    lines += [line for outcome in outcomes for line in failure_lines(outcome)]
    lines += not_started(outcomes)
    return [*lines, summary(outcomes)] if len(outcomes) > 1 else lines


def _width(table: Table, console: Console) -> int:
    """Return the columns that the table needs."""
    return console.measure(table, options=console.options.update(max_width=10_000)).maximum


def results_table(outcomes: Sequence[Outcome], *, console: Console) -> Table:
    """Return a table with one row for each variant: status, digest, time, cached steps, attempts."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = signs(console.file)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("variant", "status", "digest"):
        table.add_column(name, no_wrap=True)
    for name in ("time", "cached", "attempts"):
        table.add_column(name, justify="right", no_wrap=True)
    for outcome in outcomes:
        sign = getattr(shown, outcome.status.value)
        table.add_row(
            Text(outcome.id),
            Text(f"{sign} {outcome.status.value}", style=STYLES[outcome.status]),
            short_digest(outcome.digest),
            duration(outcome.seconds),
            cached_steps(outcome),
            str(outcome.attempts),
        )
    return table


def plain_results(outcomes: Sequence[Outcome], *, short: bool = False) -> list[str]:
    """Return the table as lines with aligned columns, digests whole unless `short`."""
    rows = [("variant", "status", "digest", "time", "cached", "attempts")]
    rows += [
        (
            outcome.id,
            outcome.status.value,
            (short_digest(outcome.digest) if short else outcome.digest) or "-",
            duration(outcome.seconds),
            cached_steps(outcome),
            str(outcome.attempts),
        )
        for outcome in outcomes
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def references(outcomes: Sequence[Outcome]) -> list[str]:
    """Return what to pull or run: a line for each reference of the variants that are there."""
    return [reference for outcome in outcomes for reference in outcome.references]


def failure_lines(outcome: Outcome) -> list[str]:
    """Return why a variant was not built, the end of its output, and where the log is; nothing for a built one."""
    if outcome.error is None or never_started(outcome):
        return []
    error = outcome.error
    where = f" at {clean(error.place)}" if error.place else " at" if error.step else ""
    step = where + (f" {shorten(clean(error.step), 160, '...')}" if error.step else "")
    first, *more = error.message.splitlines() or [""]
    lines = [f"{outcome.id}: {outcome.status.value} ({error.failure}){step}: {clean(first)}"]
    lines += [f"    {clean(line)}" for line in more]
    if outcome.status is Status.FAILED:
        lines += [f"  | {shorten(clean(line), 400, '...')}" for line in outcome.last_lines[-SHOWN_LINES:]]
    if outcome.log is not None and outcome.attempts:
        lines.append(f"  log: {outcome.log}")
    return lines


def never_started(outcome: Outcome) -> bool:
    """Return whether the end of the run came before the variant: the reason of the run is shown once, not for each."""
    return outcome.status is Status.CANCELLED and not outcome.attempts and not outcome.seconds


def not_started(outcomes: Sequence[Outcome]) -> list[str]:
    """Return one line for each reason why variants were never started; the table has their names."""
    reasons: dict[str, int] = {}
    for outcome in outcomes:
        if never_started(outcome) and outcome.error is not None:
            reason = clean(outcome.error.message.split("\n", 1)[0])
            reasons[reason] = reasons.get(reason, 0) + 1
    return [f"{count} variant{'s' * (count > 1)} not started: {reason}" for reason, count in reasons.items()]


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return `3 built, 1 failed` in one line."""
    counts = [(sum(outcome.status is status for outcome in outcomes), status.value) for status in Status]
    return ", ".join(f"{count} {name}" for count, name in counts if count) or "nothing to build"


def compile_line(outcome: Outcome) -> str:
    """Return what the compile cache did, "" where it said nothing."""
    found = outcome.compile_cache
    return f"compile cache: {clean(compile_statistics.sentence(found))}" if found is not None else ""


def cached_steps(outcome: Outcome) -> str:
    """Return `5/12`, or "-" where no step was seen."""
    steps = outcome.steps
    return f"{steps.cached}/{steps.total}" if steps.total else "-"
