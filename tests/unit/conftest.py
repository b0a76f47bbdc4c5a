"""The guard of the unit tests: no process and no socket, by whatever way."""

from __future__ import annotations

import gc
import signal
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

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


class _Forbidden(str):
    """An event that ends the test when the table that holds it is asked for an equal one."""

    __slots__ = ("_seen",)
    __hash__ = str.__hash__
    _seen: list[str]

    def __new__(cls, event: str, seen: list[str]) -> Self:
        made = super().__new__(cls, event)
        made._seen = seen
        return made

    def __eq__(self, event: object) -> bool:
        if event is self or not str.__eq__(self, event):
            return event is self
        self._seen.append(str(event))
        pytest.fail(f"a unit test starts no process and opens no socket: {event}")


class Guard:
    """Raises at a forbidden event while it is on, and remembers it in case somebody swallows the exception."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._events: dict[str, None] = {}
        # Asked at every event, and written in C: within a hook in Python the interpreter may change threads, and two
        # threads that set their trace functions at the same time (coverage does) end one of them before its first line.
        self.hook = self._events.get

    def switch(self, *, on: bool) -> None:
        """Forbid the events, or allow them again."""
        self._events.clear()
        if on:
            self._events.update(dict.fromkeys(_Forbidden(event, self.seen) for event in FORBIDDEN))


gc.set_threshold(50_000)  # as the program itself does: parsing all of its source takes 0.35 s, with the default 0.99 s
_guard = Guard()
sys.addaudithook(_guard.hook)  # cannot be taken away again, therefore the switch


@pytest.fixture(autouse=True)
def guard() -> Iterator[Guard]:
    """The guard, switched on for the time of one test."""
    _guard.seen.clear()
    _guard.switch(on=True)
    try:
        yield _guard
    finally:
        _guard.switch(on=False)
    if _guard.seen:
        pytest.fail(f"a unit test starts no process and opens no socket: {', '.join(_guard.seen)}")


@pytest.fixture
def hangup() -> Iterator[None]:
    """Signals as a terminal leaves them: nohup ignores SIGHUP, `&` of a script SIGINT, and a program keeps it so."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGHUP, signal.SIGTERM)}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
