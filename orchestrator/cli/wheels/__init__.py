"""`orchestrate wheels …`: wheelhouses, from requirement files to a directory that a build can install from."""

from __future__ import annotations

from orchestrator.cli.kit import Lazy, LazyGroup

_HELP = """Carry the Python packages of a build into places without a network.

pip resolves the requirements for each CUDA release, platform and Python; the lock names every wheel by its sha256. A
build gets its wheelhouse as a named context and installs from it alone.
"""

COMMANDS = {
    name: Lazy(module=f"orchestrator.cli.wheels.{name}", summary=summary)
    for name, summary in (
        ("lock", "Write the lock file: every wheel of every wheelhouse with its sha256."),
        ("fetch", "Fetch every wheel of the lock into the store."),
        ("verify", "Compare every wheel with the lock, and each wheelhouse with what its wheels need."),
    )
}

command = LazyGroup(
    name="wheels",
    help=_HELP,
    lazy=COMMANDS,
    examples=(
        "orchestrate wheels lock                    write wheels.lock.json",
        "orchestrate wheels fetch --output carried  every wheel as files that cross the air gap",
        "orchestrate wheels fetch --from carried    on the other side, without a network",
        "orchestrate wheels verify                  is every wheel there, and does any need one that is not",
    ),
)
