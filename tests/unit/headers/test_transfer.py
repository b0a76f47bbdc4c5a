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


RETRIED = {403, 408, 421, 423, 425, 429, 500, 501, 502, 503, 504, 507, 520, 599}
REFUSED = {300, 304, 400, 401, 402, 404, 405, 406, 407, 409, 410, 411, 412, 413, 414, 415, 418, 422, 424, 426, 428,
           431, 451, 499}  # fmt: skip


@pytest.mark.parametrize("status", sorted(RETRIED | REFUSED | {416}))
def test_which_statuses_may_pass(server: Server, status: int) -> None:
    error = server.fetch(httpx.Response(status, headers={"Retry-After": "9"}))
    if status in REFUSED:
        assert why(error, RefusedError) == f"HTTP {status}"
        assert getattr(error, "absent", None) is (status in {404, 410})
    else:
        assert why(error, RetryLaterError) == f"https://m.example/base/: HTTP {status}"
        assert getattr(error, "after", 0) == (None if status == 416 else 9.0)
    assert (server.tally.requests, server.tally.bytes, server.tally.fetched) == (1, 0, 0)


NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


@pytest.mark.parametrize(
    ("told", "after"),
    [
        ("0", 0.0), ("7", 7.0), (" 7 ", 7.0), ("3599", 3599.0), ("3600", 3600.0), ("3601", 3600.0), ("9" * 30, 3600.0),
        ("", None), ("-3", None), ("1.5", None), ("soon", None), ("Tue", None),
        ("Tue, 14 Nov 2023 22:15:00 GMT", 100.0), ("Tue, 14 Nov 2023 22:13:20 GMT", 0.0),
        ("Tue, 14 Nov 2023 22:13:19 GMT", 0.0), ("Tue, 14 Nov 2023 23:15:00 GMT", 3600.0),
        ("Tue, 14 Nov 2023 23:15:00 +0100", 100.0),
    ],
)  # fmt: skip
def test_how_long_a_server_asks_to_wait(
    server: Server, monkeypatch: pytest.MonkeyPatch, told: str, after: float | None
) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)
    error = server.fetch(httpx.Response(503, headers={"Retry-After": told}))
    assert isinstance(error, RetryLaterError)
    assert error.after == after
    assert server.fetch(httpx.Response(503)) is not None


def test_a_transfer_that_is_too_slow_is_cut(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second passes at each look at the clock; the body has five chunks of a megabyte."""
    clock = iter(range(1000))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    server.deadline = 900.0

    def sent(patience: float, slowest: int) -> AnswerError | None:
        server.options = Options(patience=patience, slowest=slowest)
        chunks = httpx.Response(200, stream=Chunks(DATA, 1_000_000), headers={"Content-Length": str(len(DATA))})
        return server.fetch(chunks)

    cut = f"{SOURCE.name}: slower than 1000001 bytes/s"
    assert why(sent(patience=0, slowest=1_000_001), RetryLaterError) == cut
    assert server.left == DATA[:1_000_000]
    assert why(sent(patience=4, slowest=1_000_001), RetryLaterError) == cut
    assert server.left == DATA
    assert sent(patience=5, slowest=1_000_001) is None
    assert sent(patience=0, slowest=1_000_000) is None
    server.deadline = float(next(clock)) + 3
    assert why(sent(patience=9, slowest=1), RetryLaterError) == f"{SOURCE.name}: still sending when the time was over"


class Chunks(httpx.SyncByteStream):
    """A body in pieces of one size."""

    def __init__(self, data: bytes, size: int) -> None:
        self.data, self.size = data, size

    def __iter__(self) -> Iterator[bytes]:
        for at in range(0, len(self.data), self.size):
            yield self.data[at : at + self.size]


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        ({"ETag": '"v1"', "Last-Modified": "then"}, '"v1"'),
        ({"ETag": 'W/"v1"', "Last-Modified": "then"}, "then"),
        ({"ETag": "", "Last-Modified": "then"}, "then"),
        ({"ETag": 'W/"v1"'}, ""),
        ({}, ""),
    ],
)
def test_what_a_beginning_is_taken_up_with(server: Server, headers: dict[str, str], validator: str) -> None:
    broken(server, **headers)
    server.fetch(httpx.Response(500))
    asked = server.asked[-1].headers
    assert (asked.get("range"), asked.get("if-range")) == (
        ("bytes=3000000-", validator) if validator else (None, None)
    )  # fmt: skip


@pytest.mark.parametrize(("size", "resumed"), [(256 * 1024 - 1, False), (256 * 1024, True)])
def test_a_small_file_is_not_taken_up_again(server: Server, size: int, resumed: bool) -> None:
    data = DATA[:size]
    item = Wanted(path="a/x.h", sha256=sha(data), size=size)
    headers = {"ETag": '"v1"', "Content-Length": str(size)}
    server.fetch(httpx.Response(200, stream=Broken(data[:100]), headers=headers), item)
    assert server.store.partial(item.sha256).read_bytes() == data[:100]
    server.fetch(httpx.Response(500), item)
    assert ("range" in server.asked[-1].headers) is resumed


@pytest.mark.parametrize(
    "kept", [None, "", "{", "[]", "{}", '{"validator": "v"}', '{"source": "x", "validator": "v"}',
             f'{{"source": "{SOURCE.name}"}}', f'{{"source": "{SOURCE.name}", "validator": ""}}'],
)  # fmt: skip
def test_a_beginning_of_which_nothing_is_known_is_dropped(server: Server, kept: str | None) -> None:
    partial = server.store.partial(ITEM.sha256)
    partial.parent.mkdir(parents=True)
    partial.write_bytes(DATA[:9])
    if kept is not None:
        partial.with_suffix(".json").write_text(kept)
    assert server.fetch(body(DATA)) is None
    assert "range" not in server.asked[-1].headers


@pytest.mark.parametrize(("length", "resumed"), [(9, True), (len(DATA) - 1, True), (len(DATA), False), (0, False)])
def test_a_beginning_that_is_whole_is_no_beginning(server: Server, length: int, resumed: bool) -> None:
    partial = server.store.partial(ITEM.sha256)
    partial.parent.mkdir(parents=True)
    partial.write_bytes(DATA[:length])
    partial.with_suffix(".json").write_text(f'{{"source": "{SOURCE.name}", "validator": "v"}}')
    server.fetch(httpx.Response(500))
    assert server.asked[-1].headers.get("range") == (f"bytes={length}-" if resumed else None)


@pytest.mark.parametrize(
    "told", ["", "bytes */5000000", "bytes 3000001-4999999/5000000", "items 3000000-1/2", "3000000"]
)
def test_a_rest_that_does_not_say_where_it_belongs_is_dropped(server: Server, told: str) -> None:
    broken(server, ETag='"v1"')
    error = server.fetch(body(DATA[3_000_000:], 206, Content_Range=told))
    assert why(error, RetryLaterError) == f"{SOURCE.name}: answered with another range than was asked for"
    assert not list((server.store.root / "partial").iterdir())


def test_a_rest_without_a_length_and_beyond_its_end(server: Server) -> None:
    range_ = "bytes 3000000-4999999/5000000"
    broken(server, ETag='"v1"')
    more = body(DATA[3_000_000:] + b"x", 206, Content_Range=range_)
    assert why(server.fetch(more), RefusedError) == f"sends {len(DATA) + 1} bytes, expected at most {len(DATA)}"
    broken(server, ETag='"v1"')
    more = body(DATA[3_000_000:] + b"x", 206, length=False, Content_Range=range_)
    assert why(server.fetch(more), RefusedError) == f"sends more than {len(DATA)} bytes"
    broken(server, ETag='"v1"')
    less = body(DATA[3_000_000:-1], 206, length=False, Content_Range=range_, ETag='"v1"')
    assert why(server.fetch(less), RetryLaterError) == f"{SOURCE.name}: ended after 4999999 of 5000000 bytes"
    assert server.left == DATA[:-1]
    last = body(DATA[-1:], 206, Content_Range="bytes 4999999-4999999/5000000")
    assert server.fetch(last) is None
    assert server.store.read(ITEM.sha256) == DATA


def test_a_page_without_a_length_is_named(server: Server) -> None:
    found = server.fetch(body(b"<html>", length=False, Content_Type="text/html"))
    page = "answered with an HTML page instead of the file: a captive portal or a proxy's login page?"
    assert why(found, WrongBytesError) == page
    found = server.fetch(body(DATA + b"x", Content_Type="text/html"))
    assert why(found, RefusedError) == f"sends {len(DATA) + 1} bytes, expected at most {len(DATA)} ({page})"
    found = server.fetch(body(b"short", Content_Type="text/plain"))
    assert why(found, WrongBytesError) == "expected 5000000 bytes, found 5"
    other = server.fetch(body(b"y" * len(DATA)))
    assert why(other, WrongBytesError) == (
        f"wrong bytes (sha256 {sha(b'y' * len(DATA))[:12]}…, pinned {ITEM.sha256[:12]}…)"
    )
    assert not list((server.store.root / "partial").iterdir())


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment that names no proxy, no authorities and no netrc; its home directory."""
    for name in (*transfer._CA_VARIABLES, "NETRC", *(f"{one}_PROXY" for one in ("HTTP", "HTTPS", "ALL", "NO", "FTP"))):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_how_a_client_asks(bare: Path) -> None:
    with transfer.client(Options(jobs=3, connect=4, read=5)) as pool:
        assert (pool.timeout.connect, pool.timeout.read, pool.timeout.write, pool.timeout.pool) == (4, 5, 5, None)
        assert (pool.follow_redirects, pool.max_redirects, pool.auth) == (True, 5, None)
        assert pool.headers["User-Agent"] == "orchestrate-headers"
        assert pool.headers["Accept-Encoding"] == "identity"
        connections = vars(pool._transport)["_pool"]
        assert (connections._max_connections, connections._max_keepalive_connections) == (3, 3)
        assert connections._ssl_context.cert_store_stats()["x509_ca"] == 0
        assert type(pool._transport_for_url(httpx.URL("https://a.example"))).__name__ == "_LateTls"


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "https_proxy", "ALL_PROXY"])
def test_authorities_are_read_at_once_for_a_proxy(bare: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(bare / "gone"))
    transfer.client(Options()).close()
    monkeypatch.setenv(variable, "http://proxy.example:1")
    with pytest.raises(EnvironmentLacksError, match=r"SSL_CERT_FILE: the CA bundle .*gone was not found"):
        transfer.client(Options())


def test_the_first_variable_that_names_authorities_counts(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in reversed(("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")):
        monkeypatch.setenv(name, str(bare / name))
        with pytest.raises(EnvironmentLacksError) as caught:
            transfer._context()
        assert caught.value.message == f"{name}: the CA bundle {bare / name} was not found"
        assert caught.value.hint == f"correct {name}, or unset it"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bare))  # a directory is one, too
    assert transfer._context().verify_mode is ssl.CERT_REQUIRED
    listed = os.pathsep.join([str(bare), str(bare)])
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", listed)  # and a list of them is not
    with pytest.raises(EnvironmentLacksError, match="was not found"):
        transfer._context()


@pytest.mark.parametrize(
    ("variable", "address", "said", "hint"),
    [
        ("HTTPS_PROXY", "socks5h://u:pw@p:1", "HTTPS_PROXY: socks5h proxy is not supported: expected http:// or https://",
         "unset it for this command, or put an HTTP proxy in front of it"),
        ("HTTP_PROXY", "pw://p:1", "HTTP_PROXY: such a proxy is not supported: expected http:// or https://",
         "unset it for this command, or put an HTTP proxy in front of it"),
        ("ALL_PROXY", "http://", "the environment's proxy for all is not a URL", "see ALL_PROXY"),
        ("https_proxy", "http://[pw", "the environment's proxy for https is not a URL", "see HTTPS_PROXY"),
        ("FTP_PROXY", "http://", "", ""),
        ("HTTP_PROXY", "HTTP://p:1", "", ""),
    ],
)  # fmt: skip
def test_what_is_said_of_a_proxy(
    bare: Path, monkeypatch: pytest.MonkeyPatch, variable: str, address: str, said: str, hint: str
) -> None:
    monkeypatch.setenv(variable, address)
    if not said:
        transfer.client(Options()).close()
        return
    with pytest.raises(UsageError) as caught:
        transfer.client(Options())
    assert (caught.value.message, caught.value.hint) == (said, hint)


def test_a_netrc_file_gives_logins(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert transfer._netrc() is None
    (bare / ".netrc").write_text("machine m.example login me password pw\n")
    (bare / ".netrc").chmod(0o600)
    login = transfer._netrc()
    assert login is not None
    (request,) = login.sync_auth_flow(httpx.Request("GET", "https://m.example/"))
    assert request.headers["Authorization"] == "Basic bWU6cHc="
    other = bare / "other"
    monkeypatch.setenv("NETRC", str(other))
    assert transfer._netrc() is None
    other.write_text("machine m.example\nlogging me\n")
    with pytest.raises(UsageError) as caught:
        transfer._netrc()
    assert caught.value.message == f"{other}: not a netrc file (line 2)"
    other.write_bytes(b"machine \xff\xfe\n")
    with pytest.raises(UsageError) as caught:
        transfer._netrc()
    assert caught.value.message == f"{other}: not a netrc file"
