"""What is wrong with the endpoint of a builder elsewhere: real sockets, and a real BuildKit behind a bridge."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from orchestrator.engine import builders, doctor
from orchestrator.engine.doctor import Need
from orchestrator.engine.endpoints import fault
from orchestrator.errors import EnvironmentLacksError
from tests.support.engine import call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextlib.contextmanager
def server(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve each connection in a thread; the endpoint."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        done = threading.Event()

        def accept() -> None:
            while not done.is_set():
                with contextlib.suppress(OSError):
                    connection, _ = listening.accept()
                    threading.Thread(target=one, args=(connection,), daemon=True).start()

        def one(connection: socket.socket) -> None:
            with contextlib.suppress(OSError), connection:
                serve(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            done.set()
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of its own for `buildkit.test`, with its key in the same file."""
    both = tmp_path / "both.pem"
    names = ("-subj", "/CN=buildkit.test", "-addext", "subjectAltName=DNS:buildkit.test")
    call("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names,
         "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem")  # fmt: skip
    both.write_text((tmp_path / "key.pem").read_text() + (tmp_path / "cert.pem").read_text())
    return both


def tls(certificate: Path, answer: bytes = b"") -> Callable[[socket.socket], None]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(100)
            secure.sendall(answer)

    return serve


def test_nobody_and_nowhere() -> None:
    assert fault("tcp://127.0.0.1:1") == "nothing listens there (connection refused)"
    assert fault("tcp://no-such-host.invalid:1") == "the host no-such-host.invalid was not found"
    assert fault("unix:///nowhere/buildkitd.sock").startswith("no connection: No such file")
    assert fault("tcp://127.0.0.1:x") == "is not a valid address: expected tcp://HOST:PORT"
    assert fault("docker-container://x") == ""
    assert fault("tcp://127.0.0.1:1", {"cacert": "/nowhere/ca.pem"}) == "cacert /nowhere/ca.pem was not found"


def test_what_answers_is_told_apart(certificate: Path) -> None:
    with server(lambda _: time.sleep(5)) as mute:
        assert fault(mute, timeout_s=0.5) == "accepts the connection and does not answer within 0.5 s"
    with server(lambda _: None) as closing:
        assert fault(closing) == "closes the connection; it may expect TLS (cacert, cert, key)"
    with server(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as web:
        assert fault(web) == "is not a BuildKit: it does not answer in HTTP/2"
        assert fault(web, {"cacert": str(certificate)}) == "does not speak TLS"
    with server(tls(certificate, bytes(3) + b"\x04" + bytes(5))) as secure:
        assert fault(secure) == "closes the connection; it may expect TLS (cacert, cert, key)"
        trusted = {"cacert": str(certificate), "servername": "buildkit.test"}
        assert fault(secure, trusted) == ""
        assert fault(secure, {**trusted, "servername": "other.test"}).startswith(
            "its certificate is not valid: Hostname"
        )
    with server(lambda connection: connection.sendall(b"\x15\x03\x01\x00\x02\x02\x46")) as alert:
        assert fault(alert) == "expects TLS: create the builder with --driver-opt cacert=…,cert=…,key=…"
    with server(tls(certificate)) as closing:
        assert fault(closing, trusted) == "closes the connection"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    assert engine
    monkeypatch.setenv("BUILDX_CONFIG", str(tmp_path / "buildx"))


@pytest.fixture
def bridge(home: None) -> Iterator[str]:
    """The engine's own BuildKit as a builder elsewhere: `docker buildx dial-stdio` for each connection."""
    before = dict(os.environ)  # a test may take the engine away

    def serve(connection: socket.socket) -> None:
        argv = [shutil.which("docker") or "docker", "buildx", "--builder", "default", "dial-stdio"]
        both = connection.fileno()
        subprocess.run(argv, stdin=both, stdout=both, stderr=subprocess.DEVNULL, env=before, check=False)

    with server(serve) as endpoint:
        yield endpoint


def test_a_builder_elsewhere_is_judged_without_this_machine(bridge: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fault(bridge) == ""
    call("docker", "buildx", "create", "--driver", "remote", "--name", "farm", bridge)
    checks = {check.name: check for check in doctor.diagnose(Need(builder="farm", cache="registry"))}
    assert checks["builder"].detail == f"farm, driver remote at {bridge}"
    for name in ("disk", "memory", "processors"):
        assert checks[name].detail == "not checked: builder farm is not on this engine's machine"
    assert doctor.require_engine(builder="farm").disk is None
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")  # a remote builder needs no engine
    assert doctor.require_engine(builder="farm").info is None
    checks = {check.name: check for check in doctor.diagnose(Need(builder="farm"))}
    assert (checks["engine"].status, checks["builder"].status) == ("warn", "ok")


def test_a_dead_builder_is_named_with_its_endpoint(home: None) -> None:
    call("docker", "buildx", "create", "--driver", "remote", "--name", "gone", "tcp://127.0.0.1:1")
    with pytest.raises(EnvironmentLacksError) as caught:
        doctor.require_engine(builder="gone")
    said = "builder gone does not answer: tcp://127.0.0.1:1: nothing listens there (connection refused)"
    assert caught.value.message == said
    (check,) = [check for check in doctor.diagnose(Need(builder="gone")) if check.status == "fail"]
    assert (check.name, check.detail) == ("builder", said)
    call("docker", "buildx", "create", "--driver", "remote", "--name", "tls", "--driver-opt",
         "cacert=/nowhere/ca.pem,cert=/nowhere/ca.pem,key=/nowhere/ca.pem", "tcp://127.0.0.1:1")  # fmt: skip
    with pytest.raises(EnvironmentLacksError, match=r"cacert /nowhere/ca\.pem was not found"):
        builders.selected(builders.in_use("tls"), containerd_store=True)
