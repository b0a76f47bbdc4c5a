"""Shows a kept run in a terminal: its variants against the run before, where the time went, what failed and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.durations import duration
from orchestrator.runs.outcome import Status
from orchestrator.sizes import size_text
from orchestrator.ui.results import cached_steps, compile_line, failure_lines, never_started, not_started, summary
from orchestrator.ui.text import shorten
from orchestrator.untrusted import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.bake.moved import StepTime
    from orchestrator.runs.kept import Run
    from orchestrator.runs.outcome import Outcome

_STEPS = 5  # of those that took longest
_NAME = 90  # characters of a step's name
_SAME = 0.05  # share of a time below which a change is none


def lines(run: Run, previous: Run | None = None) -> list[str]:
    """Return the lines.

    Args:
        run: What they show.
        previous: The run before it; None where there is none.
    """
    begun = [outcome for outcome in run.outcomes if not never_started(outcome)]
    head = f"build of {run.when}, {duration(run.seconds)}: {summary(run.outcomes)}"
    found = [head, f"logs: {run.directory}", *(_table(begun, previous) if begun else ())]
    slow = longest(begun, _STEPS)
    found += ["the steps that took longest:"] if slow else []
    found += [f"  {duration(step.seconds).rjust(7)}  {id_}  {shorten(step.name, _NAME, '...')}" for id_, step in slow]
    for outcome in begun:
        found += [
            f"{outcome.id}: attempt {number} of {len(outcome.tries)} failed: {one.reason}"
            for number, one in enumerate(outcome.tries, 1)
            if one.reason and number < len(outcome.tries)
        ]
    found += [f"{outcome.id}: {text}" for outcome in begun if (text := compile_line(outcome))]
    return found + [line for one in begun for line in failure_lines(one)] + not_started(run.outcomes)


def before(outcome: Outcome, previous: Run | None) -> str:
    """Return how long the variant took in the run before, "-" where it was not built in it."""
    earlier = _earlier(outcome, previous)
    return duration(earlier.seconds) if earlier is not None else "-"


def change(outcome: Outcome, previous: Run | None) -> str:
    """Return how much longer the variant took than in the run before, `+12%`; "" where nothing is compared."""
    earlier = _earlier(outcome, previous)
    if earlier is None or outcome.status is not Status.BUILT or earlier.seconds <= 0:
        return ""
    share = outcome.seconds / earlier.seconds - 1
    return "same" if abs(share) < _SAME else f"{share:+.0%}"


def longest(outcomes: Sequence[Outcome], count: int) -> list[tuple[str, StepTime]]:
    """Return the steps that took longest, with their variants: of each variant the last attempt's."""
    found = [(one.id, step) for one in outcomes if one.tries for step in one.tries[-1].steps if step.seconds > 0]
    return sorted(found, key=lambda one: -one[1].seconds)[:count]


def _earlier(outcome: Outcome, previous: Run | None) -> Outcome | None:
    same = (one for one in (previous.outcomes if previous is not None else ()) if one.id == outcome.id)
    return next((one for one in same if one.status is Status.BUILT), None)


def _table(outcomes: Sequence[Outcome], previous: Run | None) -> list[str]:
    named = any(one.builder for one in outcomes)
    names = ("variant", "status", "time", "before", "change", "cached", "attempts", "pulled", "sent")
    rows = [(*names, "builder") if named else names]
    rows += [
        (
            one.id,
            one.status.value,
            duration(one.seconds),
            before(one, previous),
            change(one, previous) or "-",
            cached_steps(one),
            str(one.attempts),
            size_text(one.moved.pulled),
            size_text(one.moved.sent),
            *((clean(one.builder) or "-",) if named else ()),
        )
        for one in outcomes
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
