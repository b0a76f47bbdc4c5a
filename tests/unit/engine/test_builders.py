"""Builders, read from what a real `docker buildx ls --format json` wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from orchestrator.engine import beyond, builders
from orchestrator.engine.builders import Builder, choose, parse_builders, parse_inspected
from orchestrator.errors import EnvironmentLacksError
from orchestrator.process import Completed

RECORDED = Path(__file__).parent / "recorded"


def recorded(name: str = "builders.jsonl", *, containerd_store: bool = True) -> tuple[Builder, ...]:
    found = parse_builders((RECORDED / name).read_text())
    return tuple(replace(builder, containerd_store=containerd_store) for builder in found)


def test_all_drivers_are_read() -> None:
    found = {builder.name: builder for builder in recorded()}
    assert {name: builder.driver for name, builder in found.items()} == {
        "default": "docker",
        "eng1-idle": "docker-container",
        "eng1-broken": "remote",
    }
    assert found["default"].current
    assert found["default"].running
    assert "linux/amd64" in found["default"].platforms
    assert not found["eng1-idle"].running


def test_a_builder_that_has_not_started_is_believed() -> None:
    idle = choose(recorded(), "eng1-idle")
    assert idle.platforms == ()
    assert idle.builds("linux/arm64")
    assert not choose(recorded()).builds("linux/arm64")


def test_only_the_docker_driver_needs_the_containerd_store() -> None:
    classic = {builder.name: builder for builder in recorded(containerd_store=False)}
    assert not classic["default"].full
    assert not classic["default"].exports_cache("registry")
    assert classic["default"].exports_cache("inline")
    assert classic["eng1-idle"].exports_cache("registry")
    assert choose(recorded()).exports_cache("registry")


def test_the_current_one_is_chosen_unless_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose(recorded()).name == "default"
    monkeypatch.setenv(builders.BUILDER_VARIABLE, "eng1-idle")
    assert choose(recorded()).name == "eng1-idle"
    assert choose(recorded(), "default").name == "default"


def test_an_unknown_builder_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(EnvironmentLacksError) as caught:
        choose(recorded(), "eng1-idel")
    assert caught.value.hint == "did you mean eng1-idle?"


def test_a_builder_that_cannot_be_loaded_says_why() -> None:
    with pytest.raises(EnvironmentLacksError, match="Cannot connect to the Docker daemon"):
        choose(recorded("builders-unreachable.jsonl"))


def test_without_any_builder_there_is_a_cure() -> None:
    with pytest.raises(EnvironmentLacksError) as caught:
        choose(())
    assert "docker buildx use" in caught.value.hint


def test_an_error_of_a_node_is_the_builders() -> None:
    line = '{"Name":"k","Driver":"kubernetes","Current":true,"Nodes":[{"Name":"k0","Err":"no such cluster"}]}'
    with pytest.raises(EnvironmentLacksError, match="no such cluster"):
        choose(parse_builders(line))


def test_platforms_set_by_hand_lose_their_star() -> None:
    line = '{"Name":"b","Driver":"remote","Nodes":[{"Status":"running","Platforms":["linux/arm64*","linux/amd64"]}]}'
    (builder,) = parse_builders(line)
    assert builder.platforms == ("linux/amd64", "linux/arm64")


@given(st.text())
def test_any_text_is_read_without_a_traceback(text: str) -> None:
    assert parse_builders(text) == ()


def answer(monkeypatch: pytest.MonkeyPatch, stdout: str, *, code: int = 0, stderr: str = "") -> list[float]:
    """Let buildx answer; the list gets the limits that it is asked under."""
    asked: list[float] = []

    def listing(*, timeout: float) -> Completed:
        asked.append(timeout)
        return Completed(argv=("docker",), returncode=code, stdout=stdout, stderr=stderr)

    monkeypatch.setattr(beyond, "list_builders", listing)
    return asked


def test_all_builders_are_listed_under_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (RECORDED / "builders.jsonl").read_text()
    asked = answer(monkeypatch, text)
    assert builders.listed() == parse_builders(text)
    builders.listed(timeout=2)
    assert asked == [60, 2]
    answer(monkeypatch, text, code=1, stderr="one endpoint is broken")  # the others are there
    assert len(builders.listed()) == 3


def test_a_list_that_fails_says_why_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, "", code=1, stderr="x\nERROR: no route to tcp://me:secret@10.0.0.1\n")
    with pytest.raises(EnvironmentLacksError) as caught:
        builders.listed()
    assert caught.value.message == "`docker buildx ls` failed: no route to tcp://10.0.0.1"
    answer(monkeypatch, "")
    assert builders.listed() == ()


@pytest.mark.parametrize("store", [True, False])
def test_the_engine_says_what_its_builder_stores(monkeypatch: pytest.MonkeyPatch, store: bool) -> None:
    monkeypatch.delenv(builders.BUILDER_VARIABLE, raising=False)
    assert builders.selected(choose(recorded()), containerd_store=store).containerd_store is store


@pytest.mark.parametrize(
    ("driver", "endpoint", "elsewhere"),
    [
        ("docker", "default", False),
        ("docker-container", "unix:///var/run/docker.sock", False),
        ("docker-container", "tcp://10.0.0.1:2376", True),
        ("docker-container", "ssh://me@host", True),
        ("docker", "http://host", True),
        ("docker", "https://host", True),
        ("remote", "unix:///run/buildkit.sock", True),
        ("kubernetes", "", True),
    ],
)
def test_which_builders_are_not_on_this_engines_machine(driver: str, endpoint: str, elsewhere: bool) -> None:
    nodes = (builders.Node(name="n", endpoint=endpoint, running=True),)
    builder = Builder(name="b", driver=driver, platforms=(), running=True, nodes=nodes)
    assert builder.elsewhere is elsewhere


INSPECTED = """\
Name:          farm
Driver:        remote
Last Activity: 2026-03-04 12:00:00 +0000 UTC

Nodes:
Name:             farm0
Endpoint:         tcp://a.lan:1234
Driver Options:   cacert="/ca.pem" servername="b \\"q\\" c"
Status:           running
BuildKit version: v0.29.1
Platforms:        linux/amd64, linux/amd64/v2,  linux/386
Labels:
 org.mobyproject.buildkit.worker.executor:         oci
GC Policy rule#0:
 All:            false

Name:      farm1
Endpoint:  tcp://b.lan:1234
Error:     no route to host
"""


def test_what_inspect_prints_is_read() -> None:
    found = parse_inspected(INSPECTED)
    assert found is not None
    assert (found.name, found.driver, found.error) == ("farm", "remote", "no route to host")
    assert [(node.name, node.endpoint) for node in found.nodes] == [
        ("farm0", "tcp://a.lan:1234"), ("farm1", "tcp://b.lan:1234"),
    ]  # fmt: skip
    assert found.nodes[0].options == {"cacert": "/ca.pem", "servername": 'b "q" c'}
    assert found.nodes[1].options == {}
    assert found.platforms == ("linux/386", "linux/amd64", "linux/amd64/v2")
    for other in ("", "ERROR: no builder\n", INSPECTED.replace("Driver:        remote\n", "")):
        assert parse_inspected(other) is None


WHOLE = """\
Name:          farm
Driver:        remote
Last Activity: 2026-11-26 10:00:00 +0000 UTC

Nodes:
Name:                  one
Endpoint:              tcp://a:1234
Driver Options:        cacert="/x y/ca.pem" cert="a\\"b" env.X="1"
Status:                running
BuildKit daemon flags: --debug
BuildKit version:      v0.16.0
Platforms:             linux/amd64*, linux/amd64/v2,  linux/arm64
Labels:
 org.x: Name
GC Policy rule#0:
 All: false
Name:      two
Endpoint:  tcp://b:1234
Error:     it is down
"""


def test_every_field_of_what_inspect_prints() -> None:
    found = parse_inspected(WHOLE)
    assert found is not None
    assert (found.name, found.driver, found.running, found.error) == ("farm", "remote", True, "it is down")
    assert found.platforms == ("linux/amd64", "linux/amd64/v2", "linux/arm64")
    one, two = found.nodes
    assert (one.name, one.endpoint, one.running, one.version) == ("one", "tcp://a:1234", True, "v0.16.0")
    assert one.options == {"cacert": "/x y/ca.pem", "cert": 'a"b', "env.X": "1"}
    assert (two.name, two.endpoint, two.running, two.version, two.options) == ("two", "tcp://b:1234", False, "", {})
    broken = parse_inspected(WHOLE.replace("Last Activity: 2026", "Error: no such host\nLast Activity: 2026"))
    assert broken is not None
    assert broken.error == "no such host"
    asleep = parse_inspected(WHOLE.replace("running", "inactive"))
    assert asleep is not None
    assert not asleep.running


@pytest.mark.parametrize("text", ["", "Name: x\n", "Driver: docker\n", "nothing", "Nodes:\nName: x\nDriver: y\n"])
def test_a_text_that_is_no_builders(text: str) -> None:
    found = parse_inspected(text)
    assert found is None or (found.name, found.driver) == ("x", "y")
