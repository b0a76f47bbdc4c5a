"""What the features of the matrix add to each variant, for a build and for `plan --status` alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.runs import compile_cache, header_bundle, wheelhouse

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.bake.file import Extras
    from orchestrator.matrix.variants import Plan


def extras(plan: Plan, *, fetch: bool, tell: Callable[[str], None], warn: Callable[[str], None]) -> dict[str, Extras]:
    """Return what the header bundle, the wheelhouse and the compile cache add, by variant.

    Args:
        plan: The plan.
        fetch: Whether files and programs that are missing may be fetched.
        tell: Hears how far a fetch is.
        warn: Hears of what builds go on without.

    Raises:
        UsageError, VerificationError, DriftError, NetworkError: The header bundle or the wheelhouse is missing.
    """
    found = header_bundle.header_extras(plan, fetch=fetch, tell=tell)
    found = wheelhouse.with_wheelhouses(plan, found, fetch=fetch, tell=tell)
    return compile_cache.with_compile_cache(plan, found, fetch=fetch, warn=warn)
