"""`orchestrate lock …`: what a build starts from, by digest."""

from __future__ import annotations

from orchestrator.cli.kit import Lazy, LazyGroup

_HELP = """Lock what builds start from, so that two builds of one commit start from the same bytes.

The lock is a file beside matrix.yaml; commit it. Builds use it where it exists.
"""

COMMANDS = {
    name: Lazy(module=f"orchestrator.cli.lock.{name}", summary=summary)
    for name, summary in (("bases", "Lock the base images of every variant by digest."),)
}

command = LazyGroup(
    name="lock",
    help=_HELP,
    lazy=COMMANDS,
    examples=(
        "orchestrate lock bases             write bases.lock.json",
        "orchestrate lock bases --check     in CI: what moved upstream, and which variants are affected",
    ),
)
