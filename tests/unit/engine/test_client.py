"""What the engine and buildx say, read from what real ones wrote (recorded/) and from what others write."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine import client
from orchestrator.engine.client import FEATURES, FLOOR, Buildx, Version
from orchestrator.errors import EnvironmentLacksError

RECORDED = Path(__file__).parent / "recorded"


def read(name: str) -> str:
    return (RECORDED / name).read_text()


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
def test_buildx_versions_of_every_spelling(line: str, expected: Version) -> None:
    assert client.parse_buildx(line + "\n").version == expected


def test_the_recorded_buildx() -> None:
    assert client.parse_buildx(read("buildx-version.txt")).version == version(0, 29, 1)


@pytest.mark.parametrize("text", ["", "\n", "docker: 'buildx' is not a docker command.", "github.com/docker/buildx"])
def test_no_version_is_an_error_with_a_cure(text: str) -> None:
    with pytest.raises(EnvironmentLacksError) as caught:
        client.parse_buildx(text)
    assert "install buildx" in caught.value.hint


def test_features_follow_the_version() -> None:
    old = Buildx(version=version(0, 23), text="")
    assert old.supports("history")
    assert old.lacking("history") == ""
    assert not old.supports("du-json")
    assert old.lacking("du-json") == "needs buildx >= 0.28, found 0.23.0: the cache table has no sizes"
    assert Buildx(version=version(1, 0), text="").supports("imagetools-metadata-file")
    assert all(feature.without and feature.since.major == 0 for feature in FEATURES.values())


def test_versions_compare_by_number_not_by_text() -> None:
    assert version(0, 9) < FLOOR < version(0, 100)


def test_the_recorded_engine() -> None:
    info = client.parse_info(read("info.json"), "")
    assert info.version == "28.5.2+dfsg4"
    assert info.containerd_store
    assert info.platform == "linux/amd64"
    assert info.cpus == 2
    assert info.memory == 25276510208
    assert info.root == "/var/lib/docker"


def test_the_classic_store_is_told_from_containerds() -> None:
    values = json.loads(read("info.json")) | {
        "Driver": "overlay2",
        "DriverStatus": [["Backing Filesystem", "extfs"], ["Supports d_type", "true"]],
        "Architecture": "aarch64",
    }
    info = client.parse_info(json.dumps(values), "")
    assert not info.containerd_store
    assert info.platform == "linux/arm64"


@pytest.mark.parametrize(
    ("stderr", "says", "cure"),
    [
        (
            "Cannot connect to the Docker daemon at tcp://127.0.0.1:1. Is the docker daemon running?\n",
            "tcp://",
            "start",
        ),
        ("permission denied while trying to connect to the docker API at unix:///x\n", "let you in", "usermod"),
        ('unable to resolve docker endpoint: context "nope": context not found: x\n', "context", "docker context ls"),
        ("", "no Docker engine answers", "start the Docker engine"),
    ],
)
def test_no_engine_is_an_error_with_the_reason_and_its_cure(stderr: str, says: str, cure: str) -> None:
    with pytest.raises(EnvironmentLacksError) as caught:
        client.parse_info(read("info-unreachable.json"), stderr)
    assert says in caught.value.message
    assert cure in caught.value.hint
    assert caught.value.exit_code == 5


def test_the_engines_own_reason_comes_first() -> None:
    with pytest.raises(EnvironmentLacksError, match="the reason"):
        client.parse_info(json.dumps({"ServerErrors": ["the reason"]}), "errors pretty printing info\n")


@given(st.text(), st.text())
def test_any_answer_is_an_engine_or_a_clear_error(stdout: str, stderr: str) -> None:
    with pytest.raises(EnvironmentLacksError):
        client.parse_info(stdout, stderr)


def test_the_client_that_the_user_names_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "my-docker"
    mine.touch(mode=0o755)
    monkeypatch.setenv(client.CLIENT_VARIABLE, str(mine))
    assert client.docker_command() == (str(mine),)


def test_a_missing_client_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(EnvironmentLacksError, match="no docker client"):
        client.docker_command()
    monkeypatch.setenv(client.CLIENT_VARIABLE, "/nonexistent/docker")
    with pytest.raises(EnvironmentLacksError, match="/nonexistent/docker"):
        client.docker_command()


def test_free_bytes_are_those_of_an_engine_of_this_machine_alone(tmp_path: Path) -> None:
    values = json.loads(read("info.json")) | {"DockerRootDir": str(tmp_path)}
    there = client.parse_info(json.dumps(values | {"Name": "somewhere-else"}), "")
    here = client.parse_info(json.dumps(values | {"Name": platform.node()}), "")
    assert client.free_bytes(there) is None
    free = client.free_bytes(here)
    assert free is not None
    assert free > 0
