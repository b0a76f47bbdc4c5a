"""`orchestrate wheels fetch`: brings the wheels of the lock into the store, and out of it as files to carry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli import kit, options
from orchestrator.cli.common import Format
from orchestrator.cli.kit import Heading
from orchestrator.cli.wheels import shared
from orchestrator.ui import streams

if TYPE_CHECKING:
    from orchestrator.cli.common import Selection


@kit.command(
    "fetch",
    examples=(
        "orchestrate wheels fetch",
        "orchestrate wheels fetch --output carried",
        "orchestrate wheels fetch --from carried",
    ),
)
@kit.option(
    "--from", "carried", heading=Heading.SOURCE, type=click.Path(path_type=Path), multiple=True, metavar="DIR",
    help="Read the wheels from this directory alone, without starting pip.", default_text="pip downloads them",
)  # fmt: skip
@kit.option(
    "-o", "--output", heading=Heading.OUTPUT, type=click.Path(path_type=Path), metavar="DIR",
    help="Write each wheelhouse below this directory too, as a build gets it.", default_text="the store alone",
)  # fmt: skip
@options.selection()
@options.alone(shared.STORE)
@options.formats()
def command(
    *, given: Selection, store: Path | None, carried: tuple[Path, ...], output: Path | None, format_: Format
) -> None:
    """Fetch every wheel of the lock into the store.

    What the store holds already is not fetched again. Every wheel is compared with the lock by its sha256, wherever it
    comes from.
    """
    from orchestrator.wheels import work

    told = shared.given(given, store)
    lock = told.locked()
    if carried:
        report = work.fetch(lock, told.store, carried=shared.directories(carried), offline=True)
    else:
        report = work.bring(lock, told.orders, told.store, allowed=True, tell=streams.tell)
    if output is not None:
        for house in lock.houses:
            work.materialise(house, told.store, output / house.name)
    if format_ is Format.JSON:
        counts = {"fetched": report.fetched, "bytes": report.bytes, "present": report.present}
        streams.write_json({"schema": 1, **counts})
        return
    streams.say(f"{report.fetched} wheels fetched, {report.bytes:,} bytes; {report.present} present")
