"""`orchestrate doctor`: what of this machine works for builds, what does not, and what to do."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import common
from orchestrator.errors import EnvironmentLacksError, MatrixError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.engine.doctor import Check, Need
    from orchestrator.matrix.variants import Plan

MATRIX = Path("matrix.yaml")

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def doctor(
        *,
        file: Annotated[
            Path | None,
            typer.Option("--file", "-f", help="The matrix; matrix.yaml if it is there.", metavar="FILE"),
        ] = None,
        directory: common.Directory = None,
        cuda: common.CudaOption = None,
        platform: common.PlatformOption = None,
        target: common.TargetOption = None,
        axis: common.AxisOption = None,
        variant: common.VariantOption = None,
        image: common.ImageOption = "",
        jobs: Annotated[
            int, typer.Option("--jobs", "-j", min=1, help="Variants built at the same time.", metavar="N")
        ] = 1,
        format_: Annotated[common.Format, typer.Option("--format", help="How to print it.")] = common.Format.TABLE,
    ) -> None:
        """Check engine, buildx, builder, disk, memory and registry: what works, and the cure for what does not.

        With a matrix it is checked for what the selected variants need: their platforms, their registry, their cache,
        and memory for their max_jobs. Exits 5 if something is missing that a build cannot do without.

        Examples:
            orchestrate doctor
            orchestrate doctor --cuda 13.0 --jobs 2
            orchestrate doctor --format json
        """
        from orchestrator.engine.doctor import diagnose

        given = common.Selection(
            file=file or MATRIX, directory=directory, cuda=cuda, platform=platform, target=target, axis=axis,
            variant=variant, image=image,
        )  # fmt: skip
        need, checks = _need(given, jobs, required=file is not None)
        checks += diagnose(need)
        if format_ is common.Format.JSON:
            sys.stdout.write(json.dumps({"schema": 1, "checks": [asdict(check) for check in checks]}, indent=2) + "\n")
        else:
            _print(checks)
        failed = [check for check in checks if check.status == "fail"]
        if failed:
            names = ", ".join(check.name for check in failed)
            raise EnvironmentLacksError(f"{len(failed)} of {len(checks)} checks failed: {names}")


def _need(given: common.Selection, jobs: int, *, required: bool) -> tuple[Need, list[Check]]:
    """What the variants of the matrix will ask of the machine; a broken matrix is a finding, not the end."""
    from orchestrator.engine.doctor import Check, Need

    path = given.directory / given.file if given.directory is not None else given.file
    if not required and not path.exists():
        return Need(platforms=tuple(given.platform or ()), image=given.image), []
    try:
        plan = common.open_plan(given)
    except MatrixError as error:
        if required and not path.exists():
            raise
        cure = "orchestrate plan shows every problem with its place"
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
