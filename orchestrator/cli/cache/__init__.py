"""`orchestrate cache …`: what is kept between builds, and what of it can go."""

from __future__ import annotations

from orchestrator.cli.kit import Lazy, LazyGroup

_HELP = """Show what the caches hold, say why a step was not taken from them, and remove what is not needed.

The journal in .orchestrate keeps for every variant that was built what went in, and why its first step ran.
Branches and pull requests leave their cache references in the registry.
"""

COMMANDS = {
    name: Lazy(module=f"orchestrator.cli.cache.{name}", summary=summary)
    for name, summary in (
        ("ls", "List what the builder, directories and registries hold."),
        ("explain", "Say why a variant's steps were not taken from the cache."),
        ("prune", "Remove cache references that nobody needs, or what does not fit a budget."),
    )
}

command = LazyGroup(
    name="cache",
    help=_HELP,
    lazy=COMMANDS,
    examples=(
        "orchestrate cache explain app-cu130-amd64       why the last build was not cached",
        "orchestrate cache ls                            what the caches hold, and what of it can go",
        "orchestrate cache prune                         what can go of the registry; removes nothing",
        "orchestrate cache prune --keep 60GB             what can go of the builder and of directories",
        "orchestrate cache prune --closed-pr 12 --yes    remove it",
    ),
)
