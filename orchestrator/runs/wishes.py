"""What a run was asked for: one value, composed of small ones; each function takes the part that it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from orchestrator.bake.file import Output
from orchestrator.bake.privileges import Allowed
from orchestrator.bake.watch import Bounds
from orchestrator.cache.rights import CacheUse
from orchestrator.runs.retry import RetryPolicy

if TYPE_CHECKING:
    from pathlib import Path


class Limits(Struct, frozen=True, kw_only=True):
    """How many variants run at once, and how a run ends.

    Attributes:
        parallel: How many variants run at once; less than 1 counts as 1.
        fail_fast: Whether the first failed variant cancels the others.
        terminate_after_s: Seconds between SIGTERM and SIGKILL for a bake that is to stop.
        grace_s: Seconds beyond that in which a variant must have ended after an interruption.
        variant_s: Seconds for a variant with all its attempts; None for no limit.
        bounds: Limits of a single bake.
        adapt: Whether a variant whose compilers are killed for lack of memory is tried once more with half as many.
    """

    parallel: int = 1
    fail_fast: bool = False
    terminate_after_s: float = 10
    grace_s: float = 2
    variant_s: float | None = None
    bounds: Bounds = field(default_factory=Bounds)
    adapt: bool = False


class AirGap(Struct, frozen=True, kw_only=True):
    """A build that fetches nothing from outside.

    Attributes:
        registries: Registry hosts that it may reach all the same.
    """

    registries: tuple[str, ...] = ()


class Wishes(Struct, frozen=True, kw_only=True):
    """What a build was asked for.

    Attributes:
        output: Where results go.
        limits: How many at once, and how the run ends.
        retry: How often and how soon a variant is tried again.
        resume: Whether variants are skipped whose result is there and was built from the same inputs.
        changed: With a push: whether the tags of unchanged variants are moved to what was built from their inputs.
        max_age_s: Seconds after which a result is built again, however equal its inputs are; None for never.
        report: File for the JSON report; None for none.
        builder: Builder name, "" for the current one.
        air_gap: What an air-gapped build may reach; None for a build with a network.
        cache: What it may do with caches.
        verify: Verify each variant once it is built; its tags are set only then.
        allowed: Privileges that builds may use.
    """

    output: Output = field(default_factory=Output)
    limits: Limits = field(default_factory=Limits)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    resume: bool = False
    changed: bool = False
    max_age_s: float | None = None
    report: Path | None = None
    builder: str = ""
    air_gap: AirGap | None = None
    cache: CacheUse = CacheUse.READ_WRITE
    verify: bool = False
    allowed: Allowed = field(default_factory=Allowed)
