"""scripts/engine on this machine: it uses what is there, and stops nothing that it did not start."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.engine import SCRIPT, call, request

if TYPE_CHECKING:
    from pathlib import Path

TOOLS = (
    "bash",
    "sh",
    "cat",
    "cut",
    "flock",
    "grep",
    "head",
    "mkdir",
    "rm",
    "sed",
    "seq",
    "sort",
    "tail",
    "timeout",
    "tr",
)


def script(
    *arguments: str, state: Path, registry: str = "", path: str = "", timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """scripts/engine with a state directory of its own."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATE_")}
    env |= {"ORCHESTRATE_ENGINE_STATE": str(state)}
    env |= {"ORCHESTRATE_REGISTRY": registry} if registry else {}
    env |= {"PATH": path} if path else {}
    return subprocess.run([SCRIPT, *arguments], env=env, capture_output=True, text=True, timeout=timeout)


def test_up_uses_what_is_there_however_often(tmp_path: Path, engine: str) -> None:
    before = call("docker", "info", "--format", "{{.ID}} {{.SystemTime}}").stdout.split()[0]
    for _ in range(2):
        done = script("up", state=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "engine: answers, nothing to install" in done.stdout
        assert engine in done.stdout
    assert not (tmp_path / "dockerd.pid").exists()
    assert call("docker", "info", "--format", "{{.ID}}").stdout.split()[0] == before


def test_status_tells_what_answers(tmp_path: Path) -> None:
    script("up", state=tmp_path)
    well = script("status", state=tmp_path)
    assert well.returncode == 0
    assert "was there before" in well.stdout
    ill = script("status", state=tmp_path / "other", registry="127.0.0.1:1")
    assert ill.returncode == 5
    assert "registry: does not answer at 127.0.0.1:1" in ill.stdout


def test_a_registry_beside_a_port_that_is_taken_and_down_stops_it_alone(tmp_path: Path, engine: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = script("up", state=tmp_path, registry=f"127.0.0.1:{port}")
        assert done.returncode == 0, done.stderr
    try:
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("registry: started at ")]
        address = line.rpartition(" ")[2]
        assert address != f"127.0.0.1:{port}"
        assert request("GET", f"http://{address}/v2/")[0] == 200
        assert f"export ORCHESTRATE_REGISTRY={address}" in script("env", state=tmp_path).stdout
    finally:
        down = script("down", state=tmp_path)
    assert down.returncode == 0
    assert "docker-registry: stopped" in down.stdout
    assert "dockerd: not started by this script" in down.stdout
    with pytest.raises(OSError, match="refused"):
        request("GET", f"http://{address}/v2/")
    assert call("docker", "info", "--format", "{{.ServerVersion}}").stdout.strip() == engine


def test_a_port_that_is_bound_and_answers_nobody_is_passed_over(tmp_path: Path, engine: str) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # as the near end of a connection is
        port = bound.getsockname()[1]
        try:
            done = script("up", state=tmp_path, registry=f"127.0.0.1:{port}")
            assert done.returncode == 0, done.stderr
            (line,) = [line for line in done.stdout.splitlines() if line.startswith("registry: started at ")]
            assert line.rpartition(" ")[2] != f"127.0.0.1:{port}"
        finally:
            script("down", state=tmp_path)


def test_a_stale_pid_file_never_costs_a_strangers_process(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (tmp_path / "dockerd.pid").write_text(f"{stranger.pid} 1\n")
        (tmp_path / "docker-registry.pid").write_text("\n")
        done = script("down", state=tmp_path)
        time.sleep(0.2)
        alive = stranger.poll() is None
        stranger.kill()
    assert done.returncode == 0
    assert alive
    assert not (tmp_path / "dockerd.pid").exists()


def test_elsewhere_one_sentence(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found
        (tools / name).symlink_to(found)
    done = script("up", state=tmp_path / "state", path=str(tools))
    assert done.returncode == 5
    assert len(done.stderr.splitlines()) == 1
    assert "install Docker Engine and buildx >= 0.20" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["sideways"], ["up", "--quickly"], ["down", "now"]])
def test_wrong_arguments_exit_2(arguments: list[str], tmp_path: Path) -> None:
    done = script(*arguments, state=tmp_path)
    assert done.returncode == 2
    assert "--help" in done.stderr


def test_help_is_a_result() -> None:
    done = call(SCRIPT, "--help")
    assert "Commands:" in done.stdout
