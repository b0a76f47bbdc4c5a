"""Says why the first step of a build was not in the cache, and what changed since; keeps what went in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from orchestrator.cache import explain
from orchestrator.runs.journal import bases

if TYPE_CHECKING:
    from orchestrator.cache.keys import Inputs
    from orchestrator.cache.records import Records
    from orchestrator.runs.journal import Journal
    from orchestrator.runs.outcome import Outcome


def explained(outcome: Outcome, found: Inputs, journal: Journal, records: Records) -> Outcome:
    """Return the outcome of a build with the sentence on its cache.

    Args:
        outcome: How it ended.
        found: What went in.
        journal: What earlier runs built.
        records: What went into them.
    """
    last = journal.last(outcome.id)
    before = records.load(last.inputs) if last is not None else None
    changed: list[explain.Cause] = []
    at = ""
    if last is not None and before is not None:
        at = last.at
        changed = explain.causes(before, found, (last.bases, bases(outcome.metadata)))
    step = outcome.first_ran
    return replace(
        outcome,
        cache=explain.sentence(step, changed, last=at),
        changes=explain.told(step, changed) if step and at else (),
        inputs=records.keep(found),
    )


def since(variant: str, found: Inputs, records: Records, journal: Journal) -> str:
    """Return what changed since a variant was last built here, in one sentence; "" where that is not known.

    Args:
        variant: The variant.
        found: What goes in now.
        records: What went into earlier builds.
        journal: What earlier runs built.
    """
    last = journal.last(variant)
    before = records.load(last.inputs) if last is not None else None
    if last is None or before is None:
        return ""
    # What the key does not hold explains a step that ran, and never an image that is not current.
    changed = [one for one in explain.causes(before, found) if one.what not in explain.NOT_IN_KEY]
    if not changed:
        return ""
    more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
    return f"since {last.at} {changed[0].text}{more}"
