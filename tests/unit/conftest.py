"""The guard of the unit tests: no process and no socket, by whatever way."""

from __future__ import annotations

import gc
import itertools
import os
import shutil
import signal
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
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
_numbers = itertools.count()
_FSYNC = os.fsync


@pytest.fixture
def guard() -> Guard:
    """The guard, which is on for the time of every test."""
    return _guard


def _written_at_once(fd: object) -> None:
    """In the place of os.fsync: flushing takes most of the time on a busy disk, and no test here cuts the power."""


# Hooks instead of a fixture of every test: seven thousand of those cost seconds. Only tests in this folder have them.
@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Iterator[None]:
    """Switch the guard on."""
    _guard.seen.clear()
    _guard.switch(on=True)
    os.fsync = _written_at_once
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Iterator[None]:
    """Switch the guard off; fail where somebody swallowed what it raised."""
    try:
        done = yield
    finally:
        _guard.switch(on=False)
        os.fsync = _FSYNC
    if _guard.seen:
        pytest.fail(f"a unit test starts no process and opens no socket: {', '.join(_guard.seen)}")
    return done


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory of this test's own, removed where the test passed.

    pytest's own looks through the names of all earlier ones and leaves a link for each: a second in all.
    """
    failed = request.session.testsfailed
    path = tmp_path_factory.getbasetemp() / f"unit-{next(_numbers)}"
    path.mkdir(mode=0o700)
    yield path
    if request.session.testsfailed == failed:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def hangup() -> Iterator[None]:
    """Signals as a terminal leaves them: nohup ignores SIGHUP, `&` of a script SIGINT, and a program keeps it so."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGHUP, signal.SIGTERM)}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
