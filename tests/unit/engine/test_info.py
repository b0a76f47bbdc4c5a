"""What the engine says of itself, read from what real ones wrote (recorded/) and from what others write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.info import parse_info
from orchestrator.errors import EnvironmentLacksError

RECORDED = Path(__file__).parent / "recorded"


def read(name: str) -> str:
    return (RECORDED / name).read_text()


def test_the_recorded_engine() -> None:
    info = parse_info(read("info.json"), "")
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
    info = parse_info(json.dumps(values), "")
    assert not info.containerd_store
    assert info.platform == "linux/arm64"


@pytest.mark.parametrize(
    ("machine", "platform"),
    [
        ("x86_64", "linux/amd64"), ("armv7l", "linux/arm/v7"), ("armv6l", "linux/arm/v6"), ("i686", "linux/386"),
        ("riscv64", "linux/riscv64"),
    ],
)  # fmt: skip
def test_the_machine_has_the_name_that_images_have(machine: str, platform: str) -> None:
    values = json.loads(read("info.json")) | {"Architecture": machine}
    assert parse_info(json.dumps(values), "").platform == platform


@pytest.mark.parametrize(
    ("stderr", "says", "hint"),
    [
        (
            "Cannot connect to the Docker daemon at tcp://127.0.0.1:1. Is the docker daemon running?\n",
            "tcp://",
            "start",
        ),
        ("permission denied while trying to connect to the docker API at unix:///x\n", "permission", "usermod"),
        ('unable to resolve docker endpoint: context "nope": context not found: x\n', "context", "docker context ls"),
        ("", "the Docker engine does not answer", "start the Docker engine"),
    ],
)
def test_no_engine_is_an_error_with_the_reason_and_a_hint(stderr: str, says: str, hint: str) -> None:
    with pytest.raises(EnvironmentLacksError) as caught:
        parse_info(read("info-unreachable.json"), stderr)
    assert says in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.exit_code == 5


def test_the_engines_own_reason_comes_first() -> None:
    with pytest.raises(EnvironmentLacksError, match="the reason"):
        parse_info(json.dumps({"ServerErrors": ["the reason"]}), "errors pretty printing info\n")


@given(st.text(), st.text())
def test_any_answer_is_an_engine_or_a_clear_error(stdout: str, stderr: str) -> None:
    with pytest.raises(EnvironmentLacksError):
        parse_info(stdout, stderr)
