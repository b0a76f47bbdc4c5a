"""Does one run of `orchestrate build`: engine, disk, jobs, scheduler, report, exit code.

cli/build.py calls it. Does not depend on the names of options; how a run looks is the reporter's.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from orchestrator import process
from orchestrator.cache.records import Records
from orchestrator.engine import client, doctor
from orchestrator.engine.builders import DOCKER_DRIVER
from orchestrator.errors import EnvironmentLacksError, InterruptedRunError, OrchestrateError, UsageError
from orchestrator.matrix.schema_builders import FleetBuilder
from orchestrator.runs import air_gap, caching, disk_room, features, header_bundle, jobs, kept, sites, targets
from orchestrator.runs.after_build import AfterBuild
from orchestrator.runs.alone import alone
from orchestrator.runs.fleet import Fleet, Member
from orchestrator.runs.freshness import Freshness
from orchestrator.runs.halt import SIGNALLED
from orchestrator.runs.journal import Journal
from orchestrator.runs.outcome import Outcome, Status, error_info, exit_code
from orchestrator.runs.proof import prove_pushed
from orchestrator.runs.report import report, write_report
from orchestrator.runs.resume import Resume
from orchestrator.runs.scheduler import Memory, build_all
from orchestrator.runs.signals import interrupting
from orchestrator.runs.tagging import Tagging
from orchestrator.sizes import parse_size
from orchestrator.state import STATE, require_own

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from orchestrator.bake.file import Extras
    from orchestrator.engine.info import EngineInfo
    from orchestrator.matrix.variants import Plan
    from orchestrator.process import Stop
    from orchestrator.runs.preflight import Checked
    from orchestrator.runs.reporter import Reporter
    from orchestrator.runs.targets import Early
    from orchestrator.runs.wishes import Wishes

_SHOWN = 3  # ids of variants before a note that they share


class Screen(Struct, frozen=True, kw_only=True):
    """How a run is shown.

    Attributes:
        reporter: Makes the reporter for these variants.
        warn: Shows a warning that belongs to no variant.
        tell: Shows what goes on before the first variant starts, where it takes long.
    """

    reporter: Callable[[list[str]], AbstractContextManager[Reporter]]
    warn: Callable[[str], None]
    tell: Callable[[str], None]


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
        ended = _Ended(started=started, outcomes=_none_started(plan), interrupted=True)
        return _result(plan, wishes, screen, ended)
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
                begun = _Begun(
                    name=f"{started:%Y%m%dT%H%M%S}-{os.getpid()}",
                    extras=extras,
                    resume=resume if wishes.resume or wishes.changed else None,
                    early=early,
                )
                ready = _prepare(plan, wishes, screen, begun)
        except InterruptedRunError:
            outcomes = _none_started(plan)
        except OrchestrateError as error:
            if wishes.report is not None:
                with contextlib.suppress(OSError):
                    write_report(wishes.report, _report(plan, _all_failed(plan, error), started))
            raise
        else:
            outcomes = [without_missing_log(outcome) for outcome in _run(ready, wishes, screen, stop)]
            logs, revision = ready.prepared.logs, ready.revision
        ended = _Ended(started=started, outcomes=outcomes, interrupted=stop.is_set(), logs=logs, revision=revision)
        return _result(plan, wishes, screen, ended)


def _features(plan: Plan, wishes: Wishes, screen: Screen) -> Mapping[str, Extras] | None:
    """What the sections of the matrix add; None where a signal came."""
    try:
        # A download is not a child process: here a signal ends what runs at once.
        with interrupting():
            return features.extras(plan, fetch=wishes.air_gap is None, tell=screen.tell, warn=screen.warn)
    except KeyboardInterrupt:
        return None


def require_names(plan: Plan) -> None:
    """Require a tag for every variant that is loaded into the engine.

    Raises:
        UsageError: One has none: nothing names its image there.
    """
    for variant in plan.variants:
        if not variant.tags:
            raise UsageError(
                f"--load: variant {variant.id} has no tags, so nothing names its image in the engine",
                hint="add tags to the variants of the matrix, or write archives with --output DIR",
            )


class _Ready(Struct, frozen=True, kw_only=True):
    """Everything that a run needs before its first variant starts."""

    prepared: jobs.Prepared
    journal: Journal
    disk: Path | None
    plan: Plan
    fleet: Fleet
    builder: str
    revision: str


class _Begun(Struct, frozen=True, kw_only=True):
    """A run before its engine is known."""

    name: str
    extras: Mapping[str, Extras]
    resume: Resume | None
    early: Early


def _prepare(plan: Plan, wishes: Wishes, screen: Screen, begun: _Begun) -> _Ready:
    """Engine, bake files, jobs; and, air-gapped, every input looked at."""
    # Platforms are judged by each variant alone, after its preflight.
    call = targets.bake_call(plan, client.docker_command(), wishes.builder)
    info, found = _builders(plan, wishes, screen, begun.early)
    shared = bool(found)
    if shared:
        up = next(one for one in found if not one.down)
        engine, call = doctor.Engine(info=info, builder=up.builder), up.call(call)
    else:
        engine = doctor.require_engine(builder=wishes.builder, asked=begun.early.asked)
    for line in caching.reasons(begun.extras, plan.matrix.spec.cache.backend):
        screen.tell(line)
    if not found:
        found = [sites.Site(spec=FleetBuilder(slots=wishes.limits.parallel), builder=engine.builder)]
    here, *_ = equipped = [
        sites.equipped(plan, one, info or engine.info, begun.extras, tell=screen.tell, warn=screen.warn)
        for one in found
    ]
    extras = next(one for one in equipped if one.builder.name == engine.builder.name).extras
    run = f"{begun.name}-{secrets.token_hex(3)}".lower()
    digests = all(one.builder.driver != DOCKER_DRIVER for one in equipped)
    output = replace(wishes.output, digests=digests, run=run)
    if wishes.verify and output.push:
        output = replace(output, hold="digest" if output.digests else "tag")
    if output.directory is not None:
        _make(output.directory)
    after = AfterBuild(
        plan=plan,
        output=output,
        tagging=Tagging(retry=wishes.retry),
        bundles=header_bundle.bundles(plan, extras),
        attest=prove_pushed,
        verify=wishes.verify,
    )
    held = any(output.holding_tag(variant) for variant in plan.variants)
    journal = Journal(plan.matrix.root.absolute() / STATE / "journal.jsonl")
    context = jobs.Context(
        call=call,
        builder=engine.builder,
        name=begun.name,
        output=output,
        extras=extras,
        hook=after if wishes.verify or held else None,
        verify=wishes.verify,
        report=wishes.report,
        allowed=wishes.allowed,
        resume=begun.resume,
        journal=journal,
        bounds=wishes.limits.bounds,
        at_once=here.at_once,
        memory=here.memory,
        sites={one.builder.name: one for one in equipped} if shared else {},
        freshness=Freshness(
            local=any(one.builder.driver == DOCKER_DRIVER for one in equipped),
            offline=wishes.air_gap is not None,
            max_age_s=wishes.max_age_s,
        ),
        revision=begun.early.revision.result(),
    )
    prepared = jobs.prepare(plan, context, begun.early.targets.result())
    if wishes.air_gap is not None:
        air_gap.require_inputs(plan, prepared.files, extras, wishes.air_gap.registries, screen.warn)
    fleet = Fleet(members=(Member(name=engine.builder.name, slots=wishes.limits.parallel),))
    if shared:
        fleet = sites.fleet(plan, equipped, prepared.files, call, journal)
    local = next((one.builder for one in equipped if not one.builder.elsewhere), engine.builder)
    return _Ready(
        prepared=prepared,
        journal=journal,
        disk=doctor.Engine(info=info or engine.info, builder=local).disk,
        plan=plan,
        fleet=fleet,
        builder=local.name if shared else wishes.builder,
        revision=context.revision,
    )


def _builders(plan: Plan, wishes: Wishes, screen: Screen, early: Early) -> tuple[EngineInfo | None, list[sites.Site]]:
    """The builders of the matrix and this machine's engine; none where a builder is named on the command line."""
    if wishes.builder or not plan.matrix.spec.builders:
        return None, []
    early.asked.version()
    try:
        info: EngineInfo | None = early.asked.info()
    except EnvironmentLacksError:
        info = None
    root = plan.matrix.root.absolute()
    return info, sites.opened(plan.matrix.spec.builders, info, root=root, tell=screen.tell, warn=screen.warn)


def _run(ready: _Ready, wishes: Wishes, screen: Screen, stop: Stop) -> list[Outcome]:
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


class _Ended(Struct, frozen=True, kw_only=True):
    """How a run ended: whether a signal came, its logs' directory (None: there is none), the commit its images name."""

    started: datetime
    outcomes: list[Outcome]
    interrupted: bool
    logs: Path | None = None
    revision: str = ""


def _result(plan: Plan, wishes: Wishes, screen: Screen, ended: _Ended) -> Result:
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


def _none_started(plan: Plan) -> list[Outcome]:
    error = replace(SIGNALLED, message="stopped by a signal before it was started")
    return [Outcome(id=variant.id, status=Status.CANCELLED, error=error) for variant in plan.variants]


def _all_failed(plan: Plan, error: OrchestrateError) -> list[Outcome]:
    """The outcomes of a run that ended before its first variant."""
    return [Outcome(id=variant.id, status=Status.FAILED, error=error_info(error)) for variant in plan.variants]


def without_missing_log(outcome: Outcome) -> Outcome:
    """Return the outcome, without the name of a log that was never begun."""
    return outcome if outcome.log is None or outcome.log.exists() else replace(outcome, log=None)


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentLacksError(
            f"--output {directory}: is not a directory and cannot be made one: {error.strerror}"
        ) from error


def tidy(runs: Path, *, keep: int = 20, older: float = 14 * 86400.0) -> None:
    """Remove the logs of runs that are older than two weeks and not among the last twenty."""
    import shutil

    found = sorted((path for path in runs.iterdir() if path.is_dir()), reverse=True)
    for path in found[keep:]:
        with contextlib.suppress(OSError):  # another run tidies at the same time
            if time.time() - path.stat().st_mtime > older:
                shutil.rmtree(path, ignore_errors=True)
