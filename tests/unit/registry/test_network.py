"""Connections whose waits end."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

from orchestrator.registry import network

if TYPE_CHECKING:
    from collections.abc import Callable


class Stream(httpcore.NetworkStream):
    closed = False

    def close(self) -> None:
        self.closed = True


class Backend(httpcore.NetworkBackend):
    """Connects once it may."""

    def __init__(self) -> None:
        self.stream = Stream()
        self.may = threading.Event()
        self.by: threading.Thread | None = None

    def connect_tcp(self, *args: Any, **named: Any) -> httpcore.NetworkStream:
        del args, named
        self.by = threading.current_thread()
        assert self.may.wait(30)
        return self.stream


class Late(network.Watch):
    """A deadline that is reached; `first` happens just before."""

    def __init__(self, first: Callable[[], None]) -> None:
        self.first = first

    def check(self) -> None:
        self.first()
        raise httpcore.ConnectTimeout("no connection in time")


@pytest.mark.parametrize("before", [True, False], ids=["before the deadline is looked at", "after it"])
def test_a_connection_that_comes_too_late_is_closed(monkeypatch: pytest.MonkeyPatch, before: bool) -> None:
    inner = Backend()
    monkeypatch.setattr(httpcore, "SyncBackend", lambda: inner)

    def connect() -> None:
        inner.may.set()
        assert inner.by is not None
        inner.by.join(30)

    backend = network.Backend(Late(connect if before else lambda: None))
    with pytest.raises(httpcore.ConnectTimeout):
        backend.connect_tcp("registry.example.org", 443)
    connect()
    assert inner.stream.closed
