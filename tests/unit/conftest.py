"""The guard of the unit tests: no process and no socket, by whatever way."""

from __future__ import annotations

import gc
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

# The names under which the interpreter itself reports what it is about to do (its audit events), so that no import, no
# C extension and no renamed function leads around the guard.
FORBIDDEN = frozenset(
    {
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.posix_spawn",
        "os.spawn",
        "os.system",
        "pty.spawn",
        "socket.__new__",
        "socket.bind",
        "socket.connect",
        "socket.getaddrinfo",
        "subprocess.Popen",
    }
)


class Guard:
    """Raises at a forbidden event while it is on, and remembers it in case somebody swallows the exception."""

    def __init__(self) -> None:
        self.on = False
        self.seen: list[str] = []

    def __call__(self, event: str, _arguments: tuple[Any, ...]) -> None:
        if self.on and event in FORBIDDEN:
            self.seen.append(event)
            pytest.fail(f"a unit test starts no process and opens no socket: {event}")


gc.set_threshold(50_000)  # as the program itself does: parsing all of its source takes 0.35 s, with the default 0.99 s
_guard = Guard()
sys.addaudithook(_guard)  # cannot be taken away again, therefore the switch


@pytest.fixture(autouse=True)
def guard() -> Iterator[Guard]:
    """The guard, switched on for the time of one test."""
    _guard.seen.clear()
    _guard.on = True
    try:
        yield _guard
    finally:
        _guard.on = False
    if _guard.seen:
        pytest.fail(f"a unit test starts no process and opens no socket: {', '.join(_guard.seen)}")


@pytest.fixture
def hangup() -> Iterator[None]:
    """SIGHUP as a terminal leaves it: under nohup it is ignored, and a program keeps it so."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)
