"""Gives builds the compile cache: its named context, its argument and its settings, for the variants that use it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from msgspec.structs import replace

from orchestrator.bake.file import Extras
from orchestrator.errors import OrchestrateError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from orchestrator.matrix.variants import Plan

CONTEXT = "compile-cache"
"""The named context, and the id of the secret."""
NAMESPACE = "COMPILE_CACHE_ID"
FIXED = "COMPILE_CACHE_FIXED_CCCL"
_VARIABLE = "ORCHESTRATE_COMPILE_CACHE"


def with_compile_cache(
    plan: Plan, extras: Mapping[str, Extras], *, fetch: bool, warn: Callable[[str], None]
) -> dict[str, Extras]:
    """Return the extras of each variant with what the compile cache needs.

    Args:
        plan: The plan.
        extras: What other features add already.
        fetch: Whether sccache may be downloaded.
        warn: Hears of an sccache that cannot be had: builds go on without a compile cache.
    """
    spec = plan.matrix.spec.compile_cache
    users = [variant for variant in plan.variants if variant.compile_cache]
    if spec is None or not users:
        return dict(extras)
    from orchestrator.cache import compile_settings, compile_tool

    root = compile_tool.default_root()
    contexts = {
        platform: _context(root, platform, fetch=fetch, warn=warn, wanted=spec.tool == "sccache")
        for platform in {variant.platform for variant in users}
    }
    found = dict(extras)
    for variant in users:
        name = compile_settings.namespace(spec, plan.image, variant)
        before = found.get(variant.id, Extras())
        found[variant.id] = replace(
            before,
            args={**before.args, NAMESPACE: name, **({FIXED: "1"} if spec.fixed_cccl_namespaces else {})},
            contexts={**before.contexts, CONTEXT: str(contexts[variant.platform].absolute())},
            secrets=(*before.secrets, f"id={CONTEXT},env={_VARIABLE}"),
            env={**before.env, _VARIABLE: compile_settings.settings(spec, name, os.environ)},
        )
    return found


def _context(root: Path, platform: str, *, fetch: bool, warn: Callable[[str], None], wanted: bool) -> Path:
    """The named context of a platform; without sccache where it cannot be had."""
    from orchestrator.cache import compile_tool

    tool = None
    if wanted:
        try:
            root.mkdir(parents=True, exist_ok=True)
            tool = compile_tool.program(root, platform, fetch=fetch)
        except OrchestrateError as error:
            warn(f"compile cache: {platform} is built without it: {error}")
        except OSError as error:
            warn(f"compile cache: {platform} is built without it: cannot write {root}: {error.strerror or error}")
    return compile_tool.context(root, tool)
