"""`orchestrate headers export`: writes a bundle that crosses an air gap."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli import kit
from orchestrator.cli.headers import shared
from orchestrator.cli.kit import Heading
from orchestrator.ui import streams

if TYPE_CHECKING:
    from orchestrator.cli.headers.shared import HeaderOptions


@kit.command(
    "export",
    examples=(
        "orchestrate headers export",
        "orchestrate headers export -o bundle/ && docker buildx build --build-context flashinfer-headers=bundle/ …",
    ),
)
@kit.option(
    "-o", "--output", heading=Heading.OUTPUT, type=click.Path(path_type=Path), metavar="FILE",
    help="Write this archive; a name without .tar.zst makes a directory.",
    default_text="flashinfer-headers-VERSION.tar.zst",
)  # fmt: skip
@shared.bundle()
def command(*, chosen: HeaderOptions, output: Path | None) -> None:
    """Write the bundle as one file, or as a directory for a build.

    Two exports of one lock are byte-identical.
    """
    from orchestrator.headers import archive, bundle, work

    given = shared.given(chosen)
    wanted = bundle.read_lock(given.lock)
    work.require_complete(wanted, given.store)
    target = output or Path(f"flashinfer-headers-{wanted.version}.tar.zst")
    if target.name.endswith(".tar.zst"):
        streams.say(f"{target}: {archive.export(wanted, given.store, target):,} bytes")
    else:
        bundle.materialise(wanted, given.store, target)
        streams.say(f"{target}: {len(wanted.files)} files")
