"""The server of a bundle gives out nothing that the lock does not say: each blob is read before it is served."""

from __future__ import annotations

import hashlib
import io
from email.parser import BytesParser
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.headers.serve import Mirror, _folders, _Handler
from orchestrator.headers.store import Store
from tests.unit.headers import samples

if TYPE_CHECKING:
    from pathlib import Path

DATA = b"a header\n" * 100
SHA = hashlib.sha256(DATA).hexdigest()


def mirror(store: Store) -> Mirror:
    """A server that listens nowhere."""
    made = Mirror.__new__(Mirror)
    made.store, made.verified = store, set()
    return made


def test_a_damaged_blob_is_not_good(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.add(io.BytesIO(DATA), SHA)
    store.path(SHA).chmod(0o644)
    store.path(SHA).write_bytes(DATA[:-1] + b"x")
    server = mirror(store)
    assert not server.good(SHA)
    assert not server.good(SHA), "asked twice, it is still damaged"
    assert server.verified == set()


def test_a_blob_that_is_missing_is_not_good_until_it_is_there(tmp_path: Path) -> None:
    store = Store(tmp_path)
    server = mirror(store)
    assert not server.good(SHA)
    store.add(io.BytesIO(DATA), SHA)
    assert server.good(SHA)


def test_a_good_blob_is_read_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(io.BytesIO(DATA), SHA)
    server = mirror(store)
    assert server.good(SHA)
    store.path(SHA).unlink()
    assert server.good(SHA)


class Answer:
    """What the server answers, read from the bytes that it writes."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        status, _, fields = head.partition(b"\r\n")
        self.status = int(status.split()[1])
        self.fields = dict(BytesParser().parsebytes(fields).items())


@pytest.fixture
def served(tmp_path: Path) -> Mirror:
    """A server of the small bundle that listens nowhere."""
    store = Store(tmp_path)
    lock = samples.bundle(tmp_path, store)
    made = mirror(store)
    made.files = {file.path: file for file in lock.files}
    made.folders = _folders(made.files)
    made.said = []  # type: ignore[attr-defined]
    made.log = made.said.append  # type: ignore[attr-defined]
    return made


def asked(server: Mirror, path: str, method: str = "GET", **fields: str) -> Answer:
    """Ask the server as a connection does: the handler reads and writes bytes."""
    handler: Any = _Handler.__new__(_Handler)
    handler.server, handler.client_address, handler.wfile = server, ("127.0.0.1", 1), io.BytesIO()
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *(f"{name.replace('_', '-')}: {v}" for name, v in fields.items())]
    handler.rfile = io.BytesIO("\r\n".join([*lines, "", ""]).encode())
    handler.handle_one_request()
    return Answer(handler.wfile.getvalue())


META = f"{samples.BMM}/include/flashinferMetaInfo.h"
BYTES = b"// bmm meta\n"
TAG = f'"{samples.sha(BYTES)}"'


@pytest.mark.parametrize(
    "path", [META, f"/{META}", f"//{META}", f"/{META}?x=1", META.replace("/include", "%2Finclude")]
)
def test_a_file_is_served_whole(served: Mirror, path: str) -> None:
    found = asked(served, path)
    assert (found.status, found.body) == (200, BYTES)
    kinds = ("Content-Type", "Content-Length", "Accept-Ranges", "ETag", "Content-Range")
    assert [found.fields.get(name) for name in kinds] == ["application/octet-stream", "12", "bytes", TAG, None]
    head = asked(served, path, "HEAD")
    assert (head.status, head.body, head.fields["Content-Length"]) == (200, b"", "12")
    assert any("GET" in line and "200" in line for line in served.said)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("span", "more", "status", "body", "said"),
    [
        ("bytes=0-3", {}, 206, b"// b", "bytes 0-3/12"),
        ("bytes=3-", {}, 206, b"bmm meta\n", "bytes 3-11/12"),
        ("bytes=-5", {}, 206, b"meta\n", "bytes 7-11/12"),
        ("bytes=-99", {}, 200, BYTES, None),
        ("bytes=5-99", {}, 206, b"m meta\n", "bytes 5-11/12"),
        ("bytes=11-11", {}, 206, b"\n", "bytes 11-11/12"),
        ("bytes=12-", {}, 416, b"", "bytes */12"),
        ("bytes=-0", {}, 416, b"", "bytes */12"),
        ("bytes=5-4", {}, 416, b"", "bytes */12"),
        ("bytes=0-11", {}, 200, BYTES, None),
        ("bytes=-", {}, 200, BYTES, None),
        ("bytes=0-1,3-4", {}, 200, BYTES, None),
        ("lines=0-3", {}, 200, BYTES, None),
        ("bytes=0-3", {"If_Range": TAG}, 206, b"// b", "bytes 0-3/12"),
        ("bytes=0-3", {"If_Range": '"other"'}, 200, BYTES, None),
    ],
)
def test_a_part_of_a_file(
    served: Mirror, span: str, more: dict[str, str], status: int, body: bytes, said: str | None
) -> None:
    found = asked(served, f"/{META}", Range=span, **more)
    assert (found.status, found.body, found.fields.get("Content-Range")) == (status, body, said)
    assert found.fields["Content-Length"] == str(len(body))


def test_a_folder_lists_its_names_one_link_a_line(served: Mirror) -> None:
    found = asked(served, f"/{samples.BMM}/include/")
    assert found.status == 200
    assert found.fields["Content-Type"] == "text/html; charset=utf-8"
    assert found.body.decode() == (
        f"<!DOCTYPE html>\n<title>/{samples.BMM}/include</title>\n<pre>\n"
        '<a href="flashinferMetaInfo.h">flashinferMetaInfo.h</a>\n'
        '<a href="trtllmGen_bmm_export/">trtllmGen_bmm_export/</a>\n</pre>\n'
    )
    assert found.fields["Content-Length"] == str(len(found.body))
    root = asked(served, "/")
    assert [line for line in root.body.decode().splitlines() if "href" in line] == [
        f'<a href="{name[:40]}/">{name[:40]}/</a>' for name in sorted((samples.BMM, samples.GEMM, samples.FMHA))
    ]
    assert asked(served, f"/{samples.BMM}/include", "HEAD").body == b""


def test_what_the_lock_does_not_name_is_not_there(served: Mirror) -> None:
    for path in ("/none", f"/{META}/more", f"/{samples.BMM}/../{META}", f"/{samples.BMM}/Bmm_sm100f.cubin"):
        found = asked(served, path)
        assert (found.status, found.body) == (404, b"not in this bundle\n")
        assert found.fields["Content-Type"] == "text/plain; charset=utf-8"


def test_what_is_damaged_in_the_store_is_not_served(served: Mirror) -> None:
    blob = served.store.path(samples.sha(BYTES))
    blob.chmod(0o644)
    blob.write_bytes(b"x" * 12)
    found = asked(served, f"/{META}")
    assert (found.status, found.body) == (500, b"missing or damaged in the store\n")


def test_the_folders_of_paths() -> None:
    assert _folders(["a/b/x", "a/y", "z"]) == {"": {"a/", "z"}, "a": {"b/", "y"}, "a/b": {"x"}}
    assert _folders([]) == {"": set()}


def test_the_address_for_flashinfer(tmp_path: Path) -> None:
    server = mirror(Store(tmp_path))
    server.server_address = ("127.0.0.1", 8080)
    assert server.url == "http://127.0.0.1:8080/"
