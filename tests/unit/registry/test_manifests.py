"""Manifests: the bytes are kept, the digest is theirs, and what two clients read differently is refused."""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.reference import Digest
from orchestrator.registry.errors import DamagedAnswerError
from orchestrator.registry.manifests import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    digest_of,
    read,
)

IMAGE = {"schemaVersion": 2, "config": {}, "layers": []}
INDEX = {"schemaVersion": 2, "manifests": []}


def raw(content: Any) -> bytes:
    return json.dumps(content, indent=3).encode()


@pytest.mark.parametrize(
    ("content", "announced", "media_type"),
    [
        (IMAGE, OCI_MANIFEST, OCI_MANIFEST),
        (IMAGE, f"{DOCKER_MANIFEST}; charset=utf-8", DOCKER_MANIFEST),
        (INDEX, DOCKER_LIST, DOCKER_LIST),
        ({**INDEX, "mediaType": OCI_INDEX}, OCI_INDEX, OCI_INDEX),
        ({**IMAGE, "mediaType": DOCKER_MANIFEST}, "application/json", DOCKER_MANIFEST),
        (IMAGE, "", OCI_MANIFEST),
        (INDEX, "text/plain", OCI_INDEX),
    ],
)
def test_a_manifest_keeps_its_bytes(content: dict[str, Any], announced: str, media_type: str) -> None:
    data = raw(content)
    found = read(data, announced)
    assert (found.raw, found.media_type, found.content) == (data, media_type, content)
    assert str(found.digest) == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert found.index == (media_type in (OCI_INDEX, DOCKER_LIST))
    assert found.descriptor == Descriptor(media_type=media_type, digest=found.digest, size=len(data))
    assert found.descriptor.to_json() == {"mediaType": media_type, "digest": str(found.digest), "size": len(data)}


@pytest.mark.parametrize(
    ("data", "announced", "words"),
    [
        (b"", OCI_INDEX, "expected JSON"),
        (b"{", OCI_INDEX, "expected JSON"),
        (b"\xff", OCI_INDEX, "expected JSON"),
        pytest.param(b"[" * 100_000, OCI_INDEX, "expected JSON", id="deep"),
        pytest.param(b'{"a": ' + b"9" * 10_000 + b"}", OCI_INDEX, "expected JSON", id="large number"),
        (b"[]", OCI_INDEX, "expected a JSON object"),
        (raw({**IMAGE, **INDEX}), OCI_INDEX, "manifests or layers, found both"),
        (raw({**INDEX, "config": {}}), OCI_INDEX, "manifests or layers, found both"),
        (raw({**IMAGE, "mediaType": OCI_MANIFEST}), DOCKER_MANIFEST, "media type does not match"),
        (raw({**INDEX, "mediaType": 7}), OCI_INDEX, "media type does not match"),
        (raw(IMAGE), OCI_INDEX, "manifests was not found"),
        (raw(INDEX), OCI_MANIFEST, "layers was not found"),
    ],
)
def test_what_is_no_manifest_is_one_error(data: bytes, announced: str, words: str) -> None:
    with pytest.raises(DamagedAnswerError, match=words):
        read(data, announced)


def test_the_digest_is_the_one_that_was_asked_for() -> None:
    data = raw(IMAGE)
    wide = digest_of(data, Digest("sha512:" + "0" * 128))
    assert str(wide) == f"sha512:{hashlib.sha512(data).hexdigest()}"
    assert read(data, OCI_MANIFEST, expected=wide).digest == wide
    for other in (digest_of(b"other"), digest_of(b"other", wide)):
        with pytest.raises(DamagedAnswerError, match="the digest does not match"):
            read(data, OCI_MANIFEST, expected=other)


@given(st.binary(max_size=200) | st.recursive(st.none() | st.text(max_size=5) | st.integers(), st.lists).map(raw))
def test_any_bytes_are_a_manifest_or_one_error(data: bytes) -> None:
    with contextlib.suppress(DamagedAnswerError):
        assert read(data).raw == data
