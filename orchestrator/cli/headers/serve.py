"""`orchestrate headers serve`: serves a bundle as a mirror."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from orchestrator.cli import kit
from orchestrator.cli.headers import shared
from orchestrator.cli.kit import Heading
from orchestrator.ui import streams

if TYPE_CHECKING:
    from orchestrator.cli.headers.shared import HeaderOptions


@kit.command(
    "serve",
    examples=(
        "orchestrate headers serve --port 8471",
        "FLASHINFER_CUBINS_REPOSITORY=http://127.0.0.1:8471/ python my_job.py",
    ),
)
@kit.option(
    "--port", heading=Heading.BEHAVIOUR, type=click.IntRange(min=0, max=65535), default=0, metavar="PORT",
    help="Listen on this port; 0 takes a free one.",
)  # fmt: skip
@kit.option(
    "--host", heading=Heading.BEHAVIOUR, default="127.0.0.1", metavar="ADDRESS", help="Listen on this address only."
)
@shared.bundle()
def command(*, chosen: HeaderOptions, port: int, host: str) -> None:
    """Serve the bundle as a mirror that FlashInfer itself can use.

    It runs until it is interrupted.
    """
    from orchestrator.headers import bundle, serve, work

    given = shared.given(chosen)
    wanted = bundle.read_lock(given.lock)
    work.require_complete(wanted, given.store)
    with serve.Mirror(wanted, given.store, host=host, port=port, log=streams.tell) as server:
        streams.say(f"FLASHINFER_CUBINS_REPOSITORY={server.url}")
        sys.stdout.flush()
        server.serve_forever()
