"""Lets one run at a time build in a directory: two write one journal and move the same tags."""

from __future__ import annotations

import contextlib
import os
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator import files, process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from filelock import BaseFileLock

HOLDER = "holder"
"""File of the state directory in which the run that builds says who it is, as long as it does."""

_POLL_S = 0.2
_MOST = 200  # characters of what the other run wrote about itself


@contextlib.contextmanager
def alone(state: Path, *, tell: Callable[[str], None]) -> Iterator[bool]:
    """Hold the right to build in a directory; wait while another run has it, say who, and yield whether it waited.

    The lock is the kernel's, so it ends with its process. A directory that cannot be written, or a file system without
    locks, is no reason to refuse a build.

    Args:
        state: The state directory of the project.
        tell: Hears whom it waits for.

    Raises:
        InterruptedRunError: A stop was asked for while it waited.
    """
    lock, waited = _locked(state, tell)
    if lock is None:
        yield waited
        return
    holder = state / HOLDER
    try:
        with contextlib.suppress(OSError):
            files.write_whole(holder, _self(), mode=files.PRIVATE)
        yield waited
    finally:
        with contextlib.suppress(OSError):
            holder.unlink()
        lock.release()


def _locked(state: Path, tell: Callable[[str], None]) -> tuple[BaseFileLock | None, bool]:
    """The lock, once it is held, None where there can be none; and whether another run had it."""
    from filelock import FileLock, Timeout

    lock = FileLock(state / "lock", mode=files.PRIVATE)
    waited = False
    try:
        files.make_private(state)
        held = _acquired(lock, Timeout)
        if not held:
            waited = True
            tell(f"waiting: {_shown(state / HOLDER)} builds in {state.parent}")
        while not held:
            process.pause(_POLL_S)
            held = _acquired(lock, Timeout)
    except (OSError, NotImplementedError):
        return None, waited
    return lock, waited


def _acquired(lock: BaseFileLock, late: type[Exception]) -> bool:
    try:
        lock.acquire(timeout=0)
    except late:
        return False
    return True


def _self() -> str:
    return (
        f"orchestrate with process id {os.getpid()} on {socket.gethostname()}, since {datetime.now(UTC):%H:%M:%S} UTC"
    )


def _shown(holder: Path) -> str:
    """Who holds it, as it wrote itself."""
    with contextlib.suppress(OSError):
        return holder.read_text(encoding="utf-8", errors="replace")[:_MOST] or "another run"
    return "another run"
