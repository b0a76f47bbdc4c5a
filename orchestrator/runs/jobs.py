"""Makes the jobs of the scheduler from a plan: bake files rendered and resolved, preflight as each job's first step.

Here matrix, bake, cache and what other features add come together; scheduler.py runs the jobs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from orchestrator import files
from orchestrator.bake.arrived import Outlines
from orchestrator.bake.file import BakeFile, Extras, Output, render
from orchestrator.cache.records import Records
from orchestrator.errors import EnvironmentLacksError
from orchestrator.matrix import git
from orchestrator.runs import preflight
from orchestrator.runs.base_lock import unlocked
from orchestrator.runs.step import Step
from orchestrator.runs.sure import Rereading
from orchestrator.runs.targets import resolved
from orchestrator.runs.wanted import contents as listing
from orchestrator.state import STATE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orchestrator.engine.buildx import BakeCall
    from orchestrator.matrix.variants import Plan, Variant
    from orchestrator.runs.job import Job
    from orchestrator.runs.preflight import Checked
    from orchestrator.runs.step import Context
    from orchestrator.runs.targets import Targets


class Prepared(Struct, frozen=True, kw_only=True):
    """The jobs of a run, and where it keeps its files.

    Attributes:
        jobs: One for each variant, in the order of the plan.
        checked: Variant id -> what preflight found, before any of them is built.
        files: Variant id -> its bake file.
        logs: Directory of the log files.
        state: The state directory.
    """

    jobs: tuple[Job, ...]
    checked: Mapping[str, Checked]
    files: Mapping[str, BakeFile]
    logs: Path
    state: Path


def prepare(plan: Plan, context: Context, targets: Targets | None = None) -> Prepared:
    """Render every variant's bake file, check it, and make its job.

    Args:
        plan: The plan.
        context: What the jobs share.
        targets: What `resolved` returned; None asks buildx.

    Raises:
        MatrixError: buildx refuses the project's bake files with ours.
        EnvironmentLacksError: The state directory cannot be written.
    """
    root = context.call.root
    state = root / STATE
    run = state / "runs" / context.name
    try:
        files.make_private(run)
        state.chmod(0o700)
        files.write_whole(state / ".gitignore", "*\n", mode=files.PRIVATE)
    except OSError as error:
        raise EnvironmentLacksError(
            f"{error.filename or state}: logs and bake files cannot be written: {error.strerror}",
            hint=f"{state} must be a directory that you may write to",
        ) from error
    resolved_ = resolved(plan, context.call) if targets is None else targets
    rendered = {variant.id: _rendered(plan, variant, resolved_, context) for variant in plan.variants}
    outlines = Outlines(state / "outlines.json")
    allowed = preflight.allowed_by(plan, context.allowed)
    reports = (context.report,) if context.report is not None else ()
    contents = listing(plan, reports, output=context.output)
    rereading = Rereading(lambda: listing(plan, reports, output=context.output, cache=contents.cache), contents)
    records = Records(state / "inputs")
    questions = preflight.questions(plan, rendered, context.extras, push=context.output.push)
    builders = [site.builder for site in context.sites.values()]
    if not builders and context.builder is not None:
        builders = [context.builder]
    checked = preflight.check_all(context.call, questions, builders=builders, outlines=outlines, allowed=allowed)

    def drawn(step: Step, name: str) -> Step:
        """A step on the builder of that name: caches and secrets may differ there."""
        there = context.on(name)
        file = _rendered(plan, step.variant, resolved_, there)
        return replace(step, context=there, file=file, source=step.source or step.file, suffix=f".{name}")

    steps = [
        Step(
            context=context,
            file=question.file,
            variant=question.variant,
            checked=checked[question.variant.id],
            image=plan.image,
            records=records,
            directory=run,
            asked=question.asked,
            rereading=rereading,
            drawn=drawn if context.sites else None,
        )
        for question in questions
    ]
    jobs = tuple(step.job(contents) for step in steps)
    for step in steps:
        if note := unlocked(root, step.found.bases if step.found is not None else ()):
            step.checked = replace(step.checked, notes=(*step.checked.notes, note))
    contents.cache.save()
    return Prepared(
        jobs=jobs, checked={step.variant.id: step.checked for step in steps}, files=rendered, logs=run, state=state
    )


def _rendered(plan: Plan, variant: Variant, targets: Targets, context: Context) -> BakeFile:
    """The bake file of one variant, as a run needs it."""
    extras = context.extras.get(variant.id)
    return render(plan, variant, targets, output=context.output, extras=extras, revision=context.revision)


def bake_files(
    plan: Plan,
    call: BakeCall,
    *,
    output: Output | None = None,
    extras: Mapping[str, Extras] | None = None,
    targets: Targets | None = None,
) -> dict[str, BakeFile]:
    """Make the bake file of every variant.

    Raises:
        MatrixError: As for `resolved`.
    """
    targets = resolved(plan, call) if targets is None else targets
    revision = git.revision(plan.matrix.root)
    return {
        variant.id: render(
            plan, variant, targets, output=output, extras=(extras or {}).get(variant.id), revision=revision
        )
        for variant in plan.variants
    }
