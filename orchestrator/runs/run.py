"""One run of `orchestrate build`: engine, disk, jobs, scheduler, report, exit code.

It is what cli/build.py calls and knows no option's name; how a run looks is handed in as reporter.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator import process
from orchestrator.bake.file import Output
from orchestrator.engine import client, doctor
from orchestrator.errors import EnvironmentLacksError, InterruptedRunError, UsageError
from orchestrator.runs import features
from orchestrator.runs import jobs as making
from orchestrator.runs.disk import check_disk
from orchestrator.runs.journal import Journal
from orchestrator.runs.outcome import ErrorInfo, Outcome, Status, exit_code
from orchestrator.runs.report import report, write_report
from orchestrator.runs.scheduler import build_all
from orchestrator.runs.signals import interrupting, stop_on_signals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from orchestrator.bake.file import Extras
    from orchestrator.bake.process import Stop
    from orchestrator.matrix.variants import Plan
    from orchestrator.runs.reporter import Reporter


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
        report: What `--report` holds (docs/build.md).
    """

    outcomes: tuple[Outcome, ...]
    code: int
    report: Mapping[str, Any]


def build(
    plan: Plan,
    request: Request,
    *,
    reporter: Callable[[list[str]], AbstractContextManager[Reporter]],
    warn: Callable[[str], None],
    tell: Callable[[str], None],
) -> Result:
    """Build the variants of a plan.

    Args:
        plan: What to build.
        request: How.
        reporter: Makes the reporter for these variants.
        warn: Shows a warning that belongs to no variant.
        tell: Shows what goes on before the first variant starts, where it takes long.

    Raises:
        UsageError: The report cannot be a file at its place.
        EnvironmentLacksError: No engine, buildx too old, no room, no place for the report.
        MatrixError: buildx refuses the bake files.
    """
    started = datetime.now(UTC)
    if request.report is not None:
        _require_writable(request.report)
    # A download is not a child process: here a signal ends what runs at once.
    with interrupting():
        extras = features.header_extras(plan, fetch=not request.air_gapped, tell=tell)
    if request.air_gapped:
        extras = features.isolated(plan, extras, request.registries)
    with stop_on_signals() as stop:
        try:
            with process.stoppable(stop):
                ready = _prepare(plan, request, extras, stop=stop, run=f"{started:%Y%m%dT%H%M%S}-{os.getpid()}")
        except InterruptedRunError:
            outcomes = [_not_started(variant.id) for variant in plan.variants]
        else:
            outcomes = [_with_log(outcome) for outcome in _run(ready, request, stop, reporter=reporter, warn=warn)]
        content = report(making.infos(plan), outcomes, started=started)
        code = exit_code(outcomes, interrupted=stop.is_set())
        if request.report is not None:
            try:
                write_report(request.report, content)
            except OSError as error:  # what was built is shown all the same
                warn(f"{request.report}: the report could not be written: {error.strerror}")
                code = code or EnvironmentLacksError.exit_code
    return Result(outcomes=tuple(outcomes), code=code, report=content)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ready:
    """Everything that a run needs before its first variant starts."""

    prepared: making.Prepared
    journal: Journal
    disk: Path | None


def _prepare(plan: Plan, request: Request, extras: Mapping[str, Extras], *, stop: Stop, run: str) -> _Ready:
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
        stop=stop,
        held=bool(output.hold),
        loaded=output.load,
        directory=output.directory,
        bundles=features.bundles(plan, extras),
    )
    options = making.Options(
        docker=docker,
        run=run,
        builder=request.builder,
        output=output,
        extras=extras,
        after=after if request.verify else None,
        report=request.report,
    )
    prepared = making.prepare(plan, options)
    if request.air_gapped:
        features.require_inputs(plan, prepared.targets, extras, request.registries, docker)
    return _Ready(prepared=prepared, journal=Journal(prepared.state / "journal.jsonl"), disk=_engine_disk(engine))


def _run(
    ready: _Ready,
    request: Request,
    stop: Stop,
    *,
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


def _with_log(outcome: Outcome) -> Outcome:
    """The outcome, without the name of a log that was never begun."""
    return outcome if outcome.log is None or outcome.log.exists() else replace(outcome, log=None)


def _require_writable(path: Path) -> None:
    """The report is written after an hour; that it can be is found out before."""
    if path.is_dir():
        raise UsageError(f"--report {path}: is a directory", hint=f"--report {path / 'report.json'}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.is_file():
            with tempfile.TemporaryFile(dir=path.parent):
                pass
    except OSError as error:
        raise EnvironmentLacksError(
            f"--report {path}: the directory {path.parent} cannot be written: {error.strerror}",
            hint="name a file in a directory that you may write to",
        ) from error


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentLacksError(
            f"--output {directory}: is no directory and cannot be one: {error.strerror}"
        ) from error


def _engine_disk(engine: doctor.Engine) -> Path | None:
    """Where a local engine keeps its layers; None for a remote one."""
    return Path(engine.info.root) if client.free_bytes(engine.info) is not None else None


def _tidy(runs: Path, *, keep: int = 20, older: float = 14 * 86400.0) -> None:
    """Remove the logs of runs that are older than two weeks and not among the last twenty."""
    import shutil

    found = sorted((path for path in runs.iterdir() if path.is_dir()), reverse=True)
    for path in found[keep:]:
        with contextlib.suppress(OSError):  # another run tidies at the same time
            if time.time() - path.stat().st_mtime > older:
                shutil.rmtree(path, ignore_errors=True)
