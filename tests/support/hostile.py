"""Servers that answer as no registry should, on real sockets: whatever a function writes is the answer.

with HostileServer(lambda request: [b"HTTP/1.1 200 OK\\r\\n", b"X: y\\r\\n"]) as server:
    ...  # a pause between the parts where the function sleeps
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A request that came in: `path` with its query, header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


def answer(status: int = 200, body: bytes = b"", **headers: str) -> bytes:
    """A whole answer; header names with `_` for `-`."""
    lines = [f"HTTP/1.1 {status} X", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    if not any(name.lower() == "content_length" for name in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class HostileServer:
    """The server; a context manager. `asked` holds every request.

    Attributes:
        reply: The parts of the answer to a request; the connection stays open after the last one.
        tls: Serves HTTPS with this context.
    """

    reply: Callable[[Asked], Iterable[bytes]]
    tls: ssl.SSLContext | None = None
    asked: list[Asked] = field(default_factory=list)

    def __enter__(self) -> Self:
        owner = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError, ValueError):
                    owner.serve(self.request)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        return int(self._server.server_address[1])

    @property
    def address(self) -> str:
        """`127.0.0.1:port`."""
        return f"127.0.0.1:{self.port}"

    def serve(self, raw: socket.socket) -> None:
        """Answer the requests of one connection."""
        connection = self.tls.wrap_socket(raw, server_side=True) if self.tls else raw
        with contextlib.closing(connection), connection.makefile("rb") as stream:
            while line := stream.readline():
                method, path, _ = line.decode().split(" ")
                headers = {}
                while field_line := stream.readline().strip():
                    name, _, value = field_line.decode().partition(":")
                    headers[name.lower()] = value.strip()
                body = stream.read(int(headers.get("content-length", "0")))
                asked = Asked(method=method, path=path, headers=headers, body=body)
                self.asked.append(asked)
                for part in self.reply(asked):
                    connection.sendall(part)


@dataclass
class ConnectProxy:
    """An HTTP proxy that leads every CONNECT to one port of this machine, whatever host was named.

    Attributes:
        port_behind: Where it leads.
        asked: The hosts that were named, with the Proxy-Authorization header of each request.
    """

    port_behind: int
    asked: list[tuple[str, str]] = field(default_factory=list)

    def __enter__(self) -> Self:
        owner = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError, ValueError):
                    owner.serve(self)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Its address without scheme."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def serve(self, handler: socketserver.StreamRequestHandler) -> None:
        """Answer one CONNECT and copy bytes both ways."""
        method, host, _ = handler.rfile.readline().decode().split(" ")
        login = ""
        while line := handler.rfile.readline().strip():
            if line.lower().startswith(b"proxy-authorization:"):
                login = line.partition(b":")[2].strip().decode()
        assert method == "CONNECT"
        self.asked.append((host, login))
        with socket.create_connection(("127.0.0.1", self.port_behind)) as behind:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=_copy, args=[behind, handler.connection], daemon=True)
            back.start()
            _copy(handler.connection, behind)
            back.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
