"""Serve: a mirror of one bundle on the loopback interface, good enough for FlashInfer itself.

FlashInfer asks for single files with one or two slashes, and lists directories by reading `<a href="…">` out of HTML.
Only what the lock names is served, each file after its bytes were verified once; nothing is written.
"""

from __future__ import annotations

import html
import re
import urllib.parse
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from orchestrator.errors import EnvironmentLacksError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from orchestrator.headers.lock import Lock
    from orchestrator.headers.store import Store

_CHUNK = 1024 * 1024


class Mirror(ThreadingHTTPServer):
    """The server; `serve_forever` and `shutdown` come from the standard library.

    Args:
        lock: What to serve.
        store: Holds it.
        host: Address to listen on.
        port: 0 for any free one; the one in use is `server_address[1]`.
        log: Called with one line a request.

    Raises:
        EnvironmentLacksError: The address is in use or not ours.
    """

    daemon_threads = True

    def __init__(
        self, lock: Lock, store: Store, *, host: str = "127.0.0.1", port: int = 0, log: Callable[[str], None]
    ) -> None:
        self.files = {file.path: file for file in lock.files}
        self.folders = _folders(self.files)
        self.store = store
        self.log = log
        self.verified: set[str] = set()
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise EnvironmentLacksError(f"cannot listen on {host}:{port}: {error.strerror}") from error

    @property
    def url(self) -> str:
        """What FLASHINFER_CUBINS_REPOSITORY is set to."""
        host, port = self.server_address[0], self.server_address[1]
        return f"http://{host!s}:{port}/"

    def good(self, sha256: str) -> bool:
        """Return whether a blob is verified; each is read once."""
        if sha256 not in self.verified and next(self.store.verify([sha256]), None) is None:
            self.verified.add(sha256)
        return sha256 in self.verified


def _folders(paths: Iterable[str]) -> dict[str, set[str]]:
    """Return every directory with the names in it, directories with a slash."""
    found: dict[str, set[str]] = {"": set()}
    for path in paths:
        parts = path.split("/")
        for depth in range(len(parts)):
            parent = "/".join(parts[:depth])
            name = parts[depth] + ("/" if depth < len(parts) - 1 else "")
            found.setdefault(parent, set()).add(name)
    return found


class _Handler(BaseHTTPRequestHandler):
    server: Mirror
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        """Answer with a file, a part of it, or a listing."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """Answer with the headers alone."""
        self._answer(body=False)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's signature
        """Log one line for each request."""
        self.server.log(format % args)

    def _answer(self, *, body: bool) -> None:
        path = urllib.parse.unquote(urllib.parse.urlsplit(re.sub(r"/+", "/", self.path)).path).strip("/")
        file = self.server.files.get(path)
        if file is not None:
            self._file(file.sha256, file.size, body=body)
        elif path in self.server.folders:
            self._listing(path, body=body)
        else:
            self._short(HTTPStatus.NOT_FOUND, "not in this bundle\n", body=body)

    def _listing(self, path: str, *, body: bool) -> None:
        names = sorted(self.server.folders[path])
        # one link a line and nothing else in the tag: FlashInfer reads them with a greedy regular expression
        rows = "".join(f'<a href="{html.escape(name)}">{html.escape(name)}</a>\n' for name in names)
        page = f"<!DOCTYPE html>\n<title>/{html.escape(path)}</title>\n<pre>\n{rows}</pre>\n"
        self._short(HTTPStatus.OK, page, body=body, kind="text/html; charset=utf-8")

    def _file(self, sha256: str, size: int, *, body: bool) -> None:
        if not self.server.good(sha256):
            self._short(HTTPStatus.INTERNAL_SERVER_ERROR, "missing or damaged in the store\n", body=body)
            return
        span = self._span(sha256, size)
        if span is None:
            self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start, end = span
        whole = (start, end) == (0, size)
        self.send_response(HTTPStatus.OK if whole else HTTPStatus.PARTIAL_CONTENT)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(end - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{sha256}"')
        if not whole:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.end_headers()
        if body:
            self._send(sha256, start, end)

    def _send(self, sha256: str, start: int, end: int) -> None:
        with self.server.store.path(sha256).open("rb") as stream:
            stream.seek(start)
            left = end - start
            while left and (chunk := stream.read(min(left, _CHUNK))):
                try:
                    self.wfile.write(chunk)
                except OSError:  # the client went away
                    self.close_connection = True
                    return
                left -= len(chunk)

    def _span(self, sha256: str, size: int) -> tuple[int, int] | None:
        """First byte and end of what is asked for; the whole file where no single range is, None for one outside."""
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", "").strip())
        condition = self.headers.get("If-Range")
        if not asked or asked.group(0) == "bytes=-" or (condition and condition != f'"{sha256}"'):
            return 0, size
        first, last = asked.groups()
        start = int(first) if first else max(0, size - int(last))
        end = min(int(last) + 1, size) if first and last else size
        return (start, end) if start < end else None

    def _short(self, status: HTTPStatus, text: str, *, body: bool, kind: str = "text/plain; charset=utf-8") -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)
