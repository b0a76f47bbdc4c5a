"""Which client is asked, how it is called, and what its failures become; that calls end is tests/engine's."""

from __future__ import annotations

import ast
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import orchestrator
from orchestrator import process
from orchestrator.engine import client, images
from orchestrator.errors import EnvironmentLacksError, InterruptedRunError
from tests.support.source import nodes

if TYPE_CHECKING:
    from python_on_whales import DockerClient


@pytest.fixture(autouse=True)
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A docker client that the user names; it is never started here."""
    path = tmp_path / "my docker"
    path.touch(mode=0o755)
    monkeypatch.setenv(client.CLIENT_VARIABLE, str(path))
    return str(path)


def failing(argv: list[str], code: int, stderr: bytes | None) -> None:
    from python_on_whales.exceptions import DockerException

    def question(_: DockerClient) -> None:
        raise DockerException(argv, code, b"", stderr)

    client.ask(question)


def test_the_client_that_the_user_names_is_taken(mine: str) -> None:
    assert client.docker_command() == (mine,)


def test_a_missing_client_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setenv(client.CLIENT_VARIABLE, "/nonexistent/docker")
    with pytest.raises(EnvironmentLacksError, match="/nonexistent/docker"):
        client.docker_command()
    monkeypatch.delenv(client.CLIENT_VARIABLE)
    with pytest.raises(EnvironmentLacksError, match="docker client was not found"):
        client.docker_command()
    with pytest.raises(EnvironmentLacksError, match="docker client was not found"):
        client.ask(lambda docker: docker.version())


def test_both_doors_call_the_same_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from python_on_whales import DockerClient

    monkeypatch.setenv("DOCKER_HOST", "tcp://other:2375")
    monkeypatch.setenv("DOCKER_CONTEXT", "other")
    whales = [str(word) for word in DockerClient(client_call=client.client_call(tmp_path / "pid", 7)).docker_cmd]
    own = list(client.docker_command())
    assert whales[-len(own) :] == own  # and neither --host nor --context after it: they are in the environment
    assert whales[-len(own) - 4 : -len(own)][1:] == ["-k", "2", "7"]
    assert whales[-len(own) - 4].endswith("timeout")


def test_a_machine_without_timeout_still_has_a_client(
    tmp_path: Path, mine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert client.client_call(tmp_path / "pid", 7)[3:] == [str(tmp_path / "pid"), mine]


def test_a_failure_says_what_docker_says_and_nothing_secret(mine: str) -> None:
    argv = ["/bin/sh", "-c", "x", "/tmp/pid", "timeout", "-k", "2", "30", mine, "pull", "https://bob:secret@host/a b"]
    stderr = b"Pulling\nERROR: https://bob:secret@host/v2/: 503 Service Unavailable\n"
    with pytest.raises(client.DockerFailedError) as caught:
        failing(argv, 1, stderr)
    assert caught.value.message == (
        "`docker pull 'https://host/a b'` failed: https://host/v2/: 503 Service Unavailable"
    )
    assert caught.value.reason == "https://host/v2/: 503 Service Unavailable"
    assert caught.value.returncode == 1
    assert caught.value.exit_code == 5
    assert caught.value.__cause__ is None  # -v/--verbose shows causes, and whales' message holds everything


@pytest.mark.parametrize("code", [124, 137])
def test_the_end_of_the_limit_is_told_from_a_failure(mine: str, code: int) -> None:
    with pytest.raises(EnvironmentLacksError, match="no answer within 30 s: docker info") as caught:
        failing([mine, "info"], code, b"")
    assert not isinstance(caught.value, client.DockerFailedError)
    with pytest.raises(client.DockerFailedError, match="its own reason"):
        failing([mine, "info"], code, b"its own reason")


def test_a_failure_in_no_encoding_is_a_failure(mine: str) -> None:
    with pytest.raises(client.DockerFailedError, match="no such thing: \ufffd"):
        failing([mine, "info"], 1, b"no such thing: \xff")


def test_an_answer_that_cannot_be_read_is_a_failure() -> None:
    def question(_: DockerClient) -> object:
        import json

        return json.loads("{")

    with pytest.raises(client.DockerFailedError, match="cannot be read"):
        client.ask(question)


def test_a_fault_of_ours_stays_one() -> None:
    with pytest.raises(ZeroDivisionError):
        client.ask(lambda _: 1 // 0)


def test_a_stop_ends_the_wait() -> None:
    stop, ended = process.Stop(), threading.Event()
    threading.Timer(0.05, stop.set).start()
    threading.Timer(0.3, ended.set).start()  # the process that a kill would have ended
    with process.stoppable(stop), pytest.raises(InterruptedRunError):
        client.ask(lambda _: ended.wait(20))
    assert ended.is_set()


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("Cannot connect to the Docker daemon at tcp://127.0.0.1:1. Is the docker daemon running?", "systemctl"),
        ("failed to connect to the docker API at unix:///x", "systemctl"),
        ("permission denied while trying to connect to the docker API at unix:///x", "usermod"),
        ('unable to resolve docker endpoint: context "nope": context not found: x', "docker context ls"),
    ],
)
def test_hints_follow_the_reason(reason: str, word: str) -> None:
    assert word in client.hint(reason)
    assert word in client.unreachable(reason).hint


def test_other_reasons_have_no_hint_of_their_own() -> None:
    assert client.hint("pull access denied for acme/app: permission denied") == ""
    assert client.hint("503 Service Unavailable") == ""
    assert "start the Docker engine" in client.unreachable("EOF").hint


@pytest.mark.parametrize("name", ["", "--help", "-f"])
def test_an_option_is_not_the_name_of_an_image(name: str) -> None:
    assert images.held(name) is None


def test_no_other_module_writes_the_clients_name_into_a_command() -> None:
    """`["docker", "buildx", …]` ignores $ORCHESTRATE_DOCKER. Commands that are only shown are not run."""
    root = Path(orchestrator.__file__).parent
    shown = {"cli/plan.py", "engine/client.py"}
    wrong = {
        f"{path.relative_to(root)}:{node.lineno}"
        for path in root.rglob("*.py")
        if str(path.relative_to(root)) not in shown and '"docker"' in path.read_text(encoding="utf-8")
        for node in nodes(path)
        if isinstance(node, ast.List | ast.Tuple)
        and any(isinstance(one, ast.Constant) and one.value == "docker" for one in node.elts)
    }
    assert not wrong


GROUP = "join its group (usermod -aG docker YOU, then log in again), or run this as root"
CONTEXT = "see `docker context ls`, then `docker context use NAME`, or unset DOCKER_CONTEXT"


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("Permission denied while trying to connect to the docker API", GROUP), ("permission denied", ""),
        ("docker", ""),
        ('context "x": context not found: open endpoint', CONTEXT), ("context not found", ""),
        ("endpoint not found", ""),
        ("context endpoint", ""),
    ],
)  # fmt: skip
def test_a_hint_is_for_its_reason_alone(reason: str, said: str) -> None:
    assert client.hint(reason) == said


@pytest.mark.parametrize(
    "reason", ["Cannot connect to the Docker daemon at x", "failed to connect to the docker API at x"]
)
def test_an_engine_that_does_not_answer(reason: str) -> None:
    error = client.unreachable(reason)
    assert error.message == f"the Docker engine does not answer: {reason}"
    assert error.hint == client.hint(reason) == client.unreachable("EOF").hint
    assert client.unreachable("permission denied, docker").hint == GROUP
