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
from orchestrator.matrix import expand
from orchestrator.matrix.layers import CommandLine
from orchestrator.runs import jobs
from orchestrator.runs.targets import bake_call

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from orchestrator.cache.holdings import Owned
    from orchestrator.engine.build_cache import CacheRecord
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


def machine_caches(plan: Plan, builder: str = "") -> MachineCaches:
    """Return what the caches of a builder and of this machine hold.

    Args:
        plan: Every variant of the matrix: what a selection leaves out is needed as well.
        builder: Name of the builder, "" for the current one.

    Raises:
        EnvironmentLacksError: No engine or builder answers.
        MatrixError: The bake files or Dockerfiles cannot be read, so what is needed is not known.
    """
    engine = doctor.require_engine(builder=builder)
    call = bake_call(plan, docker_command(), builder)
    steps, images = steps_and_images(call.root, jobs.bake_files(plan, call))
    found = build_cache.records(builder)
    standing = rights.here(plan.matrix.spec.cache, plan.matrix.root, env=os.environ)
    return MachineCaches(
        builder=engine.builder.name,
        records=found,
        needed=frozenset(needed(found, steps, images)),
        disk=engine.disk,
        directories=holdings.local_caches(plan, standing, disk=engine.disk),
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
