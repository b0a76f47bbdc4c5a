"""References against docker's own grammar: what is read, what is refused, and what each part is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.reference import (
    Digest,
    InvalidReferenceError,
    Reference,
    Tag,
    host_of,
    is_loopback,
    layout_directory,
    parse,
    repository,
)

SHA = "sha256:" + "0f" * 32


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("ubuntu", "docker.io/library/ubuntu"),
        ("ubuntu:24.04", "docker.io/library/ubuntu:24.04"),
        ("acme/app", "docker.io/acme/app"),
        ("index.docker.io/acme/app", "docker.io/acme/app"),
        ("docker.io/ubuntu", "docker.io/library/ubuntu"),
        ("localhost/app", "localhost/app"),
        ("localhost:5000/app:v1", "localhost:5000/app:v1"),
        ("127.0.0.1:5000/a/b-c__d.e:V_1", "127.0.0.1:5000/a/b-c__d.e:V_1"),
        ("[::1]:5000/app", "[::1]:5000/app"),
        ("ghcr.io/acme/app:v1@" + SHA, "ghcr.io/acme/app:v1@" + SHA),
        ("app@" + SHA, "docker.io/library/app@" + SHA),
        ("REGISTRY/app", "REGISTRY/app"),  # capitals make a host, as docker reads it
        ("host:5000/app", "host:5000/app"),
        ("a---b/c", "docker.io/a---b/c"),
    ],
)
def test_a_reference_is_read_as_docker_reads_it(text: str, whole: str) -> None:
    assert str(parse(text)) == whole
    assert str(parse(whole)) == whole


@pytest.mark.parametrize(
    "text",
    ["", ":", "@", "app:", "app@", "App", "acme/App", "app:-v", "app:.v", "app:" + "v" * 129, "a..b", "a/", "/a",
     "a//b", "a_-b", "app@sha256:abc", "app@" + SHA + "0", "-h.io/app", "h.io:x/app", "h_x.io/app", "app tag", "app\n",
     "https://ghcr.io/app", "0" * 64, "a" * 300, "ä", "app:ä", "[::1/app"],
)  # fmt: skip
def test_what_docker_refuses_is_refused(text: str) -> None:
    with pytest.raises(InvalidReferenceError):
        parse(text)


def test_a_name_in_capitals_is_corrected() -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        repository("ghcr.io/Acme/App")
    assert caught.value.hint == "did you mean acme/app?"


def test_the_parts_have_types_of_their_own() -> None:
    found = parse(f"ghcr.io/acme/app:v1@{SHA}")
    assert found == Reference(repository=repository("ghcr.io/acme/app"), tag=Tag("v1"), digest=Digest(SHA))
    assert (found.selector, found.pinned) == (SHA, True)
    assert (parse("app:v1").selector, parse("app").selector, parse("app").pinned) == ("v1", "latest", False)
    assert repository("ubuntu").api == "https://registry-1.docker.io/v2/library/ubuntu"
    assert repository("localhost:5000/a").api == "http://localhost:5000/v2/a"


@pytest.mark.parametrize(
    ("text", "directory"),
    [
        ("oci-layout://out/base", "out/base"),
        ("oci-layout://out/base:v1", "out/base"),
        ("oci-layout://out/base@" + SHA, "out/base"),
        ("oci-layout:///a/b:v1@" + SHA, "/a/b"),
        ("oci-layout://a:b/c", "a:b/c"),
        ("oci-layout://a@b/c", "a@b/c"),
    ],
)
def test_the_directory_of_a_layout(text: str, directory: str) -> None:
    assert layout_directory(text) == directory


def test_loopback_and_hosts() -> None:
    assert all(is_loopback(host) for host in ("localhost", "localhost:1", "127.0.0.1", "127.9.9.9:80", "[::1]:5000"))
    assert not any(is_loopback(host) for host in ("127.example.com", "localhost.evil.com", "ghcr.io", "::1", "127.1x"))
    assert (host_of("a/b"), host_of("Not Valid")) == ("docker.io", "")


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse(text)
    except InvalidReferenceError:
        return
    assert parse(str(found)) == found
