"""Images pulled from registries: faults, tokens, wrong bytes, and what a broken pull says."""

from __future__ import annotations

import base64
import http.server
import json
import re
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator import process
from orchestrator.errors import InterruptedRunError, NetworkError, UsageError, VerificationError
from orchestrator.image.layers.store import LayerStore
from orchestrator.image.verdict.scanned import Scanned, scan_source
from tests.support import fatbins
from tests.support.engine import MakeFaulty, Registry, call
from tests.support.faults import Fault
from tests.support.layouts import Layout, digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LAYERS = [
    fatbins.layer({"usr/a.so": fatbins.library([["80"]], pad=3_000_000), "usr/b.so": fatbins.library([["90"]])}),
    fatbins.layer({"usr/.wh.b.so": b"", "usr/c.so": fatbins.library([["110"]])}),
]


def scanned(source: str, **words: Any) -> Scanned:
    return scan_source(source, store=LayerStore(None), **words)


@pytest.fixture
def pushed(registry: Registry, tmp_image: str, tmp_path: Path) -> str:
    """The image in the shared registry; its name there without the host."""
    layout = Layout(LAYERS, name=f"{tmp_image}:1").archive(tmp_path / "image.tar")
    call("docker", "load", "-i", layout)
    call("docker", "push", "-q", f"{tmp_image}:1")
    return tmp_image.partition("/")[2]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(path="/manifests/", method="GET", status=503, times=2),
        Fault(path="/blobs/", method="GET", status=429, headers={"Retry-After": "1"}),
        Fault(path="/blobs/", method="GET", reset=True, times=2),
    ],
)
def test_passing_faults_cost_time_and_nothing_else(fault: Fault, pushed: str, faulty_registry: MakeFaulty) -> None:
    proxy = faulty_registry(fault)
    found = scanned(f"docker://{proxy.address}/{pushed}:1")
    assert list(found.files.code) == ["usr/a.so", "usr/c.so"]
    assert proxy.count() > 4


def test_lasting_faults_are_one_network_error(pushed: str, faulty_registry: MakeFaulty) -> None:
    for fault, words in (
        (Fault(path="/manifests/", status=503, times=-1), "status 503, not now, after 4 attempts"),
        (Fault(path="/blobs/", reset=True, times=-1), "after 4 attempts"),
        (Fault(path="/manifests/", status=403, times=-1), "access is denied: manifest 1: status 403"),
    ):
        with pytest.raises(NetworkError, match=words):
            scanned(f"docker://{faulty_registry(fault).address}/{pushed}:1")
    with pytest.raises(NetworkError, match="missing was not found"):
        scanned(f"docker://{faulty_registry().address}/{pushed}:missing")
    with pytest.raises(NetworkError, match="after 4 attempts"):
        scanned("docker://127.0.0.1:9/x:1")


class Server(http.server.ThreadingHTTPServer):
    """A registry of one image that wants a token, and that may cut, lengthen or change a layer.

    The shared registry is the real thing; what it never does can only be had from one of our own.
    """

    daemon_threads = True

    def __init__(self, layout: Layout, harm: str = "", password: str = "") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.layout = layout
        self.harm = harm
        self.password = password
        self.ranges: list[str] = []
        self.cut = False

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        pass

    def do_GET(self) -> None:
        if self.path.startswith("/token"):
            self._token()
        elif self.headers.get("Authorization") != "Bearer let-me-in":
            realm = f'Bearer realm="http://{self.server.address}/token",service="here",scope="x"'
            self._answer(401, b"", {"WWW-Authenticate": realm})
        elif "/manifests/" in self.path:
            self._answer(200, self.server.layout.files[f"blobs/{self.server.layout.digest.replace(':', '/')}"])
        else:
            self._blob(self.path.rpartition("/")[2])

    def _token(self) -> None:
        wanted = "Basic " + base64.b64encode(f"me:{self.server.password}".encode()).decode()
        if self.server.password and self.headers.get("Authorization") != wanted:
            self._answer(401, b"{}")
            return
        assert "scope=repository%3Aapp%3Apull" in self.path
        self._answer(200, json.dumps({"token": "let-me-in"}).encode())

    def _blob(self, name: str) -> None:
        data = self.server.layout.files[f"blobs/{name.replace(':', '/')}"]
        if name == self.server.layout.layers[0]:
            data = {"longer": data + b"x", "changed": data[:-1] + b"x", "shorter": data[:-9]}.get(
                self.server.harm, data
            )
            if self.server.harm == "busy":
                self._answer(503, b"", {"Retry-After": "30"})
                return
            if self.server.harm in ("cut", "cut without ranges"):
                self._cut(data)
                return
        self._answer(200, data)

    def _cut(self, data: bytes) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if asked:
            self.server.ranges.append(asked[1])
        if asked and self.server.harm == "cut":
            self._answer(206, data[int(asked[1]) :])
        elif self.server.cut:
            self._answer(200, data)
        else:
            self.server.cut = True
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            self.close_connection = True

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def serve(request: pytest.FixtureRequest) -> Iterator[Any]:
    running: list[tuple[Server, threading.Thread]] = []

    def start(**words: Any) -> Server:
        server = Server(Layout(LAYERS, packing=""), **words)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        running.append((server, thread))
        return server

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_token_opens_the_registry(serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert list(scanned(f"docker://{serve().address}/app").files.code) == ["usr/a.so", "usr/c.so"]
    server = serve(password="se:cret")
    with pytest.raises(NetworkError, match="token server answers with status 401") as caught:
        scanned(f"docker://{server.address}/app")
    assert caught.value.hint == f"docker login {server.address}"
    auth = base64.b64encode(b"me:se:cret").decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {server.address: {"auth": auth}}}))
    assert list(scanned(f"docker://{server.address}/app").files.code) == ["usr/a.so", "usr/c.so"]


def test_a_credential_helper_is_asked(serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(password="hidden")
    helper = tmp_path / "docker-credential-test"
    helper.write_text(f'#!/bin/sh\ngrep -q {server.address} && echo \'{{"Username": "me", "Secret": "hidden"}}\'\n')
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"credsStore": "test"}))
    assert list(scanned(f"docker://{server.address}/app").files.code) == ["usr/a.so", "usr/c.so"]


@pytest.mark.parametrize("harm", ["cut", "cut without ranges"])
def test_a_layer_that_breaks_off_is_taken_up_again(harm: str, serve: Any) -> None:
    server = serve(harm=harm)
    assert list(scanned(f"docker://{server.address}/app").files.code) == ["usr/a.so", "usr/c.so"]
    assert len(server.ranges) == 1
    assert int(server.ranges[0]) > 1_000_000


@pytest.mark.parametrize(
    ("harm", "words"),
    [("longer", "too large"), ("changed", "does not match its digest"), ("shorter", "digest")],
)
def test_bytes_that_are_not_the_layer_are_never_believed(harm: str, words: str, serve: Any, tmp_path: Path) -> None:
    store = LayerStore(tmp_path / "store")
    with pytest.raises(VerificationError, match=words):
        scan_source(f"docker://{serve(harm=harm).address}/app", store=store)
    assert store.get(Layout(LAYERS, packing="").layers[0]) is None


def test_a_wish_to_stop_reaches_the_threads_that_pull(serve: Any) -> None:
    stop = process.Stop()
    server = serve(harm="busy")
    with process.stoppable(stop):
        threading.Timer(1.5, stop.set).start()
        begun = time.monotonic()
        with pytest.raises(InterruptedRunError):
            scanned(f"docker://{server.address}/app")
        assert time.monotonic() - begun < 5


def test_a_digest_holds_the_manifest(serve: Any) -> None:
    server = serve()
    assert scanned(f"docker://{server.address}/app@{server.layout.digest}").digest == server.layout.digest
    with pytest.raises(VerificationError, match="digest does not match"):
        scanned(f"docker://{server.address}/app@{digest(b'other')}")
    with pytest.raises(UsageError):
        scanned("docker://NOT/a reference")
