"""How the lines of a bake are read: together, and to their end at once. A pipe of this process stands for the bake."""

from __future__ import annotations

import os
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.bake import ending
from orchestrator.bake.ending import stderr_lines

if TYPE_CHECKING:
    from collections.abc import Iterator


class Bake:
    """What `stderr_lines` sees of a process, and of what ends it."""

    def __init__(self) -> None:
        reader, self.writer = os.pipe()
        self.stderr = os.fdopen(reader, "rb", buffering=0)
        self.looks = 0
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self.returncode

    def check(self) -> bool:
        self.looks += 1
        return False

    def say(self, data: bytes) -> None:
        if self.writer >= 0:  # a test that has failed says nothing more
            os.write(self.writer, data)

    def end(self) -> None:
        writer, self.writer = self.writer, -1  # the reader goes on as soon as it is closed
        os.close(writer)

    def lines(self) -> Iterator[list[bytes]]:
        child: Any = self
        return stderr_lines(child, child)


@pytest.fixture
def bake() -> Iterator[Bake]:
    made = Bake()
    yield made
    if made.writer >= 0:
        made.end()
    made.stderr.close()


def test_lines_that_came_together_are_read_together(bake: Bake) -> None:
    bake.say(b"one\ntwo\nth")
    lines = bake.lines()
    assert next(lines) == [b"one", b"two"]
    bake.say(b"ree\nfour")
    assert next(lines) == [b"three"]
    bake.end()
    assert list(lines) == [[b"four"]]


def test_a_bake_that_ends_while_it_rests_is_not_waited_for(bake: Bake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "_RESTS_S", ((float("inf"), 60.0),))
    monkeypatch.setattr(ending, "time", SimpleNamespace(monotonic=lambda: 6000.0))  # the rest has just begun
    bake.say(b"one\n")
    lines = bake.lines()
    assert next(lines) == [b"one"]
    begun = time.monotonic()
    threading.Timer(0.2, bake.end).start()
    assert list(lines) == []
    assert 0.1 < time.monotonic() - begun < 30


def test_what_a_bake_says_after_it_was_silent_is_read_at_once(bake: Bake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "_RESTS_S", ((float("inf"), 0.01),))
    bake.say(b"one\n")
    lines = bake.lines()
    assert next(lines) == [b"one"]

    def look() -> bool:  # after the first wait in vain
        monkeypatch.setattr(ending, "_RESTS_S", ((float("inf"), 60.0),))
        monkeypatch.setattr(ending, "time", SimpleNamespace(monotonic=lambda: 6000.0))
        threading.Timer(0.2, bake.say, (b"two\n",)).start()
        return False

    monkeypatch.setattr(bake, "check", look)
    begun = time.monotonic()
    assert next(lines) == [b"two"]
    assert time.monotonic() - begun < 30


def test_one_who_holds_the_pipe_of_a_bake_that_ended_is_not_waited_for(bake: Bake) -> None:
    bake.say(b"one\nrest")
    lines = bake.lines()
    assert next(lines) == [b"one"]
    bake.returncode = 0
    assert list(lines) == [[b"rest"]]
    assert bake.looks


def test_a_line_without_an_end_is_given_out(bake: Bake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "_LINE_LIMIT", 10)
    bake.say(b"x" * 30)
    lines = bake.lines()
    assert next(lines) == [b"x" * 30]
    bake.end()
    assert list(lines) == []
