"""The registry's client against Debian's docker-registry: what it stores, reads, denies and deletes."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.errors import NetworkError
from orchestrator.reference import Digest, Repository, Tag, parse, repository
from orchestrator.registry.client import Registry
from orchestrator.registry.clients import every
from orchestrator.registry.copy import copy_image
from orchestrator.registry.credentials import Credentials, find
from orchestrator.registry.errors import DamagedAnswerError, DeniedError, NotFoundError
from orchestrator.registry.manifests import OCI_INDEX, OCI_MANIFEST, Manifest, digest_of, read
from orchestrator.registry.removal import remove_tag
from tests.support.engine import MakeFaulty, MakeRegistry, call
from tests.support.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

USER, PASSWORD = "me", "s3:cret"
HTPASSWD = f"{USER}:$2b$05$Oizmo2nWyuhk6OH6SpCOSO/9RDKyCLCCCXQ2El5cwjWcFhX6QSfeq"
BLOB = bytes(range(256)) * 20_000
CONFIG = b'{"os": "linux"}'
NOT_THESE_BYTES = b'{"errors":[{"code":"DIGEST_INVALID","message":"provided digest did not match uploaded content"}]}'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A docker configuration of this test's own."""
    directory = tmp_path / "docker"
    directory.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(directory))
    return directory


@pytest.fixture
def client(throwaway_registry: MakeRegistry) -> Iterator[Registry]:
    with Registry(Repository(host=throwaway_registry().address, path="acme/app")) as made:
        yield made


def pieces(data: bytes) -> Callable[[], list[bytes]]:
    return lambda: [data[:1000], data[1000:]]


def stored(client: Registry, **more: Any) -> Manifest:
    """An image of one layer in the registry, under no tag yet."""
    descriptors = []
    for data in (CONFIG, BLOB):
        digest = digest_of(data)
        client.upload(digest, len(data), pieces(data))
        descriptors.append({"mediaType": "application/octet-stream", "digest": str(digest), "size": len(data)})
    content = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptors[0], "layers": descriptors[1:]}
    return read(json.dumps({**content, **more}, indent=1).encode())


def test_what_is_stored_is_read_back(client: Registry) -> None:
    manifest = stored(client)
    assert client.head(Tag("v1")) is None
    assert client.tags() == ()
    client.put_manifest(manifest, Tag("v1"))
    assert client.head(Tag("v1")) == client.head(manifest.digest) == manifest.descriptor
    assert client.manifest(Tag("v1")) == client.manifest(manifest.digest) == manifest
    assert client.blob(digest_of(CONFIG)) == CONFIG
    sink = io.BytesIO()
    client.stream(digest_of(BLOB), len(BLOB), sink)
    assert sink.getvalue() == BLOB
    index = read(json.dumps({"schemaVersion": 2, "manifests": [manifest.descriptor.to_json()]}).encode(), OCI_INDEX)
    client.put_manifest(index, index.digest)
    assert client.manifest(index.digest) == index
    assert client.tags() == (Tag("v1"),)


def test_docker_reads_what_was_stored(client: Registry) -> None:
    manifest = stored(client)
    client.put_manifest(manifest, Tag("v1"))
    raw = call("docker", "buildx", "imagetools", "inspect", "--raw", f"{client.repository}:v1").stdout
    assert raw.encode() == manifest.raw


def test_what_is_not_there(client: Registry) -> None:
    nothing = digest_of(b"nothing")
    for ask in (client.manifest, client.blob, lambda digest: client.stream(digest, 7, io.BytesIO())):
        with pytest.raises(NotFoundError, match=rf"acme/app: (manifest|blob) {nothing} was not found"):
            ask(nothing)
    assert not client.has_blob(nothing)
    assert client.head(nothing) is None
    assert client.delete(nothing) is False
    assert client.referrers(nothing) == ()


def test_a_manifest_is_deleted(client: Registry) -> None:
    manifest = stored(client)
    client.put_manifest(manifest, Tag("v1"))
    assert client.delete(manifest.digest) is True
    assert client.head(Tag("v1")) is None


def test_what_the_registry_refuses_says_why(client: Registry) -> None:
    manifest = stored(client)
    with pytest.raises(Exception, match="status 400, provided digest did not match uploaded content"):
        client.upload(digest_of(b"other"), 5, lambda: [b"12345"])
    content = {**manifest.content, "layers": [{"mediaType": "x", "digest": str(digest_of(b"no")), "size": 2}]}
    with pytest.raises(Exception, match=r"manifest v1: the request failed: status 400, .*unknown"):
        client.put_manifest(read(json.dumps(content).encode()), Tag("v1"))


def test_a_blob_is_mounted_from_another_repository(client: Registry) -> None:
    stored(client)
    with Registry(Repository(host=client.repository.host, path="acme/other")) as other:
        assert not other.has_blob(digest_of(BLOB))
        assert other.mount(digest_of(BLOB), client.repository)
        assert other.has_blob(digest_of(BLOB))
        assert not other.mount(digest_of(b"nothing"), client.repository)


def test_every_tag_is_listed(client: Registry) -> None:
    manifest = stored(client)
    names = {f"t{number}" for number in range(300)}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: client.put_manifest(manifest, Tag(name)), names))
    assert {str(tag) for tag in client.tags()} == names


def test_referrers_are_found_by_the_tag_that_clients_write(client: Registry) -> None:
    subject = stored(client)
    client.put_manifest(subject, Tag("v1"))
    notes = stored(client, artifactType="application/example")
    client.put_manifest(notes, notes.digest)
    index = read(json.dumps({"schemaVersion": 2, "manifests": [notes.descriptor.to_json()]}).encode(), OCI_INDEX)
    client.put_manifest(index, Tag(str(subject.digest).replace(":", "-")))
    assert client.referrers(subject.digest) == (notes.descriptor,)


def test_a_blob_of_another_size_is_refused(client: Registry) -> None:
    stored(client)
    for size, words in ((len(BLOB) - 1, "too large"), (len(BLOB) + 1, "does not match its digest"), (0, "0 of 0")):
        with pytest.raises(DamagedAnswerError, match=words):
            client.stream(digest_of(BLOB), size, io.BytesIO())
    with pytest.raises(DamagedAnswerError, match="too large: expected 10 bytes at most"):
        client.blob(digest_of(CONFIG), limit=10)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(path="/blobs/uploads/", method="POST", status=503),
        Fault(path="/blobs/uploads/", method="PUT", status=500),
        Fault(path="/blobs/uploads/", method="PUT", reset=True),
        Fault(path="/manifests/", method="PUT", status=429, headers={"Retry-After": "1"}),
        Fault(path="/manifests/", method="HEAD", reset=True, times=2),
        # what distribution 2.8 says of a manifest while it writes the link to one of its layers
        Fault(path="/manifests/", method="PUT", status=400, times=2, body=NOT_THESE_BYTES),
        Fault(path="/blobs/uploads/", method="PUT", status=400, body=NOT_THESE_BYTES),
    ],
)
def test_writes_are_tried_again(fault: Fault, throwaway_registry: MakeRegistry, faulty_registry: MakeFaulty) -> None:
    proxy = faulty_registry(fault, upstream=throwaway_registry().address)
    with Registry(parse(f"{proxy.address}/app").repository) as client:
        manifest = stored(client)
        client.put_manifest(manifest, Tag("v1"))
        assert client.head(Tag("v1")) == manifest.descriptor
    assert proxy.count(method=fault.method, path=fault.path) > 1


def test_what_stays_refused_is_tried_as_often_as_any_other(
    throwaway_registry: MakeRegistry, faulty_registry: MakeFaulty
) -> None:
    refused = Fault(path="/manifests/", method="PUT", status=400, times=-1, body=NOT_THESE_BYTES)
    proxy = faulty_registry(refused, upstream=throwaway_registry().address)
    with Registry(parse(f"{proxy.address}/app").repository) as client:
        manifest = stored(client)
        with pytest.raises(NetworkError, match="400, provided digest did not match uploaded content, after 4 attempts"):
            client.put_manifest(manifest, manifest.digest)
    assert proxy.count(method="PUT", path="/manifests/") == 4


def test_a_blob_that_several_images_share_is_sent_once(
    throwaway_registry: MakeRegistry, faulty_registry: MakeFaulty
) -> None:
    address = throwaway_registry().address
    late = Fault(path="/blobs/uploads/", method="PUT", status=0, delay=0.5, times=-1)
    proxy = faulty_registry(late, upstream=throwaway_registry().address)
    with (
        Registry(Repository(host=address, path="acme/app")) as source,
        Registry(parse(f"{proxy.address}/app").repository) as target,
    ):
        images = [stored(source, annotations={"image": str(number)}) for number in range(4)]
        for image in images:
            source.put_manifest(image, image.digest)
        every(lambda image: copy_image(source, target, image.digest), images)
        assert [target.manifest(image.digest) for image in images] == images
    assert proxy.count(method="PUT", path="/blobs/uploads/") == 2  # the configuration and the layer


# -- login --------------------------------------------------------------------------------------------------


def login(host: str, password: str = PASSWORD) -> None:
    call("docker", "login", "--username", USER, "--password", password, host)


def test_docker_login_opens_a_registry(throwaway_registry: MakeRegistry, home: Path) -> None:
    host = throwaway_registry(htpasswd=HTPASSWD).address
    with Registry(repository(f"{host}/app")) as client:
        with pytest.raises(DeniedError, match="access is denied") as caught:
            client.head(Tag("v1"))
        assert caught.value.hint == f"docker login {host}"
    login(host)
    assert find(host) == Credentials(user=USER, password=PASSWORD)
    with Registry(repository(f"{host}/app")) as client:
        manifest = stored(client)
        client.put_manifest(manifest, Tag("v1"))
        assert client.manifest(Tag("v1")) == manifest
    auth = base64.b64encode(f"{USER}:wrong".encode()).decode()
    (home / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))
    with Registry(repository(f"{host}/app")) as client, pytest.raises(DeniedError, match="access is denied"):
        client.manifest(Tag("v1"))


def test_docker_takes_the_same_helper(
    throwaway_registry: MakeRegistry, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The helper of `docker login` is the one that is asked, and its complaint is shown where access is denied."""
    host = throwaway_registry(htpasswd=HTPASSWD).address
    folder = home / "bin"
    folder.mkdir()
    helper = folder / "docker-credential-kept"
    helper.write_text(
        f"#!/bin/sh\ncase $1 in\n store) cat >{home}/kept ;;\n"
        f' get) read -r key; [ "$key" = {host} ] && [ -e {home}/kept ] && cat {home}/kept ||'
        " { echo credentials not found in native keychain; exit 1; } ;;\nesac\n"
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    (home / "config.json").write_text(json.dumps({"credHelpers": {host: "kept"}}))
    with (
        Registry(repository(f"{host}/app")) as client,
        pytest.raises(DeniedError, match="not found in native keychain"),
    ):
        client.head(Tag("v1"))
    login(host)
    assert find(host) == Credentials(user=USER, password=PASSWORD)
    (home / "config.json").write_text(json.dumps({"credsStore": "gone"}))
    assert re.search("docker-credential-gone .*not", find(host).trouble)


def test_threads_share_one_login(throwaway_registry: MakeRegistry, faulty_registry: MakeFaulty, home: Path) -> None:
    """Eight first requests are refused at once; each of them must find that another one has logged in."""
    proxy = faulty_registry(
        Fault(path="/manifests/", status=0, delay=0.5, times=8),
        upstream=throwaway_registry(htpasswd=HTPASSWD).address,
    )
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    (home / "config.json").write_text(json.dumps({"auths": {proxy.address: {"auth": auth}}}))
    together = threading.Barrier(8)

    def ask(client: Registry) -> object:
        together.wait()
        return client.head(Tag("none"))

    with Registry(repository(f"{proxy.address}/app")) as client, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, [client] * 8)) == [None] * 8
    assert (proxy.count(status=401), proxy.count(status=404)) == (8, 8)


def test_a_name_that_the_registry_does_not_know(client: Registry) -> None:
    with Registry(Repository(host=client.repository.host, path=f"x-{uuid.uuid4().hex}")) as other:
        assert other.tags() == ()
        assert other.head(Tag("latest")) is None
        assert other.head(Digest("sha512:" + "0" * 128)) is None


# -- removal -----------------------------------------------------------------------------------------------------------


def test_a_tag_is_removed_and_nothing_else(client: Registry) -> None:
    image = stored(client)
    for name in ("held", "release", "other"):
        client.put_manifest(image, Tag(name))
    remove_tag(client, Tag("held"))
    assert client.head(Tag("held")) is None
    assert sorted(map(str, client.tags())) == ["other", "release"]
    assert client.manifest(Tag("release")) == client.manifest(image.digest) == image
    remove_tag(client, Tag("held"))  # once more: it is gone
    remove_tag(client, Tag("other"))
    assert [str(tag) for tag in client.tags()] == ["release"]


def test_a_registry_that_cannot_delete_is_left_as_it_was(
    throwaway_registry: MakeRegistry, faulty_registry: MakeFaulty
) -> None:
    address = throwaway_registry().address
    proxy = faulty_registry(Fault(path="/", method="DELETE", status=405, times=-1), upstream=address)
    with Registry(Repository(host=proxy.address, path="acme/app")) as client:
        image = stored(client)
        client.put_manifest(image, Tag("held"))
        with pytest.raises(NetworkError, match="status 405"):
            remove_tag(client, Tag("held"))
        assert client.manifest(Tag("held")) == image
