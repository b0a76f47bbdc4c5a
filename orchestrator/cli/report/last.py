"""`orchestrate report last`: shows the last run of a directory, as a table or as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli import kit, options
from orchestrator.cli.kit import Heading
from orchestrator.cli.outputs import PAGE, require_replaceable, require_writable
from orchestrator.errors import EnvironmentLacksError

if TYPE_CHECKING:
    from orchestrator.cli.common import Location

_BESIDE = "run.html"
"""The page where --html names no file: beside the logs of the run."""


@kit.command(
    "last",
    examples=(
        "orchestrate report last",
        "orchestrate report last --html               (beside the logs of the run; prints its path)",
        "orchestrate report last --html build.html",
    ),
)
@kit.option(
    "--html", heading=Heading.OUTPUT, type=click.Path(path_type=Path), metavar="[FILE]", is_flag=False,
    flag_value=Path(_BESIDE), help="Write one self-contained HTML page.", default_text="a table",
)  # fmt: skip
@options.location
def command(*, given: Location, html: Path | None) -> None:
    """Show the last run: when what ran, where the time went, what failed.

    The page has a timeline of variants and steps, the attempts that failed, the compile cache, and, of images that were
    verified, the size by layer and by architecture. It fetches nothing.
    """
    from orchestrator import files
    from orchestrator.runs import kept
    from orchestrator.state import require_own
    from orchestrator.ui import run_page, run_view, streams

    state = require_own(given.path.absolute().parent)
    runs = kept.last(state, 2)
    if not runs:
        raise EnvironmentLacksError(
            f"{state}: no run was found that has ended", hint="`orchestrate build` keeps a report of each run"
        )
    run, previous = runs[0], runs[1] if len(runs) > 1 else None
    if html is None:
        for line in run_view.lines(run, previous):
            streams.say(line)
        return
    place = run.directory / _BESIDE if html == Path(_BESIDE) else html
    require_replaceable(place, "--html", PAGE)
    require_writable(place, "--html")
    try:
        files.write_whole(place, run_page.page(run, previous))
    except OSError as error:
        raise EnvironmentLacksError(f"--html {place}: cannot be written: {error.strerror}") from error
    streams.say(str(place))
