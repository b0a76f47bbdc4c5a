"""The placed tree of a lock as a directory, and its verification.

A materialised bundle is what a build gets as a named context and what lies in the image afterwards:

    <pin>/include/…  <pin>/checksums.txt     where FlashInfer looks for them, by layout generation
    flashinfer.lock.json                     what it is
    SHA256SUMS                               its proof, for `sha256sum -c`

The directory's bytes, names, modes and times depend on the lock alone, so a build cache keys on nothing else.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from orchestrator.errors import EnvironmentLacksError, Problem, UsageError, VerificationError
from orchestrator.files import making, write_whole
from orchestrator.flashinfer import LOCK_NAME
from orchestrator.headers import lock as locks

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.headers.lock import Lock
    from orchestrator.headers.store import Store

_EPOCH = 315532800  # 1980-01-01: the earliest time that a zip can hold, so no tool further on has to change it


def materialise(lock: Lock, store: Store, target: Path) -> None:
    """Write the placed tree; it appears at once and whole.

    Args:
        lock: What to write.
        store: Holds every file of the lock; each is hashed again on the way.
        target: The directory; if it is there it must already be this bundle, and is left alone.

    Raises:
        VerificationError: A file is missing from the store or damaged there, or the target holds something else.
        EnvironmentLacksError: The directory cannot be written.
    """
    if target.exists():
        if verify_directory(lock, target):
            raise VerificationError(f"{target} is there and is not this bundle", hint=f"remove it: rm -r {target}")
        return
    try:
        with making(target) as folder:
            _write(lock, store, folder)
    except OSError as error:
        if target.is_dir() and not verify_directory(lock, target):  # another process was faster
            return
        raise EnvironmentLacksError(f"cannot write {target}: {error.strerror or error}") from error


def _write(lock: Lock, store: Store, root: Path) -> None:
    for entry in locks.tree(lock):
        path = root / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.content is None:
            store.copy(entry.sha256, path)
        else:
            path.write_bytes(entry.content)
    (root / LOCK_NAME).write_text(locks.dumps(lock), encoding="utf-8")
    (root / locks.SUMS_NAME).write_text(locks.sums(lock), encoding="utf-8")
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            _normalise(os.path.join(folder, name), 0o644)  # noqa: PTH118 - 16,000 files: os is four times faster here
        _normalise(folder, 0o755)


def _normalise(path: str, mode: int) -> None:
    os.chmod(path, mode)  # noqa: PTH101 - as above
    os.utime(path, (_EPOCH, _EPOCH))


def verify_directory(lock: Lock, root: Path) -> tuple[Problem, ...]:
    """Whether a directory holds exactly the bundle.

    Args:
        lock: What should be there.
        root: A materialised bundle, or a cubin directory that a bundle was placed in.

    Returns:
        One problem for every file that is missing, damaged or too much; empty when all is right. Files of a running
        FlashInfer (its links below `flashinfer/`, lock files) are not too much.
    """
    problems = []
    expected = {entry.path: entry for entry in locks.tree(lock)}
    for path, entry in expected.items():
        problem = _check(root / path, entry.sha256, entry.size)
        if problem:
            problems.append(Problem(file=str(root / path), what=problem))
    for name, text in ((locks.SUMS_NAME, locks.sums(lock)), (LOCK_NAME, locks.dumps(lock))):
        data = text.encode()
        problem = _check(root / name, hashlib.sha256(data).hexdigest(), len(data))
        if problem:
            problems.append(Problem(file=str(root / name), what=problem))
    pins = {item.pin.path for item in lock.pins if item.files}
    for pin in sorted(pins):
        for found in sorted((root / pin).rglob("*")):
            relative = found.relative_to(root).as_posix()
            if relative not in expected and found.suffix != ".lock" and (found.is_symlink() or not found.is_dir()):
                problems.append(Problem(file=str(found), what="does not belong to the bundle"))
    return tuple(problems)


def _check(path: Path, sha256: str, size: int) -> str:
    try:
        if path.is_symlink():
            return "is a link, expected a file"
        with path.open("rb") as stream:
            if os.fstat(stream.fileno()).st_size != size:
                return f"has {os.fstat(stream.fileno()).st_size} bytes, expected {size}"
            actual = hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return "" if actual == sha256 else f"has sha256 {actual[:12]}…, expected {sha256[:12]}…"


def read_lock(path: Path) -> Lock:
    """A lock from its file.

    Raises:
        UsageError: It is not there.
        VerificationError: It is not a lock, or was edited.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"{path}: no FlashInfer lock file", hint="make it: orchestrate headers lock") from error
    except (OSError, UnicodeDecodeError) as error:
        raise VerificationError(f"{path}: cannot be read ({error})") from error
    return locks.loads(text, where=str(path))


def write_lock(lock: Lock, path: Path) -> bool:
    """Write a lock file atomically; False if it already said the same."""
    text = locks.dumps(lock)
    try:
        if path.is_file() and path.read_bytes() == text.encode():
            return False
        write_whole(path, text)
    except OSError as error:
        raise EnvironmentLacksError(f"cannot write {path}: {error.strerror or error}") from error
    return True
