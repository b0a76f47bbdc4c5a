"""A cache service of GitHub Actions, version 2, as BuildKit speaks to it: entries by Twirp, their bytes by Azure blobs.

    with actions_cache() as service:
        project.build("--push", env={"ACTIONS_RESULTS_URL": service.url, "ACTIONS_RUNTIME_TOKEN": token(3), …})

Written after the client that BuildKit uses (tonistiigi/go-actions-cache): an entry is created, its bytes are put to the
URL of the answer, in one piece or in blocks with a list of them, and it is finalized; only then it is found. A key of a
question is a prefix, and the newest entry answers.
"""

from __future__ import annotations

import base64
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

READ, READ_AND_WRITE = 1, 3
_SERVICE = "/twirp/github.actions.results.api.v1.CacheService/"


def token(permission: int) -> str:
    """A token as GitHub's (`ac` is its word for scopes); without `nbf` BuildKit refuses it before it asks anybody."""
    scopes = json.dumps([{"Scope": "refs/pull/12/merge", "Permission": permission}])
    claims = {"ac": scopes, "nbf": 1_700_000_000, "exp": 4_102_444_800}
    words = [json.dumps({"alg": "none", "typ": "JWT"}), json.dumps(claims), "x"]
    return ".".join(base64.urlsafe_b64encode(word.encode()).decode().rstrip("=") for word in words)


@dataclass(kw_only=True, slots=True)
class ActionsCache:
    """What the service holds and was asked.

    Attributes:
        url: For ACTIONS_RESULTS_URL.
        refuses: Whether it lets nobody write, as it does with a token of a pull request from a fork.
        entries: Key -> bytes, of those that are whole, the newest last.
        asked: Names of the methods, and `GET KEY` for each download.
    """

    url: str = ""
    refuses: bool = False
    entries: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    _parts: dict[str, dict[str, bytes]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def environment(self, permission: int = READ_AND_WRITE) -> dict[str, str]:
        """What a job of GitHub Actions has."""
        return {
            "ACTIONS_RUNTIME_TOKEN": token(permission),
            "ACTIONS_RESULTS_URL": self.url,
            "ACTIONS_CACHE_SERVICE_V2": "true",
        }

    def call(self, method: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Answer a call: the status, and the content."""
        with self._lock:
            self.asked.append(method)
            key = str(body["key"])
            match method:
                case "CreateCacheEntry" if self.refuses:
                    return 403, {"code": "permission_denied", "msg": "token has no writable scopes"}
                case "CreateCacheEntry" if key in self._parts:
                    return 409, {"code": "already_exists", "msg": "cache entry with the same key already exists"}
                case "CreateCacheEntry":
                    self._parts[key] = {}
                    return 200, {"ok": True, "signed_upload_url": self._blob(key)}
                case "FinalizeCacheEntryUpload":
                    data = self._parts[key].get("")
                    if data is None or len(data) != int(body["size_bytes"]):
                        return 400, {"code": "invalid_argument", "msg": "the size does not match"}
                    self.entries[key] = data
                    return 200, {"ok": True, "entry_id": str(len(self.entries))}
                case "GetCacheEntryDownloadURL":
                    wanted = [key, *body.get("restore_keys", [])]
                    for found in reversed(self.entries):
                        if any(found.startswith(one) for one in wanted):
                            return 200, {"ok": True, "signed_download_url": self._blob(found), "matched_key": found}
                    return 200, {"ok": False}
                case _:
                    return 404, {"code": "bad_route", "msg": method}

    def put(self, key: str, query: dict[str, list[str]], data: bytes) -> None:
        """Keep a blob, one block of it, or the list of its blocks."""
        with self._lock:
            parts = self._parts[key]
            match query.get("comp"):
                case ["block"]:
                    parts[query["blockid"][0]] = data
                case ["blocklist"]:
                    parts[""] = b"".join(parts[name] for name in re.findall(r">([^<>]+)</Latest>", data.decode()))
                case _:
                    parts[""] = data

    def get(self, key: str) -> bytes:
        """Return an entry for a download."""
        with self._lock:
            self.asked.append(f"GET {key}")
            return self.entries[key]

    def _blob(self, key: str) -> str:
        return f"{self.url}blob/{base64.urlsafe_b64encode(key.encode()).decode()}?sig=secret"


@contextlib.contextmanager
def actions_cache(*, refuses: bool = False) -> Iterator[ActionsCache]:
    """Serve a cache on this machine.

    Args:
        refuses: Let nobody write.
    """
    state = ActionsCache(refuses=refuses)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self._body())
            status, answer = state.call(self.path.removeprefix(_SERVICE), body)
            self._answer(status, json.dumps(answer).encode(), {"Content-Type": "application/json"})

        def do_PUT(self) -> None:
            state.put(self._key(), parse_qs(urlsplit(self.path).query), self._body())
            self._answer(201, b"", {"ETag": '"1"'})

        def do_GET(self) -> None:
            data = state.get(self._key())
            asked = self.headers.get("x-ms-range") or self.headers.get("Range") or "bytes=0-"
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or len(data)), len(data) - 1)
            found = {"Content-Range": f"bytes {start}-{end}/{len(data)}", "ETag": '"1"'}
            self._answer(206, data[start : end + 1], found | {"x-ms-blob-type": "BlockBlob"})

        def _key(self) -> str:
            return base64.urlsafe_b64decode(urlsplit(self.path).path.removeprefix("/blob/")).decode()

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            # the client logs the id of an upload's request without looking whether there is one
            for name, value in (headers | {"x-ms-request-id": "1", "x-ms-version": "2020-10-02"}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}/"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
