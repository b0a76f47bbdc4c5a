"""Finds what the caches of a plan hold on this machine, and what of them the next build needs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.cache import compile_settings, holdings, rights
from orchestrator.cache.needed import needed, steps_and_images
from orchestrator.engine import build_cache, doctor
from orchestrator.engine.client import docker_command
from orchestrator.errors import EnvironmentLacksError
from orchestrator.matrix import expand
from orchestrator.matrix.layers import CommandLine
from orchestrator.runs import jobs, sites
from orchestrator.runs.targets import bake_call

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from orchestrator.cache.holdings import Owned
    from orchestrator.engine.build_cache import CacheRecord
    from orchestrator.engine.doctor import Engine
    from orchestrator.matrix.variants import Plan


class MachineCaches(Struct, frozen=True, kw_only=True):
    """What the caches of a builder and of this machine hold.

    Attributes:
        builder: Name of the builder.
        records: Of its cache.
        needed: Ids of those that the next build may take.
        disk: Where the builder keeps its layers, None where that is not this machine.
        directories: Local layer caches, each with the variants whose it is.
    """

    builder: str
    records: Sequence[CacheRecord]
    needed: frozenset[str]
    disk: Path | None
    directories: Sequence[Owned]


def whole(plan: Plan) -> Plan:
    """Return every variant of the matrix, those of a plan as it has them: what a selection leaves out needs its cache.

    Raises:
        MatrixError: What the expansion of the whole matrix shows.
    """
    ours = {variant.id for variant in plan.variants}
    others = expand.plan(plan.matrix, given=CommandLine(image=plan.image)).variants
    return replace(plan, variants=(*plan.variants, *(one for one in others if one.id not in ours)))


class FleetCaches(Struct, frozen=True, kw_only=True):
    """What the caches of all builders of a plan hold.

    Attributes:
        builders: Each that answers; the local directories are with the first one of this machine.
        silent: Each that does not, as it is shown -> why.
    """

    builders: Sequence[MachineCaches]
    silent: Mapping[str, str]


def machine_caches(plan: Plan, builder: str = "") -> MachineCaches:
    """Return what the caches of one builder and of this machine hold.

    Args:
        plan: Every variant of the matrix: what a selection leaves out is needed as well.
        builder: Name of the builder, "" for the current one.

    Raises:
        EnvironmentLacksError: No engine or builder answers.
        MatrixError: The bake files or Dockerfiles cannot be read, so what is needed is not known.
    """
    engine = doctor.require_engine(builder=builder)
    return _held(plan, engine, builder, _next(plan, builder), directories=True)


def fleet_caches(plan: Plan, builder: str = "") -> FleetCaches:
    """Return what the caches of every builder of the matrix and of this machine hold.

    Args:
        plan: Every variant of the matrix.
        builder: The only builder to ask; "" asks those of the matrix, without any the current one.

    Raises:
        EnvironmentLacksError: No builder answers.
        MatrixError: As for `machine_caches`.
    """
    if builder or not plan.matrix.spec.builders:
        return FleetCaches(builders=[machine_caches(plan, builder)], silent={})
    with doctor.Asked() as asked:
        there = sites.standing(plan, builder, asked)
    silent = {str(one): one.down for one in there.down}
    first = next((one for one in there.up if not one.builder.elsewhere), there.engine)
    steps = _next(plan, there.engine.builder.name)
    found = []
    for engine in there.up:
        name = engine.builder.name
        try:
            found.append(_held(plan, engine, name, steps, directories=engine is first))
        except EnvironmentLacksError as error:
            silent[name] = error.message
    return FleetCaches(builders=found, silent=silent)


class _Next(Struct, frozen=True, kw_only=True):
    """What the next build of a plan does: its steps, and the images that it starts from."""

    steps: Mapping[str, int]
    images: Collection[str]


def _next(plan: Plan, builder: str) -> _Next:
    call = bake_call(plan, docker_command(), builder)
    steps, images = steps_and_images(call.root, jobs.bake_files(plan, call))
    return _Next(steps=steps, images=images)


def _held(plan: Plan, engine: Engine, name: str, coming: _Next, *, directories: bool) -> MachineCaches:
    """What a builder holds, and the directories of this machine where they are told with it."""
    found = build_cache.records(name)
    standing = rights.here(plan.matrix.spec.cache, plan.matrix.root, env=os.environ)
    return MachineCaches(
        builder=engine.builder.name,
        records=found,
        needed=frozenset(needed(found, coming.steps, coming.images)),
        disk=engine.disk,
        directories=holdings.local_caches(plan, standing, disk=engine.disk) if directories else (),
    )


def namespaces(plan: Plan) -> Mapping[str, tuple[str, ...]]:
    """Return the namespaces of the compile cache, each with the variants that share it."""
    spec = plan.matrix.spec.compile_cache
    found: dict[str, tuple[str, ...]] = {}
    for variant in plan.variants if spec is not None else ():
        if spec is not None and variant.compile_cache:
            name = compile_settings.namespace(spec, plan.image, variant)
            found[name] = (*found.get(name, ()), variant.id)
    return found
