"""What the `orchestrate headers` commands share: their options, what these mean with a matrix, and how results look."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli import common
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.headers.lock import Lock
    from orchestrator.headers.request import Options
    from orchestrator.headers.sources import Source
    from orchestrator.headers.store import Store
    from orchestrator.matrix.schema import HeadersSpec

LockOption = Annotated[
    Path | None, typer.Option("--lock", help="Lock file; headers.lock of the matrix by default.", metavar="FILE")
]
StoreOption = Annotated[
    Path | None,
    typer.Option("--store", envvar="ORCHESTRATE_HEADERS_STORE", help="Where the files are kept.", metavar="DIR"),
]
MirrorOption = Annotated[
    list[str] | None,
    typer.Option("--mirror", help="URL, directory or flashinfer-cubin wheel; repeatable, in order.", metavar="PLACE"),
]
JobsOption = Annotated[int, typer.Option("--jobs", "-j", min=1, max=64, help="Downloads at the same time.")]
WindowOption = Annotated[float, typer.Option("--window", min=1, help="Seconds after which retrying ends.")]
FormatOption = Annotated[common.Format, typer.Option("--format", help="How to print it.")]


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """What matrix.yaml and the options say together."""

    root: Path
    spec: HeadersSpec | None
    lock: Path
    store: Store
    mirrors: tuple[str, ...]

    def sources(self) -> tuple[Source, ...]:
        """Where files come from, in order."""
        from orchestrator.headers import sources

        return sources.chain(self.mirrors)


def given(
    file: Path, directory: Path | None, lock: Path | None, store: Path | None, mirrors: Sequence[str] | None
) -> Given:
    """What the options of one command mean with the matrix, if there is one.

    Raises:
        MatrixError: The matrix is wrong.
        UsageError: `--file` names one that is not there.
    """
    from orchestrator.headers import store as stores

    path = directory / file if directory is not None else file
    root, spec = path.parent, None
    if path.exists():
        matrix = common.open_matrix(file, directory)
        root, spec = matrix.root, matrix.spec.headers
    elif file != Path("matrix.yaml"):
        raise UsageError(f"{path}: no such file")
    named = [str(root / item) if (root / item).exists() else item for item in (spec.mirrors if spec else ())]
    return Given(
        root=root,
        spec=spec,
        lock=lock or root / (spec.lock if spec else "flashinfer.lock.json"),
        store=stores.Store(store or stores.default_root()),
        mirrors=(*(mirrors or ()), *named),
    )


def options(jobs: int, window: float) -> Options:
    """How to fetch: downloads at once, and seconds in all."""
    from orchestrator.headers.request import Options

    return Options(jobs=jobs, window=window)


def show_lock(lock: Lock, format_: common.Format) -> None:
    """Print what a lock holds, and what it does not."""
    from orchestrator.headers import lock as locks

    if format_ is common.Format.JSON:
        write_json(json.loads(locks.dumps(lock)))
        return
    headers = lock.headers
    print(f"FlashInfer {lock.version}, layout {lock.layout}, tier {lock.tier}")
    print(f"{len(headers)} headers, {sum(file.size for file in headers):,} bytes; {len(lock.files)} files in all")
    print(f"bundle {locks.bundle_digest(lock)}")
    for line in lock.not_covered:
        print(f"not covered: {line}")


def write_json(value: dict[str, Any]) -> None:
    """Print a result as JSON, with the number of its schema."""
    sys.stdout.write(json.dumps({"schema": 1, **value}, indent=2) + "\n")


def say(text: str) -> None:
    """One line for a person, on standard error."""
    sys.stderr.write(f"{text}\n")


def show_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table."""
    from rich.table import Table

    from orchestrator.ui import console

    table = Table(box=None, pad_edge=False)
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.out().print(table)
