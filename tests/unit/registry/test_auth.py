"""Logging in: which token server gets a password, with which words it is asked, and what of its answer counts."""

from __future__ import annotations

import contextlib
import urllib.parse
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.reference import Repository
from orchestrator.registry import credentials
from orchestrator.registry.auth import Login, choose
from orchestrator.registry.credentials import Credentials
from orchestrator.registry.errors import DeniedError, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.registry.transport import Request

FAR, HERE = Repository(host="r.example", path="acme/app"), Repository(host="127.0.0.1:5000", path="acme/app")
PULL = ("repository:acme/app:pull",)
TOKEN = 'Bearer realm="https://auth.example/token",service="reg"'


class Answered:
    """What a token server answers."""

    def __init__(self, status: int, data: bytes) -> None:
        self.status = status
        self.data = data

    def whole(self, most: int) -> bytes:
        assert most == 1 << 20
        return self.data


class Server:
    """A token server that remembers what it was asked."""

    def __init__(self, status: int = 200, data: bytes = b'{"token": "abc"}') -> None:
        self.answer = Answered(status, data)
        self.asked: list[Request] = []

    @contextlib.contextmanager
    def send(self, request: Request) -> Iterator[Answered]:
        self.asked.append(request)
        yield self.answer


def login(server: Server, repository: Repository = FAR) -> Login:
    transport: Any = server
    return Login(repository, transport, within_s=7.0)


def known(monkeypatch: pytest.MonkeyPatch, found: Credentials) -> None:
    monkeypatch.setattr(credentials, "find", lambda _: found)


@pytest.mark.parametrize(
    ("realm", "repository", "allowed"),
    [
        ("https://auth.example/token", FAR, True), ("https://auth.example/token", HERE, True),
        ("http://auth.example/token", FAR, False), ("http://auth.example/token", HERE, False),
        ("http://127.0.0.1:5001/token", HERE, True), ("http://localhost/token", HERE, True),
        ("http://[::1]/token", HERE, True), ("http://127.0.0.1:5001/token", FAR, False),
        ("http://127.0.0.1.evil.example/token", HERE, False), ("ftp://127.0.0.1/token", HERE, False),
        ("file:///token", HERE, False), ("", FAR, False), ("https://[/", FAR, False), ("//auth.example", FAR, False),
    ],
)  # fmt: skip
def test_who_gets_a_password(
    monkeypatch: pytest.MonkeyPatch, realm: str, repository: Repository, *, allowed: bool
) -> None:
    known(monkeypatch, Credentials(user="me", password="pw"))
    server = Server()
    found = login(server, repository)
    if allowed:
        found.renew([f'Bearer realm="{realm}"'], "", PULL)
        assert found.header(PULL) == "Bearer abc"
        return
    with pytest.raises(DeniedError, match="the token server is invalid: expected an https URL, found '") as caught:
        found.renew([f'Bearer realm="{realm}"'], "", PULL)
    assert caught.value.hint == f"docker login {repository.host}"
    assert caught.value.message.startswith(f"{repository}: access is denied: ")
    assert server.asked == []


def test_a_token_is_asked_for_with_a_password_or_without(monkeypatch: pytest.MonkeyPatch) -> None:
    for given, header in ((Credentials(user="me", password="pw"), True), (Credentials(), False)):
        known(monkeypatch, given)
        server = Server()
        login(server).renew([TOKEN], "", PULL)
        (request,) = server.asked
        assert (request.method, request.within_s, request.body) == ("GET", 7.0, None)
        assert request.url == "https://auth.example/token?service=reg&scope=repository%3Aacme%2Fapp%3Apull"
        assert ("Authorization" in request.headers) is header
        assert given.basic == request.headers.get("Authorization", "")


def test_an_identity_token_is_exchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, Credentials(identity_token="it&s"))
    server = Server()
    found = login(server)
    found.renew([TOKEN], "", PULL)
    (request,) = server.asked
    assert (request.method, request.url, request.within_s) == ("POST", "https://auth.example/token", 7.0)
    assert request.body is not None
    form = b"".join(request.body())
    assert urllib.parse.parse_qsl(form.decode()) == [
        ("service", "reg"), ("scope", PULL[0]), ("grant_type", "refresh_token"), ("refresh_token", "it&s"),
        ("client_id", "orchestrate"),
    ]  # fmt: skip
    assert request.headers == {
        "Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(len(form)),
    }  # fmt: skip
    assert found.header(PULL) == "Bearer abc"


@pytest.mark.parametrize(
    ("status", "data", "error", "said"),
    [
        (408, b"", TransientError, "token server: status 408"), (425, b"", TransientError, "status 425"),
        (429, b"", TransientError, "status 429"), (500, b"", TransientError, "status 500"),
        (503, b"", TransientError, "status 503"), (401, b"", DeniedError, "answers with status 401"),
        (302, b'{"token": "x"}', DeniedError, "answers with status 302"),
        (201, b'{"token": "x"}', DeniedError, "answers with status 201"),
        (200, b'{"token": 1}', DeniedError, "the token server's answer is invalid: expected JSON with a token"),
        (200, b'{"token": "a\\nb"}', DeniedError, "answer is invalid"), (200, b"[" * 100_000, DeniedError, "invalid"),
    ],
)  # fmt: skip
def test_answers_that_are_no_token(
    monkeypatch: pytest.MonkeyPatch, status: int, data: bytes, error: type[Exception], said: str
) -> None:
    known(monkeypatch, Credentials())
    with pytest.raises(error, match=said):
        login(Server(status, data)).renew([TOKEN], "", PULL)


@pytest.mark.parametrize(
    ("asked", "scopes", "sent"),
    [
        ("repository:acme/app:pull,push", PULL, ["repository:acme/app:pull,push"]),
        ("repository:acme/app:push,pull", PULL, ["repository:acme/app:pull,push"]),
        ("repository:acme/app:*", PULL, ["repository:acme/app:pull,*"]),
        ("repository:acme/other:push", PULL, ["repository:acme/app:pull"]),
        ("repository:acme/app:", PULL, ["repository:acme/app:pull"]),
        ("repository:acme/app:PUSH", PULL, ["repository:acme/app:pull"]), ("", PULL, ["repository:acme/app:pull"]),
        (
            "repository:acme/app:push", (*PULL, "repository:acme/from:pull"),
            ["repository:acme/app:pull,push", "repository:acme/from:pull"],
        ),
    ],
)  # fmt: skip
def test_actions_that_the_registry_names_are_asked_for_of_this_repository_alone(
    monkeypatch: pytest.MonkeyPatch, asked: str, scopes: tuple[str, ...], sent: list[str]
) -> None:
    known(monkeypatch, Credentials())
    server = Server()
    login(server).renew([f'{TOKEN},scope="{asked}"'], "", scopes)
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(server.asked[0].url).query)
    assert query["scope"] == sent


def test_a_login_is_shared_and_what_was_refused_is_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, Credentials(user="me", password="pw", trouble="the helper failed"))
    server = Server()
    found = login(server)
    assert found.header(PULL) == ""
    found.renew(["Basic"], "", PULL)
    basic = found.header(PULL)
    assert basic.startswith("Basic ")
    found.renew(["Basic"], "", PULL)  # another thread has logged in since
    assert (found.header(PULL), server.asked) == (basic, [])
    with pytest.raises(DeniedError) as caught:
        found.renew(["Basic"], basic, PULL)
    assert caught.value.message == "r.example/acme/app: access is denied: status 401 (the helper failed)"
    found.renew([TOKEN], basic, PULL)
    assert found.header(PULL) == "Bearer abc"
    assert found.header(("repository:acme/app:pull,push",)) == basic
    with pytest.raises(DeniedError):  # the same token once more
        found.renew([TOKEN], "Bearer abc", PULL)
    nobody = login(server)
    with pytest.raises(DeniedError, match="status 401"):
        nobody.renew(["Negotiate"], "", PULL)
    assert choose(["Basic", TOKEN])[0] == "bearer"
