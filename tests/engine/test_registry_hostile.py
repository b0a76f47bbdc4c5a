"""Registries that drip, bomb, redirect and lie: every answer ends, and credentials stay where they belong."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import itertools
import json
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING

import pytest

from orchestrator import process
from orchestrator.errors import InterruptedRunError, NetworkError
from orchestrator.reference import Digest, Repository, Tag, repository
from orchestrator.registry.client import Registry
from orchestrator.registry.errors import DamagedAnswerError, DeniedError
from orchestrator.registry.reach import check_registry
from orchestrator.registry.session import Limits
from tests.support.engine import call
from tests.support.hostile import Asked, ConnectProxy, HostileServer, answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    Reply = Callable[[Asked], Iterable[bytes]]

MANIFEST = b'{"schemaVersion": 2, "config": {}, "layers": []}'
QUICK = Limits(attempts=2, answer_s=0.6, window_s=0.4, slowest=1000)
LONG = f"https://{'t' * 250}@h/x"
SECRET = base64.b64encode(b"me:s3cret").decode()


def digest(data: bytes) -> Digest:
    return Digest(f"sha256:{hashlib.sha256(data).hexdigest()}")


def client(server: HostileServer, limits: Limits = QUICK) -> Registry:
    return Registry(repository(f"{server.address}/app"), limits=limits)


def drip(*parts: bytes, pause: float = 0.1) -> Iterator[bytes]:
    for part in itertools.chain(*((bytes([letter]) for letter in one) for one in parts)):
        yield part
        time.sleep(pause)


def always(whole: bytes) -> Reply:
    return lambda _: [whole]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path


def logged_in(home: Path, *hosts: str) -> None:
    (home / "config.json").write_text(json.dumps({"auths": {host: {"auth": SECRET} for host in hosts}}))


ENDLESS: dict[str, Reply] = {
    "silence": lambda _: itertools.islice(drip(b"xx", pause=5), 1, None),
    "dripping headers": lambda _: drip(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100),
    "dripping body": lambda _: itertools.chain([b"HTTP/1.1 200 OK\r\nContent-Length: 48\r\n\r\n"], drip(MANIFEST)),
    "dripping error": lambda _: itertools.chain([b"HTTP/1.1 404 X\r\nContent-Length: 48\r\n\r\n"], drip(MANIFEST)),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_an_answer_that_drips_ends(name: str) -> None:
    with HostileServer(ENDLESS[name]) as server, client(server) as registry:
        begun = time.monotonic()
        with pytest.raises(NetworkError, match=r"app: manifest v1: .*no whole answer in time, after 2 attempts"):
            registry.manifest(Tag("v1"))
        assert 1.0 < time.monotonic() - begun < 4
        assert len(server.asked) == 2


@pytest.mark.parametrize("name", ENDLESS)
def test_doctor_waits_for_no_answer_that_drips(name: str) -> None:
    with HostileServer(ENDLESS[name]) as server:
        begun = time.monotonic()
        check = check_registry(f"{server.address}/app", within_s=0.6)
        assert time.monotonic() - begun < 3
    headers_drip = name in ("silence", "dripping headers")
    assert ("does not answer: no whole answer in time" in check.detail) == headers_drip
    assert check.status == ("ok" if name == "dripping body" else "warn")


def test_a_blob_that_drips_ends() -> None:
    data = b"x" * 10_000

    def reply(_: Asked) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n"
        yield from drip(data, pause=0.05)

    with HostileServer(reply) as server, client(server) as registry:
        begun = time.monotonic()
        with pytest.raises(NetworkError, match="bytes arrived in 0 s, after 2 attempts"):
            registry.stream(digest(data), len(data), io.BytesIO())
        assert time.monotonic() - begun < 4


def test_a_slow_reader_is_not_a_slow_registry() -> None:
    data = b"x" * 300_000

    class Slow(io.BytesIO):
        def write(self, part: object) -> int:
            time.sleep(0.2)
            return super().write(part)  # type: ignore[arg-type]  # bytes, as the client writes them

    sink = Slow()
    limits = Limits(attempts=1, answer_s=0.5, window_s=0.1, slowest=1_000_000)
    with HostileServer(lambda _: [answer(200, data)]) as server, client(server, limits) as registry:
        registry.stream(digest(data), len(data), sink)
    assert sink.getvalue() == data


def chunks() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    while True:
        yield b"10000\r\n" + bytes(65536) + b"\r\n"


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (lambda _: chunks(), "too large: expected 4194304 bytes at most"),
        (lambda _: [b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"], "too large"),
        (
            lambda _: [answer(200, gzip.compress(bytes(1 << 22)), content_encoding="gzip")],
            "content encoding of an answer is invalid: expected identity, found 'gzip'",
        ),
        (lambda _: [answer(200, b"{")], "expected JSON"),
    ],
)
def test_an_answer_that_is_no_manifest(reply: Reply, words: str) -> None:
    with HostileServer(reply) as server, client(server) as registry:
        begun = time.monotonic()
        with pytest.raises(DamagedAnswerError, match=words):
            registry.manifest(Tag("v1"))
        assert time.monotonic() - begun < 3
        assert server.asked[0].headers["accept-encoding"] == "identity"


def test_an_error_that_is_endless_or_coloured() -> None:
    body = json.dumps({"errors": [{"message": "\x1b[31mno\nsuch " + "x" * 900}]}).encode()
    for reply, words in (
        (answer(418, body), r"status 418, \[31mno such x{150,}$"),
        (answer(418, json.dumps({"errors": [{"message": f"see {LONG}"}]}).encode()), "status 418, see https://h/x$"),
        (answer(418, b"[" * 60_000), "status 418$"),
        (answer(418, b"x" * 100_000), "status 418$"),
    ):
        with HostileServer(always(reply)) as server, client(server) as registry:
            with pytest.raises(NetworkError, match=words) as caught:
                registry.manifest(Tag("v1"))
            assert "\x1b" not in str(caught.value)


def test_a_head_that_lies() -> None:
    other = digest(b"other")
    with (
        HostileServer(lambda _: [answer(200, docker_content_digest=str(other), content_length="9")]) as server,
        client(server) as registry,
        pytest.raises(DamagedAnswerError, match="digest of a manifest does not match"),
    ):
        registry.head(digest(MANIFEST))


def test_a_head_without_a_digest_is_asked_again() -> None:
    with (
        HostileServer(
            lambda asked: [answer(200, b"" if asked.method == "HEAD" else MANIFEST, content_length=str(len(MANIFEST)))]
        ) as server,
        client(server) as registry,
    ):
        found = registry.head(Tag("v1"))
        assert found is not None
        assert (found.digest, found.size) == (digest(MANIFEST), len(MANIFEST))
        assert [asked.method for asked in server.asked] == ["HEAD", "GET"]


# -- stop -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "moment"),
    [
        (ENDLESS["silence"], "in a read"),
        (lambda _: [answer(503, retry_after="30")], "in a pause between attempts"),
    ],
)
def test_a_wish_to_stop_ends_a_request(reply: Reply, moment: str) -> None:
    stop = process.Stop()
    with HostileServer(reply) as server, client(server, Limits()) as registry, process.stoppable(stop):
        threading.Timer(0.3, stop.set).start()
        begun = time.monotonic()
        with pytest.raises(InterruptedRunError):
            registry.manifest(Tag("v1"))
        assert time.monotonic() - begun < 2, moment
    assert len(server.asked) == 1


def test_a_wish_to_stop_ends_a_connection_that_is_never_made() -> None:
    """192.0.2.0/24 is for documentation: nothing there answers, or the kernel says so at once."""
    stop = process.Stop()
    with Registry(Repository(host="192.0.2.1:81", path="app")) as registry, process.stoppable(stop):
        threading.Timer(0.3, stop.set).start()
        begun = time.monotonic()
        with pytest.raises((InterruptedRunError, NetworkError)):
            registry.manifest(Tag("v1"))
        assert time.monotonic() - begun < 3


# -- credentials ----------------------------------------------------------------------------------------------------


def test_a_redirect_gets_no_credentials(home: Path) -> None:
    data = b"blob"
    with HostileServer(lambda _: [answer(200, data)]) as store:

        def reply(asked: Asked) -> list[bytes]:
            if asked.headers.get("authorization") != f"Basic {SECRET}":
                return [answer(401, www_authenticate='Basic realm="x"')]
            return [answer(307, location=f"http://{store.address}/signed?sig=hidden")]

        with HostileServer(reply) as server, client(server) as registry:
            logged_in(home, server.address, store.address)
            assert registry.blob(digest(data)) == data
            registry.stream(digest(data), len(data), io.BytesIO())
        assert len(store.asked) == 2
        assert not [asked for asked in store.asked if "authorization" in asked.headers]


def test_a_redirect_to_itself_keeps_them_and_a_circle_ends(home: Path) -> None:
    def reply(asked: Asked) -> list[bytes]:
        if asked.headers.get("authorization") != f"Basic {SECRET}":
            return [answer(401, www_authenticate='Basic realm="x"')]
        if asked.path == "/there":
            return [answer(200, MANIFEST)]
        return [answer(302, location="/there" if asked.path.endswith("v1") else asked.path)]

    with HostileServer(reply) as server, client(server) as registry:
        logged_in(home, server.address)
        assert registry.manifest(Tag("v1")).raw == MANIFEST
        with pytest.raises(NetworkError, match="expected 5 redirects at most"):
            registry.manifest(Tag("circle"))


@pytest.mark.parametrize(
    "location", ["", "ftp://x/", "file:///etc/passwd", "http://user:pw@127.0.0.1/x", "http://[::1/"]
)
def test_a_redirect_to_nowhere(location: str) -> None:
    with (
        HostileServer(lambda _: [answer(307, location=location)]) as server,
        client(server) as registry,
        pytest.raises(DamagedAnswerError, match="a redirect is invalid"),
    ):
        registry.manifest(Tag("v1"))


@pytest.mark.parametrize(
    "realm", ["http://tokens.example/t", "http://192.0.2.1/t", "ftp://127.0.0.1/t", "https://a:b@tokens.example/t", ""]
)
def test_a_password_goes_to_no_open_token_server(realm: str, home: Path) -> None:
    with HostileServer(lambda _: [answer(401, www_authenticate=f'Bearer realm="{realm}"')]) as server:
        logged_in(home, server.address)
        with client(server) as registry, pytest.raises(DeniedError, match="token server is invalid: expected an https"):
            registry.manifest(Tag("v1"))


def test_a_token_server_redirects_nobody(home: Path) -> None:
    with HostileServer(lambda _: [answer(200, b'{"token": "x"}')]) as thief:

        def reply(asked: Asked) -> list[bytes]:
            if asked.path.startswith("/t"):
                return [answer(307, location=f"http://{thief.address}/")]
            return [answer(401, www_authenticate=f'Bearer realm="http://{server.address}/t"')]

        for entry in ({"auth": SECRET}, {"identitytoken": "refresh"}):
            with HostileServer(reply) as server, client(server) as registry:
                (home / "config.json").write_text(json.dumps({"auths": {server.address: entry}}))
                with pytest.raises(DeniedError, match="token server answers with status 307"):
                    registry.manifest(Tag("v1"))
        assert thief.asked == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"token": 7}', b'{"token": "a\\r\\nX: y"}', b'{"token": ""}'])
def test_a_token_that_is_none(body: bytes) -> None:
    def reply(asked: Asked) -> list[bytes]:
        if asked.path.startswith("/t"):
            return [answer(200, body)]
        return [answer(401, www_authenticate=f'Bearer realm="http://{server.address}/t"')]

    with (
        HostileServer(reply) as server,
        client(server) as registry,
        pytest.raises(DeniedError, match="expected JSON with a token"),
    ):
        registry.manifest(Tag("v1"))


def test_an_identity_token_and_scopes(home: Path) -> None:
    """The scopes are the request's own, with what the registry asks for this repository alone."""

    def reply(asked: Asked) -> list[bytes]:
        if asked.path.startswith("/t"):
            return [answer(200, b'{"access_token": "fresh"}')]
        if asked.headers.get("authorization") == "Bearer fresh":
            return [answer(202)]
        realm = f'Bearer realm="http://{server.address}/t",service="s",scope="repository:app:delete,*"'
        return [answer(401, www_authenticate=realm)]

    with HostileServer(reply) as server, client(server) as registry:
        (home / "config.json").write_text(json.dumps({"auths": {server.address: {"identitytoken": "refresh"}}}))
        assert registry.delete(digest(b"x"))
        (asked,) = [asked for asked in server.asked if asked.path == "/t"]
        assert asked.body == (
            b"service=s&scope=repository%3Aapp%3Adelete%2C%2A&grant_type=refresh_token&refresh_token=refresh"
            b"&client_id=orchestrate"
        )


def test_a_token_that_expired_is_renewed() -> None:
    tokens = itertools.count()
    valid = ["t0"]

    def reply(asked: Asked) -> list[bytes]:
        if asked.path.startswith("/t"):
            return [answer(200, json.dumps({"token": f"t{next(tokens)}"}).encode())]
        if asked.headers.get("authorization") == f"Bearer {valid[0]}":
            return [answer(200, MANIFEST)]
        realm = f'Bearer realm="http://{server.address}/t",scope="repository:other:push"'
        return [answer(401, www_authenticate=realm)]

    with HostileServer(reply) as server, client(server) as registry:
        registry.manifest(Tag("v1"))
        valid[0] = "t1"
        registry.manifest(Tag("v1"))
        assert {asked.path for asked in server.asked if asked.path.startswith("/t")} == {
            "/t?service=&scope=repository%3Aapp%3Apull"
        }
        valid[0] = "never"
        with pytest.raises(DeniedError):
            registry.manifest(Tag("v1"))


def test_tags_in_pages() -> None:
    def reply(asked: Asked) -> list[bytes]:
        if "last=b" in asked.path:
            return [answer(200, b'{"tags": ["c"]}', link='</v2/app/tags/list?n=2>; rel="next"')]
        return [answer(200, b'{"tags": ["a", "b"]}', link='</v2/app/tags/list?last=b&n=2>; rel="next"')]

    with HostileServer(reply) as server, client(server) as registry:
        assert [str(tag) for tag in registry.tags()] == ["a", "b", "c"], "a circle of pages ends"
    for body, link, words in (
        (b'{"tags": ["a b"]}', "", "the list of tags is invalid"),
        (b'{"tags": 7}', "", "the list of tags is invalid"),
        (b"[]", "", "the list of tags is invalid"),
        (b'{"tags": []}', '<http://127.0.0.1:9/x>; rel="next"', "a link is invalid"),
    ):
        with (
            HostileServer(always(answer(200, body, link=link))) as server,
            client(server) as registry,
            pytest.raises(DamagedAnswerError, match=words),
        ):
            registry.tags()


def test_an_upload_goes_to_the_registry_alone() -> None:
    with (
        HostileServer(lambda _: [answer(202, location="http://127.0.0.1:9/up")]) as server,
        client(server) as registry,
        pytest.raises(DamagedAnswerError, match="expected one to the registry"),
    ):
        registry.upload(digest(b"x"), 1, lambda: [b"x"])


# -- https ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def certified(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's context for `registry.test`, and the certificate to trust."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    call(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=registry.test",
        "-addext", "subjectAltName=DNS:registry.test", "-keyout", key, "-out", certificate,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate


def test_https_through_a_proxy(
    certified: tuple[ssl.SSLContext, Path], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, certificate = certified
    where = Repository(host="registry.test", path="app")

    def reply(asked: Asked) -> list[bytes]:
        if asked.path.startswith("/t"):
            return [answer(200, b'{"token": "x"}')]
        if asked.headers.get("authorization") != "Bearer x":
            return [answer(401, www_authenticate='Bearer realm="https://registry.test/t"')]
        if asked.path.endswith("/down"):
            return [answer(307, location="http://registry.test/plain?sig=hidden")]
        return [answer(200, MANIFEST)]

    for name in ("https_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with HostileServer(reply, tls=context) as server, ConnectProxy(server.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://us%40er:pw@{proxy.url}")
        logged_in(home, "registry.test")
        with Registry(where) as registry, pytest.raises(NetworkError, match=r"certificate .* not trusted") as caught:
            registry.manifest(Tag("v1"))
        assert "SSL_CERT_FILE" in caught.value.hint
        assert server.asked == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with Registry(where) as registry:
            assert registry.manifest(Tag("v1")).raw == MANIFEST
            with pytest.raises(DamagedAnswerError, match=r"expected https, found http://registry\.test$"):
                registry.manifest(Tag("down"))
        assert set(proxy.asked) == {("registry.test:443", "Basic " + base64.b64encode(b"us@er:pw").decode())}
        assert f"Basic {SECRET}" in {asked.headers.get("authorization") for asked in server.asked}


def test_https_that_is_not_answered_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that never answers the greeting of TLS."""
    monkeypatch.delenv("NO_PROXY", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as deaf, ConnectProxy(deaf.getsockname()[1]) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.url}")
        begun = time.monotonic()
        with (
            Registry(Repository(host="registry.test", path="app"), limits=QUICK) as registry,
            pytest.raises(NetworkError, match="in time, after 2 attempts"),
        ):
            registry.manifest(Tag("v1"))
        assert time.monotonic() - begun < 4


def test_a_proxy_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:1080")
    with (
        Registry(Repository(host="registry.test", path="app")) as registry,
        pytest.raises(Exception, match="HTTPS_PROXY: the proxy is invalid: expected http://HOST:PORT"),
    ):
        registry.manifest(Tag("v1"))
