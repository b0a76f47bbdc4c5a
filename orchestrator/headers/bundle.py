"""The placed tree of a lock as a directory, and its verification.

A materialised bundle is what a build gets as a named context and what lies in the image afterwards:

    <pin>/include/…  <pin>/checksums.txt     where FlashInfer looks for them, by layout generation
    flashinfer.lock.json                     what it is
    SHA256SUMS                               its proof, for `sha256sum -c`
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from orchestrator.errors import Problem
from orchestrator.flashinfer import LOCK_NAME
from orchestrator.headers import lock as locks
from orchestrator.headers import lockfile, manifests, place

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.headers.lock import Lock
    from orchestrator.headers.place import Placed
    from orchestrator.headers.store import Store


def contents(lock: Lock) -> tuple[Placed, ...]:
    """Return every file of a materialised bundle."""
    words = ((locks.SUMS_NAME, locks.sums(lock)), (LOCK_NAME, locks.dumps(lock)))
    return (*locks.tree(lock), *(place.written(name, text) for name, text in words))


def materialise(lock: Lock, store: Store, target: Path) -> None:
    """Write the placed tree; see `place.materialise`."""
    place.materialise(contents(lock), store, target, verify=partial(verify_directory, lock))


def ensure(lock: Lock, store: Store, target: Path) -> None:
    """Write the placed tree to a directory of our own; see `place.ensure`."""
    place.ensure(contents(lock), store, target, verify=partial(verify_directory, lock))


def verify_directory(lock: Lock, root: Path) -> tuple[Problem, ...]:
    """Return whether a directory holds exactly the bundle.

    Args:
        lock: What should be there.
        root: A materialised bundle, or a cubin directory that a bundle was placed in.

    Returns:
        One problem for every file that is missing, damaged, too much or left out of the lock; empty where all is
        verified. Files of a running FlashInfer (its links below `flashinfer/`, lock files) are not too much.
    """
    problems = [*place.problems(contents(lock), root), *manifests.in_directory(lock, root)]
    expected = {entry.path for entry in locks.tree(lock)}
    pins = {item.pin.path for item in lock.pins if item.files}
    for pin in sorted(pins):
        for found in sorted((root / pin).rglob("*")):
            relative = found.relative_to(root).as_posix()
            if relative not in expected and found.suffix != ".lock" and (found.is_symlink() or not found.is_dir()):
                problems.append(Problem(file=str(found), what="does not belong to the bundle"))
    return tuple(problems)


def read_lock(path: Path) -> Lock:
    """Return a lock from its file.

    Raises:
        UsageError: It is not there.
        VerificationError: It is not a lock, or was edited.
    """
    return locks.loads(lockfile.read(path, "FlashInfer lock file", "orchestrate headers lock"), where=str(path))


def write_lock(lock: Lock, path: Path) -> bool:
    """Write a lock file atomically; False if it already said the same."""
    return lockfile.write(path, locks.dumps(lock))
