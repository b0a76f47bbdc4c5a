"""`orchestrate cache …`: what is kept between builds, and what of it can go."""

from __future__ import annotations

from orchestrator.cli.kit import Lazy, LazyGroup

_HELP = """Say why a step was not taken from the cache, and remove caches that are not needed.

The journal in .orchestrate keeps for every variant that was built what went in, and why its first step ran.
Branches and pull requests leave their cache references in the registry.
"""

COMMANDS = {
    name: Lazy(module=f"orchestrator.cli.cache.{name}", summary=summary)
    for name, summary in (
        ("explain", "Say why a variant's steps were not taken from the cache."),
        ("prune", "Remove cache references of branches and pull requests that are gone."),
    )
}

command = LazyGroup(
    name="cache",
    help=_HELP,
    lazy=COMMANDS,
    examples=(
        "orchestrate cache explain app-cu130-amd64       why the last build was not cached",
        "orchestrate cache prune                         what can go; removes nothing",
        "orchestrate cache prune --closed-pr 12 --yes    remove it",
    ),
)
