"""An HTTP proxy in front of a registry that answers with faults first: what networks and busy registries do.

    with FaultyProxy("127.0.0.1:5000", [Fault(path="/manifests/", method="PUT", status=503, times=2)]) as proxy:
        build(push=f"{proxy.address}/name")
        assert proxy.count(status=503) == 2

A real server on a real port: the client under test (docker, buildx, httpx) is none the wiser.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

_CHUNK = 1 << 16
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """What to do instead of forwarding, for the first requests that match.

    Attributes:
        path: Regular expression searched in the request's path and query.
        method: HTTP method, "" for any.
        status: Answer with this status; 0 forwards (for a `delay` alone).
        reset: Cut the connection (RST) instead of answering.
        times: How often; -1 for ever.
        delay: Seconds to wait before.
        headers: Sent with `status` (`{"Retry-After": "1"}`).
        body: Sent with `status`.
    """

    path: str = ""
    method: str = ""
    status: int = 503
    reset: bool = False
    times: int = 1
    delay: float = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b'{"errors":[{"code":"UNAVAILABLE","message":"not now"}]}'


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """A request that came in, and what was answered (status 0 is a reset)."""

    method: str
    path: str
    status: int
    faulty: bool


class FaultyProxy:
    """The proxy; a context manager. `address` is its `127.0.0.1:port`, or another host's with a certificate for it.

    Args:
        upstream: `127.0.0.1:port` of the registry, which speaks plain HTTP.
        faults: What it does to the first requests.
        tls: Host to listen on, file of its certificate, file of the key; None speaks plain HTTP.
    """

    def __init__(
        self, upstream: str, faults: Sequence[Fault] = (), *, tls: tuple[str, Path, Path] | None = None
    ) -> None:
        self.upstream = upstream
        self.seen: list[Seen] = []
        self._lock = threading.Lock()
        self._left = [[fault, fault.times] for fault in faults]
        self.scheme = "https" if tls else "http"
        self._host = tls[0] if tls else "127.0.0.1"
        self._server = _Server((self._host, 0), _handler(self))
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls[1], tls[2])
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"{self._host}:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def count(self, *, status: int | None = None, method: str = "", path: str = "") -> int:
        """How many requests were answered so."""
        with self._lock:
            return sum(
                1
                for seen in self.seen
                if (status is None or seen.status == status)
                and (not method or seen.method == method)
                and re.search(path, seen.path)
            )

    def note(self, seen: Seen) -> None:
        """Remember a request."""
        with self._lock:
            self.seen.append(seen)

    def take(self, method: str, path: str) -> Fault | None:
        """The fault that this request meets, counted down."""
        with self._lock:
            for entry in self._left:
                fault, left = entry
                assert isinstance(fault, Fault)
                assert isinstance(left, int)
                if left and fault.method in ("", method) and re.search(fault.path, path):
                    entry[1] = left - 1 if left > 0 else left
                    return fault
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are what this server is for: nothing to print."""


def _handler(proxy: FaultyProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(_Forwarder):
        owner = proxy

    return Handler


class _Forwarder(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    owner: FaultyProxy
    raw_requestline: bytes

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Nothing on stderr: `seen` is the log."""

    def parse_request(self) -> bool:
        """Answer a TLS greeting as Go's server does: BuildKit turns to plain HTTP on a local address only then."""
        if self.raw_requestline.startswith(b"\x16"):
            self.wfile.write(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTPS request to an HTTP server.\n")
            self.close_connection = True
            return False
        return super().parse_request()

    def _handle(self) -> None:
        fault = self.owner.take(self.command, self.path)
        if fault is not None:
            time.sleep(fault.delay)
            if fault.reset:
                self._reset()
                return
            if fault.status:
                self._refuse(fault)
                return
        self._forward()

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _handle  # noqa: N815 - the base class looks for these names

    def _reset(self) -> None:
        self.owner.note(Seen(method=self.command, path=self.path, status=0, faulty=True))
        # Linger 0: close() sends RST instead of FIN.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def _refuse(self, fault: Fault) -> None:
        for _ in self._body():  # a client that is still sending would see a reset instead of the answer
            pass
        self.owner.note(Seen(method=self.command, path=self.path, status=fault.status, faulty=True))
        self.send_response(fault.status)
        for name, value in {"Content-Type": "application/json", **fault.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(fault.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(fault.body)

    def _body(self) -> Iterator[bytes]:
        """The request's body, plain or chunked."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return
        left = int(self.headers.get("Content-Length") or 0)
        while left:
            data = self.rfile.read(min(left, _CHUNK))
            if not data:
                return
            left -= len(data)
            yield data

    def _forward(self) -> None:
        # The Host header is handed on as it came, so that the registry's Location headers lead back here.
        upstream = http.client.HTTPConnection(self.owner.upstream, timeout=60)
        with contextlib.closing(upstream):
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    upstream.putheader(name, value)
            if self.owner.scheme == "https":
                upstream.putheader("X-Forwarded-Proto", "https")  # or the registry's links lead to http
            chunked = "chunked" in self.headers.get("Transfer-Encoding", "").lower()
            if chunked:
                upstream.putheader("Transfer-Encoding", "chunked")
            upstream.endheaders()
            for data in self._body():
                upstream.send(b"%x\r\n%s\r\n" % (len(data), data) if chunked else data)
            if chunked:
                upstream.send(b"0\r\n\r\n")
            self._answer(upstream.getresponse())

    def _answer(self, answer: http.client.HTTPResponse) -> None:
        self.owner.note(Seen(method=self.command, path=self.path, status=answer.status, faulty=False))
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        plain = answer.getheader("Content-Length") is not None or answer.status in (204, 304)
        if not plain:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        while self.command != "HEAD" and (data := answer.read(_CHUNK)):
            self.wfile.write(data)
