"""`orchestrate help`: prints a topic, the help text of a command, or what there is of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli import kit, options
from orchestrator.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from orchestrator.cli.common import Location


@kit.command("help", examples=("orchestrate help", "orchestrate help exit-codes", "orchestrate help headers lock"))
@kit.argument(
    "words", nargs=-1, metavar="[TOPIC | COMMAND]...",
    explanation="a topic of the list, or a command with its subcommand (default: the list)",
)  # fmt: skip
@options.location
@click.pass_context
def command(ctx: click.Context, *, words: tuple[str, ...], given: Location) -> None:
    """Print a topic, or the help text of a command.

    -f and -C are accepted, as by every command, and read nothing.
    """
    del given
    from orchestrator.cli.topics import TOPICS
    from orchestrator.ui import streams

    if len(words) == 1 and words[0] in TOPICS:
        streams.say(TOPICS[words[0]].text)
        return
    root = ctx.find_root()
    if words:
        streams.say(_of_command(root, words, (*TOPICS,)))
        return
    width = max(map(len, TOPICS))
    streams.say(root.get_help())
    streams.say("\nTopics (orchestrate help TOPIC):")
    for name, topic in TOPICS.items():
        streams.say(f"  {name:<{width}}  {topic.summary}")


def _of_command(root: click.Context, words: tuple[str, ...], topics: tuple[str, ...]) -> str:
    """The help text of a command.

    Raises:
        UsageError: There is none of that name.
    """
    context = root
    for number, word in enumerate(words):
        group = context.command
        found = group.get_command(context, word) if isinstance(group, click.Group) else None
        if found is None:
            names = group.list_commands(context) if isinstance(group, click.Group) else []
            hint = did_you_mean(word, [*names, *(() if number else topics)])
            raise UsageError(f"{' '.join(words[: number + 1])}: no such topic or command", hint=hint)
        context = click.Context(found, info_name=word, parent=context)
    return context.get_help()
