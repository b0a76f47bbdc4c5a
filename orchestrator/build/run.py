"""One run of `orchestrate build`: engine, disk, jobs, scheduler, report, exit code.

It is what cli/build.py calls and knows no option's name; how a run looks is handed in as reporter.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator import process
from orchestrator.bake.file import Output
from orchestrator.build import features
from orchestrator.build import jobs as making
from orchestrator.build.disk import check_disk
from orchestrator.build.journal import Journal
from orchestrator.build.outcome import ErrorInfo, Outcome, Status, exit_code
from orchestrator.build.report import report, write_report
from orchestrator.build.scheduler import build_all
from orchestrator.build.signals import stop_on_signals
from orchestrator.engine import client, doctor
from orchestrator.errors import EnvironmentLacksError, InterruptedRunError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from orchestrator.bake.file import Extras
    from orchestrator.bake.process import Stop
    from orchestrator.build.reporter import Reporter
    from orchestrator.matrix.variants import Plan


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a build was asked for.

    Attributes:
        output: Where results go.
        parallel: How many variants at once.
        fail_fast: The first failure cancels the rest.
        resume: Variants built from the same inputs before are skipped.
        report: File for the JSON report; None for none.
        builder: Builder name, "" for the current one.
        air_gapped: Nothing is fetched from outside; what is missing is named before the build starts.
        registries: Registry hosts that an air-gapped build may reach.
        verify: Verify each variant once it is built; its tags are set only then.
    """

    output: Output = field(default_factory=Output)
    parallel: int = 1
    fail_fast: bool = False
    resume: bool = False
    report: Path | None = None
    builder: str = ""
    air_gapped: bool = False
    registries: tuple[str, ...] = ()
    verify: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """How a run ended.

    Attributes:
        outcomes: One a variant.
        code: The exit code.
        logs: Directory of the log files.
    """

    outcomes: tuple[Outcome, ...]
    code: int
    logs: Path


def build(
    plan: Plan,
    request: Request,
    *,
    reporter: Callable[[list[str]], AbstractContextManager[Reporter]],
    warn: Callable[[str], None],
) -> Result:
    """Build the variants of a plan.

    Args:
        plan: What to build.
        request: How.
        reporter: Makes the reporter for these variants.
        warn: Shows a warning that belongs to no variant.

    Raises:
        EnvironmentLacksError: No engine, buildx too old, no room.
        MatrixError: buildx refuses the bake files.
    """
    started = datetime.now(UTC)
    # Before signals are caught: a download is not a child process, and a plain Ctrl-C ends it at once.
    extras = features.header_extras(plan, fetch=not request.air_gapped)
    if request.air_gapped:
        extras = features.isolated(plan, extras, request.registries)
    with stop_on_signals() as stop:
        try:
            with process.stoppable(stop):
                ready = _prepare(plan, request, extras, run=f"{started:%Y%m%dT%H%M%S}-{os.getpid()}")
        except InterruptedRunError:
            outcomes = [_not_started(variant.id) for variant in plan.variants]
            logs = plan.matrix.root / making.STATE
        else:
            logs = ready.prepared.logs
            outcomes = _run(ready, request, stop=stop, reporter=reporter, warn=warn)
        if request.report is not None:
            _write(request.report, report(making.infos(plan), outcomes, started=started))
        interrupted = stop.is_set()
    return Result(outcomes=tuple(outcomes), code=exit_code(outcomes, interrupted=interrupted), logs=logs)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ready:
    """Everything that a run needs before its first variant starts."""

    prepared: making.Prepared
    journal: Journal
    disk: Path | None


def _prepare(plan: Plan, request: Request, extras: Mapping[str, Extras], *, run: str) -> _Ready:
    """Engine, bake files, jobs; and, air-gapped, every input looked at."""
    cache = plan.matrix.spec.cache
    writes = cache.backend if cache.write and (request.output.push or cache.backend in {"local", "gha"}) else "off"
    engine = doctor.require_engine(
        platforms=sorted({variant.platform for variant in plan.variants}),
        cache="" if writes == "off" else writes,
        builder=request.builder,
    )
    output = request.output
    if request.verify and output.push:
        output = replace(output, hold="tag" if engine.builder.driver == "docker" else "digest")
    if output.directory is not None:
        _make(output.directory)  # buildx opens the files of --output even to print what it would do
    docker = client.docker_command()
    after = features.AfterBuild(
        plan=plan,
        docker=docker,
        verify=request.verify,
        pushed=bool(output.hold),
        loaded=output.load,
        directory=output.directory,
    )
    options = making.Options(
        docker=docker,
        run=run,
        builder=request.builder,
        output=output,
        extras=extras,
        after=after if request.verify else None,
    )
    prepared = making.prepare(plan, options)
    if request.air_gapped:
        features.require_inputs(plan, prepared.targets, extras, request.registries, docker)
    return _Ready(prepared=prepared, journal=Journal(prepared.state / "journal.jsonl"), disk=_engine_disk(engine))


def _run(
    ready: _Ready,
    request: Request,
    *,
    stop: Stop,
    reporter: Callable[[list[str]], AbstractContextManager[Reporter]],
    warn: Callable[[str], None],
) -> list[Outcome]:
    jobs = ready.prepared.jobs
    peaks = [ready.journal.peak(job.id) for job in jobs]
    for warning in check_disk(ready.disk or ready.prepared.state, peaks, parallel=request.parallel):
        warn(warning)
    _tidy(ready.prepared.state / "runs")
    with reporter([job.id for job in jobs]) as watching:
        return build_all(
            jobs,
            parallel=request.parallel,
            fail_fast=request.fail_fast,
            reporter=watching,
            stop=stop,
            journal=ready.journal,
            resume=request.resume,
            disk=ready.disk,
        )


def _not_started(variant: str) -> Outcome:
    error = ErrorInfo(class_="interrupted", message="stopped by a signal before it was started")
    return Outcome(id=variant, status=Status.CANCELLED, error=error)


def _write(path: Path, content: dict[str, Any]) -> None:
    try:
        write_report(path, content)
    except OSError as error:
        raise EnvironmentLacksError(f"{path}: the report cannot be written: {error.strerror}") from error


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentLacksError(f"{directory}: cannot be made: {error.strerror}") from error


def _engine_disk(engine: doctor.Engine) -> Path | None:
    """Where a local engine keeps its layers; None for a remote one."""
    return Path(engine.info.root) if client.free_bytes(engine.info) is not None else None


def _tidy(runs: Path, *, keep: int = 20, older: float = 14 * 86400.0) -> None:
    """Remove the logs of runs that are older than two weeks and not among the last twenty."""
    import shutil

    found = sorted((path for path in runs.iterdir() if path.is_dir()), reverse=True)
    for path in found[keep:]:
        if time.time() - path.stat().st_mtime > older:
            shutil.rmtree(path, ignore_errors=True)
