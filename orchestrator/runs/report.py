"""Makes the build report: a run as JSON for scripts and pipelines (documented shape, `"schema": 1`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator import files
from orchestrator.cache import compile_statistics
from orchestrator.runs.outcome import Status
from orchestrator.untrusted import json_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from orchestrator.matrix.variants import Variant
    from orchestrator.runs.outcome import ErrorInfo, Outcome

SCHEMA = 1


def report(
    variants: Sequence[Variant],
    outcomes: Sequence[Outcome],
    *,
    started: datetime,
    matrix: str = "",
    revision: str = "",
) -> dict[str, Any]:
    """Return the report of a run.

    Args:
        variants: In the order of the plan.
        outcomes: Of these variants, in any order. A variant without one is left out.
        started: When the run began, with its time zone.
        matrix: Digest of the matrix file.
        revision: The commit that was built, "" where there is none.

    Returns:
        `{"schema": 1, "started": …, "matrix": …, "variants": [{"id", "target", "cuda", "platform", "archs", "status",
        "digest", "revision", "verified", "tags", "output", "builder", "attempts", "seconds", "steps", "log",
        "compile_cache", "notes", "bytes", "error"}]}`.
    """
    by_id = {outcome.id: outcome for outcome in outcomes}
    return {
        "schema": SCHEMA,
        "started": started.isoformat(timespec="seconds"),
        "matrix": matrix or None,
        "variants": [_row(variant, by_id[variant.id], revision) for variant in variants if variant.id in by_id],
    }


def error_row(error: ErrorInfo) -> dict[str, Any]:
    """Return an error as the report has it; file and line only where an instruction is known."""
    row: dict[str, Any] = {"class": error.failure.value, "message": error.message, "step": error.step}
    return {**row, "file": error.file, "line": error.line} if error.file else row


def write_report(path: Path, content: dict[str, Any]) -> None:
    """Write a report whole; what is there stays if it cannot be written.

    Raises:
        OSError: It cannot be written.
    """
    text = json_text(content) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_whole(path, text)


def _row(variant: Variant, outcome: Outcome, revision: str) -> dict[str, Any]:
    error = outcome.error
    return {
        "id": variant.id,
        "target": variant.target,
        "cuda": variant.cuda,
        "platform": variant.platform,
        "archs": {
            "requested": [str(arch) for arch in variant.archs.requested],
            "effective": [str(arch) for arch in variant.archs.effective],
            "dropped": [{"arch": str(item.arch), "why": item.why} for item in variant.archs.dropped],
        },
        "status": outcome.status.value,
        "digest": outcome.digest,
        # an image that was not built again may be of an earlier commit: its own label says so
        "revision": (outcome.status is Status.BUILT and revision) or None,
        "verified": outcome.verified,
        "tags": list(outcome.tags),
        "output": outcome.output or None,
        "builder": outcome.builder or None,
        "attempts": outcome.attempts,
        "seconds": round(outcome.seconds, 3),
        "steps": {"total": outcome.steps.total, "cached": outcome.steps.cached},
        "key": outcome.key or None,
        "cache": outcome.cache or None,
        "cache_sources": [{"ref": one.ref, "state": one.state.value} for one in outcome.cache_sources],
        "log": str(outcome.log) if outcome.log is not None else None,
        "compile_cache": compile_statistics.as_json(outcome.compile_cache) if outcome.compile_cache else None,
        "notes": list(outcome.notes),
        "bytes": {"pulled": outcome.moved.pulled, "sent": outcome.moved.sent, "pushed": outcome.moved.pushed},
        "error": error_row(error) if error is not None else None,
    }
