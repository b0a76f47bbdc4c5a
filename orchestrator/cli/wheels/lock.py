"""`orchestrate wheels lock`: resolves the requirements and writes the lock file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli import kit, options
from orchestrator.cli.kit import Heading
from orchestrator.cli.outputs import WHEELS, require_replaceable
from orchestrator.cli.wheels import shared
from orchestrator.sizes import counted
from orchestrator.ui import streams

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.cli.common import Format, Location


@kit.command(
    "lock",
    examples=(
        "orchestrate wheels lock",
        "PIP_INDEX_URL=https://mirror.example/simple orchestrate wheels lock",
        "orchestrate wheels lock --check",
    ),
    conflicts={"--check": ("--format",)},
)
@kit.option(
    "--check", heading=Heading.BEHAVIOUR, is_flag=True,
    help="Write nothing and ask no index; exit 3 if requirements changed since the lock.",
)  # fmt: skip
@options.location
@options.alone(shared.STORE)
@options.formats()
def command(*, given: Location, store: Path | None, check: bool, format_: Format) -> None:
    """Write the lock file: every wheel of every wheelhouse with its sha256.

    pip resolves and downloads, from the index that pip is configured for. Packages without a wheel for the target are
    an error: nothing is built here.
    """
    from orchestrator.cli.common import Selection
    from orchestrator.wheels import work

    told = shared.given(Selection(file=given.file, directory=given.directory), store)
    if check:
        lock = told.locked()
        streams.tell(f"{told.lock}: fresh, {counted(len(lock.houses), 'wheelhouse')}")
        return
    require_replaceable(told.lock, "wheels.lock", WHEELS)
    made = work.make_lock(told.orders, told.store, tell=streams.tell)
    changed = work.write_lock(made, told.lock)
    streams.tell(f"{told.lock}: {'written' if changed else 'unchanged'}")
    shared.show_lock(made, format_)
