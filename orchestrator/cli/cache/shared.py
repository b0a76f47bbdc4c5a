"""What several cache commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from orchestrator.cli import common

if TYPE_CHECKING:
    from orchestrator.cli.common import Selection
    from orchestrator.matrix.variants import Plan


def whole_plan(given: Selection) -> Plan:
    """Return every variant of the matrix: what a selection leaves out needs its cache as well."""
    return common.open_plan(replace(given, cuda=(), platform=(), target=(), axis=(), variant=()))
