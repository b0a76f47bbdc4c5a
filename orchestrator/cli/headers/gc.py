"""`orchestrate headers gc`: removes files that no lock needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli import kit
from orchestrator.cli.headers import shared
from orchestrator.ui import streams

if TYPE_CHECKING:
    from orchestrator.cli.headers.shared import HeaderOptions


@kit.command(
    "gc",
    examples=("orchestrate headers gc --lock flashinfer.lock.json --lock ../other/flashinfer.lock.json",),
)
@shared.bundle(lock=shared.LOCKS)
def command(*, chosen: HeaderOptions) -> None:
    """Remove from the store what no named lock needs.

    Removes files, bundles that builds were given, wheels that pins were read from, and what killed runs left more than
    a day ago.
    """
    from orchestrator.headers import bundle, tidy

    given = shared.given(chosen)
    kept = [bundle.read_lock(path) for path in chosen.locks or [given.lock]]
    swept = tidy.tidy(given.store, kept)
    streams.say(f"{swept.files} files removed, {swept.bytes:,} bytes")
