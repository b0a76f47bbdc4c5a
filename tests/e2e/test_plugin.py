"""`docker orchestrate`: the docker client finds the plugin, passes its options on and returns its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(tmp_path: Path, engine: str) -> Path:
    """A docker configuration of its own with the plugin in it."""
    done = orchestrate(tmp_path, "plugin", "install")
    assert done.returncode == 0, done.stderr
    return tmp_path


def orchestrate(config: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return run(config, sys.executable, "-m", "orchestrator", *argv)


def run(config: Path, *argv: str | Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "DOCKER_CONFIG": str(config)}
    return subprocess.run(argv, env=env, cwd=ROOT, text=True, capture_output=True, timeout=120, check=False)


def test_docker_lists_and_runs_it(config: Path) -> None:
    assert "orchestrate*" in run(config, "docker", "--help").stdout
    plugins = json.loads(run(config, "docker", "info", "--format", "{{json .ClientInfo.Plugins}}").stdout)
    (ours,) = [one for one in plugins if one["Name"] == "orchestrate"]
    assert ours.get("Err") is None
    done = run(config, "docker", "orchestrate", "plan", "-C", str(ROOT), "--format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["variants"]


def test_exit_codes_and_options_of_docker_arrive(config: Path) -> None:
    assert run(config, "docker", "orchestrate", "plan", "--cuda", "9.9").returncode == 2
    done = run(config, "docker", "--host", "tcp://127.0.0.1:9", "orchestrate", "doctor")
    assert done.returncode == 5
    assert "127.0.0.1:9" in done.stdout + done.stderr
    refused = run(config, "docker", "--debug", "orchestrate", "plan")
    assert (refused.returncode, "--debug of docker is not supported" in refused.stderr) == (2, True)


def test_nothing_of_the_directory_is_imported(config: Path, tmp_path: Path) -> None:
    """The directory may hold an untrusted checkout; each of these modules is one that the program imports."""
    for name in ("click", "orchestrator", "json", "typing"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the directory')\n")
    env = {**os.environ, "DOCKER_CONFIG": str(config)}
    done = subprocess.run(
        ["docker", "orchestrate", "--version"], env=env, cwd=tmp_path, text=True, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_it_is_removed_and_a_foreign_one_is_left_alone(config: Path) -> None:
    path = config / "cli-plugins/docker-orchestrate"
    assert orchestrate(config, "plugin", "remove").returncode == 0
    assert not path.exists()
    assert orchestrate(config, "plugin", "remove").returncode == 0
    path.write_text("#!/bin/sh\n")
    for action in ("install", "remove"):
        done = orchestrate(config, "plugin", action)
        assert (done.returncode, "was not written by orchestrate" in done.stderr) == (2, True)
    assert path.read_text() == "#!/bin/sh\n"
