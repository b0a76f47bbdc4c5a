"""`orchestrate headers status`: shows which images work offline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli import common, kit, options
from orchestrator.cli.headers import shared
from orchestrator.cli.headers.shared import HeaderOptions

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.cli.common import Selection


@kit.command(
    "status",
    examples=(
        "orchestrate headers status",
        "orchestrate headers status --cuda 13.0 --format json",
    ),
)
@options.selection()
@shared.store
@options.formats()
def command(*, given: Selection, store: Path | None, format_: common.Format) -> None:
    """Show for every variant whether its image works offline.

    A variant that does not work offline is shown with the reason.
    """
    from functools import partial

    from msgspec.structs import asdict

    from orchestrator.drift.flashinfer import wanted_version
    from orchestrator.headers import status

    chosen = HeaderOptions(file=given.file, directory=given.directory, store=store)
    plan = common.open_plan(given)
    spec = plan.matrix.spec.headers
    version = partial(wanted_version, spec, plan.matrix.root) if spec else str
    rows = status.of(plan, shared.given(chosen).store, version)
    if format_ is common.Format.JSON:
        shared.write_json({"variants": [asdict(row) for row in rows]})
        return
    shared.show_table(("variant", "offline", "why"), [(row.variant, row.offline, "\n".join(row.why)) for row in rows])
