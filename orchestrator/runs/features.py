"""What the features of the matrix add to each variant, for a build and for `plan --status` alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.runs import base_lock, compile_cache, header_bundle, wheelhouse

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.bake.file import Extras
    from orchestrator.matrix.variants import Plan


def extras(
    plan: Plan,
    *,
    fetch: bool,
    tell: Callable[[str], None],
    warn: Callable[[str], None],
    locked: bool = True,
) -> dict[str, Extras]:
    """Return what the header bundle, the wheelhouse, the compile cache and the lock of the bases add, by variant.

    Args:
        plan: The plan.
        fetch: Whether files and programs that are missing may be fetched.
        tell: Hears how far a fetch is.
        warn: Hears of what builds go on without.
        locked: Whether builds start from the base images that the lock names.

    Raises:
        UsageError, VerificationError, DriftError, NetworkError: The header bundle or the wheelhouse is missing.
    """
    found = header_bundle.header_extras(plan, fetch=fetch, tell=tell)
    found = wheelhouse.with_wheelhouses(plan, found, fetch=fetch, tell=tell)
    found = compile_cache.with_compile_cache(plan, found, fetch=fetch, warn=warn)
    return base_lock.with_bases(plan, found) if locked else found
