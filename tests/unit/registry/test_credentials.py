"""Credentials of the docker client: what `docker login` wrote, in every form that it has written."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator import process
from orchestrator.registry.auth import choose
from orchestrator.registry.credentials import Credentials, find

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

AUTH = base64.b64encode(b"me:se:cret").decode()
ME = Credentials(user="me", password="se:cret")


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    def write(config: Any) -> None:
        (tmp_path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))

    return write


@pytest.mark.parametrize(
    ("key", "host"),
    [
        ("ghcr.io", "ghcr.io"),
        ("https://ghcr.io", "ghcr.io"),
        ("https://ghcr.io/v1/", "ghcr.io"),
        ("http://127.0.0.1:5000", "127.0.0.1:5000"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "docker.io"),
    ],
)
def test_an_entry_belongs_to_its_host(key: str, host: str, configured: Callable[[Any], None]) -> None:
    configured({"auths": {"other.io": {"auth": base64.b64encode(b"x:y").decode()}, key: {"auth": AUTH}}})
    assert find(host) == ME
    assert find("ghcr.io.example.com") == Credentials()
    assert find("evil.io") == Credentials()


def test_the_forms_of_an_entry(configured: Callable[[Any], None]) -> None:
    configured({
        "auths": {
            "a.io": {"identitytoken": "t", "auth": AUTH}, "b.io": {"username": "me", "password": "se:cret"},
            "c.io": {"auth": "%%%"}, "d.io": 7, "e.io": {}, "f.io": {"auth": base64.b64encode(b":x").decode()},
            "g.io": {"auth": base64.b64encode(b"\xff:x").decode()}, "h.io": {"auth": []},
        }
    })  # fmt: skip
    assert find("a.io") == Credentials(identity_token="t")
    assert find("b.io") == ME
    for host in ("c.io", "d.io", "e.io", "f.io", "g.io", "h.io"):
        assert find(host) == Credentials(), host


@pytest.mark.parametrize(
    "config",
    ["", "[1", "[]", "7", '{"auths": [1]}', '{"auths": {"ghcr.io": [1]}}', '{"credHelpers": 7, "credsStore": {}}',
     "[" * 100_000],
)  # fmt: skip
def test_a_configuration_that_cannot_be_read_holds_nothing(config: str, configured: Callable[[Any], None]) -> None:
    configured(config)
    assert find("ghcr.io") == Credentials()


def test_no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "none"))
    assert find("ghcr.io") == Credentials()


def test_a_secret_is_not_shown() -> None:
    assert "cret" not in repr(ME)
    assert "hidden" not in repr(Credentials(identity_token="hidden"))
    assert ME.basic == f"Basic {AUTH}"
    assert Credentials().basic == ""


@pytest.mark.parametrize(
    ("challenges", "scheme", "values"),
    [
        ([], "", {}),
        (['Basic realm="x"'], "basic", {"realm": "x"}),
        (
            ['Bearer realm="https://a/t",service="s",scope="repository:a:pull,push"'],
            "bearer",
            {"realm": "https://a/t", "service": "s", "scope": "repository:a:pull,push"},
        ),
        (
            ['Basic realm="x"', "bearer Realm=https://a/t , service=s"],
            "bearer",
            {"realm": "https://a/t", "service": "s"},
        ),
        (["Negotiate", "BASIC"], "basic", {}),
        (["Digest x=1"], "", {}),
    ],
)
def test_the_challenge_to_answer(challenges: list[str], scheme: str, values: dict[str, str]) -> None:
    assert choose(challenges) == (scheme, values)


@pytest.fixture
def helper(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[tuple[str, ...], str | None]]]:
    """A credential helper, and what it was asked."""

    def say(stdout: str, code: int = 0, stderr: str = "") -> list[tuple[tuple[str, ...], str | None]]:
        asked: list[tuple[tuple[str, ...], str | None]] = []

        def run(argv: Sequence[str], *, stdin: str | None, timeout: float) -> process.Completed:
            assert timeout > 0
            asked.append((tuple(argv), stdin))
            return process.Completed(argv=tuple(argv), returncode=code, stdout=stdout, stderr=stderr)

        monkeypatch.setattr(process, "run", run)
        return asked

    return say


def test_a_helper_of_the_host_comes_before_the_store(
    configured: Callable[[Any], None], helper: Callable[..., list[tuple[tuple[str, ...], str | None]]]
) -> None:
    configured({"credHelpers": {"ghcr.io": "gh"}, "credsStore": "all", "auths": {"ghcr.io": {"auth": AUTH}}})
    asked = helper('{"Username": "you", "Secret": "s"}')
    assert find("ghcr.io") == Credentials(user="you", password="s")
    assert find("docker.io") == Credentials(user="you", password="s")
    assert asked == [
        (("docker-credential-gh", "get"), "ghcr.io"),
        (("docker-credential-all", "get"), "https://index.docker.io/v1/"),
    ]
    helper('{"Username": "<token>", "Secret": "refresh"}')
    assert find("ghcr.io") == Credentials(identity_token="refresh")
    configured({"credHelpers": {"ghcr.io": ""}, "auths": {"ghcr.io": {"auth": AUTH}}})
    asked = helper("{}")
    assert find("ghcr.io") == ME
    assert asked == []


def test_a_helper_that_fails_leaves_the_entry_and_says_why(
    configured: Callable[[Any], None], helper: Callable[..., list[tuple[tuple[str, ...], str | None]]]
) -> None:
    configured({"credsStore": "all", "auths": {"ghcr.io": {"auth": AUTH}}})
    helper("credentials not found\nin store", code=1)
    assert find("ghcr.io") == ME
    assert find("a.io").trouble == "docker-credential-all ended with status 1: credentials not found in store"
    helper("", code=2, stderr="locked")
    assert find("a.io").trouble == "docker-credential-all ended with status 2: locked"
    for answer in ("x", "[" * 100_000):
        helper(answer)
        assert find("a.io").trouble == "the answer of docker-credential-all is invalid: expected JSON"
