"""What the `orchestrate headers` commands share: their options, what these mean with a matrix, and how results look."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct

from orchestrator.cli import common, options
from orchestrator.cli.kit import Heading
from orchestrator.errors import UsageError
from orchestrator.flashinfer import LOCK_NAME
from orchestrator.ui import streams

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.headers.lock import Lock
    from orchestrator.headers.request import Options
    from orchestrator.headers.sources import Source
    from orchestrator.headers.store import Store
    from orchestrator.matrix.schema import HeadersSpec

LOCK = options.declared(
    "--lock", heading=Heading.CACHE, type=click.Path(path_type=Path), metavar="FILE",
    help="Use this lock file.", default_text="headers.lock of the matrix, else " + LOCK_NAME,
)  # fmt: skip
LOCKS = options.declared(
    "--lock", "locks", heading=Heading.CACHE, type=click.Path(path_type=Path), multiple=True, metavar="FILE",
    help="Keep the files of this lock.", default_text="headers.lock of the matrix, else " + LOCK_NAME,
)  # fmt: skip
STORE = options.declared(
    "--store", heading=Heading.CACHE, type=click.Path(path_type=Path), metavar="DIR",
    envvar="ORCHESTRATE_HEADERS_STORE", help="Keep the files in this directory.",
    default_text="~/.cache/orchestrate/headers",
)  # fmt: skip
MIRROR = options.declared(
    "--mirror", heading=Heading.SOURCE, multiple=True, metavar="PLACE",
    help="Fetch from this URL, directory or flashinfer-cubin wheel first.",
    default_text="headers.mirrors of the matrix",
)  # fmt: skip
JOBS = options.declared(
    "-j", "--jobs", heading=Heading.BEHAVIOUR, type=click.IntRange(min=1, max=64), default=8, metavar="N",
    help="Download this many files at once.",
)  # fmt: skip
WINDOW = options.declared(
    "--window", heading=Heading.BEHAVIOUR, type=click.FloatRange(min=1), default=300, metavar="SECONDS",
    help="Stop retrying after this many seconds.",
)  # fmt: skip

ONLY_MIRRORS = options.declared(
    "--no-default-repository", heading=Heading.SOURCE, is_flag=True,
    help="Fetch from the mirrors alone, never from FlashInfer's own repository.",
)  # fmt: skip

TRANSFER = (MIRROR, ONLY_MIRRORS, JOBS, WINDOW)


class HeaderOptions(common.Location, frozen=True, kw_only=True):
    """What the options of one command say; those that it does not have keep their defaults."""

    lock: Path | None = None
    locks: tuple[Path, ...] = ()
    store: Path | None = None
    mirror: tuple[str, ...] = ()
    no_default_repository: bool = False
    jobs: int = 8
    window: float = 300

    def transfer(self) -> Options:
        """How to fetch."""
        from orchestrator.headers.request import Options

        return Options(jobs=self.jobs, window=self.window)


def bundle(*more: options.Declared, lock: options.Declared = LOCK) -> Callable[[Callable[..., Any]], Any]:
    """Add the options of a bundle, and -f and -C; they arrive as `chosen`, HeaderOptions.

    Args:
        more: Further options with a field in HeaderOptions.
        lock: How a lock is named.
    """
    return options.collected("chosen", HeaderOptions, (*more, lock, STORE, *options.PLACE))


def store(function: Callable[..., Any]) -> Any:
    """Add --store alone; it arrives under its own name."""
    return options.alone(STORE)(function)


class Given(Struct, frozen=True, kw_only=True):
    """What matrix.yaml and the options say together."""

    root: Path
    spec: HeadersSpec | None
    lock: Path
    store: Store
    mirrors: tuple[str, ...]
    default: bool = True

    def sources(self) -> tuple[Source, ...]:
        """Where files come from, in order."""
        from orchestrator.headers import sources

        return sources.chain(self.mirrors, default=self.default)


def given(chosen: HeaderOptions) -> Given:
    """What the options of one command mean with the matrix, if there is one.

    Raises:
        MatrixError: The matrix is invalid.
        UsageError: `--file` names one that does not exist.
    """
    from orchestrator.headers import store as stores

    path = chosen.path
    root, spec = path.parent, None
    if path.exists():
        matrix = common.open_matrix(chosen)
        root, spec = matrix.root, matrix.spec.headers
    elif chosen.file is not None:
        raise UsageError(f"{path}: the matrix was not found")
    named = [str(root / item) if (root / item).exists() else item for item in (spec.mirrors if spec else ())]
    return Given(
        root=root,
        spec=spec,
        lock=chosen.lock or root / (spec.lock if spec else LOCK_NAME),
        store=stores.Store(chosen.store or stores.default_root()),
        mirrors=(*chosen.mirror, *named),
        default=not chosen.no_default_repository,
    )


def show_lock(lock: Lock, format_: common.Format) -> None:
    """Print what a lock holds, and what it does not."""
    from orchestrator.headers import lock as locks

    if format_ is common.Format.JSON:
        write_json(json.loads(locks.dumps(lock)))
        return
    headers = lock.headers
    streams.say(f"FlashInfer {lock.version}, layout {lock.layout}, tier {lock.tier}")
    streams.say(f"{len(headers)} headers, {sum(file.size for file in headers):,} bytes; {len(lock.files)} files in all")
    for item in lock.pins:
        if item.files:
            streams.say(f"pin {item.pin.attr}: {item.files} file{'s' * (item.files != 1)}")
    streams.say(f"bundle {locks.bundle_digest(lock)}")
    for line in lock.not_covered:
        streams.say(f"not covered: {line}")


def write_json(value: dict[str, Any]) -> None:
    """Print a result as JSON, with the number of its schema."""
    streams.write_json({"schema": 1, **value})


def show_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table."""
    from rich.table import Table
    from rich.text import Text

    from orchestrator.ui import console

    table = Table(box=None, pad_edge=False)
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console.out().print(table)
