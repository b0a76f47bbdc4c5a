"""One download over HTTP: each answer of a server and what it leaves in the store. Real servers are tests/engine's."""

from __future__ import annotations

import os
import ssl
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from orchestrator.errors import EnvironmentLacksError, UsageError
from orchestrator.headers import sources, transfer
from orchestrator.headers.request import (
    AnswerError,
    Options,
    RefusedError,
    RetryLaterError,
    Tally,
    UnreachableError,
    Wanted,
    WrongBytesError,
)
from orchestrator.headers.store import Store
from tests.unit.headers.samples import sha

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DATA = b"0123456789" * 500_000  # worth resuming
ITEM = Wanted(path="a/x.h", sha256=sha(DATA), size=len(DATA))
SOURCE = sources.HttpSource(url="https://me:pw@m.example/base/?sig=1", name="https://m.example/base/")


class Broken(httpx.SyncByteStream):
    """A body whose connection breaks after some bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __iter__(self) -> Iterator[bytes]:
        yield self.data
        raise httpx.ReadError("reset by https://me:pw@m.example/")


def body(data: bytes, status: int = 200, *, length: bool = True, **headers: str) -> httpx.Response:
    """An answer that is streamed."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    declared = {"Content-Length": str(len(data))} if length else {}
    return httpx.Response(status, stream=httpx.ByteStream(data), headers=declared | named)


class Server:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.asked: list[httpx.Request] = []
        self.tally = Tally()
        self.options = Options(limit=100)
        self.deadline = time.monotonic() + 60

    def fetch(
        self, answer: httpx.Response | Exception, item: Wanted = ITEM, source: sources.HttpSource = SOURCE
    ) -> AnswerError | None:
        """One download; the error that it ends with."""

        def handle(request: httpx.Request) -> httpx.Response:
            self.asked.append(request)
            if isinstance(answer, Exception):
                raise answer
            return answer

        with httpx.Client(transport=httpx.MockTransport(handle)) as pool:
            downloads = transfer.Downloads(
                pool=pool, store=self.store, options=self.options, tally=self.tally, deadline=self.deadline
            )
            try:
                downloads.fetch(source, item)
            except AnswerError as error:
                return error
        return None

    @property
    def left(self) -> bytes:
        """What is kept of an unfinished download."""
        path = self.store.partial(ITEM.sha256)
        return path.read_bytes() if path.exists() else b""


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(Store(tmp_path / "store"))


def why(found: AnswerError | None, kind: type[AnswerError]) -> str:
    assert type(found) is kind, found
    return found.why


def test_a_file_that_arrives(server: Server) -> None:
    assert server.fetch(body(DATA)) is None
    assert server.store.read(ITEM.sha256) == DATA
    assert (server.tally.requests, server.tally.bytes, server.tally.fetched) == (1, len(DATA), 1)
    (request,) = server.asked
    assert str(request.url).partition("@")[2] == "m.example/base/a/x.h?sig=1"
    assert "range" not in request.headers
    assert not any((server.store.root / "partial").iterdir())


@pytest.mark.parametrize(
    ("status", "headers", "kind", "said", "after", "absent"),
    [
        (404, {}, RefusedError, "HTTP 404", None, True),
        (410, {}, RefusedError, "HTTP 410", None, True),
        (403, {}, RetryLaterError, "https://m.example/base/: HTTP 403", None, None),
        (400, {}, RefusedError, "HTTP 400", None, False),
        (500, {}, RetryLaterError, "https://m.example/base/: HTTP 500", None, None),
        (429, {"Retry-After": "7"}, RetryLaterError, "https://m.example/base/: HTTP 429", 7.0, None),
        (503, {"Retry-After": "soon"}, RetryLaterError, "https://m.example/base/: HTTP 503", None, None),
        (503, {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, RetryLaterError, "https://m.example/base/: HTTP 503",
         0.0, None),
        (416, {}, RetryLaterError, "https://m.example/base/: HTTP 416", None, None),
    ],
)  # fmt: skip
def test_statuses(
    server: Server, status: int, headers: dict[str, str], kind: type[AnswerError], said: str,
    after: float | None, absent: bool | None,
) -> None:  # fmt: skip
    error = server.fetch(httpx.Response(status, headers=headers))
    assert why(error, kind) == said
    assert getattr(error, "after", None) == after
    assert getattr(error, "absent", None) == absent


def test_other_bytes_and_other_sizes_leave_nothing(server: Server) -> None:
    other = b"x" * len(DATA)
    assert why(server.fetch(body(other)), WrongBytesError).startswith("wrong bytes (sha256 ")
    assert server.left == b""
    longer = body(DATA + b"x")
    said = f"sends {len(DATA) + 1} bytes, expected at most {len(DATA)}"
    assert why(server.fetch(longer), RefusedError) == said
    assert server.left == b""
    endless = body(DATA + b"x", length=False)  # without a Content-Length
    assert why(server.fetch(endless), RefusedError) == f"sends more than {len(DATA)} bytes"
    assert server.left == b""
    short = server.fetch(body(b"short"))
    assert why(short, WrongBytesError) == f"expected {len(DATA)} bytes, found 5"
    assert server.left == b""


def test_a_file_of_unknown_size_has_a_limit(server: Server) -> None:
    unknown = Wanted(path="a", sha256=sha(b"y" * 100))
    assert server.fetch(body(b"y" * 100), unknown) is None
    more = Wanted(path="a", sha256=sha(b"y" * 101))
    found = server.fetch(body(b"y" * 101), more)
    assert why(found, RefusedError) == "sends 101 bytes, expected at most 100"


def test_a_login_page_is_named(server: Server) -> None:
    page = "text/HTML; charset=utf-8"
    found = server.fetch(body(b"<html>", Content_Type=page))
    assert "captive portal" in why(found, WrongBytesError)
    found = server.fetch(body(b"x" * len(DATA), Content_Type=page))
    assert "captive portal" in why(found, WrongBytesError)
    found = server.fetch(body(DATA + b"x", Content_Type=page))
    assert "captive portal" in why(found, RefusedError)


@pytest.mark.parametrize("validator", [{"ETag": '"v1"'}, {"Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}])
def test_a_connection_that_breaks_is_taken_up_again(server: Server, validator: dict[str, str]) -> None:
    headers = validator | {"Content-Length": str(len(DATA))}
    found = server.fetch(httpx.Response(200, stream=Broken(DATA[:3_000_000]), headers=headers))
    assert why(found, RetryLaterError) == "https://m.example/base/: reset by (URL)"
    assert server.left == DATA[:3_000_000]
    rest = body(DATA[3_000_000:], 206, Content_Range="bytes 3000000-4999999/5000000")
    assert server.fetch(rest) is None
    request = server.asked[-1]
    assert (request.headers["range"], request.headers["if-range"]) == ("bytes=3000000-", next(iter(validator.values())))
    assert server.store.read(ITEM.sha256) == DATA
    assert server.tally.bytes == len(DATA)


def broken(server: Server, **headers: str) -> None:
    named = {name.replace("_", "-"): value for name, value in headers.items()} | {"Content-Length": str(len(DATA))}
    server.fetch(httpx.Response(200, stream=Broken(DATA[:3_000_000]), headers=named))


def test_what_cannot_be_resumed_begins_again(server: Server) -> None:
    whole = body(DATA)
    broken(server, ETag='W/"weak"')
    assert server.fetch(whole) is None
    assert "range" not in server.asked[-1].headers  # a weak validator says nothing about bytes
    server.store.path(ITEM.sha256).unlink()
    broken(server, ETag='"v1"')
    other = sources.HttpSource(url="https://other.example/", name="https://other.example/")
    assert server.fetch(body(DATA), source=other) is None
    assert "range" not in server.asked[-1].headers
    server.store.path(ITEM.sha256).unlink()
    broken(server, ETag='"v1"')
    assert server.fetch(body(DATA)) is None  # the server has another version: all of it
    assert "range" in server.asked[-1].headers
    assert server.store.read(ITEM.sha256) == DATA


def test_another_range_than_the_one_asked_for_is_dropped(server: Server) -> None:
    broken(server, ETag='"v1"')
    rest = body(DATA[5:], 206, Content_Range="bytes 5-4999999/5000000")
    assert why(server.fetch(rest), RetryLaterError).endswith("answered with another range than was asked for")
    assert server.left == b""
    broken(server, ETag='"v1"')
    assert why(server.fetch(httpx.Response(416)), RetryLaterError).endswith("HTTP 416")
    assert server.left == b""


def test_a_body_that_ends_early_without_a_length_may_come_again(server: Server) -> None:
    found = server.fetch(body(b"short", length=False))
    assert why(found, RetryLaterError).endswith(f"ended after 5 of {len(DATA)} bytes")
    server.deadline = time.monotonic() - 1
    assert why(server.fetch(body(DATA)), RetryLaterError).endswith("still sending when the time was over")


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (httpx.ConnectError("refused"), UnreachableError, "https://m.example/base/: refused"),
        (httpx.ProxyError("403 of http://u:p@proxy"), UnreachableError, "https://m.example/base/: 403 of (URL)"),
        (httpx.TooManyRedirects("too many"), RefusedError, "cannot be asked: too many"),
        (httpx.ReadTimeout(""), RetryLaterError, "https://m.example/base/: ReadTimeout"),
    ],
)
def test_what_the_connection_says(server: Server, error: Exception, kind: type[AnswerError], said: str) -> None:
    assert why(server.fetch(error), kind) == said


def test_a_ca_bundle_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_DIR", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "gone.pem"))
    ask: Callable[[], object] = lambda: transfer.client(Options()).get("https://127.0.0.1:9/")  # noqa: E731  # read in one line
    with pytest.raises(
        EnvironmentLacksError, match=r"SSL_CERT_FILE: the CA bundle .*gone\.pem was not found"
    ) as caught:
        ask()
    assert caught.value.hint == "correct SSL_CERT_FILE, or unset it"
    (tmp_path / "gone.pem").write_text("no certificate")
    with pytest.raises(EnvironmentLacksError, match=r"the CA bundle .*gone\.pem is invalid"):
        ask()


def test_a_list_of_directories_with_certificates_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in transfer._CA_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    monkeypatch.setenv("SSL_CERT_DIR", os.pathsep.join(map(str, folders)))
    context = transfer._context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    monkeypatch.setenv("SSL_CERT_DIR", os.pathsep.join(map(str, [*folders, tmp_path / "gone"])))
    with pytest.raises(EnvironmentLacksError, match=r"SSL_CERT_DIR: the CA bundle .*gone was not found"):
        transfer._context()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("proxy.example:3128", None),
        ("http://u:p@proxy.example:3128", None),
        ("https://proxy.example", None),
        ("socks5://u:secret@proxy.example:1080", "socks5"),
        ("ftp://proxy.example", "ftp"),
        ("http://", "is not a URL"),
        ("proxy.example:0", "is not a URL"),
        ("proxy.example:99999", "is not a URL"),
    ],
)
def test_a_proxy_is_an_address_with_or_without_a_scheme(
    address: str, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("HTTPS_PROXY", address)
    if said is None:
        transfer.client(Options()).close()
        return
    with pytest.raises(UsageError) as caught:
        transfer.client(Options())
    assert said in caught.value.message
    assert "secret" not in f"{caught.value.message} {caught.value.hint}"
