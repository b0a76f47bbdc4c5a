"""A stand-in for GitHub's REST API, as docs.github.com documents it: states of pull requests, versions of packages."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Hub:
    """What GitHub knows.

    Attributes:
        pulls: Number -> state of the pull requests of acme/app.
        owner: `orgs/acme` or `users/acme`: whose the packages are.
        versions: Package -> id -> digest of each version.
        token: The only one that is let in.
    """

    pulls: dict[str, str] = field(default_factory=dict)
    owner: str = "orgs/acme"
    versions: dict[str, dict[int, str]] = field(default_factory=dict)
    token: str = "secret-token"
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def answer(self, method: str, path: str, page: int) -> tuple[int, Any]:
        """Status and body of one request."""
        self.asked.append(f"{method} {path}")
        if match := re.fullmatch(r"/repos/acme/app/pulls/(\d+)", path):
            state = self.pulls.get(match[1])
            return (200, {"number": int(match[1]), "state": state}) if state else (404, {"message": "Not Found"})
        match = re.fullmatch(rf"/{self.owner}/packages/container/([^/]+)/versions(?:/(\d+))?", path)
        if match is None or match[1] not in self.versions:
            return 404, {"message": "Not Found"}
        held = self.versions[match[1]]
        if method == "DELETE":
            return (204, None) if held.pop(int(match[2]), None) else (404, {"message": "Not Found"})
        rows = [
            {"id": number, "name": digest, "metadata": {"container": {"tags": []}}} for number, digest in held.items()
        ]
        return 200, rows[(page - 1) * 100 : page * 100]


@contextlib.contextmanager
def github(hub: Hub) -> Iterator[Hub]:
    """Serve it; its address is in `hub.url`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            parts = urlsplit(self.path)
            page = int(parse_qs(parts.query).get("page", ["1"])[0])
            known = self.headers.get("Authorization") == f"Bearer {hub.token}"
            status, content = (
                hub.answer(self.command, parts.path, page) if known else (401, {"message": "Bad credentials"})
            )
            body = b"" if content is None else json.dumps(content).encode()
            self.send_response(status)
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_DELETE = _do  # noqa: N815 - names of the base class

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - name of the base class
            """Nothing is written."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
