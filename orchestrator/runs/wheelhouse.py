"""Gives builds their wheelhouse: its named context and argument, for the variants that carry one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from orchestrator.bake.file import Extras
from orchestrator.labels import WHEELHOUSE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.matrix.variants import Plan


def with_wheelhouses(
    plan: Plan, extras: Mapping[str, Extras], *, fetch: bool, tell: Callable[[str], None]
) -> dict[str, Extras]:
    """Return the extras of each variant with its wheelhouse, materialised and verified.

    Args:
        plan: The plan.
        extras: What other features add already.
        fetch: Whether wheels that are missing in the store may be downloaded.
        tell: Hears of each download before it starts.

    Raises:
        UsageError, VerificationError, DriftError, NetworkError: A wheelhouse is missing, before any build starts.
    """
    spec = plan.matrix.spec.wheels
    carriers = [variant for variant in plan.variants if variant.wheels is not None]
    if spec is None or not carriers:
        return dict(extras)
    path = plan.matrix.root / spec.lock
    if spec.policy == "optional" and not path.exists():
        return dict(extras)
    from orchestrator.headers.store import Store, default_root
    from orchestrator.wheels import lock as locks
    from orchestrator.wheels import work

    store = Store(default_root("wheels"), "wheels")
    orders = work.orders(plan)
    lock = work.locked(orders, work.read_lock(path), where=str(path))
    work.bring(lock, orders, store, allowed=fetch, tell=tell)
    found = dict(extras)
    for variant in carriers:
        house = lock.house(variant.cuda, variant.platform, variant.wheels.python if variant.wheels else "")
        if house is None:
            continue
        digest = locks.house_digest(house)
        before = found.get(variant.id, Extras())
        found[variant.id] = replace(
            before,
            args={**before.args, spec.digest_arg: digest},
            contexts={**before.contexts, spec.context: str(work.ensure(house, store).absolute())},
            labels={**before.labels, WHEELHOUSE: digest},
        )
    return found
