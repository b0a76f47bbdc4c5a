"""How caches look: the ladder of a variant in `plan --explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.bake.cached import cache_ladder
from orchestrator.bake.ladder import explained
from orchestrator.cache import rights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.cache.rights import CacheUse
    from orchestrator.matrix.variants import Plan, Variant


def cache_lines(plan: Plan, variant: Variant, use: CacheUse, env: Mapping[str, str]) -> list[str]:
    """Return what a build of this variant, here and now, reads and writes, and why no more."""
    standing = rights.here(plan.matrix.spec.cache, plan.matrix.root, env=env, use=use)
    lines = list(explained(cache_ladder(plan, variant, standing), standing))
    return [f"backend {plan.matrix.spec.cache.backend}", *lines]
