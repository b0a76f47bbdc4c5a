"""Whether the images of a plan work without a network, as far as FlashInfer is concerned, and why not.

Reads the matrix, the lock and the store; starts nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.errors import OrchestrateError
from orchestrator.headers import inject, resolve

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.headers.store import Store
    from orchestrator.matrix.variants import Plan

_COMPILES = (
    "the image must hold nvcc, ninja and a C++ compiler, or flashinfer-jit-cache: without them FlashInfer compiles "
    "nothing; `orchestrate headers verify --image` looks for them"
)


class Row(Struct, frozen=True, kw_only=True):
    """One variant.

    Attributes:
        variant: Its id.
        offline: `yes`; `compile` (headers are there, launching needs cubins from the package flashinfer-cubin); `no`.
        why: The reasons, with the next command where there is one.
    """

    variant: str
    offline: str
    why: tuple[str, ...]


def of(plan: Plan, store: Store, version: Callable[[], str]) -> tuple[Row, ...]:
    """Return one row for every variant of a plan.

    Args:
        plan: The plan.
        store: Holds the bundle's files.
        version: Says which FlashInfer the build installs, "" where the matrix does not.
    """
    spec = plan.matrix.spec.headers
    rows = []
    common = _common(plan, store, version) if spec is not None and spec.policy != "off" else None
    for variant in plan.variants:
        if common is None:
            row = Row(
                variant=variant.id, offline="no", why=("matrix.yaml has no headers section, or its policy is off",)
            )
        elif not variant.headers:
            row = Row(variant=variant.id, offline="no", why=(f"headers.targets leaves {variant.target} out",))
        else:
            row = Row(variant=variant.id, offline=common[0], why=common[1])
        rows.append(row)
    return tuple(rows)


def _common(plan: Plan, store: Store, version: Callable[[], str]) -> tuple[str, tuple[str, ...]]:
    """Return what holds for every variant that carries the bundle."""
    spec = plan.matrix.spec.headers
    if spec is None:
        return "no", ()
    try:
        lock = inject.check_lock(spec, plan.matrix.root, version())
    except OrchestrateError as error:
        told = [error.message, *(str(problem) for problem in error.problems)]
        return "no", (*told, error.hint) if error.hint else tuple(told)
    absent = [item for item in resolve.wanted_of(lock) if not store.has(item.sha256, item.size)]
    if absent:
        size = sum(item.size or 0 for item in absent)
        return "no", (f"{len(absent)} files ({size:,} bytes) are not in the store: orchestrate headers fetch",)
    if lock.complete:
        return "yes", (f"every header and cubin of FlashInfer {lock.version}", _COMPILES)
    return "compile", (f"{len(lock.headers)} headers of FlashInfer {lock.version}", _COMPILES, *lock.not_covered)
