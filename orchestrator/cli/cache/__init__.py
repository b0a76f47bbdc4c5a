"""`orchestrate cache …`: what is kept between builds."""

from __future__ import annotations

from orchestrator.cli.kit import Lazy, LazyGroup

_HELP = """Say why a step was not taken from the cache.

The journal in .orchestrate keeps for every variant that was built what went in, and why its first step ran.
"""

COMMANDS = {
    name: Lazy(module=f"orchestrator.cli.cache.{module}", summary=summary)
    for name, module, summary in (("explain", "explain", "Say why a variant's steps were not taken from the cache."),)
}

command = LazyGroup(
    name="cache",
    help=_HELP,
    lazy=COMMANDS,
    examples=("orchestrate cache explain app-cu130-amd64    why the last build was not cached",),
)
