"""Sees to it that the engine's disk has room for a run: warns, refuses, or prunes what nothing needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.engine import build_cache, machine
from orchestrator.errors import EnvironmentLacksError
from orchestrator.sizes import size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from orchestrator.matrix.variants import Plan


class Run(Struct, frozen=True, kw_only=True):
    """What of a run decides about its disk.

    Attributes:
        parallel: How many variants run at once.
        builder: Name of the builder, "" for the current one.
    """

    parallel: int
    builder: str = ""


def make(plan: Plan, disk: Path | None, peaks: Sequence[int], run: Run, *, warn: Callable[[str], None]) -> None:
    """Require that the engine's disk has room for the variants, as `resources.disk` of the matrix says.

    Args:
        plan: The plan.
        disk: Where the engine keeps its layers, None where that is elsewhere.
        peaks: Bytes that each variant took in its hungriest run, 0 where unknown.
        run: What of the run decides.
        warn: Hears of a disk that may be too small, and of what is pruned.

    Raises:
        EnvironmentLacksError: No build can work with so little, or the variants took more before and the policy
            refuses that.
        InterruptedRunError: A stop was asked for.
    """
    policy = plan.matrix.spec.resources.disk
    free = machine.free_bytes(disk)
    needed = sum(sorted(peaks, reverse=True)[: max(1, run.parallel)])
    short = free is not None and free < max(needed, machine.LEAST_DISK)
    if short and policy == "prune":
        freed = _prune(plan, run, free=free, wanted=max(needed, machine.LEAST_DISK))
        warn(f"the engine's disk was too full for this build: {size_text(freed)} of its build cache removed")
        free = machine.free_bytes(disk)
    if free is not None and needed > free and policy != "warn":
        check = machine.check_disk(free, peaks, parallel=run.parallel)
        raise EnvironmentLacksError(f"{check.detail} (resources.disk: {policy})", hint=check.hint)
    require_room(free, peaks, parallel=run.parallel, warn=warn)


def _prune(plan: Plan, run: Run, *, free: int | None, wanted: int) -> int:
    """Remove the longest unused that no next build needs; return the bytes that went."""
    from orchestrator.cache import budget
    from orchestrator.runs import caches

    found = caches.machine_caches(caches.whole(plan), run.builder)
    choice = budget.choose(found.records, [], budget.Budget(min_free=wanted, free=free), needed=found.needed)
    build_cache.remove(choice.records, found.records, run.builder)
    left = sum(one.size for one in build_cache.records(run.builder))
    return max(0, sum(one.size for one in found.records) - left)


def require_room(free: int | None, peaks: Sequence[int], *, parallel: int, warn: Callable[[str], None]) -> None:
    """Require that the engine's disk has room for the variants, judged as `doctor` judges it.

    Args:
        free: Free bytes, None where the engine is on another machine.
        peaks: Bytes that each variant took in its hungriest run, 0 where unknown.
        parallel: How many variants run at once.
        warn: Hears of a disk that may be too small.

    Raises:
        EnvironmentLacksError: No build can work with so little.
    """
    check = machine.check_disk(free, peaks, parallel=parallel)
    if check.status == "fail":
        raise EnvironmentLacksError(check.detail, hint=check.hint)
    if check.status == "warn":
        warn(check.detail)
