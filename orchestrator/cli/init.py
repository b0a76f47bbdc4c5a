"""`orchestrate init`: a first matrix.yaml, from what the files of a repository say today."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli import common
from orchestrator.errors import EnvironmentLacksError, UsageError


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(
        epilog=common.examples(
            "orchestrate init", "orchestrate init --print", "orchestrate init -C ../vllm --file matrix.yaml"
        )
    )
    def init(
        *,
        file: common.File = Path("matrix.yaml"),
        directory: common.Directory = None,
        force: Annotated[bool, typer.Option("--force", help="Replace a matrix that is there.")] = False,
        print_: Annotated[bool, typer.Option("--print", help="Print it instead of writing it.")] = False,
    ) -> None:
        """Write a first matrix.yaml from the bake file, Dockerfile arguments and arch lists that are found.

        It loads and plans as it is; its claims show at once where the repository contradicts itself.
        """
        from orchestrator.drift.adopt import first_matrix
        from orchestrator.drift.find import find
        from orchestrator.matrix import load
        from orchestrator.matrix.variants import plan
        from orchestrator.ui.drift_view import count

        root = directory or Path()
        if not root.is_dir():
            raise UsageError(f"{root}: no such directory")
        path = root / file
        if path.exists() and not (force or print_):
            raise UsageError(f"{path} is there already", hint="--force replaces it, --print shows the new one")
        text = first_matrix(root, find(root))
        matrix = load.parse(text.encode(), path=path, shown=str(path))
        variants = plan(matrix, fact=lambda _: "0" * 12).variants
        if print_:
            sys.stdout.write(text)
            return
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise EnvironmentLacksError(f"{path}: cannot be written: {error.strerror}") from error
        counts = f"{count(len(variants), 'variant')}, {count(len(matrix.spec.claims), 'claim')}"
        sys.stdout.write(f"{path}: {counts}\n")
        sys.stderr.write("next: `orchestrate plan` shows them, `orchestrate check` where the files disagree\n")
