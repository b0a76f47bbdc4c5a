"""Computes the content keys of a plan, as a build with `--push` computes them, without building anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.bake.file import Output
from orchestrator.cache.keys import inputs
from orchestrator.engine.client import docker_command
from orchestrator.runs import features, header_bundle, jobs, targets
from orchestrator.runs.wanted import contents

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from orchestrator.cache.keys import Inputs
    from orchestrator.matrix.variants import Plan


class Planned(Struct, frozen=True, kw_only=True):
    """What a plan gives its variants.

    Attributes:
        inputs: Variant id -> what goes into it, with its content key.
        bundles: Variant id -> digest of the FlashInfer bundle that its image holds.
    """

    inputs: Mapping[str, Inputs]
    bundles: Mapping[str, str]


def planned(plan: Plan, *, ours: Sequence[Path] = (), tell: Callable[[str], None], locked: bool = True) -> Planned:
    """Return the content keys of a plan.

    Args:
        plan: The plan.
        ours: Files of this run, which are no inputs: reports.
        locked: Whether the lock of the base images counts.
        tell: Hears of headers that are fetched, and of a compile cache that cannot be had.

    Raises:
        MatrixError: buildx refuses the project's bake files.
        EnvironmentLacksError: There is no docker client.
        UsageError, VerificationError, DriftError, NetworkError: The FlashInfer bundle is missing.
    """
    extras = features.extras(plan, fetch=True, tell=tell, warn=tell, locked=locked)
    call = targets.bake_call(plan, docker_command())
    files = jobs.bake_files(plan, call, output=Output(push=True), extras=extras)
    listing = contents(plan, ours)
    found = {variant.id: inputs(files[variant.id], variant, call.root, listing) for variant in plan.variants}
    return Planned(inputs=found, bundles=header_bundle.bundles(plan, extras))
