"""`orchestrate doctor`: checks what of this machine works for builds, and says how to mend the rest."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from orchestrator.cli import common, kit, options
from orchestrator.cli.common import Format
from orchestrator.cli.kit import Heading
from orchestrator.errors import EnvironmentLacksError, MatrixError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.cli.common import Selection
    from orchestrator.engine.doctor import Check, Need
    from orchestrator.matrix.variants import Plan

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@kit.command(
    "doctor",
    examples=(
        "orchestrate doctor",
        "orchestrate doctor --cuda 13.0 --jobs 2",
        "orchestrate doctor --format json",
    ),
)
@options.selection(options.IMAGE)
@kit.option(
    "-j", "--jobs", heading=Heading.BEHAVIOUR, type=click.IntRange(min=1), default=1, metavar="N",
    help="Check memory for this many variants at once.",
)  # fmt: skip
@options.formats(explanation="Print the checks in this format.")
def command(*, given: Selection, jobs: int, format_: Format) -> None:
    """Check engine, buildx, builder, disk, memory and registry.

    Each check says what works and how to mend what does not. With a matrix, the machine is checked for what the
    selected variants need: their platforms, their registry, their cache, and memory for their max_jobs. Exits 5 if
    something is missing that a build cannot do without.
    """
    from orchestrator.engine.doctor import diagnose

    need, checks = _need(given, jobs)
    checks += diagnose(need)
    if format_ is Format.JSON:
        sys.stdout.write(json.dumps({"schema": 1, "checks": [asdict(check) for check in checks]}, indent=2) + "\n")
    else:
        _print(checks)
    failed = [check for check in checks if check.status == "fail"]
    if failed:
        names = ", ".join(check.name for check in failed)
        raise EnvironmentLacksError(f"{len(failed)} of {len(checks)} checks failed: {names}")


def _need(given: Selection, jobs: int) -> tuple[Need, list[Check]]:
    """What the variants of the matrix need of the machine; an invalid matrix is a finding, not the end."""
    from orchestrator.engine.doctor import Check, Need

    if given.file is None and not given.path.exists():
        if given.cuda or given.target or given.axis or given.variant:
            raise UsageError(
                f"{given.path} was not found: without a matrix there are no variants to select",
                hint="name the matrix with -f or -C, or leave --cuda, --target, --axis and --variant out",
            )
        return Need(platforms=tuple(given.platform), image=given.image), []
    try:
        plan = common.open_plan(given)
    except MatrixError as error:
        if not given.path.exists():
            raise
        cure = "`orchestrate plan` shows every problem with its place"
        return Need(image=given.image), [Check(name="matrix", status="warn", detail=error.message, cure=cure)]
    need = Need(
        platforms=tuple(dict.fromkeys(variant.platform for variant in plan.variants)),
        image=plan.image,
        jobs=_compile_jobs(plan, jobs),
        cache=plan.matrix.spec.cache.backend,
    )
    return need, [Check(name="matrix", status="ok", detail=f"{len(plan.variants)} variants")]


def _compile_jobs(plan: Plan, at_once: int) -> int | None:
    """Compile jobs of the largest variants that may run at the same time, None if no variant says max_jobs."""
    found = [
        int(value.text)
        for variant in plan.variants
        for name, value in variant.args.items()
        if name.lower() == "max_jobs" and value.text.isdecimal()
    ]
    return sum(sorted(found, reverse=True)[:at_once]) or None


def _print(checks: Sequence[Check]) -> None:
    from rich.text import Text

    from orchestrator.ui import console

    screen = console.out()
    width = max(len(check.name) for check in checks)
    for check in checks:
        line = Text.assemble((f"{check.status:<4}", _STYLES[check.status]), f"  {check.name:<{width}}  {check.detail}")
        screen.print(line, soft_wrap=True)
        if check.cure:
            screen.print(Text(" " * (width + 8) + check.cure, style="dim"), soft_wrap=True)
