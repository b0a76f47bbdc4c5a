"""Sockets whose waits end: at the deadline of an exchange, and on a wish to stop.

httpx and httpcore limit each single read, so a server that sends one byte a second holds a client for ever, and a
thread that waits in a read does not see Ctrl-C. httpcore lets a program bring its own network backend; this one reads
in short steps and looks at the deadline and at the stop between them.
"""

from __future__ import annotations

import contextlib
import math
import queue
import threading
import time
from typing import TYPE_CHECKING, Any

import httpcore

from orchestrator import process
from orchestrator.errors import InterruptedRunError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from httpcore import SOCKET_OPTION

_POLL_S = 0.1


def check_stop() -> None:
    """Raise InterruptedRunError once a stop was asked for."""
    if process.asked_to_stop():
        raise InterruptedRunError("stopped")


@contextlib.contextmanager
def held(lock: threading.Lock) -> Iterator[None]:
    """Hold a lock; the wait for it ends on a wish to stop, because its holder may wait for a server."""
    while not lock.acquire(timeout=_POLL_S):
        check_stop()
    try:
        yield
    finally:
        lock.release()


class Watch(threading.local):
    """When the exchange of this thread must have ended, by `time.monotonic`."""

    until: float = math.inf

    def check(self) -> None:
        """End a connection attempt whose time is over.

        Raises:
            InterruptedRunError: A stop was asked for.
            httpcore.ConnectTimeout: The exchange of this thread must have ended.
        """
        check_stop()
        if time.monotonic() > self.until:
            raise httpcore.ConnectTimeout("no connection in time")


class Backend(httpcore.NetworkBackend):
    """Connections whose waits end at the deadline and on a wish to stop."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect; the name is resolved and the connection made in a thread, since neither can be interrupted."""
        stream = _patiently(
            self._watch, lambda: self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        )
        return _Stream(stream, self._watch)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, watch: Watch) -> None:
        self._inner = inner
        self._watch = watch

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        until = min(self._watch.until, time.monotonic() + (timeout or math.inf))
        while True:
            check_stop()
            left = until - time.monotonic()
            if left <= 0:
                raise httpcore.ReadTimeout("no whole answer in time")
            with contextlib.suppress(httpcore.ReadTimeout):
                return self._inner.read(max_bytes, min(left, _POLL_S))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        check_stop()
        left = self._watch.until - time.monotonic()
        self._inner.write(buffer, max(0.001, min(left, timeout or math.inf)) if left < math.inf else timeout)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        stream = _patiently(self._watch, lambda: self._inner.start_tls(ssl_context, server_hostname, timeout))
        return _Stream(stream, self._watch)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _patiently(watch: Watch, make: Callable[[], httpcore.NetworkStream]) -> httpcore.NetworkStream:
    """What `make` returns, made in a thread that is left behind at the deadline or on a wish to stop."""
    box: queue.SimpleQueue[httpcore.NetworkStream | BaseException] = queue.SimpleQueue()
    left_behind = threading.Event()

    def close() -> None:
        """Close what was made and is waited for no longer."""
        with contextlib.suppress(queue.Empty):
            if not isinstance(late := box.get_nowait(), BaseException):
                late.close()

    def work() -> None:
        try:
            made = make()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            box.put(error)
            return
        box.put(made)
        if left_behind.is_set():
            close()

    threading.Thread(target=work, daemon=True).start()
    while True:
        try:
            found = box.get(timeout=_POLL_S)
        except queue.Empty:
            try:
                watch.check()
            except BaseException:
                left_behind.set()
                close()  # it may have come since
                raise
            continue
        if isinstance(found, BaseException):
            raise found
        return found
