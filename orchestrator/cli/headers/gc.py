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

    Also removes what killed downloads left behind more than a day ago.
    """
    from orchestrator.headers import bundle

    given = shared.given(chosen)
    kept = [bundle.read_lock(path) for path in chosen.locks or [given.lock]]
    swept = given.store.collect(item.sha256 for one in kept for item in one.files)
    streams.say(f"{swept.files} files removed, {swept.bytes:,} bytes")
