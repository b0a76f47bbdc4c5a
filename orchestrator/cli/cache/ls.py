"""`orchestrate cache ls`: what the builder, directories, stores and registries hold for the plan."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator.cli import common, kit, options
from orchestrator.cli.kit import Heading
from orchestrator.ui import streams

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.cache.holdings import Holding
    from orchestrator.cli.common import Selection
    from orchestrator.matrix.variants import Plan

_BUILDER = "the builder"


@kit.command(
    "ls",
    examples=(
        "orchestrate cache ls",
        "orchestrate cache ls --variant 'app-cu130-*'    (what several variants share is listed as well)",
        "orchestrate cache ls --format json",
    ),
)
@options.selection(options.IMAGE)
@options.formats(explanation="Print the list as a table or as JSON.")
@kit.option(
    "--builder", heading=Heading.BEHAVIOUR, default="", metavar="NAME",
    help="List this buildx builder's cache.", default_text="the builders of the matrix, else the current one",
    shell_complete=options.completed("builder"),
)  # fmt: skip
def command(*, given: Selection, format_: common.Format, builder: str) -> int:
    """List what the builder, directories and registries hold.

    Each row has place, kind, variants, age and size, and how much of it `prune` can remove. Layers on a builder belong
    to every variant that has their step. A place that does not answer is named and left out; the exit code is then 5
    (no builder) or 6.
    """
    from orchestrator.errors import EnvironmentLacksError, NetworkError
    from orchestrator.ui import holdings_view

    selected = common.open_plan(given)
    chosen = {variant.id for variant in selected.variants}
    missing: dict[str, str] = {}
    rows = [one for one in _holdings(given, selected, builder, missing) if not one.variants or chosen & {*one.variants}]
    if format_ is common.Format.JSON:
        streams.write_json(holdings_view.as_json(rows, missing))
    else:
        streams.say(holdings_view.plain(rows, now=datetime.now(UTC)))
    for place, why in missing.items():
        streams.tell(f"{place} is left out: {why}")
    if _BUILDER in missing:
        return EnvironmentLacksError.exit_code
    return NetworkError.exit_code if missing else 0


def _holdings(given: Selection, selected: Plan, builder: str, missing: dict[str, str]) -> Iterator[Holding]:
    """Every place in turn; of one that does not answer, `missing` gets the reason."""
    import os

    from orchestrator.cache import compile_tool, holdings, rights
    from orchestrator.cli.cache.shared import whole_plan
    from orchestrator.errors import EnvironmentLacksError
    from orchestrator.headers import store as headers
    from orchestrator.image.layers import store as layers
    from orchestrator.runs import caches

    plan = whole_plan(given)
    try:
        found = caches.fleet_caches(plan, builder)
    except EnvironmentLacksError as error:
        missing[_BUILDER] = error.message
        standing = rights.here(plan.matrix.spec.cache, plan.matrix.root, env=os.environ)
        directories = holdings.local_caches(plan, standing)
    else:
        shared = caches.namespaces(plan)
        for one in found.builders:
            yield from holdings.of_builder(one.records, one.builder, needed=one.needed, namespaces=shared)
        missing |= {f"builder {name}": why for name, why in found.silent.items()}
        directories = [directory for one in found.builders for directory in one.directories]
    yield from holdings.of_directories(directories)
    stores = {
        "headers": headers.default_root(),
        "layer scans": layers.default_directory(),
        "sccache": compile_tool.default_root(),
    }
    yield from holdings.of_stores(plan.matrix.root, stores)
    if plan.matrix.spec.cache.backend == "registry":
        yield from _registry(selected, missing)


def _registry(plan: Plan, missing: dict[str, str]) -> Iterator[Holding]:
    from orchestrator.cache import holdings, prune, usage
    from orchestrator.cache.exported import NAME, Exported
    from orchestrator.cache.repository import held
    from orchestrator.errors import OrchestrateError
    from orchestrator.matrix import git
    from orchestrator.reference import parse
    from orchestrator.registry.client import Registry
    from orchestrator.state import require_own

    owners = {str(parse(variant.cache_ref).tag or ""): variant.id for variant in plan.variants}
    branches = git.branches(plan.matrix.root)
    exports = Exported(require_own(plan.matrix.root) / NAME)
    for repository, bases in usage.cache_repositories(plan).items():
        known = prune.Known(
            bases=bases,
            branches=frozenset(branches) if branches is not None else None,
            exports=exports.of(repository),
            now=datetime.now(UTC),
        )
        try:
            records = prune.recorded(usage.record_texts(plan.matrix.root))
            with Registry(repository) as client:
                found = held(client, exports.of(repository))
        except (OrchestrateError, OSError) as error:
            missing[str(repository)] = str(error)
            continue
        yield from holdings.of_repository(str(repository), found, prune.decide(found, known, records=records), owners)
