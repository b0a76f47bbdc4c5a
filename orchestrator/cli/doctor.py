"""`orchestrate doctor`: checks what of this machine works for builds, and says how to repair the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli import common, kit, options
from orchestrator.cli.common import Format
from orchestrator.cli.kit import Heading
from orchestrator.errors import EnvironmentLacksError, MatrixError, UsageError
from orchestrator.sizes import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.cli.common import Selection
    from orchestrator.engine.doctor import Need
    from orchestrator.engine.machine import Check
    from orchestrator.matrix.variants import Plan

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@kit.command(
    "doctor",
    examples=(
        "orchestrate doctor",
        "orchestrate doctor --cuda 13.0 --jobs 2",
        "orchestrate doctor --builder gpu-farm",
        "orchestrate doctor --format json",
    ),
)
@options.selection(options.IMAGE)
@kit.option(
    "-j", "--jobs", heading=Heading.BEHAVIOUR, type=click.IntRange(min=1), default=1, metavar="N",
    help="Check memory and processors for this many variants at once.",
)  # fmt: skip
@kit.option(
    "--builder", heading=Heading.BEHAVIOUR, default="", metavar="NAME",
    help="Check this buildx builder.", default_text="the builders of the matrix, else the current one",
)  # fmt: skip
@options.formats(explanation="Print the checks in this format.")
def command(*, given: Selection, jobs: int, builder: str, format_: Format) -> None:
    """Check engine, buildx, builder, disk, memory, processors and registry.

    Each check says what works and what to do about the rest. With a matrix, the machine is checked for what the
    selected variants need: their platforms, their registry, their cache, and memory and processors for their max_jobs.
    Exits 5 if something is missing that every build needs.
    """
    from concurrent.futures import ThreadPoolExecutor

    from msgspec.structs import replace

    from orchestrator.engine.doctor import diagnose
    from orchestrator.registry.reach import check_registry
    from orchestrator.ui import streams

    need, image, checks = _need(given, jobs, builder)
    need = replace(need, builder=builder)
    with ThreadPoolExecutor(max_workers=1) as pool:
        registry_job = pool.submit(check_registry, image) if image else None
        fleet = [] if builder else _fleet(given, need)
        alone = ("engine", "buildx") if fleet else ()
        checks += [check for check in diagnose(need) if check.name in alone or not alone]
        checks += fleet
        checks += [registry_job.result()] if registry_job is not None else []
    if format_ is Format.JSON:
        streams.write_json({"schema": 1, "checks": [_row(check) for check in checks]})
    else:
        _print(checks)
    failed = [check for check in checks if check.status == "fail"]
    if failed:
        names = ", ".join(check.name for check in failed)
        raise EnvironmentLacksError(f"{len(failed)} of {len(checks)} checks failed: {names}")


def _row(check: Check) -> dict[str, str]:
    return {"name": check.name, "status": check.status, "detail": check.detail, "cure": check.hint}


def _need(given: Selection, jobs: int, builder: str) -> tuple[Need, str, list[Check]]:
    """Return what the variants of the matrix need, the image whose registry they use, and a check of the matrix.

    An invalid matrix is a finding: the machine is checked without it.
    """
    from orchestrator.engine.doctor import Need
    from orchestrator.engine.machine import Check

    if given.file is None and not given.path.exists():
        if given.cuda or given.target or given.axis or given.variant:
            raise UsageError(
                f"{given.path} was not found: without a matrix there are no variants to select",
                hint="name the matrix with -f or -C, or leave --cuda, --target, --axis and --variant out",
            )
        return Need(platforms=tuple(given.platform)), given.image, []
    try:
        plan = common.open_plan(given)
    except MatrixError as error:
        if not given.path.exists():
            raise
        hint = "`orchestrate plan` shows every problem with its place"
        return Need(), given.image, [Check(name="matrix", status="warn", detail=error.message, hint=hint)]
    platforms, unread = _platforms(plan, builder)
    need = Need(
        platforms=platforms,
        jobs=_compile_jobs(plan, jobs),
        cache=plan.matrix.spec.cache.backend,
    )
    return need, plan.image, [Check(name="matrix", status="ok", detail=counted(len(plan.variants), "variant")), *unread]


def _fleet(given: Selection, need: Need) -> list[Check]:
    """Checks of the builders that the matrix names; none where it names none, or is invalid."""
    from orchestrator.runs.fleet_doctor import check_builders

    if given.file is None and not given.path.exists():
        return []
    try:
        plan = common.open_plan(given)
    except MatrixError:
        return []
    return check_builders(plan, need) if plan.matrix.spec.builders else []


def _platforms(plan: Plan, builder: str) -> tuple[tuple[str, ...], list[Check]]:
    """Return the platforms that the steps of the variants run on, judged as a build judges them, and what hinders that.

    An image without RUN steps of its own platform needs no builder of that platform. Where buildx does not resolve the
    targets, every platform of the plan counts.
    """
    from orchestrator.engine.client import docker_command
    from orchestrator.engine.machine import Check
    from orchestrator.runs import jobs, targets
    from orchestrator.runs.preflight import needed_platforms

    if not plan.variants:
        return (), []
    try:
        call = targets.bake_call(plan, docker_command(), builder)
        files = jobs.bake_files(plan, call)
    except MatrixError as error:
        what = "; ".join([error.message, *map(str, error.problems)])
        hint = error.hint or "`orchestrate plan --preflight` shows every problem with its place"
        return _all(plan), [Check(name="bake files", status="warn", detail=what, hint=hint)]
    except EnvironmentLacksError:  # the checks of docker say so
        return _all(plan), []
    found = (needed_platforms(call.root, files[one.id], one.platform) for one in plan.variants)
    return tuple(sorted({platform for platforms in found for platform in platforms})), []


def _all(plan: Plan) -> tuple[str, ...]:
    return tuple(dict.fromkeys(variant.platform for variant in plan.variants))


def _compile_jobs(plan: Plan, at_once: int) -> int | None:
    """Add up the compile jobs of the largest variants that run at the same time; None if the matrix sets none."""
    from orchestrator.runs.resources import asked_jobs

    found = [asked_jobs(plan.matrix.spec.resources, variant) for variant in plan.variants]
    return sum(sorted(found, reverse=True)[:at_once]) or None


def _print(checks: Sequence[Check]) -> None:
    from rich.text import Text

    from orchestrator.ui import console

    screen = console.out()
    width = max(len(check.name) for check in checks)
    for check in checks:
        line = Text.assemble((f"{check.status:<4}", _STYLES[check.status]), f"  {check.name:<{width}}  {check.detail}")
        screen.print(line, soft_wrap=True)
        if check.hint:
            screen.print(Text(" " * (width + 8) + check.hint, style="dim"), soft_wrap=True)
