"""Prepares a run: its builders, where results go, bake files and jobs."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.engine import client, doctor
from orchestrator.engine.builders import DOCKER_DRIVER
from orchestrator.errors import EnvironmentLacksError, UsageError
from orchestrator.matrix.schema_builders import FleetBuilder
from orchestrator.runs import air_gap, caching, header_bundle, jobs, sites, targets
from orchestrator.runs.after_build import AfterBuild
from orchestrator.runs.fleet import Fleet, Member
from orchestrator.runs.freshness import Freshness
from orchestrator.runs.journal import Journal
from orchestrator.runs.proof import prove_pushed
from orchestrator.runs.step import Context
from orchestrator.runs.tagging import Tagging
from orchestrator.state import STATE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from orchestrator.bake.file import Extras, Output
    from orchestrator.engine.builders import Builder
    from orchestrator.engine.info import EngineInfo
    from orchestrator.matrix.variants import Plan
    from orchestrator.runs.reporter import Screen
    from orchestrator.runs.resume import Resume
    from orchestrator.runs.targets import Early
    from orchestrator.runs.wishes import Wishes


def require_names(plan: Plan) -> None:
    """Require a tag for every variant that is loaded into the engine.

    Raises:
        UsageError: One has none: nothing names its image there.
    """
    for variant in plan.variants:
        if not variant.tags:
            raise UsageError(
                f"--load: variant {variant.id} has no tags, so nothing names its image in the engine",
                hint="add tags to the variants of the matrix, or write archives with --output DIR",
            )


class Ready(Struct, frozen=True, kw_only=True):
    """Everything that a run needs before its first variant starts."""

    prepared: jobs.Prepared
    journal: Journal
    disk: Path | None
    plan: Plan
    fleet: Fleet
    builder: str
    revision: str


class Begun(Struct, frozen=True, kw_only=True):
    """A run before its engine is known."""

    name: str
    extras: Mapping[str, Extras]
    resume: Resume | None
    early: Early


class _Crew(Struct, frozen=True, kw_only=True):
    """Who builds.

    Attributes:
        info: The engine of this machine, None where none answers.
        engine: The one that is asked about the plan.
        sites: Each builder, with what variants are given there.
        shared: Whether they are those of the matrix.
    """

    info: EngineInfo | None
    engine: doctor.Engine
    sites: Sequence[sites.Site]
    shared: bool

    @property
    def drivers(self) -> frozenset[str]:
        """What the builders are."""
        return frozenset(one.builder.driver for one in self.sites)

    @property
    def extras(self) -> Mapping[str, Extras]:
        """What variants are given on the builder that is asked about the plan."""
        return next(one for one in self.sites if one.builder.name == self.engine.builder.name).extras

    @property
    def local(self) -> Builder:
        """The builder whose layers are on this machine, where there is one."""
        return next((one.builder for one in self.sites if not one.builder.elsewhere), self.engine.builder)


def prepare(plan: Plan, wishes: Wishes, screen: Screen, begun: Begun) -> Ready:
    """Return everything that a run needs: engine, bake files, jobs; air-gapped, with every input looked at.

    Raises:
        EnvironmentLacksError: No engine or builder, buildx too old, a directory that cannot be made.
        MatrixError: buildx refuses the bake files.
        InterruptedRunError: A stop was asked for.
    """
    crew = _crew(plan, wishes, screen, begun)
    # Platforms are judged by each variant alone, after its preflight.
    call = targets.bake_call(plan, client.docker_command(), crew.engine.builder.name if crew.shared else wishes.builder)
    output = _output(wishes, begun.name, crew)
    journal = Journal(plan.matrix.root.absolute() / STATE / "journal.jsonl")
    context = Context(
        call=call,
        builder=crew.engine.builder,
        name=begun.name,
        output=output,
        extras=crew.extras,
        hook=_hook(plan, wishes, output, crew.extras),
        verify=wishes.verify,
        report=wishes.report,
        allowed=wishes.allowed,
        resume=begun.resume,
        journal=journal,
        bounds=wishes.limits.bounds,
        at_once=crew.sites[0].at_once,
        memory=crew.sites[0].memory,
        sites={one.builder.name: one for one in crew.sites} if crew.shared else {},
        freshness=Freshness(
            local=DOCKER_DRIVER in crew.drivers,
            offline=wishes.air_gap is not None,
            max_age_s=wishes.max_age_s,
        ),
        revision=begun.early.revision.result(),
    )
    prepared = jobs.prepare(plan, context, begun.early.targets.result())
    if wishes.air_gap is not None:
        air_gap.require_inputs(plan, prepared.files, crew.extras, wishes.air_gap.registries, screen.warn)
    fleet = Fleet(members=(Member(name=crew.engine.builder.name, slots=wishes.limits.parallel),))
    if crew.shared:
        fleet = sites.fleet(plan, crew.sites, prepared.files, call, journal)
    return Ready(
        prepared=prepared,
        journal=journal,
        disk=doctor.Engine(info=crew.info or crew.engine.info, builder=crew.local).disk,
        plan=plan,
        fleet=fleet,
        builder=crew.local.name if crew.shared else wishes.builder,
        revision=context.revision,
    )


def _crew(plan: Plan, wishes: Wishes, screen: Screen, begun: Begun) -> _Crew:
    info, found = _builders(plan, wishes, screen, begun.early)
    shared = bool(found)
    if shared:
        engine = doctor.Engine(info=info, builder=next(one for one in found if not one.down).builder)
    else:
        engine = doctor.require_engine(builder=wishes.builder, asked=begun.early.asked)
        found = [sites.Site(spec=FleetBuilder(slots=wishes.limits.parallel), builder=engine.builder)]
    for line in caching.reasons(begun.extras, plan.matrix.spec.cache.backend):
        screen.tell(line)
    equipped = [
        sites.equipped(plan, one, info or engine.info, begun.extras, tell=screen.tell, warn=screen.warn)
        for one in found
    ]
    return _Crew(info=info, engine=engine, sites=equipped, shared=shared)


def _output(wishes: Wishes, name: str, crew: _Crew) -> Output:
    """Where results go, by a name of this run alone."""
    run = f"{name}-{secrets.token_hex(3)}".lower()
    output = replace(wishes.output, digests=DOCKER_DRIVER not in crew.drivers, run=run)
    if wishes.verify and output.push:
        output = replace(output, hold="digest" if output.digests else "tag")
    if output.directory is not None:
        _make(output.directory)
    return output


def _hook(plan: Plan, wishes: Wishes, output: Output, extras: Mapping[str, Extras]) -> AfterBuild | None:
    """What follows each success, None where nothing does."""
    if not wishes.verify and not any(output.holding_tag(variant) for variant in plan.variants):
        return None
    return AfterBuild(
        plan=plan,
        output=output,
        tagging=Tagging(retry=wishes.retry),
        bundles=header_bundle.bundles(plan, extras),
        attest=prove_pushed,
        verify=wishes.verify,
    )


def _builders(plan: Plan, wishes: Wishes, screen: Screen, early: Early) -> tuple[EngineInfo | None, list[sites.Site]]:
    """The builders of the matrix and this machine's engine; none where a builder is named on the command line."""
    if wishes.builder or not plan.matrix.spec.builders:
        return None, []
    early.asked.version()
    try:
        info: EngineInfo | None = early.asked.info()
    except EnvironmentLacksError:
        info = None
    root = plan.matrix.root.absolute()
    return info, sites.opened(plan.matrix.spec.builders, info, root=root, tell=screen.tell, warn=screen.warn)


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentLacksError(
            f"--output {directory}: is not a directory and cannot be made one: {error.strerror}"
        ) from error
