"""`orchestrate headers verify`: compares the store, a directory or an image with the lock."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli import kit
from orchestrator.cli.headers import shared
from orchestrator.cli.kit import Heading
from orchestrator.errors import VerificationError
from orchestrator.sizes import counted
from orchestrator.ui import streams
from orchestrator.ui.transfers import TransferProgress

if TYPE_CHECKING:
    from orchestrator.cli.headers.shared import HeaderOptions


@kit.command(
    "verify",
    examples=(
        "orchestrate headers verify",
        "orchestrate headers verify --repair",
        "orchestrate headers verify --image ghcr.io/acme/vllm-openai:cu130",
        "orchestrate headers verify /opt/flashinfer/cubins",
    ),
    conflicts={
        "--image": ("[DIR]", "--repair", "--store", "--mirror", "--no-default-repository", "--jobs", "--window"),
        "[DIR]": ("--repair", "--store", "--mirror", "--no-default-repository", "--jobs", "--window"),
    },
    needs={
        "--platform": ("--image",),
        "--mirror": ("--repair",),
        "--no-default-repository": ("--repair",),
        "--jobs": ("--repair",),
        "--window": ("--repair",),
    },
)
@kit.argument(
    "target", required=False, type=click.Path(path_type=Path), metavar="[DIR]",
    explanation="Directory of a placed bundle to verify, instead of the store.",
)  # fmt: skip
@kit.option(
    "--image", heading=Heading.SOURCE, default="", metavar="REF",
    help="Verify a built image, without running it.", default_text="the store",
)  # fmt: skip
@kit.option(
    "--platform", heading=Heading.SOURCE, default="", metavar="PLATFORM",
    help="Choose one image of an index, as in linux/arm64.", default_text="this machine's",
)  # fmt: skip
@kit.option("--repair", heading=Heading.BEHAVIOUR, is_flag=True, help="Remove damaged files and fetch them again.")
@shared.bundle(*shared.TRANSFER)
def command(*, chosen: HeaderOptions, target: Path | None, image: str, platform: str, repair: bool) -> None:
    """Compare every file of the bundle with the lock.

    Exits 4 if one is missing or damaged.
    """
    from orchestrator.errors import Problem
    from orchestrator.headers import bundle, manifests, work

    given = shared.given(chosen)
    if image:
        _verify_image(image, platform, given.lock)
        return
    wanted = bundle.read_lock(given.lock)
    if target is not None:
        problems = bundle.verify_directory(wanted, target)
        if problems:
            raise VerificationError(f"{target} does not hold the bundle of {given.lock}", problems=problems[:20])
        streams.say(f"{counted(len(wanted.files), 'file')} verified in {target}")
        return
    bad = work.verify_store(wanted, given.store, repair=repair)
    if bad and repair:
        with TransferProgress("repair") as progress:
            work.obtain_lock(wanted, given.store, given.sources(), options=chosen.transfer(), progress=progress)
        bad_after = work.verify_store(wanted, given.store, repair=False)
        streams.tell(f"{counted(len(bad) - len(bad_after), 'file')} repaired")
        bad = bad_after
    if bad:
        found = [Problem(file=path, what=f"is {what} in the store") for path, what in bad.items()]
        hint = "`orchestrate headers verify --repair` fetches them again"
        raise VerificationError(
            f"{len(bad)} of {len(wanted.files)} files are missing or damaged", problems=found[:20], hint=hint
        )
    manifests.require(wanted, given.store)
    streams.say(f"{counted(len(wanted.files), 'file')}, {wanted.bytes:,} bytes verified in {given.store.root}")


def _verify_image(image: str, platform: str, lock: Path) -> None:
    from orchestrator.headers import bundle
    from orchestrator.image.verdict.bundle import verify_bundle

    carried = verify_bundle(image, platform=platform, lock=bundle.read_lock(lock) if lock.exists() else None)
    for warning in carried.warnings:
        streams.tell(f"warning: {warning}")
    if carried.problems or carried.lock is None:
        raise VerificationError(f"{image} does not hold its FlashInfer bundle", problems=carried.problems[:20])
    headers = len(carried.lock.headers)
    streams.say(f"{image}: {headers} headers of FlashInfer {carried.lock.version} verified in {carried.directory}")
