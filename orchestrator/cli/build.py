"""`orchestrate build`: build the selected variants, one bake process each, and report what came of them."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import common
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.runs.run import Result


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(
        epilog=common.examples(
            "orchestrate build --cuda 13.0",
            "orchestrate build --cuda 13.0 --push --jobs 2 --report report.json",
            "orchestrate build --variant openai-cu130-arm64 --load",
            "orchestrate build --air-gapped --push --registry registry.lan:5000",
            "orchestrate build --push --resume    (after a failure: only what is missing)",
        )
    )
    def build(
        *,
        file: common.File = Path("matrix.yaml"),
        directory: common.Directory = None,
        cuda: common.CudaOption = None,
        platform: common.PlatformOption = None,
        target: common.TargetOption = None,
        axis: common.AxisOption = None,
        variant: common.VariantOption = None,
        arg: common.ArgOption = None,
        archs: common.ArchsOption = "",
        image: common.ImageOption = "",
        push: Annotated[bool, typer.Option("--push", help="Push to the registry under the variants' tags.")] = False,
        load: Annotated[bool, typer.Option("--load", help="Load into the engine's image store.")] = False,
        output: Annotated[
            Path | None, typer.Option("--output", "-o", metavar="DIR", help="Write OCI archives DIR/<id>.tar.")
        ] = None,
        jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, metavar="N", help="Variants at once.")] = 1,
        fail_fast: Annotated[bool, typer.Option("--fail-fast", help="The first failure cancels the others.")] = False,
        resume: Annotated[
            bool, typer.Option("--resume", help="Skip variants that were built from the same inputs before.")
        ] = False,
        air_gapped: Annotated[
            bool,
            typer.Option("--air-gapped", help="Fetch nothing: no network for any RUN, missing inputs named first."),
        ] = False,
        registry: Annotated[
            list[str] | None,
            typer.Option("--registry", metavar="HOST", help="Registry that --air-gapped may reach; repeatable."),
        ] = None,
        verify: Annotated[
            bool | None,
            typer.Option("--verify/--no-verify", help="Verify each image before it gets its tags."),
        ] = None,
        report: Annotated[
            Path | None, typer.Option("--report", metavar="FILE", help="Write the build report (JSON) here.")
        ] = None,
        builder: Annotated[str, typer.Option("--builder", metavar="NAME", help="buildx builder to use.")] = "",
        format_: Annotated[
            common.Format, typer.Option("--format", help="Print the results as a table or as the JSON report.")
        ] = common.Format.TABLE,
    ) -> None:
        """Build the selected variants; one failing variant never costs the others.

        Without --push, --load or --output the result stays in the build cache: a test that everything builds.
        """
        from orchestrator.bake.file import Output
        from orchestrator.runs.run import Request
        from orchestrator.runs.run import build as run_build
        from orchestrator.ui.board import make_reporter
        from orchestrator.ui.github import append_summary

        if push + load + (output is not None) > 1:
            raise UsageError("--push, --load and --output exclude each other", hint="run build once for each")
        if verify and not (push or load or output):
            raise UsageError("--verify needs an image to look into", hint="add --push, --load or --output DIR")
        if registry and not air_gapped:
            raise UsageError("--registry names what --air-gapped may reach", hint="add --air-gapped, or leave it out")
        plan = common.open_plan(
            common.Selection(
                file=file, directory=directory, cuda=cuda, platform=platform, target=target, axis=axis,
                variant=variant, args=arg, archs=archs, image=image,
            )
        )  # fmt: skip
        wanted = plan.matrix.spec.verify.after_build if verify is None else verify
        request = Request(
            output=Output(push=push, load=load, directory=output.absolute() if output else None),
            parallel=jobs, fail_fast=fail_fast, resume=resume, report=report and report.absolute(), builder=builder,
            verify=wanted, air_gapped=air_gapped, registries=tuple(registry or ()),
        )  # fmt: skip

        def tell(text: str) -> None:
            with contextlib.suppress(OSError):  # nobody reads on: the build goes on
                sys.stderr.write(f"{text}\n")
                sys.stderr.flush()

        def warn(text: str) -> None:
            tell(f"warning: {text}")

        result = run_build(plan, request, reporter=make_reporter, warn=warn, tell=tell)
        trouble = append_summary(result.outcomes, env=os.environ)
        if trouble:
            warn(trouble)
        try:
            _show(result, format_)
            sys.stdout.flush()
        except (BrokenPipeError, SystemExit):  # the reader (head) went away; rich makes a SystemExit of it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(result.code)


def _show(result: Result, format_: common.Format) -> None:
    from orchestrator.ui import console
    from orchestrator.ui.results import show_results

    if format_ is common.Format.JSON:
        sys.stdout.write(json.dumps(result.report, indent=2) + "\n")
    else:
        show_results(result.outcomes, console=console.out())
