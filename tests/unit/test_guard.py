"""The guard that keeps unit tests from starting processes and opening sockets, put to the test itself."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.conftest import Guard


def _ways() -> dict[str, Callable[[], object]]:
    return {
        "subprocess": lambda: subprocess.run([sys.executable, "-c", ""], check=False),
        "system": lambda: os.system("true"),
        "fork": os.fork,
        "posix_spawn": lambda: os.posix_spawn(sys.executable, [sys.executable, "-c", ""], {}),
        "socket": socket.socket,
        "connection": lambda: socket.create_connection(("127.0.0.1", 1)),
        "name": lambda: socket.getaddrinfo("localhost", 1),
    }


@pytest.mark.parametrize("way", _ways())
def test_every_way_out_fails(guard: Guard, way: str) -> None:
    with pytest.raises(pytest.fail.Exception, match="no process and opens no socket"):
        _ways()[way]()
    assert guard.seen
    guard.seen.clear()


def test_a_thread_is_watched_too(guard: Guard) -> None:
    caught: list[BaseException] = []

    def work() -> None:
        try:
            socket.socket()
        except BaseException as error:  # noqa: BLE001 - the guard's exception is no Exception, so that nothing swallows it
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert caught
    assert guard.seen == ["socket.__new__"]
    guard.seen.clear()


@given(st.integers())
def test_hypothesis_accepts_it(number: int) -> None:
    assert isinstance(number, int)
