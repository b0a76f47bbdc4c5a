"""What is wrong with the endpoint of a builder, before anything is connected."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, NoReturn, Self

import pytest

from orchestrator.engine import endpoints
from orchestrator.engine.endpoints import fault

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("endpoint", ["tcp://host:99999", "tcp://[::1", "tcp://host:port"])
def test_an_address_that_is_none(endpoint: str) -> None:
    assert endpoints.fault(endpoint) == "is not a valid address: expected tcp://HOST:PORT"


@pytest.mark.parametrize("endpoint", ["", "ssh://me@host", "kubernetes:///x", "tcp://host"])
def test_a_kind_that_cannot_be_looked_at(endpoint: str) -> None:
    assert endpoints.fault(endpoint) == ""


@pytest.mark.parametrize("name", ["cacert", "cert", "key"])
def test_a_file_that_is_missing(name: str, tmp_path: Path) -> None:
    gone = tmp_path / "gone.pem"
    assert endpoints.fault("tcp://host:1234", {name: str(gone)}) == f"{name} {gone} was not found"


class Peer:
    """The other side of a connection: what it answers, or how it fails."""

    def __init__(self, answer: bytes | OSError) -> None:
        self.answer = answer
        self.heard = b""
        self.closed = False

    def sendall(self, data: bytes) -> None:
        self.heard += data
        if isinstance(self.answer, OSError):
            raise self.answer

    def recv(self, size: int) -> bytes:
        assert isinstance(self.answer, bytes)
        return self.answer[:size]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"\0\0\6\4\0\0\0\0\0", ""),
        (b"\0\0\6\4", ""),
        (b"\0\0\4", "is not a BuildKit: it does not answer in HTTP/2"),
        (b"HTTP/1.1 400 Bad Request", "is not a BuildKit: it does not answer in HTTP/2"),
        (b"\x15\x03\x01\4\2", "expects TLS: create the builder with --driver-opt cacert=…,cert=…,key=…"),
        (b"", "closes the connection; it may expect TLS (cacert, cert, key)"),
        (ConnectionResetError(), "closes the connection; it may expect TLS (cacert, cert, key)"),
        (TimeoutError(), "accepts the connection and does not answer within 1.5 s"),
        (OSError(errno.EIO, "Input/output error"), "no answer: Input/output error"),
        (OSError("odd"), "no answer: odd"),
    ],
)
def test_what_a_peer_answers_is_judged(monkeypatch: pytest.MonkeyPatch, answer: bytes | OSError, said: str) -> None:
    peer = Peer(answer)
    asked: list[object] = []

    def connect(place: tuple[str, int], *, timeout: float) -> Peer:
        asked.append((place, timeout))
        return peer

    monkeypatch.setattr(socket, "create_connection", connect)
    assert fault("tcp://farm.example:1234", {"servername": "x"}, timeout_s=1.5) == said
    assert asked == [(("farm.example", 1234), 1.5)]
    assert peer.heard == b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
    assert peer.closed


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionRefusedError(), "nothing listens there (connection refused)"),
        (TimeoutError(), "no connection within 3 s"),
        (socket.gaierror(), "the host farm.example was not found"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "no connection: Network is unreachable"),
        (OSError("odd"), "no connection: odd"),
    ],
)
def test_why_there_is_no_connection(monkeypatch: pytest.MonkeyPatch, error: OSError, said: str) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise error

    monkeypatch.setattr(socket, "create_connection", refuse)
    assert fault("tcp://farm.example:1234") == said
