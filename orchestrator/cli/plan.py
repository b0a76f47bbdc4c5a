"""`orchestrate plan`: shows what is built, what is not and why, and where each value comes from."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.cli import common, kit, options
from orchestrator.cli.kit import Heading
from orchestrator.errors import MatrixError, OrchestrateError, UsageError, did_you_mean
from orchestrator.sizes import counted

if TYPE_CHECKING:
    from orchestrator.cli.common import Selection
    from orchestrator.matrix.variants import Plan, Variant


class PlanFormat(StrEnum):
    """How the plan is printed."""

    TABLE = "table"
    JSON = "json"
    GITHUB = "github"
    BAKE = "bake"
    SARIF = "sarif"


@kit.command(
    "plan",
    examples=(
        "orchestrate plan",
        "orchestrate plan --cuda 13.0 --format json",
        "orchestrate plan --explain openai-cu130-arm64",
        "orchestrate plan --preflight    (in CI: whether the build can start, and may push)",
        "orchestrate plan --status       (asks the registry: what is built, and what is stale because of what)",
        "orchestrate plan --diff main    (what this branch changes: variants, archs, arguments, tags)",
        "orchestrate plan --format bake > variants.json    (prints the commands to run by hand)",
        "orchestrate plan --preflight --format sarif > plan.sarif    (for code scanning)",
    ),
    conflicts={
        "--diff": ("--explain", "--kernels", "--preflight", "--network-report", "--status"),
        "--explain": ("--kernels", "--format", "--preflight", "--network-report", "--status"),
        "--kernels": ("--format", "--arg", "--image", "--preflight", "--network-report", "--status"),
        "--network-report": ("--preflight", "--status"),
        "--status": ("--preflight",),
    },
    needs={
        "--builder": ("--preflight", "--status"),
        "--allow": ("--preflight",),
        "--no-push": ("--preflight",),
        "--verify": ("--status",),
        "--cache": ("--explain", "--preflight", "--format=bake"),
    },
)
@options.selection(*options.OVERRIDES)
@options.formats(PlanFormat, explanation="Print the plan in this format.")
@kit.option(
    "--explain", heading=Heading.OUTPUT, default="", metavar="ID",
    help="Show instead where each value of this variant comes from.", default_text="the whole plan",
    shell_complete=options.completed("variant"),
)  # fmt: skip
@kit.option(
    "--kernels", heading=Heading.OUTPUT, is_flag=True,
    help="Show instead the archs that each kernel family of CMakeLists.txt is built for.",
)  # fmt: skip
@kit.option(
    "--preflight", heading=Heading.BEHAVIOUR, is_flag=True,
    help="Check every variant as a build with --push does before it starts; build nothing.",
)  # fmt: skip
@kit.option(
    "--no-push", heading=Heading.BEHAVIOUR, is_flag=True,
    help="Check as a build without --push does: no registry is asked whether it takes a push.",
)  # fmt: skip
@kit.option(
    "--status", heading=Heading.OUTPUT, is_flag=True,
    help="Show instead what the registry has: built, stale (and why) or never built.",
)  # fmt: skip
@kit.option(
    "--verify/--no-verify", heading=Heading.BEHAVIOUR, default=None,
    help="Show as built only what was verified, as a build with --verify takes it.",
    default_text="verify.after_build of the matrix",
)  # fmt: skip
@kit.option(
    "--diff", "diff", heading=Heading.OUTPUT, default="", metavar="REF",
    help="Show instead what changes against the matrix of this commit, branch or tag.", default_text="no comparison",
)  # fmt: skip
@kit.option(
    "--builder", heading=Heading.BEHAVIOUR, default="", metavar="NAME",
    help="Check against this buildx builder.", default_text="the builders of the matrix, else the current one",
)  # fmt: skip
@options.alone(options.ALLOW)
@kit.option(
    "--network-report", heading=Heading.OUTPUT, is_flag=True,
    help="Show instead everything that the builds fetch, and what replaces it offline.",
)  # fmt: skip
@options.alone(options.CACHE)
def command(
    *,
    given: Selection,
    format_: PlanFormat,
    explain: str,
    kernels: bool,
    preflight: bool,
    no_push: bool,
    status: bool,
    verify: bool | None,
    diff: str,
    builder: str,
    allow: tuple[str, ...],
    network_report: bool,
    cache: str,
) -> int:
    """Show what is built, what is not, and why."""
    taken = {PlanFormat.TABLE, PlanFormat.JSON} | ({PlanFormat.SARIF} if preflight else set())
    if (preflight or status or diff) and format_ not in taken:
        option = "--preflight" if preflight else "--status" if status else "--diff"
        raise UsageError(f"{option} --format {format_}: expected {' or '.join(sorted(taken, reverse=True))}")
    found = _opened(given, format_)
    if diff:
        _difference(given, found, diff, format_)
        return 0
    if status:
        wanted = found.matrix.spec.verify.after_build if verify is None else verify
        return _status(found, format_, builder, verify=wanted)
    if preflight:
        return _preflight(found, _Asked(builder=builder, allow=allow, cache=cache, push=not no_push), format_)
    if network_report:
        _network(found, format_)
    elif explain:
        _explain(found, explain, cache)
    elif kernels:
        _kernels(found)
    else:
        _print(found, format_, cache)
    return 0


def _opened(given: Selection, format_: PlanFormat) -> Plan:
    """Open the plan; with --format sarif, what is wrong with the matrix is also the result."""
    try:
        return common.open_plan(given)
    except MatrixError as error:
        if format_ is PlanFormat.SARIF:
            from orchestrator.ui import plan_marks, streams

            streams.write_json(plan_marks.as_sarif([error], str(given.path)))
        raise


class _Asked(Struct, frozen=True, kw_only=True):
    """The options of --preflight."""

    builder: str
    allow: tuple[str, ...]
    cache: str
    push: bool


def _preflight(plan: Plan, given: _Asked, format_: PlanFormat) -> int:
    """All that a build looks at before its first variant; the exit code of what is refused."""
    from orchestrator import process
    from orchestrator.bake import privileges
    from orchestrator.bake.arrived import Outlines
    from orchestrator.bake.file import Output
    from orchestrator.cache.rights import CacheUse
    from orchestrator.engine.client import docker_command
    from orchestrator.runs import caching, features, jobs, resources, sites, targets
    from orchestrator.runs import preflight as checks
    from orchestrator.state import require_own
    from orchestrator.ui import plan_marks, preflight_view, streams

    if not plan.variants:
        raise UsageError("--preflight: the plan has no variants to check")
    allowed = checks.allowed_by(plan, privileges.parse(given.allow, Path.cwd()))
    with targets.begun(plan, given.builder) as early, process.stoppable(early.stop):
        there = sites.standing(plan, given.builder, early.asked)
        resolved = early.targets.result()

    def warn(text: str) -> None:
        streams.tell(f"warning: {text}")

    engine = there.engine
    extras = features.extras(plan, fetch=True, tell=streams.tell, warn=warn)
    extras = caching.fitting(plan, caching.with_caches(plan, extras, CacheUse(given.cache)), engine.builder, warn=warn)
    extras = resources.with_jobs(plan, extras, engine, 1, tell=streams.tell)
    named = given.builder or (engine.builder.name if plan.matrix.spec.builders else "")
    call = targets.bake_call(plan, docker_command(), named)
    files = jobs.bake_files(plan, call, output=Output(push=given.push), extras=extras, targets=resolved)
    memory = require_own(plan.matrix.root) / "outlines.json"
    checked = checks.check_all(
        call,
        checks.questions(plan, files, extras, push=given.push),
        builders=there.builders,
        outlines=Outlines(memory if memory.exists() else None),
        allowed=allowed,
    )
    match format_:
        case PlanFormat.JSON:
            streams.write_json(preflight_view.as_json(checked))
        case PlanFormat.SARIF:
            refused = [one.error for one in checked.values() if one.error is not None]
            streams.write_json(plan_marks.as_sarif(refused, plan.matrix.positions.file))
        case _:
            streams.say(preflight_view.plain(checked))
    codes = {one.error.exit_code for one in checked.values() if one.error is not None}
    return codes.pop() if len(codes) == 1 else int(bool(codes))


def _status(plan: Plan, format_: PlanFormat, builder: str, *, verify: bool) -> int:
    """What there is of every variant in the registry."""
    from orchestrator.engine.client import docker_command
    from orchestrator.engine.doctor import Asked
    from orchestrator.runs import features, sites
    from orchestrator.runs.status import statuses
    from orchestrator.runs.targets import bake_call
    from orchestrator.ui import status_view, streams

    with Asked(builder) as asked:
        there = sites.standing(plan, builder, asked)
    extras = features.extras(plan, fetch=True, tell=streams.tell, warn=lambda text: streams.tell(f"warning: {text}"))
    named = builder or (there.engine.builder.name if plan.matrix.spec.builders else "")
    found = statuses(plan, bake_call(plan, docker_command(), named), extras, drivers=there.drivers, verify=verify)
    if format_ is PlanFormat.JSON:
        streams.write_json(status_view.as_json(found))
    else:
        streams.say(status_view.plain(found))
    return 0


def _difference(given: Selection, plan: Plan, ref: str, format_: PlanFormat) -> None:
    """What the plan changes against another commit's, also for the job summary."""
    from orchestrator.matrix.difference import difference
    from orchestrator.ui import difference_view, streams

    before, commit = common.plan_at(given, plan, ref)
    if before is None:
        streams.tell(f"{ref} has no {plan.matrix.path.name}: every variant is new")
    found = difference(before, plan)
    if format_ is PlanFormat.JSON:
        streams.write_json(difference_view.as_json(found, ref, commit))
    else:
        streams.say(difference_view.plain(found, f"{ref} ({commit[:12]})"))
    if trouble := difference_view.append(found, ref, env=os.environ):
        streams.tell(f"warning: {trouble}")


def _print(plan: Plan, format_: PlanFormat, cache: str) -> None:
    from orchestrator.ui import console, plan_view, streams

    match format_:
        case PlanFormat.TABLE:
            if sys.stdout.isatty():
                plan_view.show(plan, console.out())
            else:
                streams.say(plan_view.plain(plan).removesuffix("\n"))
        case PlanFormat.JSON:
            streams.write_json(plan_view.as_json(plan))
        case PlanFormat.GITHUB:
            streams.write_json(plan_view.as_github(plan), indent=None)
        case PlanFormat.BAKE:
            _bake(plan, cache)
        case PlanFormat.SARIF:
            from orchestrator.ui import plan_marks

            streams.write_json(plan_marks.as_sarif([], plan.matrix.positions.file))


def _bake(plan: Plan, cache: str) -> None:
    """The bake file of all selected variants on stdout, the commands on stderr."""
    from orchestrator import process
    from orchestrator.cache.rights import CacheUse
    from orchestrator.engine.client import docker_command
    from orchestrator.runs import caching, jobs, targets
    from orchestrator.ui import streams

    members: dict[str, object] = {}
    extras = caching.with_caches(plan, {}, CacheUse(cache))
    found = jobs.bake_files(plan, targets.bake_call(plan, docker_command()), extras=extras)
    for file in found.values():
        members |= file.content["target"]
    content = {"group": {"default": {"targets": list(found)}}, "target": members}
    streams.write_json(content)
    streams.tell(f"# save the above as variants.json, then in {plan.matrix.root}:")
    for name in found:
        command = ["docker", "buildx", "bake", "-f", "variants.json", name]
        streams.tell(process.command_line(command))


def _network(plan: Plan, format_: PlanFormat) -> None:
    """Every access to a network, by Dockerfile, line and stage."""
    from msgspec.structs import asdict

    from orchestrator.engine.client import docker_command
    from orchestrator.runs import air_gap, jobs, targets
    from orchestrator.ui import streams

    if format_ not in (PlanFormat.TABLE, PlanFormat.JSON):
        raise UsageError(f"--network-report: format {format_.value} is invalid: expected table or json")
    found = air_gap.accesses(plan, jobs.bake_files(plan, targets.bake_call(plan, docker_command())))
    if format_ is PlanFormat.JSON:
        streams.write_json({"schema": 1, "accesses": [asdict(one) for one in found]})
        return
    for one in found:
        which = "" if len(one.variants) == len(plan.variants) else f"  [{', '.join(one.variants)}]"
        streams.say(f"{one.place}  {one.kind}  {one.name}{which}")
        if one.cure:
            streams.say(f"    offline: {one.cure}")
    streams.tell(
        f"{len(found)} {'access' if len(found) == 1 else 'accesses'} of {counted(len(plan.variants), 'variant')}"
    )


def _explain(plan: Plan, name: str, cache: str) -> None:
    from orchestrator.cache.rights import CacheUse
    from orchestrator.runs import resources
    from orchestrator.ui import console, plan_view, streams
    from orchestrator.ui.cache_view import cache_lines
    from orchestrator.ui.kernel_preview import filter_lines

    found = next((variant for variant in plan.variants if variant.id == name), None)
    if found is None:
        dropped = next((row for row in plan.dropped if row.id == name), None)
        if dropped is not None:
            streams.say(f"{name} is not built: {dropped.why}    {dropped.origin}")
            return
        names = [variant.id for variant in plan.variants] + [row.id for row in plan.dropped]
        raise UsageError(f"--explain {name}: the variant was not found", hint=did_you_mean(name, names))
    cached = ("cache", cache_lines(plan, found, CacheUse(cache), os.environ))
    consumers = ("consumed by", _consumers(plan, found))
    jobs = ("resources", resources.explained(plan.matrix.spec.resources))
    plan_view.explain(plan, found, console.out(), more=[jobs, cached, consumers, *filter_lines(plan, found)])


def _consumers(plan: Plan, variant: Variant) -> list[str]:
    """One line for each argument: the bake targets whose stages consume it."""
    from msgspec.structs import replace

    from orchestrator.bake import preflight
    from orchestrator.engine.client import docker_command
    from orchestrator.runs import jobs, targets

    try:
        call = targets.bake_call(plan, docker_command())
        found = preflight.arrival(call, jobs.bake_files(replace(plan, variants=(variant,)), call)[variant.id])
    except OrchestrateError as error:
        return [f"not checked: {line}" for line in str(error).splitlines()[:1]]
    if not found.checked:
        return [f"not checked: {found.why_not}"]
    return [
        f"{name}: {', '.join(one.target for one in found.consumers if name in one.args) or 'no target'}"
        for name in variant.args
    ]


def _kernels(plan: Plan) -> None:
    from orchestrator.ui import console
    from orchestrator.ui.kernel_preview import show_kernels

    show_kernels(plan, console.out())
