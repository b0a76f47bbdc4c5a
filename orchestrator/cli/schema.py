"""`orchestrate schema`: the JSON Schema of matrix.yaml, for editors."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from orchestrator.cli import common


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(
        epilog=common.examples(
            "orchestrate schema > matrix.schema.json",
            "orchestrate schema --placeholders",
            "and as the first line of matrix.yaml:",
            "# yaml-language-server: $schema=matrix.schema.json",
        )
    )
    def schema(
        *,
        placeholders: Annotated[
            bool, typer.Option("--placeholders", help="List the placeholders that values may hold instead.")
        ] = False,
    ) -> None:
        """Print the JSON Schema of matrix.yaml."""
        if placeholders:
            from orchestrator.matrix.template import PLACEHOLDERS

            width = max(map(len, PLACEHOLDERS)) + 2
            for name, meaning in PLACEHOLDERS.items():
                sys.stdout.write(f"{{{name}}}".ljust(width) + f"  {meaning}\n")
            return
        from orchestrator.matrix.json_schema import json_schema

        sys.stdout.write(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")
