"""`orchestrate headers fetch`: fetches the files of the lock into the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli import kit, options
from orchestrator.cli.common import Format
from orchestrator.cli.headers import shared
from orchestrator.ui import streams
from orchestrator.ui.transfers import TransferProgress

if TYPE_CHECKING:
    from orchestrator.cli.headers.shared import HeaderOptions


@kit.command(
    "fetch",
    examples=(
        "orchestrate headers fetch",
        "orchestrate headers fetch --mirror https://mirror.example/flashinfer",
        "orchestrate headers fetch --mirror flashinfer_cubin-0.6.13-py3-none-any.whl",
    ),
)
@options.formats()
@shared.bundle(*shared.TRANSFER)
def command(*, chosen: HeaderOptions, format_: Format) -> None:
    """Fetch every file of the lock into the store.

    What the store holds already costs no request. Sources are tried in order: --mirror, headers.mirrors,
    FLASHINFER_CUBINS_REPOSITORY or FlashInfer's own repository. Proxies, CA bundles and netrc come from the usual
    variables.
    """
    from orchestrator.headers import bundle, work

    given = shared.given(chosen)
    wanted = bundle.read_lock(given.lock)
    with TransferProgress("fetch") as progress:
        report = work.obtain_lock(wanted, given.store, given.sources(), options=chosen.transfer(), progress=progress)
    if format_ is Format.JSON:
        shared.write_json(
            {"fetched": report.fetched, "bytes": report.bytes, "present": report.present, "requests": report.requests}
        )
        return
    streams.say(
        f"{report.fetched} files fetched, {report.bytes:,} bytes, {report.requests} requests; {report.present} present"
    )
