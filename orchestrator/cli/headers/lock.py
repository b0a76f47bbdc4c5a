"""`orchestrate headers lock`: writes the lock file from FlashInfer's own pins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli import kit, options
from orchestrator.cli.headers import shared
from orchestrator.cli.kit import Heading
from orchestrator.cli.outputs import LOCK, require_replaceable
from orchestrator.errors import DriftError
from orchestrator.ui import streams
from orchestrator.ui.transfers import TransferProgress

if TYPE_CHECKING:
    from orchestrator.cli.common import Format
    from orchestrator.cli.headers.shared import HeaderOptions
    from orchestrator.headers.pins import Pins


@kit.command(
    "lock",
    examples=(
        "orchestrate headers lock --flashinfer 0.6.13",
        "orchestrate headers lock --from flashinfer_python-0.6.13-py3-none-any.whl",
        "orchestrate headers lock --check",
        "orchestrate headers lock --check --from-image ghcr.io/acme/vllm-openai:cu130",
    ),
    conflicts={
        "--check": (
            "--tier",
            "--sm",
            "--layout",
            "--mirror",
            "--no-default-repository",
            "--jobs",
            "--window",
            "--format",
        ),
        "--from-image": ("--from", "--flashinfer"),
    },
)
@kit.option(
    "--flashinfer", heading=Heading.SOURCE, default="", metavar="VERSION",
    help="Lock this version of FlashInfer, as in 0.6.13.", default_text="the matrix",
)  # fmt: skip
@kit.option(
    "--from", "source", heading=Heading.SOURCE, type=click.Path(path_type=Path), metavar="PATH",
    help="Read the pins from this flashinfer-python wheel or package.", default_text="pip downloads the wheel",
)  # fmt: skip
@kit.option(
    "--from-image", "image", heading=Heading.SOURCE, default="", metavar="REF",
    help="Read the pins from an image that has FlashInfer installed; it is not run.", default_text="none",
)  # fmt: skip
@kit.option(
    "--tier", heading=Heading.SOURCE, default="", metavar="TIER",
    help="Lock this tier: headers, or cubins for the kernels as well.", default_text="the matrix, else headers",
)  # fmt: skip
@kit.option(
    "--sm", heading=Heading.SOURCE, multiple=True, metavar="CC",
    help="Lock cubins of these compute capabilities, as in 10.3.", default_text="all",
)  # fmt: skip
@kit.option(
    "--layout", heading=Heading.SOURCE, default="", metavar="NAME",
    help="Read the pins by this layout, for a version newer than this program.", default_text="found in the source",
)  # fmt: skip
@kit.option("--check", heading=Heading.BEHAVIOUR, is_flag=True, help="Write nothing; exit 3 if the lock is stale.")
@options.formats()
@shared.bundle(*shared.TRANSFER)
def command(
    *,
    chosen: HeaderOptions,
    flashinfer: str,
    source: Path | None,
    image: str,
    tier: str,
    sm: tuple[str, ...],
    layout: str,
    check: bool,
    format_: Format,
) -> None:
    """Write the lock file: every file of the bundle with its sha256.

    The pins are read from FlashInfer's own source, by parsing. Nothing of it is imported or run.
    """
    from orchestrator.drift.flashinfer import wanted_version
    from orchestrator.headers import bundle, staleness, work

    given = shared.given(chosen)
    if chosen.lock is not None and not check:
        require_replaceable(chosen.lock, "--lock", LOCK)
    wanted = flashinfer or (wanted_version(given.spec, given.root) if given.spec else "")
    known = _image_pins(image) if image else work.read_pins(source, wanted, given.store)
    if check:
        result = staleness.compare(bundle.read_lock(given.lock), known, where=str(given.lock))
        if result.state != "fresh":
            raise DriftError(
                "the FlashInfer lock is stale",
                problems=result.problems,
                hint="`orchestrate headers lock` writes it again",
            )
        streams.tell(f"{given.lock}: fresh for FlashInfer {known.version}")
        return
    wanted_tier = tier or (given.spec.tier if given.spec else "headers")
    with TransferProgress("lock") as progress:
        made, report = work.make_lock(
            known, given.store, given.sources(), coverage=work.Coverage(tier=wanted_tier, sm=sm or (), layout=layout),
            options=chosen.transfer(), progress=progress,
        )  # fmt: skip
    changed = bundle.write_lock(made, given.lock)
    streams.tell(
        f"{given.lock}: {'written' if changed else 'unchanged'} ({report.fetched} fetched, {report.present} present)"
    )
    shared.show_lock(made, format_)


def _image_pins(image: str) -> Pins:
    from orchestrator.image.verdict.bundle import image_pins

    return image_pins(image)
