"""`orchestrate headers import`: reads a bundle that crossed an air gap."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli import kit, options
from orchestrator.cli.headers import shared

if TYPE_CHECKING:
    from orchestrator.cli.common import Format
    from orchestrator.cli.headers.shared import HeaderOptions


@kit.command(
    "import",
    examples=("orchestrate headers import flashinfer-headers-0.6.13.tar.zst",),
)
@kit.argument("source", type=click.Path(path_type=Path), metavar="FILE", explanation="A file of `headers export`.")
@options.formats()
@shared.bundle()
def command(*, chosen: HeaderOptions, source: Path, format_: Format) -> None:
    """Read a bundle from a file into the store.

    All of it is verified before anything of it is visible. Needs no network. A lock file that exists already must be
    the same one.
    """
    from orchestrator.headers import archive, bundle
    from orchestrator.headers import lock as locks

    given = shared.given(chosen)
    there = bundle.read_lock(given.lock) if given.lock.exists() else None
    expected = locks.bundle_digest(there) if there else ""
    loaded = archive.load(source, given.store, given.lock if there is None else None, expected=expected)
    shared.show_lock(loaded, format_)
