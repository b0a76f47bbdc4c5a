"""`orchestrate logs`: shows the log of a variant's last build, and follows one that runs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from orchestrator.cli import common, kit, options
from orchestrator.cli.kit import Heading
from orchestrator.errors import EnvironmentLacksError, UsageError, did_you_mean
from orchestrator.ui import streams

if TYPE_CHECKING:
    from orchestrator.cli.common import Location


@kit.command(
    "logs",
    examples=(
        "orchestrate logs                       (the newest log of each variant, and its last line)",
        "orchestrate logs app-cu130-amd64",
        "orchestrate logs -f app-cu130-amd64    (until its run ends)",
    ),
)
@kit.argument("variant", metavar="[ID]", required=False, default="", explanation="The variant, as plan lists it.")
@kit.option("-f", "--follow", heading=Heading.OUTPUT, is_flag=True, help="Show what is written until the run ends.")
@options.location_without_f
def command(*, given: Location, variant: str, follow: bool) -> None:
    """Show the log of a variant's last build, and follow one that runs.

    Without an ID: the newest log of each variant, with its last line.
    """
    from orchestrator.matrix.expand import plan
    from orchestrator.runs import logs
    from orchestrator.state import require_own

    matrix = common.open_matrix(given)
    names = [one.id for one in plan(matrix).variants]
    if variant and variant not in names:
        raise UsageError(f"{variant}: the variant was not found", hint=did_you_mean(variant, names))
    if follow and not variant:
        raise UsageError("--follow: a variant is missing", hint="orchestrate logs --follow ID")
    found = logs.newest(require_own(matrix.root), [variant] if variant else names)
    if not found:
        what = variant or "this project"
        raise EnvironmentLacksError(f"{what}: no log was found", hint="`orchestrate build` writes one")
    if not variant:
        width = max(len(log.variant) for log in found)
        for log in found:
            streams.say(f"{log.variant.ljust(width)}  {log.path}")
            streams.say(f"{' ' * width}  {log.last}")
        return
    for line in logs.follow(found[0], on=follow):
        streams.say(line)
        if follow:
            sys.stdout.flush()
