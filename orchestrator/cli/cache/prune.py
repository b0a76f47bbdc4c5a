"""`orchestrate cache prune`: removes cache references that nobody needs; without --yes it only says which."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from orchestrator.cli import common, kit, options
from orchestrator.cli.kit import Heading
from orchestrator.ui import streams

if TYPE_CHECKING:
    from orchestrator.cache.prune import Verdict
    from orchestrator.cli.common import Selection
    from orchestrator.reference import Repository


@kit.command(
    "prune",
    examples=(
        "orchestrate cache prune",
        "orchestrate cache prune --closed-pr 12 --closed-pr 13 --yes",
        "orchestrate cache prune --older-than 30 --yes",
    ),
)
@options.selection(options.IMAGE)
@kit.option(
    "--closed-pr", heading=Heading.BEHAVIOUR, multiple=True, metavar="NUMBER",
    help="Remove the references of this closed pull request.", default_text="none",
)  # fmt: skip
@kit.option(
    "--older-than", heading=Heading.BEHAVIOUR, type=click.IntRange(min=1), default=None, metavar="DAYS",
    help="Remove references of branches, tags, commits and pull requests that are older.", default_text="no age",
)  # fmt: skip
@kit.option("--yes", heading=Heading.BEHAVIOUR, is_flag=True, help="Remove what is listed, and not only list it.")
def command(*, given: Selection, closed_pr: tuple[str, ...], older_than: int | None, yes: bool) -> int:
    """Remove cache references of branches and pull requests that are gone.

    Main's references, other tags, and every manifest that another tag, a journal or a record needs stay. The registry
    frees the bytes with its own garbage collection, which must run without -m.
    """
    from orchestrator.cache import prune, usage
    from orchestrator.cache.repository import held
    from orchestrator.errors import EnvironmentLacksError
    from orchestrator.matrix import git
    from orchestrator.registry.client import Registry

    plan = common.open_plan(given)
    root = plan.matrix.root
    branches = git.branches(root)
    if branches is None:
        streams.tell("the branches of the origin are not known: references of branches stay")
    try:
        records = prune.recorded(usage.record_texts(root))
    except OSError as error:
        raise EnvironmentLacksError(
            f"{error.filename}: the record cannot be read, so the digests that it keeps are unknown: {error.strerror}"
        ) from error
    failed: list[str] = []
    for repository, bases in usage.cache_repositories(plan).items():
        known = prune.Known(
            bases=bases,
            branches=frozenset(branches) if branches is not None else None,
            closed=frozenset(closed_pr),
            older=timedelta(days=older_than) if older_than is not None else None,
            now=datetime.now(UTC),
        )
        with Registry(repository) as client:
            verdict = prune.decide(held(client), known, records=records)
            _show(repository, verdict, yes=yes)
            if yes:
                failed += [f"{repository}:{line}" for line in prune.remove(client, verdict.doomed)]
    for line in failed:
        streams.tell(f"warning: {line}")
    return 6 if failed else 0


def _show(repository: Repository, verdict: Verdict, *, yes: bool) -> None:
    from orchestrator.sizes import size_text

    word = "removed" if yes else "to remove"
    for one in verdict.doomed:
        stays = f"; the tag alone: {one.shared}" if one.shared else ""
        streams.say(f"{word}  {repository}:{one.tag}    {one.why}{stays}")
    count = len(verdict.doomed)
    freed = f", at most {size_text(verdict.freed)} for the registry's garbage collection" if count else ""
    hint = "" if yes or not count else "; --yes removes them"
    streams.say(f"{repository}: {verdict.kept} tags stay, {count} {'went' if yes else 'can go'}{freed}{hint}")
