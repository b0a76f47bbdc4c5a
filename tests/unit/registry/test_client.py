"""What a repository is asked and how each answer is taken; a real registry is asked in tests/engine."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

from orchestrator import process
from orchestrator.errors import NetworkError
from orchestrator.reference import Digest, Tag, parse
from orchestrator.registry import credentials
from orchestrator.registry.client import Registry, fallback_tag
from orchestrator.registry.credentials import Credentials
from orchestrator.registry.errors import DamagedAnswerError, DeniedError, NotFoundError
from orchestrator.registry.manifests import read
from orchestrator.registry.session import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

API = "http://127.0.0.1:5000/v2/acme/app"
MEDIA = "application/vnd.oci.image.index.v1+json"
INDEX = json.dumps({"schemaVersion": 2, "mediaType": MEDIA, "manifests": []}).encode()
OTHER = Digest("sha256:" + "0" * 64)


def sha(data: bytes) -> Digest:
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


class Server:
    """A registry whose answers are given in turn for each method and URL; the last one stays."""

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[int, dict[str, str], bytes]]] = {}
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []

    def say(self, call: str, status: int, body: bytes = b"", **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.setdefault(call, []).append((status, named, body))

    @contextlib.contextmanager
    def stream(
        self, method: str, url: str, *, headers: list[tuple[str, str]], content: Any, extensions: Mapping[str, Any]
    ) -> Iterator[httpcore.Response]:
        assert extensions["timeout"]["read"] == 30
        if url.startswith("https://"):
            raise httpcore.ConnectError("it speaks no TLS")
        call = f"{method} {url.removeprefix(API + '/')}"
        self.asked.append(call)
        self.headers.append({name.lower(): value for name, value in headers})
        self.bodies.append(b"".join(content or ()))
        known = self.answers[call]
        status, named, body = known.pop(0) if len(known) > 1 else known[0]
        yield httpcore.Response(status, headers=list(named.items()), content=body)

    def close(self) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    fake = Server()
    monkeypatch.setattr(httpcore, "ConnectionPool", lambda **_: fake)
    monkeypatch.setattr(credentials, "find", lambda _: Credentials())
    return fake


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr(process, "pause", found.append)
    return found


@pytest.fixture
def app(server: Server) -> Registry:
    assert not server.asked
    return Registry(parse("127.0.0.1:5000/acme/app").repository, limits=Limits(attempts=3))


def test_a_manifest_has_the_digest_by_which_it_is_asked_for(server: Server, app: Registry) -> None:
    server.say("GET manifests/v1", 200, INDEX, Content_Type=MEDIA)
    found = app.manifest(Tag("v1"))
    assert (found.raw, found.digest, found.media_type) == (INDEX, sha(INDEX), MEDIA)
    assert MEDIA in server.headers[0]["accept"]
    assert server.headers[0]["accept-encoding"] == "identity"
    assert "authorization" not in server.headers[0]
    server.say(f"GET manifests/{OTHER}", 200, INDEX, Content_Type=MEDIA)
    with pytest.raises(DamagedAnswerError, match=str(OTHER)):
        app.manifest(OTHER)
    server.say("GET manifests/gone", 404, b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}')
    with pytest.raises(NotFoundError, match="acme/app: manifest gone was not found"):
        app.manifest(Tag("gone"))


def test_what_a_tag_names_without_its_content(server: Server, app: Registry) -> None:
    server.say("HEAD manifests/v1", 200, Docker_Content_Digest=str(sha(INDEX)), Content_Length="9", Content_Type=MEDIA)
    found = app.head(Tag("v1"))
    assert found is not None
    assert (found.digest, found.size, found.media_type) == (sha(INDEX), 9, MEDIA)
    server.say("HEAD manifests/bare", 200)
    server.say("GET manifests/bare", 200, INDEX, Content_Type=MEDIA)  # both headers are optional
    bare = app.head(Tag("bare"))
    assert bare is not None
    assert (bare.digest, bare.size) == (sha(INDEX), len(INDEX))
    server.say("HEAD manifests/gone", 404)
    assert app.head(Tag("gone")) is None
    server.say(f"HEAD manifests/{OTHER}", 200, Docker_Content_Digest=str(sha(INDEX)), Content_Length="9")
    with pytest.raises(DamagedAnswerError, match=f"expected {OTHER}, found {sha(INDEX)}"):
        app.head(OTHER)


def test_what_passes_is_asked_again_after_the_pause_that_the_registry_wants(
    server: Server, app: Registry, pauses: list[float]
) -> None:
    server.say("GET manifests/v1", 503, b'{"errors": [{"message": "busy\\u001b"}]}', Retry_After="7")
    server.say("GET manifests/v1", 429, Retry_After="never")
    server.say("GET manifests/v1", 200, INDEX, Content_Type=MEDIA)
    assert app.manifest(Tag("v1")).raw == INDEX
    assert pauses[0] == 7
    assert 0 < pauses[1] < 2
    server.say("GET manifests/down", 502, b'{"errors": [{"message": "bad\\u001bgateway"}]}', Retry_After="9999")
    with pytest.raises(NetworkError) as caught:
        app.manifest(Tag("down"))
    assert caught.value.message == ("127.0.0.1:5000/acme/app: manifest down: status 502, bad gateway, after 3 attempts")
    assert server.asked.count("GET manifests/down") == 3
    assert pauses[-1] == 30


def test_an_answer_that_nobody_expects_ends_the_call(server: Server, app: Registry, pauses: list[float]) -> None:
    server.say("GET manifests/odd", 418, b'{"errors": [{"code": "TEAPOT"}]}')
    with pytest.raises(NetworkError, match="manifest odd: the request failed: status 418, TEAPOT"):
        app.manifest(Tag("odd"))
    server.say("GET manifests/no", 403, b"<html>")
    with pytest.raises(DeniedError, match="access is denied: manifest no: status 403") as caught:
        app.manifest(Tag("no"))
    assert caught.value.message.endswith("status 403")  # a page in HTML says nothing
    assert caught.value.hint == "docker login 127.0.0.1:5000"
    assert pauses == []


def test_a_challenge_is_answered_with_a_password(
    server: Server, app: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    basic = "Basic " + base64.b64encode(b"me:pw").decode()
    monkeypatch.setattr(credentials, "find", lambda _: Credentials(user="me", password="pw"))
    server.say("GET manifests/v1", 401, Www_Authenticate='Basic realm="x"')
    server.say("GET manifests/v1", 200, INDEX, Content_Type=MEDIA)
    app.manifest(Tag("v1"))
    app.manifest(Tag("v1"))
    assert [one.get("authorization") for one in server.headers] == [None, basic, basic]
    server.say("GET manifests/v2", 401, Www_Authenticate="Basic")
    with pytest.raises(DeniedError, match="access is denied: status 401"):
        app.manifest(Tag("v2"))


def test_a_token_is_asked_for_with_the_scope_of_the_call(server: Server, app: Registry) -> None:
    challenge = 'Bearer realm="http://127.0.0.1:5001/token?a=b",service="reg"'
    server.say("GET manifests/v1", 401, Www_Authenticate=challenge)
    server.say("GET manifests/v1", 200, INDEX, Content_Type=MEDIA)
    url = "http://127.0.0.1:5001/token?a=b&service=reg&scope=repository%3Aacme%2Fapp%3Apull"
    server.say(f"GET {url}", 200, b'{"token": "abc"}')
    app.manifest(Tag("v1"))
    assert server.asked == ["GET manifests/v1", f"GET {url}", "GET manifests/v1"]
    assert server.headers[-1]["authorization"] == "Bearer abc"
    server.say("POST blobs/uploads/", 401, Www_Authenticate=challenge)
    server.say("POST blobs/uploads/", 202, Location="/v2/acme/app/blobs/uploads/1")
    server.say(f"GET {url}%2Cpush", 200, b'{"access_token": "def"}')
    server.say("DELETE blobs/uploads/1", 405)
    app.require_push()  # a registry need not know how an upload ends
    assert server.headers[-1]["authorization"] == "Bearer def"
    for answer in (b"[]", b"{}", b'{"token": "a b"}', b"x"):
        server.answers[f"GET {url}"] = [(200, {}, answer)]
        server.answers["GET manifests/v2"] = [(401, {"Www-Authenticate": challenge}, b"")]
        fresh = Registry(app.repository)
        with pytest.raises(DeniedError, match="the token server's answer is invalid"):
            fresh.manifest(Tag("v2"))
    server.answers[f"GET {url}"] = [(302, {"Location": "http://127.0.0.1:9/"}, b"")]
    with pytest.raises(DeniedError, match="the token server answers with status 302"):
        Registry(app.repository).manifest(Tag("v2"))


def test_a_redirect_gets_no_password(server: Server, app: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "find", lambda _: Credentials(user="me", password="pw"))
    data = b"layer"
    server.say(f"GET blobs/{sha(data)}", 401, Www_Authenticate="Basic")
    server.say(f"GET blobs/{sha(data)}", 307, Location="http://127.0.0.1:7000/store?signed=1")
    server.say("GET http://127.0.0.1:7000/store?signed=1", 200, data)
    assert app.blob(sha(data)) == data
    assert [one.get("authorization") for one in server.headers] == [None, "Basic bWU6cHc=", None]
    server.say(f"GET blobs/{OTHER}", 302, Location=f"/v2/acme/app/blobs/{OTHER}")
    with pytest.raises(NetworkError, match="expected 5 redirects at most, found more"):
        app.blob(OTHER)
    server.answers[f"GET blobs/{OTHER}"] = [(302, {"Location": "ftp://x/"}, b"")]
    with pytest.raises(DamagedAnswerError, match="a redirect is invalid: expected an http URL"):
        app.blob(OTHER)


def test_a_blob_is_what_its_digest_says(server: Server, app: Registry) -> None:
    server.say(f"GET blobs/{OTHER}", 200, b"other")
    with pytest.raises(DamagedAnswerError, match=f"expected {OTHER}, found {sha(b'other')}"):
        app.blob(OTHER)
    server.say(f"GET blobs/{sha(b'long')}", 200, b"long")
    with pytest.raises(DamagedAnswerError, match="an answer is too large: expected 3 bytes at most"):
        app.blob(sha(b"long"), limit=3)
    server.answers[f"GET blobs/{sha(b'long')}"] = [(200, {"Content-Encoding": "gzip"}, b"long")]
    with pytest.raises(DamagedAnswerError, match="expected identity, found 'gzip'"):
        app.blob(sha(b"long"))


def test_a_layer_is_streamed_and_measured(server: Server, app: Registry) -> None:
    sink = io.BytesIO()
    server.say(f"GET blobs/{sha(b'layer')}", 200, b"layer")
    app.stream(sha(b"layer"), 5, sink)
    assert sink.getvalue() == b"layer"
    assert "range" not in server.headers[-1]
    with pytest.raises(DamagedAnswerError, match="is too large: expected 4 bytes, found more"):
        app.stream(sha(b"layer"), 4, io.BytesIO())
    with pytest.raises(DamagedAnswerError, match="does not match its digest: 5 of 6 bytes arrived"):
        app.stream(sha(b"layer"), 6, io.BytesIO())
    app.stream(sha(b""), 0, io.BytesIO())  # nothing is asked for


def test_tags_come_in_pages(server: Server, app: Registry) -> None:
    server.say("GET tags/list?n=1000", 200, b'{"tags": ["a", "b"]}', Link='</v2/acme/app/tags/list?last=b>; rel="next"')
    server.say("GET tags/list?last=b", 200, b'{"tags": ["b", "c"]}', Link="<list?last=b>; rel=next")
    assert app.tags() == (Tag("a"), Tag("b"), Tag("c"))  # a page that leads to itself is the last
    assert server.asked == ["GET tags/list?n=1000", "GET tags/list?last=b"]
    server.answers["GET tags/list?n=1000"] = [(200, {"Link": '<http://127.0.0.2/x>; rel="next"'}, b'{"tags": null}')]
    with pytest.raises(DamagedAnswerError, match=r"expected one to the registry, found 127\.0\.0\.2"):
        app.tags()
    for answer in (b"[]", b'{"tags": ["-x"]}', b'{"tags": 3}', b"x"):
        server.answers["GET tags/list?n=1000"] = [(200, {}, answer)]
        with pytest.raises(DamagedAnswerError, match="the list of tags is invalid"):
            app.tags()
    server.answers["GET tags/list?n=1000"] = [(404, {}, b"")]
    assert app.tags() == ()


def test_what_was_attached_to_a_manifest(server: Server, app: Registry) -> None:
    entry = {"mediaType": MEDIA, "digest": str(sha(b"x")), "size": 3}
    index = json.dumps({"schemaVersion": 2, "mediaType": MEDIA, "manifests": [entry]}).encode()
    server.say(f"GET referrers/{OTHER}", 200, index, Content_Type=MEDIA)
    (found,) = app.referrers(OTHER)
    assert (found.media_type, found.digest, found.size) == (MEDIA, sha(b"x"), 3)
    server.answers[f"GET referrers/{OTHER}"] = [(404, {}, b"")]
    fallback = "GET manifests/sha256-" + "0" * 64
    server.say(fallback, 200, index, Content_Type=MEDIA)
    assert app.referrers(OTHER) == (found,)
    server.answers[fallback] = [(404, {}, b"")]
    assert app.referrers(OTHER) == ()
    broken = json.dumps({"schemaVersion": 2, "mediaType": MEDIA, "manifests": [{"digest": "x"}]}).encode()
    server.answers[fallback] = [(200, {"Content-Type": MEDIA}, broken)]
    with pytest.raises(DamagedAnswerError, match="a descriptor is invalid"):
        app.referrers(OTHER)


@pytest.mark.parametrize("status", [400, 404, 405, 406, 501])
def test_a_registry_without_the_api_for_referrers(server: Server, app: Registry, status: int) -> None:
    entry = {"mediaType": MEDIA, "digest": str(sha(b"x")), "size": 3}
    index = json.dumps({"schemaVersion": 2, "mediaType": MEDIA, "manifests": [entry]}).encode()
    server.say(f"GET referrers/{OTHER}", status, b'{"errors": [{"code": "UNSUPPORTED"}]}')
    server.say("GET manifests/sha256-" + "0" * 64, 200, index, Content_Type=MEDIA)
    assert [one.digest for one in app.referrers(OTHER)] == [sha(b"x")]
    assert server.asked == [f"GET referrers/{OTHER}", "GET manifests/sha256-" + "0" * 64]  # asked once


@pytest.mark.parametrize("media_type", ["text/html; charset=utf-8", "application/json", ""])
def test_an_answer_that_is_no_list_of_referrers(server: Server, app: Registry, media_type: str) -> None:
    server.say(f"GET referrers/{OTHER}", 200, b"<html>", Content_Type=media_type)
    server.say("GET manifests/sha256-" + "0" * 64, 404)
    assert app.referrers(OTHER) == ()


def test_a_refusal_is_no_missing_api(server: Server, app: Registry) -> None:
    for status in (403, 418):
        server.answers[f"GET referrers/{OTHER}"] = [(status, {}, b"")]
        with pytest.raises(NetworkError, match=f"status {status}"):
            app.referrers(OTHER)


def test_referrers_come_in_pages(server: Server, app: Registry) -> None:
    def page(text: bytes) -> bytes:
        entry = {"mediaType": MEDIA, "digest": str(sha(text)), "size": 1}
        return json.dumps({"schemaVersion": 2, "mediaType": MEDIA, "manifests": [entry]}).encode()

    path = f"referrers/{OTHER}"
    server.say(f"GET {path}", 200, page(b"a"), Content_Type=MEDIA, Link=f'</v2/acme/app/{path}?n=1>; rel="next"')
    server.say(f"GET {path}?n=1", 200, page(b"b"), Content_Type=MEDIA, Link=f'</v2/acme/app/{path}?n=1>; rel="next"')
    assert [one.digest for one in app.referrers(OTHER)] == [sha(b"a"), sha(b"b")]
    server.answers[f"GET {path}"] = [(200, {"Content-Type": MEDIA, "Link": '<http://127.0.0.2/x>; rel="next"'}, INDEX)]
    with pytest.raises(DamagedAnswerError, match=r"expected one to the registry, found 127\.0\.0\.2"):
        app.referrers(OTHER)


def test_the_tag_for_referrers_of_a_long_digest_is_a_tag(server: Server, app: Registry) -> None:
    long = Digest("sha512:" + "ab" * 64)
    assert fallback_tag(long) == Tag("sha512-" + "ab" * 32)
    assert fallback_tag(OTHER) == Tag("sha256-" + "0" * 64)
    server.say(f"GET referrers/{long}", 404)
    server.say(f"GET manifests/sha512-{'ab' * 32}", 404)
    assert app.referrers(long) == ()


def test_a_date_says_when_to_come_again(server: Server, app: Registry, pauses: list[float]) -> None:
    server.say("GET manifests/v1", 429, Retry_After=formatdate(time.time() + 3600, usegmt=True))
    server.say("GET manifests/v1", 429, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT")
    server.say("GET manifests/v1", 200, INDEX, Content_Type=MEDIA)
    assert app.manifest(Tag("v1")).raw == INDEX
    assert pauses[0] == 30
    assert pauses[1] < 2


def test_what_is_written_is_what_was_sent(server: Server, app: Registry) -> None:
    manifest = read(INDEX, MEDIA)
    server.say("PUT manifests/v1", 201, Docker_Content_Digest=str(sha(INDEX)))
    app.put_manifest(manifest, Tag("v1"))
    assert (server.bodies[-1], server.headers[-1]["content-type"]) == (INDEX, MEDIA)
    assert server.headers[-1]["content-length"] == str(len(INDEX))
    server.answers["PUT manifests/v1"] = [(201, {"Docker-Content-Digest": str(OTHER)}, b"")]
    with pytest.raises(DamagedAnswerError, match="the digest of a stored manifest does not match"):
        app.put_manifest(manifest, Tag("v1"))
    server.say("POST blobs/uploads/", 202, Location="/v2/acme/app/blobs/uploads/7?state=s")
    put = f"PUT blobs/uploads/7?state=s&digest=sha256%3A{str(sha(b'data'))[7:]}"
    server.say(put, 201)
    app.upload(sha(b"data"), 4, lambda: [b"da", b"ta"])
    assert (server.asked[-1], server.bodies[-1], server.headers[-1]["content-length"]) == (put, b"data", "4")
    mount = f"POST blobs/uploads/?mount=sha256%3A{'0' * 64}&from=acme%2Fother"
    source = parse("127.0.0.1:5000/acme/other").repository
    server.say(mount, 201)
    server.say(mount, 202)
    assert [app.mount(OTHER, source), app.mount(OTHER, source)] == [True, False]
    assert server.headers[-1]["content-length"] == "0"


def test_whether_something_is_there(server: Server, app: Registry) -> None:
    server.say(f"HEAD blobs/{OTHER}", 200)
    server.say(f"HEAD blobs/{OTHER}", 404)
    assert [app.has_blob(OTHER), app.has_blob(OTHER)] == [True, False]
    server.say("DELETE manifests/v1", 202)
    server.say("DELETE manifests/v1", 404)
    assert [app.delete(Tag("v1")), app.delete(Tag("v1"))] == [True, False]
