"""What the `orchestrate wheels` commands share: the plan, its orders and the store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec import Struct

from orchestrator.cli import common, options
from orchestrator.cli.kit import Heading
from orchestrator.sizes import counted
from orchestrator.ui import streams

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.cli.common import Selection
    from orchestrator.headers.store import Store
    from orchestrator.wheels.lock import Lock
    from orchestrator.wheels.work import Order

STORE = options.declared(
    "--store", heading=Heading.CACHE, type=click.Path(path_type=Path), metavar="DIR",
    envvar="ORCHESTRATE_WHEELS_STORE", help="Keep the wheels in this directory.",
    default_text="~/.cache/orchestrate/wheels",
)  # fmt: skip


class Given(Struct, frozen=True, kw_only=True):
    """What matrix.yaml and the options say together."""

    orders: tuple[Order, ...]
    lock: Path
    store: Store

    def locked(self) -> Lock:
        """The part of the lock that the selected variants need.

        Raises:
            UsageError, VerificationError, DriftError: There is none, it is damaged, or it is stale.
        """
        from orchestrator.wheels import work

        return work.locked(self.orders, work.read_lock(self.lock), where=str(self.lock))


def given(selected: Selection, store: Path | None) -> Given:
    """What the options of one command mean with the matrix.

    Raises:
        MatrixError: The matrix is invalid.
        UsageError: It has no `wheels:`, or a requirement file is missing.
    """
    from orchestrator.headers.store import Store, default_root
    from orchestrator.wheels import work

    plan = common.open_plan(selected)
    orders = work.orders(plan)
    return Given(
        orders=orders,
        lock=plan.matrix.root / work.section(plan).lock,
        store=Store(store or default_root("wheels"), "wheels"),
    )


def show_lock(lock: Lock, format_: common.Format) -> None:
    """Print what a lock holds."""
    from orchestrator.wheels import lock as locks

    if format_ is common.Format.JSON:
        streams.write_json(json.loads(locks.dumps(lock)))
        return
    for house in lock.houses:
        streams.say(
            f"{house.name}: {counted(len(house.wheels), 'wheel')}, {house.bytes:,} bytes, {locks.house_digest(house)}"
        )


def directories(names: Sequence[Path]) -> tuple[Path, ...]:
    """Directories that exist.

    Raises:
        UsageError: One does not.
    """
    from orchestrator.errors import UsageError

    for name in names:
        if not name.is_dir():
            raise UsageError(f"--from {name}: the directory was not found")
    return tuple(names)
