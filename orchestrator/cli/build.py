"""`orchestrate build`: builds the selected variants, one bake process each, and reports the results."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli import common, kit, options
from orchestrator.cli.kit import Heading
from orchestrator.cli.outputs import REPORT, require_replaceable, require_writable

if TYPE_CHECKING:
    from orchestrator.cli.common import Selection
    from orchestrator.matrix.variants import Plan
    from orchestrator.runs.ended import Result
    from orchestrator.ui.board import Progress


@kit.command(
    "build",
    examples=(
        "orchestrate build --cuda 13.0",
        "orchestrate build --cuda 13.0 --push --jobs 2 --report report.json",
        "orchestrate build --variant openai-cu130-arm64 --load",
        "orchestrate build --air-gapped --push --registry registry.lan:5000",
        "orchestrate build --push --only-failed    (what the last run did not build)",
        "orchestrate build --push --resume     (after a failure: only what is missing)",
        "orchestrate build --push --changed    (on every commit: what did not change keeps its digest)",
    ),
    conflicts={"--push": ("--load", "--output"), "--load": ("--output",), "--resume": ("--changed",)},
    needs={
        "--verify": ("--push", "--load", "--output"),
        "--changed": ("--push",),
        "--max-age": ("--resume", "--changed"),
        "--registry": ("--air-gapped",),
    },
)
@options.selection(*options.OVERRIDES)
@kit.option("--push", heading=Heading.OUTPUT, is_flag=True, help="Push to the registry under the variants' tags.")
@kit.option("--load", heading=Heading.OUTPUT, is_flag=True, help="Load into the engine's image store.")
@kit.option(
    "-o", "--output", heading=Heading.OUTPUT, type=click.Path(path_type=Path), metavar="DIR",
    help="Write OCI archives to DIR/<id>.tar.", default_text="none",
)  # fmt: skip
@kit.option(
    "--report", heading=Heading.OUTPUT, type=click.Path(path_type=Path), metavar="FILE",
    help="Write the build report (JSON) to this file.", default_text="none",
)  # fmt: skip
@options.formats(explanation="Print the results as a table or as the JSON report.")
@kit.option(
    "-j", "--jobs", heading=Heading.BEHAVIOUR, type=click.IntRange(min=1), default=None, metavar="N",
    help="Build this many variants at once.", default_text="1, or all slots of builders of the matrix",
)  # fmt: skip
@kit.option(
    "--limit", heading=Heading.BEHAVIOUR, multiple=True, metavar="NAME=SPAN",
    help="Cancel a variant, a step or a silence that takes longer, as in step=3h.", default_text="limits of the matrix",
)  # fmt: skip
@kit.option(
    "--progress", heading=Heading.OUTPUT, type=click.Choice(["auto", "board", "plain", "json", "quiet"]),
    default="auto", help="Show the running build as a board, plain lines, JSON lines or not at all.",
)  # fmt: skip
@kit.option("--fail-fast", heading=Heading.BEHAVIOUR, is_flag=True, help="Cancel the others at the first failure.")
@kit.option(
    "--adapt", heading=Heading.BEHAVIOUR, is_flag=True,
    help="Build a variant once more with half of max_jobs after a compiler ran out of memory.",
)  # fmt: skip
@kit.option(
    "--resume", heading=Heading.BEHAVIOUR, is_flag=True,
    help="Skip variants whose result is there and was built from the same inputs.",
)  # fmt: skip
@kit.option(
    "--only-failed", heading=Heading.BEHAVIOUR, is_flag=True,
    help="Build the variants that failed in the last run with them, or that it did not reach.",
)  # fmt: skip
@kit.option(
    "--changed", heading=Heading.BEHAVIOUR, is_flag=True,
    help="Build what changed; move the tags of the rest to what was built from the same inputs.",
)  # fmt: skip
@kit.option(
    "--max-age", heading=Heading.BEHAVIOUR, default="", metavar="AGE",
    help="Build again what is older than this, as in 12h or 7d.", default_text="no limit",
)  # fmt: skip
@kit.option(
    "--verify/--no-verify", heading=Heading.BEHAVIOUR, default=None,
    help="Verify each image before it gets its tags.", default_text="verify.after_build of the matrix",
)  # fmt: skip
@kit.option(
    "--air-gapped", heading=Heading.BEHAVIOUR, is_flag=True,
    help="Fetch nothing: name missing inputs before the build, and give no RUN a network.",
)  # fmt: skip
@kit.option(
    "--registry", heading=Heading.BEHAVIOUR, multiple=True, metavar="HOST",
    help="Let --air-gapped reach this registry.", default_text="none",
)  # fmt: skip
@options.alone(options.CACHE)
@options.alone(options.ALLOW)
@kit.option(
    "--builder", heading=Heading.BEHAVIOUR, default="", metavar="NAME",
    help="Use this buildx builder.", default_text="the builders of the matrix, else the current one",
    shell_complete=options.completed("builder"),
)  # fmt: skip
def command(
    *,
    given: Selection,
    push: bool,
    load: bool,
    output: Path | None,
    report: Path | None,
    format_: common.Format,
    jobs: int | None,
    limit: tuple[str, ...],
    progress: str,
    fail_fast: bool,
    adapt: bool,
    resume: bool,
    only_failed: bool,
    changed: bool,
    max_age: str,
    verify: bool | None,
    air_gapped: bool,
    cache: str,
    registry: tuple[str, ...],
    allow: tuple[str, ...],
    builder: str,
) -> int:
    """Build the selected variants; one that fails does not stop the others.

    Without --push, --load or --output the result stays in the build cache: a test that everything builds.
    """
    from orchestrator.engine.doctor import Asked
    from orchestrator.runs.targets import begun

    if report is not None:
        require_replaceable(report, "--report", REPORT)
        require_writable(report, "--report")
    # The engine answers while the matrix is read; nobody asks it for a directory without one.
    with contextlib.ExitStack() as held:
        asked = held.enter_context(Asked(builder)) if given.path.exists() else None
        try:
            plan = common.open_plan(given)
        except KeyboardInterrupt:
            _report_nothing(report)
            raise
        if only_failed:
            plan = _failed_last(plan, push=push, load=load, output=output)
            if not plan.variants:
                from orchestrator.ui import streams

                _report_nothing(report)
                streams.tell("nothing to build: every selected variant was built by the last run that had it")
                return 0
        # Docker answers while the modules of a build are loaded.
        early = held.enter_context(begun(plan, builder, asked))
        from functools import partial

        from msgspec.structs import replace

        from orchestrator.bake import privileges
        from orchestrator.bake.file import Output
        from orchestrator.cache.rights import CacheUse
        from orchestrator.runs.limits import limits
        from orchestrator.runs.reporter import Screen
        from orchestrator.runs.run import build as run_build
        from orchestrator.runs.wishes import AirGap, Wishes
        from orchestrator.ui.board import Progress, make_reporter

        wanted = plan.matrix.spec.verify.after_build if verify is None else verify
        fleet = {} if builder else plan.matrix.spec.builders
        parallel = jobs or sum(one.slots for one in fleet.values()) or 1
        bounds = limits(plan.matrix.spec.limits, limit, parallel=parallel, fail_fast=fail_fast)
        wishes = Wishes(
            output=Output(push=push, load=load, directory=output.absolute() if output else None),
            limits=replace(bounds, adapt=adapt),
            resume=resume,
            changed=changed,
            max_age_s=common.seconds("--max-age", max_age) if max_age else None,
            report=report and report.absolute(),
            builder=builder,
            verify=wanted,
            allowed=privileges.parse(allow, Path.cwd()),
            cache=CacheUse(cache),
            air_gap=AirGap(registries=registry) if air_gapped else None,
        )
        shown = Progress(progress)
        reporter = partial(make_reporter, progress=shown)
        screen = Screen(reporter=reporter, warn=partial(_warn, shown), tell=partial(_tell, shown))
        result = run_build(plan, wishes, screen, early=early)
    from orchestrator.ui.summary import append_summary

    trouble = append_summary(result.outcomes, env=os.environ)
    if trouble:
        _warn(shown, trouble)
    try:
        _show(result, format_)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # the reader (head) went away; rich makes a SystemExit of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return result.code


def _tell(progress: Progress, text: str) -> None:
    """Say what belongs to no variant, on standard error: as a line, or as JSON beside that of the variants."""
    from orchestrator.ui import lines, streams
    from orchestrator.ui.board import Progress

    if progress is Progress.QUIET:
        return
    with contextlib.suppress(OSError):  # nobody reads on: the build goes on
        if progress is Progress.JSON:
            lines.JsonLines(stream=sys.stderr).notice(text)
        else:
            streams.tell(text)
        sys.stderr.flush()


def _warn(progress: Progress, text: str) -> None:
    from orchestrator.ui.board import Progress

    _tell(Progress.PLAIN if progress is Progress.QUIET else progress, f"warning: {text}")


def _failed_last(plan: Plan, *, push: bool, load: bool, output: Path | None) -> Plan:
    """The plan with the variants alone that their last runs did not build and bring where they are to be.

    Raises:
        UsageError: No run has ended there.
    """
    from msgspec.structs import replace

    from orchestrator.bake.file import Output
    from orchestrator.errors import UsageError
    from orchestrator.runs import kept
    from orchestrator.state import require_own

    wanted = Output(push=push, load=load, directory=output.absolute() if output else None)
    state = require_own(plan.matrix.root.absolute())
    failed = kept.unbuilt(state, [variant.id for variant in plan.variants], wanted)
    if failed is None:
        raise UsageError("--only-failed: no run was found that has ended", hint="build without it first")
    return replace(plan, variants=tuple(variant for variant in plan.variants if variant.id in failed))


def _report_nothing(path: Path | None) -> None:
    """Write the report of a run that a signal ended before its variants were known."""
    from datetime import UTC, datetime

    from orchestrator.runs.report import report, write_report

    if path is not None:
        with contextlib.suppress(OSError):
            write_report(path, report((), (), started=datetime.now(UTC)))


def _show(result: Result, format_: common.Format) -> None:
    from orchestrator.ui import results, streams

    if format_ is common.Format.JSON:
        streams.write_json(result.report)
    elif sys.stdout.isatty() or "FORCE_COLOR" in os.environ:
        from orchestrator.ui import console

        results.show_results(result.outcomes, console=console.out())
    elif result.outcomes:
        streams.say(results.plain(result.outcomes))
