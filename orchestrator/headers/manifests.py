"""Compares a lock with the manifests that its pins name: nothing of its tier is left out, and no file is another.

An edited lock can have the right digest too. The manifest of a pin is the one thing in it that FlashInfer's own source
vouches for.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from orchestrator.errors import OrchestrateError, Problem, VerificationError
from orchestrator.headers import layout as layouts
from orchestrator.headers import lock as locks
from orchestrator.headers import resolve

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orchestrator.headers.lock import Lock
    from orchestrator.headers.store import Store


def contradictions(lock: Lock, read: Callable[[str, str], bytes | None]) -> tuple[Problem, ...]:
    """Return one problem for every pin whose manifest says other files than the lock.

    Args:
        lock: What was locked.
        read: Returns a manifest by its path and sha256, None where it cannot be had: then its pin is not compared.
    """
    layout = layouts.named(lock.layout)
    locked = {file.path: file.sha256 for file in lock.files}
    found = []
    for item in lock.pins:
        path = f"{item.pin.path}/checksums.txt"
        data = read(path, item.pin.sha256) if item.files else None
        if data is None or hashlib.sha256(data).hexdigest() != item.pin.sha256:
            continue
        try:
            listed = locks.parse_manifest(item.pin, data)
        except VerificationError as error:
            found.append(Problem(file=path, what=error.message))
            continue
        chosen = {name: sha for name, sha in listed.items() if resolve.is_chosen(name, lock.tier, lock.sm, layout)}
        left_out = sorted(chosen.keys() - locked.keys())
        others = sorted(name for name in listed.keys() & locked.keys() if listed[name] != locked[name])
        if left_out:
            what = f"the lock leaves {len(left_out)} of its {len(chosen)} files out, the first is {left_out[0]}"
            found.append(Problem(file=path, what=what))
        if others:
            expected, told = f"sha256 {listed[others[0]][:12]}…", f"{locked[others[0]][:12]}…"
            what = f"the lock has other bytes than it for {others[0]}"
            found.append(Problem(file=path, what=what, expected=expected, found=told))
    return tuple(found)


def in_directory(lock: Lock, root: Path) -> tuple[Problem, ...]:
    """As `contradictions`, with the manifests of a placed bundle."""

    def read(path: str, _: str) -> bytes | None:
        try:
            return (root / path).read_bytes()
        except OSError:
            return None

    return contradictions(lock, read)


def require(lock: Lock, store: Store) -> None:
    """Refuse a lock that contradicts the manifests in the store.

    Raises:
        VerificationError: It leaves files out, or has other bytes than FlashInfer published.
    """

    def read(_: str, sha256: str) -> bytes | None:
        try:
            return store.read(sha256)
        except OrchestrateError:
            return None

    if problems := contradictions(lock, read):
        what = "the FlashInfer lock is not what the manifests of its pins say"
        raise VerificationError(what, problems=problems, hint="write it again: orchestrate headers lock")
