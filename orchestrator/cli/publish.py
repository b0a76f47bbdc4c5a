"""`orchestrate publish`: moves the tags of multi-platform indexes, all or nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec.structs

from orchestrator.cli import common, kit, options
from orchestrator.cli.kit import Heading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeVar

    from orchestrator.cli.common import Selection
    from orchestrator.publish.run import Result

    Value = TypeVar("Value")


@kit.command(
    "publish",
    examples=(
        "orchestrate publish --dry-run                          which tags move, and what is refused",
        "orchestrate publish                                    what this machine built last",
        "orchestrate publish --report a.json --report b.json    what several machines built",
        "orchestrate publish --from-registry --cuda 13.0        what the variants' own tags name",
        "orchestrate publish --dry-run --notes                  what a release changes: GPUs, versions, sizes",
        "orchestrate publish --rollback ghcr.io/acme/app        the tags name what they named before",
    ),
    conflicts={
        "--report": ("--from-registry",),
        "--notes": ("--format=json",),
        "--rollback": (
            "--report", "--from-registry", "--dry-run", "--allow-older", "--format=json", "--notes",
            "--cuda", "--platform", "--target", "--axis", "--variant", "--arg", "--archs", "--image",
        ),
    },
)  # fmt: skip
@options.selection(*options.OVERRIDES)
@kit.option(
    "--report", "reports", heading=Heading.SOURCE, multiple=True, type=click.Path(path_type=Path), metavar="FILE",
    help="Read the digests from this build report.", default_text="the journal of this machine",
)  # fmt: skip
@kit.option(
    "--from-registry", heading=Heading.SOURCE, is_flag=True, help="Read the digests from the variants' own tags.",
)  # fmt: skip
@kit.option("--dry-run", heading=Heading.BEHAVIOUR, is_flag=True, help="Show the moves, and write nothing anywhere.")
@kit.option(
    "--allow-older", heading=Heading.BEHAVIOUR, is_flag=True,
    help="Allow a tag to move even if the commit that it names may be newer.",
)  # fmt: skip
@kit.option(
    "--rollback", heading=Heading.BEHAVIOUR, default="", metavar="RECORD",
    help="Set tags back to what they named before this publish: the file of its record, or a repository that has one.",
    default_text="no rollback",
)  # fmt: skip
@kit.option(
    "--notes", heading=Heading.OUTPUT, is_flag=True,
    help="Print what changes for users as Markdown instead of the moves, and add it to the job summary.",
)  # fmt: skip
@options.formats(explanation="Print the moves and how they ended in this format.")
def command(
    *,
    given: Selection,
    reports: tuple[Path, ...],
    from_registry: bool,
    dry_run: bool,
    allow_older: bool,
    rollback: str,
    notes: bool,
    format_: common.Format,
) -> int:
    """Move the tags of multi-platform indexes, all or nothing.

    Checks every digest and copies it to every registry first. Then moves version tags, floating tags, and latest at the
    end. The next publish, on any machine, continues an interrupted one.
    """
    from orchestrator.publish import run
    from orchestrator.publish.record import State
    from orchestrator.ui import publish_view, streams

    if rollback:
        ending = _stoppable(lambda: run.rollback(rollback, tell=streams.tell, root=common.open_matrix(given).root))
        for line in publish_view.ended(ending):
            streams.say(line)
        _annotate(publish_view.commands_of(ending))
        return 0 if ending.record.state is State.ROLLED_BACK else 6
    chosen = common.open_plan(given)
    whole = common.open_plan(msgspec.structs.replace(given, cuda=(), platform=(), target=(), axis=(), variant=()))
    for note in whole.notes:
        streams.tell(f"warning: {note}")
    wishes = run.Wishes(
        chosen=frozenset(variant.id for variant in chosen.variants),
        reports=[path.absolute() for path in reports],
        from_registry=from_registry,
        dry_run=dry_run,
        allow_older=allow_older,
        notes=notes,
    )
    result = _stoppable(lambda: run.publish(whole, wishes, tell=streams.tell))
    if notes:
        _say_notes(result)
    elif format_ is common.Format.JSON:
        streams.write_json(publish_view.as_json(result))
    else:
        for line in publish_view.lines(result, dry_run=dry_run):
            streams.say(line)
    _annotate(publish_view.commands(result))
    return result.code


def _annotate(commands: Iterable[str]) -> None:
    """Write workflow commands where there is a workflow."""
    from orchestrator.ui import github, streams

    if github.running(os.environ):
        streams.write_commands(commands)


def _say_notes(result: Result) -> None:
    """The notes on standard output, how it went on standard error."""
    from orchestrator.ui import publish_view, release_notes, streams

    text = release_notes.markdown(result.notes)
    streams.say(text.removesuffix("\n"))
    if trouble := release_notes.append_notes(text, env=os.environ):
        streams.tell(f"warning: {trouble}")
    for line in publish_view.lines(result, dry_run=result.ending is None):
        streams.tell(line)


def _stoppable(work: Callable[[], Value]) -> Value:
    """Do some work that ends in order on Ctrl-C and SIGTERM."""
    from orchestrator import process
    from orchestrator.runs.signals import stop_on_signals

    with stop_on_signals() as stop, process.stoppable(stop):
        return work()
