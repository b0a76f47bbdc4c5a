"""The build report: a run as JSON for scripts and pipelines (documented shape, `"schema": 1`).

It knows outcomes and a few facts of each variant that the caller hands in; it must not know the matrix.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from orchestrator.runs.outcome import Outcome

SCHEMA = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class VariantInfo:
    """What the plan knows of a variant, in the words of the report.

    Attributes:
        id: The variant.
        target: Its bake target.
        cuda: CUDA version as the matrix names it (`13.0`).
        platform: `linux/amd64`.
        requested: Architectures asked for, torch dialect.
        effective: Those that its toolkit compiles.
        dropped: Each architecture left out, with the reason.
    """

    id: str
    target: str
    cuda: str
    platform: str
    requested: tuple[str, ...] | list[str] = ()
    effective: tuple[str, ...] | list[str] = ()
    dropped: tuple[tuple[str, str], ...] | list[tuple[str, str]] = ()


def report(variants: Sequence[VariantInfo], outcomes: Sequence[Outcome], *, started: datetime) -> dict[str, Any]:
    """The report of a run.

    Args:
        variants: In the order of the plan.
        outcomes: Of these variants, in any order. A variant without one is left out.
        started: When the run began, with its time zone.

    Returns:
        `{"schema": 1, "started": …, "variants": [{"id", "target", "cuda", "platform", "archs", "status", "digest",
        "tags", "attempts", "seconds", "steps", "log", "notes", "error"}]}`.
    """
    by_id = {outcome.id: outcome for outcome in outcomes}
    return {
        "schema": SCHEMA,
        "started": started.isoformat(timespec="seconds"),
        "variants": [_row(variant, by_id[variant.id]) for variant in variants if variant.id in by_id],
    }


def write_report(path: Path, content: dict[str, Any]) -> None:
    """Write a report so that a reader finds the old one or the new one, never a part.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file():  # /dev/stdout and the like cannot be replaced
        path.write_text(_text(content), encoding="utf-8")
        return
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(_text(content))
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def _text(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"


def _row(variant: VariantInfo, outcome: Outcome) -> dict[str, Any]:
    error = outcome.error
    return {
        "id": variant.id,
        "target": variant.target,
        "cuda": variant.cuda,
        "platform": variant.platform,
        "archs": {
            "requested": list(variant.requested),
            "effective": list(variant.effective),
            "dropped": [{"arch": arch, "why": why} for arch, why in variant.dropped],
        },
        "status": outcome.status.value,
        "digest": outcome.digest,
        "tags": list(outcome.tags),
        "attempts": outcome.attempts,
        "seconds": round(outcome.seconds, 3),
        "steps": {"total": outcome.steps.total, "cached": outcome.steps.cached},
        "log": str(outcome.log) if outcome.log is not None else None,
        "notes": list(outcome.notes),
        "error": {"class": error.class_, "message": error.message, "step": error.step} if error else None,
    }
