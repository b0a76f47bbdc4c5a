"""Versions of buildx, in every spelling of those who package it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.engine import client
from orchestrator.engine.version import COMFORT, FLOOR, Version, buildx_version, parse_version
from orchestrator.errors import EnvironmentLacksError
from orchestrator.process import Completed

RECORDED = Path(__file__).parent / "recorded"


def version(major: int, minor: int, patch: int = 0) -> Version:
    return Version(major=major, minor=minor, patch=patch)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("github.com/docker/buildx v0.29.1 a32761aeb3debd39be1eca514af3693af0db334b", version(0, 29, 1)),
        ("github.com/docker/buildx 0.29.1+ds1 0.29.1+ds1-4", version(0, 29, 1)),
        ("github.com/docker/buildx v0.21.1-desktop.2 39c6b6d", version(0, 21, 1)),
        ("github.com/docker/buildx v0.30.0-rc1 1fa9d5e", version(0, 30)),
        ("github.com/docker/buildx 0.13.1+ds1-3 0.13.1+ds1-3", version(0, 13, 1)),
        ("github.com/docker/buildx v1.2.3 x", version(1, 2, 3)),
    ],
)
def test_versions_of_every_spelling(line: str, expected: Version) -> None:
    assert parse_version(line + "\n") == expected


def test_the_recorded_buildx() -> None:
    assert parse_version((RECORDED / "buildx-version.txt").read_text()) == version(0, 29, 1)


@pytest.mark.parametrize("text", ["", "\n", "docker: 'buildx' is not a docker command.", "github.com/docker/buildx"])
def test_no_version_is_an_error_with_a_hint(text: str) -> None:
    with pytest.raises(EnvironmentLacksError) as caught:
        parse_version(text)
    assert "install buildx" in caught.value.hint


def test_versions_compare_by_number_not_by_text() -> None:
    assert version(0, 9) < FLOOR < COMFORT < version(0, 100) < version(1, 0)


def plugins(*found: dict[str, str]) -> str:
    return json.dumps({"ClientInfo": {"Plugins": list(found)}})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What docker was asked; it answers that its buildx is 0.29.1."""
    found: list[tuple[str, ...]] = []

    def docker(*words: str) -> Completed:
        found.append(words)
        text = "github.com/docker/buildx v0.29.1 x"
        return Completed(argv=words, returncode=int(len(found) > 1), stdout=text, stderr="")

    monkeypatch.setattr(client, "docker", docker)
    return found


def test_the_plugin_is_in_what_docker_says_of_itself(asked: list[tuple[str, ...]]) -> None:
    other = {"Name": "compose", "Version": "v2"}
    assert buildx_version(plugins(other, {"Name": "buildx", "Version": "v0.25.0"})) == version(0, 25)
    assert asked == []
    broken = {"Name": "buildx", "Version": "v0.25.0", "Err": "exec format error"}
    assert buildx_version(plugins(other, broken)) == version(0, 29, 1)
    assert asked == [("buildx", "version")]
    with pytest.raises(EnvironmentLacksError, match="the docker client has no buildx plugin") as caught:
        buildx_version(plugins(other))
    assert caught.value.hint


@pytest.mark.parametrize("info", ["", "x", "[]", "{}", '{"ClientInfo": null}', plugins({"Name": "buildx"})])
def test_where_docker_does_not_say_buildx_is_asked(asked: list[tuple[str, ...]], info: str) -> None:
    assert buildx_version(info) == version(0, 29, 1)
    assert len(asked) == 1


def test_an_old_buildx_is_refused(asked: list[tuple[str, ...]]) -> None:
    with pytest.raises(EnvironmentLacksError, match=r"buildx 0\.19\.9 is too old: expected 0\.20 or newer"):
        buildx_version(plugins({"Name": "buildx", "Version": "0.19.9"}))
    assert buildx_version(plugins({"Name": "buildx", "Version": "0.20.0"})) == FLOOR
    assert asked == []
