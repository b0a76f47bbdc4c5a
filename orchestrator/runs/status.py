"""Says what there is of each variant in the registry: built, stale because something changed, or never built.

The answer is that of `build --push --resume`, with or without `--verify`, and nothing is built, moved or written: a
registry is asked, the inputs are read, and what changed is told from the records of this machine's own builds.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.bake.file import Output
from orchestrator.cache.keys import inputs
from orchestrator.cache.records import Records
from orchestrator.engine.builders import DOCKER_DRIVER
from orchestrator.registry.clients import every
from orchestrator.runs import header_bundle, jobs
from orchestrator.runs.freshness import Freshness
from orchestrator.runs.journal import Journal
from orchestrator.runs.proof import promise
from orchestrator.runs.resume import Result, Resume
from orchestrator.runs.wanted import contents, wanted
from orchestrator.state import require_own

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from orchestrator.bake.file import Extras
    from orchestrator.engine.buildx import BakeCall
    from orchestrator.matrix.variants import Plan
    from orchestrator.reference import Repository
    from orchestrator.registry.client import Registry
    from orchestrator.runs.resume import Wanted


class State(StrEnum):
    """What there is of a variant."""

    BUILT = "built"
    STALE = "stale"
    NEVER = "never"
    UNKNOWN = "unknown"


class VariantStatus(Struct, frozen=True, kw_only=True):
    """What there is of one variant.

    Attributes:
        id: The variant.
        state: In one word.
        why: Why it is stale, never built or unknown; of a built one what its key does not see.
        digest: Of what is built, "" where nothing is.
        key: Its content key, "" where that is not known.
        tags: The references that were asked for.
    """

    id: str
    state: State
    why: str = ""
    digest: str = ""
    key: str = ""
    tags: tuple[str, ...] = ()


def statuses(
    plan: Plan,
    call: BakeCall,
    extras: Mapping[str, Extras],
    *,
    drivers: Collection[str] = (),
    verify: bool = False,
    connect: Callable[[Repository], Registry] | None = None,
) -> list[VariantStatus]:
    """Return what there is of each variant, in the order of the plan.

    Args:
        plan: The plan.
        call: How buildx is called.
        extras: What features add, as a build makes them.
        drivers: Of the builders that a build would use.
        verify: Whether only what was verified for what is promised now counts as built.
        connect: Makes the client of a repository.

    Raises:
        MatrixError: buildx refuses the project's bake files.
        InterruptedRunError: A stop was asked for.
    """
    output = Output(push=True, digests=DOCKER_DRIVER not in drivers)
    state = require_own(call.root)
    journal, records = Journal(state / "journal.jsonl"), Records(state / "inputs")
    freshness = Freshness(local=DOCKER_DRIVER in drivers)
    listing = contents(plan)
    files = jobs.bake_files(plan, call, output=output, extras=extras)
    bundles = header_bundle.bundles(plan, extras)
    spec = plan.matrix.spec.verify
    promised = {one.id: promise(one, spec, bundles.get(one.id, "")) if verify else "" for one in plan.variants}
    asked = [
        wanted(
            variant,
            inputs(files[variant.id], variant, call.root, listing),
            image=plan.image,
            output=output,
            freshness=freshness,
            records=records,
        )
        for variant in plan.variants
    ]
    with Resume(output, connect=connect) as resume:
        return every(lambda one: _status(resume, replace(one, promised=promised[one.id]), journal), asked)


_STATES = {
    Result.THERE: State.BUILT,
    Result.OTHER: State.STALE,
    Result.NONE: State.NEVER,
    Result.UNKNOWN: State.UNKNOWN,
}


def _status(resume: Resume, one: Wanted, journal: Journal) -> VariantStatus:
    found = resume.decide(one, journal)
    last = journal.last(one.id)
    state, why = _STATES[found.result], found.why
    if state is State.BUILT and found.outcome is not None:
        made = journal.made(one.id, one.key, found.outcome.digest or "")
        why = "; ".join(filter(None, (one.unseen, one.uncompared(made))))
    elif state is State.NEVER and last is not None:
        state, why = State.STALE, f"{found.why}; last built here at {last.at}"
    digest = (found.outcome.digest if found.outcome is not None else None) or ""
    return VariantStatus(id=one.id, state=state, why=why, digest=digest, key=one.key, tags=one.tags)
