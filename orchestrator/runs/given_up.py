"""Builds that were given up because their connection hangs, and may go on at their builder.

Nothing ends such a build: buildx has no word for it, and the builder hears of no connection that breaks (measured with
buildx 0.29: it pushes minutes later, over the tag of the attempt that followed). So a variant that was built in a later
attempt waits for their end, and tags that they have moved are pointed back. Images that are pushed by digest and tagged
later (`--verify`) need none of it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from orchestrator import process
from orchestrator.bake.events import Notice
from orchestrator.errors import InterruptedRunError, OrchestrateError
from orchestrator.reference import Tag, parse
from orchestrator.runs.outcome import Status, error_info

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orchestrator.engine.history import Build
    from orchestrator.process import Stop
    from orchestrator.runs.outcome import Outcome
    from orchestrator.runs.reporter import Reporter
    from orchestrator.runs.tagging import Tagging

LEAST_S = 60.0
"""Seconds for which the end of such a build is waited for at least; as long as a builder may be silent, if longer."""

_PAUSE_S = 2.0


def _named(reference: str) -> str:
    from orchestrator.registry.client import Registry

    found = parse(reference)
    with Registry(found.repository) as registry:
        there = registry.head(found.tag or Tag("latest"))
    return str(there.digest) if there is not None else ""


class Registries(Struct, frozen=True, kw_only=True):
    """Where a variant's tags are.

    Attributes:
        tags: Repository -> references with a tag.
        tagging: How tags are set.
        named: What a reference names now, "" for nothing.
    """

    tags: Mapping[str, Sequence[str]]
    tagging: Tagging
    named: Callable[[str], str] = _named


def settled(
    outcome: Outcome,
    builds: Sequence[Build],
    registries: Registries,
    *,
    within_s: float,
    stop: Stop,
    reporter: Reporter,
) -> Outcome:
    """Wait for the end of builds that were given up, and point tags that they moved back; tells both in notes.

    Args:
        outcome: Of the variant, which was built and pushed.
        builds: Those that were given up.
        registries: Where its tags are.
        within_s: Seconds to wait at most.
        stop: Ends the waiting.
        reporter: Hears what is waited for.

    Returns:
        The outcome with notes; failed where tags that were moved could not be set.
    """
    left: Sequence[Build] = builds
    try:
        with process.stoppable(stop):
            left = _ended(outcome.id, builds, within_s, reporter)
            moved = _moved(outcome, registries)
            if moved:
                failure = registries.tagging.set(outcome.id, moved, outcome.digest or "", stop=stop, reporter=reporter)
                if failure is not None:
                    return replace(outcome, status=Status.FAILED, error=failure)
    except InterruptedRunError:
        moved = {}
    except OrchestrateError as error:
        note = f"not checked whether its tags still name it: {error_info(error).message}"
        return replace(outcome, notes=(*outcome.notes, note))
    notes = [
        f"a build that was given up had moved {tag}, which names {outcome.digest} again"
        for tags in moved.values()
        for tag in tags
    ]
    notes += [f"a build that was given up on builder {one.builder} may still push over its tags" for one in left]
    return replace(outcome, notes=(*outcome.notes, *notes)) if notes else outcome


def unsettled(builds: Sequence[Build]) -> list[str]:
    """Return what is to be said of a variant that failed, about builds of it that were given up."""
    names = dict.fromkeys(one.builder for one in builds)
    return [
        f"a build that was given up on builder {name} may have pushed its tags, or push them later" for name in names
    ]


def _ended(variant: str, builds: Sequence[Build], within_s: float, reporter: Reporter) -> list[Build]:
    """Wait until builds have ended; those of which that is not known at the end."""
    until, left, unknown, told = time.monotonic() + within_s, list(builds), [], False
    while left:
        for one in list(left):
            goes_on = one.goes_on()
            if goes_on:
                continue
            left.remove(one)
            if goes_on is None:
                unknown.append(one)
        if not left or time.monotonic() > until:
            break
        if not told:
            told = True
            names = ", ".join(sorted({one.builder for one in left}))
            reporter.event(variant, Notice(text=f"waiting for the end of a build that was given up on builder {names}"))
        process.pause(_PAUSE_S)
    return [*unknown, *left]


def _moved(outcome: Outcome, registries: Registries) -> dict[str, list[str]]:
    """Repository -> the tags that name something else."""
    found = {
        name: [tag for tag in tags if registries.named(tag) != outcome.digest] for name, tags in registries.tags.items()
    }
    return {name: tags for name, tags in found.items() if tags}
