"""What `headers gc` removes: blobs, materialised bundles, wheels and the leftovers of killed runs."""

from __future__ import annotations

import hashlib
import shutil
import time
from typing import TYPE_CHECKING

from orchestrator.files import LEFTOVER
from orchestrator.headers import lock as locks
from orchestrator.headers.store import ABANDONED_SECONDS, Swept

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from orchestrator.headers.lock import Lock
    from orchestrator.headers.store import Store


def folder_of(lock: Lock, store: Store) -> Path:
    """Where a lock's bundle is materialised: by the lock's text, because two locks may share a bundle's files."""
    return store.root / "bundles" / hashlib.sha256(locks.dumps(lock).encode()).hexdigest()


def tidy(store: Store, kept: Sequence[Lock], *, now: float | None = None) -> Swept:
    """Remove what no lock needs.

    Args:
        store: The store.
        kept: Locks whose files, bundles and wheels stay.
        now: Seconds since the epoch, for tests.
    """
    swept = store.collect((file.sha256 for lock in kept for file in lock.files), now=now)
    files, size = swept.files, swept.bytes
    for path in _unneeded(store, kept, time.time() if now is None else now):
        inside = [one for one in (path.rglob("*") if path.is_dir() else [path]) if one.is_file()]
        files, size = files + len(inside), size + sum(one.lstat().st_size for one in inside)
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return Swept(files=files, bytes=size)


def _unneeded(store: Store, kept: Sequence[Lock], now: float) -> Iterator[Path]:
    folders = {folder_of(lock, store) for lock in kept}
    wheels = {f"flashinfer_python-{lock.version}-" for lock in kept}
    for path in sorted((store.root / "bundles").glob("[0-9a-f]*")):
        if path not in folders:
            yield path
    for path in sorted((store.root / "wheels").glob("*")):
        if not path.name.startswith(tuple(wheels)):
            yield path
    for path in sorted([*store.root.glob(LEFTOVER), *(store.root / "bundles").glob(LEFTOVER)]):
        if path.stat().st_ctime < now - ABANDONED_SECONDS:  # a younger one may belong to a run that goes on
            yield path
