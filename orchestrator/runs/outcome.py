"""What became of a variant: the value that the scheduler returns and that tables, reports and hooks read.

It knows nothing of how a variant was built.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from orchestrator.bake.events import Steps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["ERROR_CLASSES", "ErrorInfo", "Outcome", "Status", "Steps", "exit_code"]

ERROR_CLASSES = (
    "run",  # the build's own instructions failed: RUN, COPY, the Dockerfile, the bake file
    "network",  # a transient kind of failure that was still there after all attempts
    "auth",  # 401, 403
    "not-found",  # 404, manifest unknown
    "disk",  # no space left on device
    "arrived",  # preflight: what we inject does not reach the target
    "verification",  # built, but does not hold what was promised
    "interrupted",
    "environment",  # engine, buildx
    "internal",  # a fault of ours
)

_EXIT_CODES = {"arrived": 2, "verification": 4, "disk": 5, "environment": 5, "network": 6}


class Status(StrEnum):
    """How a variant ended."""

    BUILT = "built"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorInfo:
    """Why a variant was not built.

    Attributes:
        class_: One of ERROR_CLASSES.
        message: The reason in one line.
        step: The failed step as BuildKit names it, or "" when no step failed.
    """

    class_: str
    message: str
    step: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How one variant ended.

    Attributes:
        id: The variant.
        status: How it ended.
        digest: `sha256:…` of what was built (with a push: of what the registry holds), None if nothing was.
        tags: The references that were asked for.
        attempts: How often bake was started; 0 if it never was.
        seconds: From the start of preflight to the end, waits between attempts included.
        steps: Dockerfile steps of the last attempt.
        log: The variant's log file, None if none was written.
        error: None unless the status is failed or cancelled.
        last_lines: The last lines of the failed step's output.
        metadata: What `--metadata-file` holds for the target.
        notes: What a person should know though nothing failed (cache not found, log clipped).
    """

    id: str
    status: Status
    digest: str | None = None
    tags: tuple[str, ...] = ()
    attempts: int = 0
    seconds: float = 0.0
    steps: Steps = field(default_factory=Steps)
    log: Path | None = None
    error: ErrorInfo | None = None
    last_lines: tuple[str, ...] = ()
    metadata: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()


def exit_code(outcomes: Sequence[Outcome], *, interrupted: bool = False) -> int:
    """The exit status of a run, as documented in `orchestrator.errors`.

    A cause of its own (2 arrived, 4 verification, 5 environment and disk, 6 network) is given only when every failed
    variant shares it; otherwise 1.

    Args:
        outcomes: All outcomes of the run.
        interrupted: Whether a signal ended it, which always gives 130.
    """
    if interrupted:
        return 130
    failed = [outcome for outcome in outcomes if outcome.status is Status.FAILED]
    codes = {_EXIT_CODES.get(outcome.error.class_, 1) if outcome.error else 1 for outcome in failed}
    if not codes:
        return 1 if any(outcome.status is Status.CANCELLED for outcome in outcomes) else 0
    return codes.pop() if len(codes) == 1 else 1
