"""linux/arm64 on this machine for the time of a test: QEMU in the kernel, taken away again.

binfmt_misc belongs to the kernel: what one test process registers, every other process and checkout sees, and it stays
when all of them are gone. Whoever uses it holds a shared lock; whoever leaves last takes it away, if it was one of
these processes that registered it. A process that dies gives its lock back, so nobody counts.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.artifacts import downloads
from tests.support.engine import SCRIPT, call

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path("/run/lock")
FORMAT = Path("/proc/sys/fs/binfmt_misc/qemu-aarch64")


def registered() -> bool:
    """Whether the kernel runs linux/arm64 programs through QEMU."""
    return FORMAT.exists()


@contextlib.contextmanager
def emulated_arm64() -> Iterator[None]:
    """Register QEMU for linux/arm64 where it is not, and take it away when the last user is gone."""
    downloads.require_marker("QEMU for linux/arm64")
    ours = FOLDER / "orchestrate-arm64.registered"
    with (FOLDER / "orchestrate-arm64.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        while not registered():  # taking a stronger lock lets others in between: look again
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not registered():
                ours.touch()
                downloads.made_available("QEMU for linux/arm64", SCRIPT, "up", "--arm64")
            fcntl.flock(lock, fcntl.LOCK_SH)
        try:
            yield
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)
            with contextlib.suppress(BlockingIOError):  # somebody else needs it still
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if ours.exists():
                    call(SCRIPT, "down", "--arm64")
                    ours.unlink()


@pytest.fixture
def arm64(engine: str) -> Iterator[None]:
    """linux/arm64 steps run on this machine."""
    if os.uname().machine == "aarch64":
        yield
        return
    if os.geteuid() and not registered():
        pytest.skip("registering QEMU with the kernel needs root")
    with emulated_arm64():
        yield
