"""`orchestrate clean`: lists what earlier runs left on this machine, and removes it with --yes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli import kit, options
from orchestrator.cli.kit import Heading
from orchestrator.errors import EnvironmentLacksError
from orchestrator.sizes import size_text
from orchestrator.ui import streams

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.cli.common import Location
    from orchestrator.runs.leftovers import Leftover


@kit.command(
    "clean",
    examples=(
        "orchestrate clean                   (what can go of .orchestrate; removes nothing)",
        "orchestrate clean --yes             (removes it; the next build resumes nothing)",
        "orchestrate clean --stores --yes    (the stores of headers, wheels and scans as well)",
    ),
)
@kit.option(
    "--stores", heading=Heading.BEHAVIOUR, is_flag=True,
    help="List the stores below ~/.cache/orchestrate as well, which all projects share.",
)  # fmt: skip
@kit.option(
    "--yes", heading=Heading.BEHAVIOUR, is_flag=True, help="Remove what is listed.", default_text="only list it",
)  # fmt: skip
@options.location
def command(*, given: Location, stores: bool, yes: bool) -> None:
    """List what earlier runs left on this machine; with --yes, remove it.

    Images, tags and caches in registries and on builders stay: `orchestrate cache ls` shows those, and `cache prune`
    removes them. Waits for a run that builds in the directory.
    """
    from contextlib import ExitStack

    from orchestrator.runs import leftovers
    from orchestrator.runs.alone import alone
    from orchestrator.state import require_own

    state = require_own(given.path.absolute().parent)
    with ExitStack() as held:
        if yes and state.is_dir():
            held.enter_context(alone(state, tell=streams.tell))
        found = [*leftovers.of_project(state), *(leftovers.of_user(_stores()) if stores else ())]
        for line in _lines(found):
            streams.say(line)
        going = [one for one in found if not one.kept]
        total = size_text(sum(one.size for one in going))
        if not going:
            streams.say("nothing to remove")
        elif not yes:
            streams.say(f"{total} can go: orchestrate clean {'--stores ' if stores else ''}--yes removes it")
        else:
            _remove(going)
            streams.say(f"{total} removed")


def _remove(going: list[Leftover]) -> None:
    from orchestrator.runs import leftovers

    failed = []
    for one in going:
        try:
            leftovers.remove(one)
        except OSError as error:
            failed.append(f"{error.filename or one.path}: {error.strerror}")
    if failed:
        raise EnvironmentLacksError(f"not everything was removed: {'; '.join(failed)}")


def _lines(found: list[Leftover]) -> list[str]:
    width = max((len(size_text(one.size)) for one in found), default=0)
    return [
        f"{size_text(one.size).rjust(width)}  {one.path}  {one.what}{f' (kept: {one.kept})' if one.kept else ''}"
        for one in found
    ]


def _stores() -> dict[str, Path]:
    """What it is -> where; as `cache ls` lists them."""
    from orchestrator.cache import compile_tool
    from orchestrator.headers.store import default_root
    from orchestrator.image.layers.store import default_directory

    return {
        "FlashInfer headers": default_root(),
        "wheels": default_root("wheels"),
        "scans of image layers": default_directory(),
        "the compile cache's program": compile_tool.default_root(),
    }
