"""Does one run of `orchestrate build`: engine, disk, jobs, scheduler, report, exit code.

cli/build.py calls it. Does not depend on the names of options; how a run looks is the reporter's.
"""

from __future__ import annotations

import contextlib
import os
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from msgspec.structs import replace

from orchestrator import process
from orchestrator.cache.records import Records
from orchestrator.errors import InterruptedRunError, OrchestrateError
from orchestrator.runs import air_gap, caching, disk_room, features, targets
from orchestrator.runs.alone import alone
from orchestrator.runs.ended import Ended, none_started, refused, result
from orchestrator.runs.ready import Begun, prepare, require_names
from orchestrator.runs.resume import Resume
from orchestrator.runs.scheduler import Memory, build_all
from orchestrator.runs.signals import interrupting
from orchestrator.sizes import parse_size
from orchestrator.state import require_own

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orchestrator.bake.file import Extras
    from orchestrator.matrix.variants import Plan
    from orchestrator.process import Stop
    from orchestrator.runs.ended import Result
    from orchestrator.runs.outcome import Outcome
    from orchestrator.runs.preflight import Checked
    from orchestrator.runs.ready import Ready
    from orchestrator.runs.reporter import Screen
    from orchestrator.runs.targets import Early
    from orchestrator.runs.wishes import Wishes

_SECOND = "%Y%m%dT%H%M%S"
_SHOWN = 3  # ids of variants before a note that they share


def build(plan: Plan, wishes: Wishes, screen: Screen, *, early: Early | None = None) -> Result:
    """Build the variants of a plan.

    Args:
        plan: What to build.
        wishes: How.
        screen: How it is shown.
        early: What docker was asked already for this plan and builder; None asks.

    Raises:
        EnvironmentLacksError: No engine, buildx too old, disk full.
        MatrixError: buildx refuses the bake files.
    """
    if early is None:
        with targets.begun(plan, wishes.builder) as now:
            return build(plan, wishes, screen, early=now)
    started = datetime.now(UTC)
    if wishes.output.load:
        require_names(plan)
    for note in plan.notes:
        screen.warn(note)
    extras = None if early.stop.is_set() else _features(plan, wishes, screen)
    if extras is None:
        ended = Ended(started=started, outcomes=none_started(plan), interrupted=True)
        return result(plan, wishes, screen, ended)
    extras = caching.with_caches(plan, extras, wishes.cache)
    if wishes.air_gap is not None:
        extras = air_gap.isolated(plan, extras, wishes.air_gap.registries)
    stop, logs, revision = early.stop, None, ""
    with Resume(wishes.output, changed=wishes.changed) as resume, ExitStack() as held:
        try:
            with process.stoppable(stop):
                state = require_own(plan.matrix.root.absolute())
                if held.enter_context(alone(state, tell=screen.tell)):  # what was asked before may be hours old
                    early = held.enter_context(targets.asked_by(plan, wishes.builder, stop))
                begun = Begun(
                    name=run_name(state / "runs", started),
                    extras=extras,
                    resume=resume if wishes.resume or wishes.changed else None,
                    early=early,
                )
                ready = prepare(plan, wishes, screen, begun)
        except InterruptedRunError:
            outcomes = none_started(plan)
        except OrchestrateError as error:
            refused(plan, wishes, error, started)
            raise
        else:
            outcomes = [without_missing_log(outcome) for outcome in _run(ready, wishes, screen, stop)]
            logs, revision = ready.prepared.logs, ready.revision
        ended = Ended(started=started, outcomes=outcomes, interrupted=stop.is_set(), logs=logs, revision=revision)
        return result(plan, wishes, screen, ended)


def run_name(runs: Path, started: datetime) -> str:
    """Return the name of a run's directory: its second and process id, behind the names of all runs before it.

    The order of names says which run was the last. A clock that was set back, and a run that waited for another one,
    get the second after the last name's.

    Args:
        runs: The directory of the runs; it need not exist.
        started: When the run began.
    """
    with contextlib.suppress(OSError, ValueError, OverflowError):
        names = (path.name.partition("-")[0] for path in runs.iterdir() if path.is_dir())
        last = max((name for name in names if len(name) == len(f"{started:{_SECOND}}")), default="")
        if last >= f"{started:{_SECOND}}":
            started = datetime.strptime(last, _SECOND).replace(tzinfo=UTC) + timedelta(seconds=1)
    return f"{started:{_SECOND}}-{os.getpid()}"


def _features(plan: Plan, wishes: Wishes, screen: Screen) -> Mapping[str, Extras] | None:
    """What the sections of the matrix add; None where a signal came."""
    try:
        # A download is not a child process: here a signal ends what runs at once.
        with interrupting():
            return features.extras(plan, fetch=wishes.air_gap is None, tell=screen.tell, warn=screen.warn)
    except KeyboardInterrupt:
        return None


def _run(ready: Ready, wishes: Wishes, screen: Screen, stop: Stop) -> list[Outcome]:
    checked = ready.prepared.checked
    for note, ids in noted(checked).items():
        more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
        screen.warn(f"{', '.join(ids[:_SHOWN])}{more}: {note}")
    # What preflight refuses is told first: with --fail-fast nothing else is begun.
    variants = sorted(ready.prepared.jobs, key=lambda job: checked[job.id].error is None)
    peaks = [ready.journal.peak(job.id) for job in variants]
    with process.stoppable(stop):
        disk_room.make(
            ready.plan, ready.disk, peaks, disk_room.Run(parallel=wishes.limits.parallel, builder=ready.builder),
            warn=screen.warn,
        )  # fmt: skip
    tidy(ready.prepared.state / "runs")
    Records(ready.prepared.state / "inputs").tidy(ready.journal.records())
    screen.tell(f"logs: {_shown_path(ready.prepared.logs)}")
    with screen.reporter([job.id for job in variants]) as watching:
        outcomes = build_all(
            variants,
            reporter=watching,
            stop=stop,
            limits=wishes.limits,
            retry=wishes.retry,
            memory=Memory(
                journal=ready.journal,
                disk=ready.disk,
                room=parse_size(ready.plan.matrix.spec.resources.min_free),
                fleet=ready.fleet,
            ),
        )
    for lost in ready.fleet.lost:
        screen.warn(str(lost))
    order = {job.id: number for number, job in enumerate(ready.prepared.jobs)}
    return sorted(outcomes, key=lambda outcome: order[outcome.id])


def _shown_path(path: Path) -> str:
    """Relative to the working directory where that is shorter."""
    with contextlib.suppress(ValueError, OSError):
        return min(str(path), os.path.relpath(path), key=len)
    return str(path)


def noted(checked: Mapping[str, Checked]) -> dict[str, list[str]]:
    """Return what preflight says of variants that it does not refuse: note -> their ids."""
    found: dict[str, list[str]] = {}
    for id_, one in checked.items():
        for note in one.notes:
            found.setdefault(note, []).append(id_)
    return found


def without_missing_log(outcome: Outcome) -> Outcome:
    """Return the outcome, without the name of a log that was never begun."""
    return outcome if outcome.log is None or outcome.log.exists() else replace(outcome, log=None)


def tidy(runs: Path, *, keep: int = 20, older: float = 14 * 86400.0) -> None:
    """Remove the logs of runs that are older than two weeks and not among the last twenty."""
    import shutil

    found = sorted((path for path in runs.iterdir() if path.is_dir()), reverse=True)
    for path in found[keep:]:
        with contextlib.suppress(OSError):  # another run tidies at the same time
            if time.time() - path.stat().st_mtime > older:
                shutil.rmtree(path, ignore_errors=True)
