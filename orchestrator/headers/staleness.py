"""Staleness: does a lock still serve the FlashInfer that a build will install?

Nearly every release moves a pin; some post-releases move none, and their bundle is the same. Pure: values in and out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.errors import Problem, UsageError
from orchestrator.flashinfer import LOCK_NAME
from orchestrator.headers import layout as layouts

if TYPE_CHECKING:
    from orchestrator.headers.lock import Lock
    from orchestrator.headers.pins import Pins


class Staleness(Struct, frozen=True, kw_only=True):
    """What is missing in a lock for a FlashInfer version.

    Attributes:
        state: `fresh`, `refresh` (another version, the same pins: the files are right) or `stale`.
        problems: One for every pin that moved, came or went.
    """

    state: str
    problems: tuple[Problem, ...]


def compare(lock: Lock, pins: Pins, *, where: str = LOCK_NAME) -> Staleness:
    """Return whether a lock still serves the FlashInfer that a build will install.

    Args:
        lock: What was locked.
        pins: The pins of the version that the build will install.
        where: The lock's name in messages.
    """
    have = {item.pin.attr: item.pin for item in lock.pins}
    want = {pin.attr: pin for pin in pins.pins}
    hint = f"orchestrate headers lock --flashinfer {pins.version}"
    problems = []
    for attr in sorted(have.keys() | want.keys()):
        old, new = have.get(attr), want.get(attr)
        if old is None or new is None:
            what = f"pin {attr} {'is new in' if old is None else 'is gone from'} FlashInfer {pins.version}"
            problems.append(Problem(file=where, what=what, hint=hint))
        elif (old.path, old.sha256) != (new.path, new.sha256):
            what = f"pin {attr} moved with FlashInfer {pins.version}"
            expected = f"{new.path} ({new.sha256[:12]})"
            problems.append(
                Problem(file=where, what=what, expected=expected, found=f"{old.path} ({old.sha256[:12]})", hint=hint)
            )
    wanted_layout = _layout_of(pins.version, lock)
    if wanted_layout != lock.layout and not _same_place(wanted_layout, lock.layout):
        what = f"FlashInfer {pins.version} looks for the files elsewhere"
        problems.append(Problem(file=where, what=what, expected=wanted_layout, found=lock.layout, hint=hint))
    if problems:
        return Staleness(state="stale", problems=tuple(problems))
    if lock.version != pins.version:
        what = f"made for FlashInfer {lock.version}, the build installs {pins.version}; the files are the same"
        return Staleness(state="refresh", problems=(Problem(file=where, what=what, hint=hint),))
    return Staleness(state="fresh", problems=())


def _layout_of(version: str, lock: Lock) -> str:
    """Return the layout of a version; of one that only `--layout` could name, the one that the lock was made with.

    Raises:
        UsageError: The layout of the version is not known, and the lock is one of another version.
    """
    try:
        return layouts.of(version).name
    except UsageError:
        if version != lock.version:
            raise
        return lock.layout


def _same_place(one: str, other: str) -> bool:
    return layouts.named(one).flat == layouts.named(other).flat
