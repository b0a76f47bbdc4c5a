"""What a run does with caches: the standing of its builds, given to every variant, and what is said about it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from msgspec.structs import replace

from orchestrator.bake.cache import REMOTE
from orchestrator.bake.file import Extras
from orchestrator.cache import rights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.bake.ladder import Standing
    from orchestrator.cache.rights import CacheUse
    from orchestrator.engine.builders import Builder
    from orchestrator.matrix.variants import Plan


def with_caches(plan: Plan, extras: Mapping[str, Extras], use: CacheUse) -> dict[str, Extras]:
    """Return the extras of every variant, with what its build may do with caches."""
    standing = rights.here(plan.matrix.spec.cache, plan.matrix.root, env=os.environ, use=use)
    return {variant.id: replace(extras.get(variant.id, Extras()), cache=standing) for variant in plan.variants}


def fitting(
    plan: Plan, extras: Mapping[str, Extras], builder: Builder, *, warn: Callable[[str], None]
) -> dict[str, Extras]:
    """Return the extras without the exports that the builder cannot make; a build does not fail for them.

    Args:
        plan: The plan.
        extras: By variant, as `with_caches` made them.
        builder: The builder.
        warn: Hears of what is left out, and why.
    """
    backend = plan.matrix.spec.cache.backend
    standings = {one.cache for one in extras.values()}
    if backend == "off" or builder.exports_cache(backend) or all(one.unwritten for one in standings):
        return dict(extras)
    why = f"builder {builder.name} (driver {builder.driver}) cannot export a {backend} cache"
    warn(f"the cache is not written: {why}")
    return {name: replace(one, cache=_without(one.cache, why, backend)) for name, one in extras.items()}


def _without(standing: Standing, why: str, backend: str) -> Standing:
    unread = standing.unread or (why if backend in REMOTE else "")  # who cannot write one cannot read it either
    return replace(standing, unread=unread, unwritten=standing.unwritten or why)


def reasons(extras: Mapping[str, Extras], backend: str) -> list[str]:
    """Return why builds that could use a cache do not, each reason once."""
    if backend == "off":
        return []
    found: dict[str, None] = {}
    for one in extras.values():
        if one.cache.unread:
            found[f"the cache is not used: {one.cache.unread}"] = None
        elif one.cache.unwritten:
            found[f"the cache is read and not written: {one.cache.unwritten}"] = None
    return list(found)
