"""`orchestrate wheels verify`: compares the store or a directory with the lock."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli import kit, options
from orchestrator.cli.kit import Heading
from orchestrator.cli.wheels import shared
from orchestrator.errors import VerificationError
from orchestrator.sizes import counted
from orchestrator.ui import streams

if TYPE_CHECKING:
    from orchestrator.cli.common import Selection
    from orchestrator.wheels.lock import Lock


@kit.command(
    "verify",
    examples=(
        "orchestrate wheels verify",
        "orchestrate wheels verify --repair",
        "orchestrate wheels verify carried/cu130-cp312-amd64",
    ),
    conflicts={"[DIR]": ("--repair", "--store")},
)
@kit.argument(
    "wheelhouse", required=False, type=click.Path(path_type=Path), metavar="[DIR]",
    explanation="Directory of one wheelhouse to verify, instead of the store.",
)  # fmt: skip
@kit.option("--repair", heading=Heading.BEHAVIOUR, is_flag=True, help="Remove damaged wheels and fetch them again.")
@options.selection()
@options.alone(shared.STORE)
def command(*, given: Selection, store: Path | None, wheelhouse: Path | None, repair: bool) -> None:
    """Compare every wheel with the lock, and each wheelhouse with what its wheels need.

    Exits 4 if a wheel is missing or damaged, or needs a package that the wheelhouse does not have.
    """
    from orchestrator.wheels import work

    told = shared.given(given, store)
    lock = told.locked()
    if wheelhouse is not None:
        _directory(lock, wheelhouse, str(told.lock))
        return
    bad = work.verify(lock, told.store, repair=repair)
    if bad and repair:
        report = work.bring(lock, told.orders, told.store, allowed=True, tell=streams.tell)
        streams.tell(f"{report.fetched} wheels fetched")
        bad = work.verify(lock, told.store)
    if bad:
        hint = "`orchestrate wheels verify --repair` fetches them again; `orchestrate wheels lock` resolves them again"
        raise VerificationError(
            f"{counted(len(bad), 'problem')} with the wheels of {told.lock}", problems=bad[:20], hint=hint
        )
    count, size = len(lock.wheels), sum(wheel.size for wheel in lock.wheels)
    houses = len(lock.houses)
    streams.say(
        f"{counted(count, 'wheel')}, {size:,} bytes verified in {told.store.root}; {houses} wheelhouses are complete"
    )


def _directory(lock: Lock, target: Path, where: str) -> None:
    """Compare a directory with the wheelhouse that it says it is; one that says nothing with the likeliest."""
    from orchestrator.wheels import work

    found = [(work.verify_directory(house, target), house) for house in lock.houses]
    problems, house = min(found, key=lambda one: (len(one[0]), one[1].name != target.resolve().name))
    if problems:
        raise VerificationError(f"{target} does not hold a wheelhouse of {where}", problems=problems[:20])
    streams.say(f"{counted(len(house.wheels), 'wheel')} of {house.name} verified in {target}")
