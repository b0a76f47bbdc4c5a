"""The layer cache of one variant: what the matrix says, as policy and as references."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.bake.cache import CachePolicy
from orchestrator.bake.ladder import Ladder, Names, Rung, Standing, ladder

if TYPE_CHECKING:
    from orchestrator.matrix.variants import Plan, Variant


def cache_policy(plan: Plan) -> CachePolicy:
    """Return the cache section of the matrix, its local directory made absolute."""
    spec = plan.matrix.spec.cache
    directory = str((plan.matrix.root / spec.dir).absolute())
    return CachePolicy(backend=spec.backend, mode=spec.mode, directory=directory, options=spec.options)


def cache_ladder(plan: Plan, variant: Variant, standing: Standing) -> Ladder:
    """Return the cache references of a variant that a build of this standing reads and writes."""
    backend = plan.matrix.spec.cache.backend
    if backend == "inline":  # it is in the image: what the variant's tags name is read, and nothing has a name
        return Ladder(
            read=tuple(Rung(ref=ref, whose="cache.read") for ref in variant.cache_read if not standing.unread),
            write=() if standing.unwritten else (Rung(ref="", whose="the image itself"),),
        )
    names = Names(
        ref=variant.cache_ref,
        pull_request=variant.cache_pull_request,
        more=variant.cache_read,
        tagged=backend == "registry",
    )
    return ladder(names, standing)
