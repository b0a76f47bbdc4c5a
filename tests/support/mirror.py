"""A hostile mirror: a real HTTP server that serves files and, where it was told to, misbehaves first.

    with HostileMirror(files, faults=[Status(403), Truncate(1000), Fine()]) as mirror:
        ...  mirror.url  ...  mirror.requests

Each path meets the faults in turn, one a request, and is served rightly once they are used up. Nothing here imitates
a network in the process: sockets on the loopback interface carry every byte.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Fine:
    """No fault."""


@dataclass(frozen=True)
class Status:
    """An error status, with a Retry-After if one is given."""

    code: int
    retry_after: str = ""


@dataclass(frozen=True)
class Truncate:
    """The true Content-Length (or none), fewer bytes, and the end of the connection."""

    after: int
    declared: bool = True


@dataclass(frozen=True)
class Reset:
    """A TCP reset in mid-body."""

    after: int


@dataclass(frozen=True)
class Wrong:
    """The right number of wrong bytes."""


@dataclass(frozen=True)
class Page:
    """200 and an HTML page, as a captive portal answers."""


@dataclass(frozen=True)
class Redirect:
    """A redirect, to another path of the same server."""

    to: str


@dataclass(frozen=True)
class Slow:
    """One byte now and then; in the body, or in the headers already."""

    pause: float
    headers: bool = False


@dataclass(frozen=True)
class Endless:
    """A body without a length that never ends."""


@dataclass(frozen=True)
class WrongRange:
    """206 with another range than was asked for."""


Fault = Fine | Status | Truncate | Reset | Wrong | Page | Redirect | Slow | Endless | WrongRange


@dataclass(frozen=True)
class Request:
    """One request as the server saw it."""

    method: str
    path: str
    range: str
    authorization: str
    peer: int


class HostileMirror:
    """The server; a context manager.

    Args:
        files: Path -> bytes.
        faults: What every path meets, one a request.
        by_path: Faults of single paths, instead of `faults`.
        ranges: Whether Range is understood.
        validators: Whether an ETag is sent.
        latency: Seconds before every answer.
        certificate: PEM file with key and certificate; the mirror then speaks https.
    """

    def __init__(
        self,
        files: Mapping[str, bytes],
        *,
        faults: Sequence[Fault] = (),
        by_path: Mapping[str, Sequence[Fault]] | None = None,
        ranges: bool = True,
        validators: bool = True,
        latency: float = 0.0,
        certificate: Path | None = None,
    ) -> None:
        self.files = files
        self.faults = tuple(faults)
        self.by_path = by_path or {}
        self.ranges = ranges
        self.validators = validators
        self.latency = latency
        self.requests: list[Request] = []
        self.sent = 0
        self.guard = threading.Lock()
        self.seen: dict[str, int] = defaultdict(int)
        self.closing = threading.Event()
        self._server = _Server(self)
        self._scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}/"

    def next_fault(self, path: str) -> Fault:
        with self.guard:
            faults = self.by_path.get(path, self.faults)
            count = self.seen[path]
            self.seen[path] += 1
            return faults[count] if count < len(faults) else Fine()

    def gets(self, path: str) -> int:
        """How often a path was asked for."""
        with self.guard:
            return sum(1 for request in self.requests if request.path.strip("/") == path)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, mirror: HostileMirror) -> None:
        self.mirror = mirror
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what many of these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        # headers and body are two writes: without this, Nagle and the delayed ACK cost 40 ms a request
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's signature
        """Nothing: the requests are in the list."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        mirror = self.server.mirror
        path = "/".join(part for part in self.path.split("/") if part)
        with mirror.guard:
            mirror.requests.append(
                Request(
                    method=self.command,
                    path=path,
                    range=self.headers.get("Range", ""),
                    authorization=self.headers.get("Authorization", ""),
                    peer=self.client_address[1],
                )
            )
        if mirror.latency:
            time.sleep(mirror.latency)
        fault = mirror.next_fault(path)
        data = mirror.files.get(path)
        if isinstance(fault, Status):
            self._status(fault)
        elif isinstance(fault, Redirect):
            self.send_response(302)
            self.send_header("Location", fault.to)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif isinstance(fault, Page):
            self._whole(b"<!DOCTYPE html><title>Sign in</title>" * 10, kind="text/html; charset=utf-8")
        elif data is None:
            self._status(Status(404))
        else:
            self._file(data, fault)

    def _status(self, fault: Status) -> None:
        body = b"no\n"
        self.send_response(fault.code)
        if fault.retry_after:
            self.send_header("Retry-After", fault.retry_after)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self._write(body)

    def _file(self, data: bytes, fault: Fault) -> None:
        if isinstance(fault, Wrong):
            self._whole(bytes(255 - byte for byte in data[:4096]) + data[4096:])
        elif isinstance(fault, Endless):
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            while not self.server.mirror.closing.is_set() and self._write(b"x" * 65536):
                pass
            self.close_connection = True
        elif isinstance(fault, Slow):
            self._slow(data, fault)
        elif isinstance(fault, Truncate):
            self._start(data, declared=fault.declared)
            self._write(data[: fault.after])
            self.close_connection = True
        elif isinstance(fault, Reset):
            self._start(data, declared=True)
            self._write(data[: fault.after])
            self.wfile.flush()
            time.sleep(0.05)  # let the bytes arrive before the reset throws away what is still on its way
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        elif isinstance(fault, WrongRange) and self.headers.get("Range"):
            self.send_response(206)
            self.send_header("Content-Range", f"bytes 0-9/{len(data)}")
            self.send_header("Content-Length", "10")
            self.end_headers()
            self._write(data[:10])
        else:
            self._whole(data)

    def _start(self, data: bytes, *, declared: bool) -> None:
        self.send_response(200)
        if declared:
            self.send_header("Content-Length", str(len(data)))
        else:
            self.send_header("Connection", "close")
        self._validator(data)
        self.end_headers()

    def _validator(self, data: bytes) -> None:
        if self.server.mirror.validators:
            self.send_header("ETag", f'"{len(data)}-{hash(data) & 0xFFFFFFFF:x}"')

    def _whole(self, data: bytes, kind: str = "application/octet-stream") -> None:
        asked = self.headers.get("Range", "")
        start = int(asked.removeprefix("bytes=").split("-")[0]) if asked and self.server.mirror.ranges else 0
        if start >= len(data) > 0:
            self._status(Status(416))
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self._validator(data)
        self.end_headers()
        if self.command != "HEAD":
            self._write(data[start:])

    def _slow(self, data: bytes, fault: Slow) -> None:
        closing = self.server.mirror.closing
        if fault.headers:
            for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 10_000:
                if not self._write(bytes([byte])) or closing.wait(fault.pause):
                    break
        else:
            self._start(data, declared=True)
            for byte in data:
                if not self._write(bytes([byte])) or closing.wait(fault.pause):
                    break
        self.close_connection = True

    def _write(self, data: bytes) -> bool:
        try:
            self.wfile.write(data)
        except OSError:
            self.close_connection = True
            return False
        with self.server.mirror.guard:
            self.server.mirror.sent += len(data)
        return True
