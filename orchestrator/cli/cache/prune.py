"""`orchestrate cache prune`: removes cache references that nobody needs, or what does not fit a budget.

Without --yes it only says which.
"""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from orchestrator.cli import common, kit, options
from orchestrator.cli.kit import Heading
from orchestrator.sizes import counted
from orchestrator.ui import streams

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.cache.budget import Choice
    from orchestrator.cache.prune import Removed, Verdict
    from orchestrator.cache.repository import Held
    from orchestrator.cli.common import Selection
    from orchestrator.reference import Repository
    from orchestrator.registry.github import GitHub
    from orchestrator.runs.caches import MachineCaches


@kit.command(
    "prune",
    examples=(
        "orchestrate cache prune",
        "orchestrate cache prune --closed-pr 12 --closed-pr 13 --yes",
        "orchestrate cache prune --older-than 30 --yes",
        "orchestrate cache prune --keep 60GB --min-free 20GB --yes",
    ),
    conflicts={
        "--keep": ("--closed-pr", "--older-than", "--cuda", "--platform", "--target", "--axis", "--variant"),
        "--min-free": ("--closed-pr", "--older-than", "--cuda", "--platform", "--target", "--axis", "--variant"),
    },
    needs={"--builder": ("--keep", "--min-free")},
)
@options.selection(options.IMAGE)
@kit.option(
    "--closed-pr", heading=Heading.BEHAVIOUR, multiple=True, metavar="NUMBER",
    help="Remove the references of this closed pull request.", default_text="none",
)  # fmt: skip
@kit.option(
    "--older-than", heading=Heading.BEHAVIOUR, type=click.IntRange(min=1), default=None, metavar="DAYS",
    help="Remove references of branches, tags, commits and pull requests that are older.", default_text="no limit",
)  # fmt: skip
@kit.option(
    "--keep", heading=Heading.BEHAVIOUR, default="", metavar="SIZE",
    help="Keep at most this much on the builder and in local directories, as in 60GB; no registry is asked.",
    default_text="no limit",
)  # fmt: skip
@kit.option(
    "--min-free", heading=Heading.BEHAVIOUR, default="", metavar="SIZE",
    help="Remove until this much of the engine's disk is free, as in 20GB.", default_text="no limit",
)  # fmt: skip
@kit.option(
    "--builder", heading=Heading.BEHAVIOUR, default="", metavar="NAME",
    help="Remove from this buildx builder's cache.", default_text="the builders of the matrix, else the current one",
    shell_complete=options.completed("builder"),
)  # fmt: skip
@kit.option(
    "--yes", heading=Heading.BEHAVIOUR, is_flag=True, help="Remove what is listed.", default_text="only list it",
)  # fmt: skip
def command(
    *,
    given: Selection,
    closed_pr: tuple[str, ...],
    older_than: int | None,
    keep: str,
    min_free: str,
    builder: str,
    yes: bool,
) -> int:
    """Remove cache references that nobody needs, or what does not fit a budget.

    Removes the cache references of branches that the origin no longer has, and of closed pull requests. Keeps main's
    references, other tags, and every manifest that another tag, a journal or a record needs. The registry frees the
    bytes with its own garbage collection, which must run without -m. With --keep or --min-free, removes from the
    builder and from local directories what was unused longest; keeps cache mounts, what a build uses and what the next
    build needs.
    """
    if keep or min_free:
        return _budget(given, keep=keep, min_free=min_free, builder=builder, yes=yes)
    return _references(given, closed_pr, older_than, yes=yes)


def _budget(given: Selection, *, keep: str, min_free: str, builder: str, yes: bool) -> int:
    from msgspec.structs import replace

    from orchestrator.cache import budget
    from orchestrator.cli.cache.shared import whole_plan
    from orchestrator.engine import machine
    from orchestrator.errors import NetworkError, UsageError
    from orchestrator.runs import caches

    wanted = budget.Budget(
        keep=common.size("--keep", keep) if keep else None,
        min_free=common.size("--min-free", min_free) if min_free else None,
    )
    fleet = caches.fleet_caches(whole_plan(given), builder)
    for found in fleet.builders:
        free = machine.free_bytes(found.disk)
        if min_free and free is None:
            where = f"--min-free: builder {found.builder} keeps its layers on another machine"
            if all(one.disk is None for one in fleet.builders):
                raise UsageError(f"{where}, whose free space is not known", hint="set a budget with --keep")
            streams.tell(f"{where}: {'--keep alone counts there' if keep else 'it is left out'}")
            if not keep:
                continue
        choice = budget.choose(
            found.records,
            [one for one, _ in found.directories],
            replace(wanted, free=free) if free is not None else replace(wanted, min_free=None),
            needed=found.needed,
        )
        _show_choice(choice, found, yes=yes)
        if yes and (choice.records or choice.directories):
            _remove(choice, found)
    for name, why in fleet.silent.items():
        streams.tell(f"warning: builder {name} is left out: {why}")
    return NetworkError.exit_code if fleet.silent else 0


def _remove(choice: Choice, found: MachineCaches) -> None:
    """Remove what was chosen of one builder and of directories, and say how much that was."""
    import shutil

    from orchestrator.engine import build_cache
    from orchestrator.sizes import size_text
    from orchestrator.ui.transfers import TransferProgress

    with TransferProgress("removed", "records") as told:
        build_cache.remove(choice.records, found.records, found.builder, told=told)
    for directory in choice.directories:
        shutil.rmtree(directory.path, ignore_errors=True)
    left = build_cache.records(found.builder)
    gone = sum(one.size for one in found.records) - sum(one.size for one in left)
    gone += sum(one.size for one in choice.directories if not one.path.exists())
    streams.say(f"{size_text(max(0, gone))} freed")


def _show_choice(choice: Choice, found: MachineCaches, *, yes: bool) -> None:
    from orchestrator.sizes import size_text

    word = "remove" if yes else "to remove"
    for directory in choice.directories:
        streams.say(f"{word}  {directory.path}    {size_text(directory.size)}")
    if choice.records:
        last = max(one.used for one in choice.records).isoformat(timespec="minutes")
        size = size_text(sum(one.size for one in choice.records))
        records = counted(len(choice.records), "record")
        streams.say(f"{word}  {records} of builder {found.builder}    {size}, unused since {last}")
    hint = "; --yes removes it" if choice.freed and not yes else ""
    streams.say(f"{size_text(choice.held)} held, {size_text(choice.freed)} can go{hint}")
    if choice.missing:
        streams.tell(
            f"warning: the limit is missed by {size_text(choice.missing)}: the rest is cache mounts, in use, or needed "
            "by the next build of the matrix"
        )


def _references(given: Selection, closed_pr: tuple[str, ...], older_than: int | None, *, yes: bool) -> int:
    from orchestrator.cache import prune, usage
    from orchestrator.cache.exported import NAME, Exported
    from orchestrator.cache.repository import held
    from orchestrator.errors import EnvironmentLacksError
    from orchestrator.matrix import git
    from orchestrator.registry.client import Registry
    from orchestrator.registry.github import HOST, Packages, project
    from orchestrator.state import require_own

    plan = common.open_plan(given)
    root = plan.matrix.root
    repositories = usage.cache_repositories(plan)
    branches = git.branches(root)
    if branches is None:
        streams.tell("the branches of the origin are not known: references of branches stay")
    try:
        records = prune.recorded(usage.record_texts(root))
    except OSError as error:
        raise EnvironmentLacksError(
            f"{error.filename}: the record cannot be read, so the digests that it keeps are unknown: {error.strerror}"
        ) from error
    exported = Exported(require_own(root) / NAME)
    failed: list[str] = []
    with contextlib.ExitStack() as open_:
        github = _github(open_, os.environ)
        slug = project(os.environ, git.origin(root))
        for repository, bases in repositories.items():
            client = open_.enter_context(Registry(repository))
            exports = exported.of(repository)
            found = held(client, exports | records)
            known = prune.Known(
                bases=bases,
                branches=frozenset(branches) if branches is not None else None,
                closed=frozenset(closed_pr) | _closed(github, slug, prune.pull_requests(found, bases)),
                exports=exports,
                older=timedelta(days=older_than) if older_than is not None else None,
                now=datetime.now(UTC),
            )
            verdict = prune.decide(found, known, records=records)
            removed = None
            if yes:
                delete = Packages(github, repository).delete if github and repository.host == HOST else None
                removed = prune.remove(client, verdict.doomed, found, delete=delete)
                failed += [f"{repository}: {line}" for line in removed.failed]
            _show(repository, found, verdict, removed)
    for line in failed:
        streams.tell(f"warning: {line}")
    return 6 if failed else 0


def _github(open_: contextlib.ExitStack, env: Mapping[str, str]) -> GitHub | None:
    """GitHub's API, None without a token."""
    from orchestrator.errors import EnvironmentLacksError
    from orchestrator.registry.github import GitHub

    try:
        return open_.enter_context(GitHub(env))
    except EnvironmentLacksError:
        return None


def _closed(github: GitHub | None, slug: str, numbers: frozenset[str]) -> frozenset[str]:
    """The pull requests that are known to be closed; what is not known is reported."""
    from orchestrator.errors import OrchestrateError

    if not numbers:
        return frozenset()
    if github is None or not slug:
        streams.tell(
            "the state of pull requests is not known (GITHUB_TOKEN, and a project on GitHub): those stay that "
            "--closed-pr does not name"
        )
        return frozenset()
    try:
        return github.closed(slug, sorted(numbers, key=int))
    except OrchestrateError as error:
        streams.tell(f"the state of pull requests is not known, their references stay: {error}")
        return frozenset()


def _show(repository: Repository, found: Held, verdict: Verdict, removed: Removed | None) -> None:
    from orchestrator.cache import prune
    from orchestrator.sizes import size_text

    shown = verdict.doomed if removed is None else removed.done
    for one in shown:
        name = f"{repository}:{one.tag}" if one.tag else f"{repository}@{one.digest}"
        stays = f"; the tag alone: {one.shared}" if one.shared else ""
        streams.say(f"{'to remove' if removed is None else 'removed'}  {name}    {one.why}{stays}")
    count = sum(bool(one.tag) for one in shown)
    kept = len(found.tags) - count
    superseded = f" and {len(shown) - count} superseded exports" if len(shown) > count else ""
    stays = f"{counted(kept, 'tag')} {'stays' if kept == 1 else 'stay'}"
    line = f"{repository}: {stays}, {count}{superseded} {'can go' if removed is None else 'went'}"
    if shown:
        size = size_text(prune.freed(found, shown))
        line += f", {size} for the registry's garbage collection where no other repository holds the same layers"
    streams.say(line if removed is not None or not shown else f"{line}; --yes removes them")
