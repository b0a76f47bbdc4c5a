"""`orchestrate schema`: prints the JSON Schema of matrix.yaml, for editors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from orchestrator.cli import kit, options
from orchestrator.cli.kit import Heading

if TYPE_CHECKING:
    from orchestrator.cli.common import Location


@kit.command(
    "schema",
    examples=(
        "orchestrate schema > matrix.schema.json",
        "orchestrate schema --placeholders",
        "and as the first line of matrix.yaml:",
        "# yaml-language-server: $schema=matrix.schema.json",
    ),
)
@options.location
@kit.option(
    "--placeholders", heading=Heading.OUTPUT, is_flag=True,
    help="List instead the placeholders that values may hold.",
)  # fmt: skip
def command(*, given: Location, placeholders: bool) -> None:
    """Print the JSON Schema of matrix.yaml.

    It is the same for every matrix: -f and -C are accepted, as by every command, and read nothing.
    """
    del given
    from orchestrator.ui import streams

    if placeholders:
        from orchestrator.matrix.template import PLACEHOLDERS

        width = max(map(len, PLACEHOLDERS)) + 2
        for name, meaning in PLACEHOLDERS.items():
            streams.say(f"{{{name}}}".ljust(width) + f"  {meaning}")
        return
    from orchestrator.matrix.json_schema import json_schema

    streams.write_exact(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")
