"""Ends a run: its report is kept and written, and gives the exit code."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.errors import EnvironmentLacksError, OrchestrateError
from orchestrator.runs import kept
from orchestrator.runs.halt import SIGNALLED
from orchestrator.runs.outcome import Outcome, Status, error_info, exit_code
from orchestrator.runs.report import report, write_report

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orchestrator.matrix.variants import Plan
    from orchestrator.runs.reporter import Screen
    from orchestrator.runs.wishes import Wishes


class Result(Struct, frozen=True, kw_only=True):
    """How a run ended.

    Attributes:
        outcomes: One for each variant.
        code: The exit code.
        report: What `--report` holds (docs/build.md).
    """

    outcomes: tuple[Outcome, ...]
    code: int
    report: Mapping[str, Any]


class Ended(Struct, frozen=True, kw_only=True):
    """How a run ended: whether a signal came, its logs' directory (None: there is none), the commit its images name."""

    started: datetime
    outcomes: list[Outcome]
    interrupted: bool
    logs: Path | None = None
    revision: str = ""


def result(plan: Plan, wishes: Wishes, screen: Screen, ended: Ended) -> Result:
    """Keep and write the report; return how the run ended."""
    content = _report(plan, ended.outcomes, ended.started, ended.revision)
    code = exit_code(ended.outcomes, interrupted=ended.interrupted)
    if ended.logs is not None:
        took = (datetime.now(UTC) - ended.started).total_seconds()
        try:
            kept.keep(ended.logs, content, ended.outcomes, seconds=took)
        except OSError as error:  # what was built is shown all the same
            screen.warn(f"{ended.logs / kept.NAME}: the report was not kept: {error.strerror}")
    if wishes.report is not None:
        try:
            write_report(wishes.report, content)
        except OSError as error:  # what was built is shown all the same
            screen.warn(f"{wishes.report}: the report could not be written: {error.strerror}")
            code = code or EnvironmentLacksError.exit_code
    return Result(outcomes=tuple(ended.outcomes), code=code, report=content)


def _report(plan: Plan, outcomes: list[Outcome], started: datetime, revision: str = "") -> dict[str, Any]:
    named = revision if any(outcome.status is Status.BUILT for outcome in outcomes) else ""
    return report(plan.variants, outcomes, started=started, matrix=plan.matrix.digest, revision=named)


def none_started(plan: Plan) -> list[Outcome]:
    """Return the outcomes of a run that a signal ended before its first variant."""
    error = replace(SIGNALLED, message="stopped by a signal before it was started")
    return [Outcome(id=variant.id, status=Status.CANCELLED, error=error) for variant in plan.variants]


def refused(plan: Plan, wishes: Wishes, error: OrchestrateError, started: datetime) -> None:
    """Write the report of a run that an error ended before its first variant."""
    if wishes.report is None:
        return
    failed = [Outcome(id=variant.id, status=Status.FAILED, error=error_info(error)) for variant in plan.variants]
    with contextlib.suppress(OSError):
        write_report(wishes.report, _report(plan, failed, started))
