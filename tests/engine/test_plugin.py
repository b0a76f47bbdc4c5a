"""buildx started without the docker client says and does what it says and does behind it."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator import process
from orchestrator.engine import beyond
from orchestrator.engine.client import docker_command
from orchestrator.engine.plugin import direct

if TYPE_CHECKING:
    from collections.abc import Sequence

BAKE = 'target "app" {\n  dockerfile-inline = "FROM scratch\\nARG A\\nLABEL a=$A\\n"\n  args = {A = "1"}\n}\n'


def both(root: Path, words: Sequence[str]) -> tuple[process.Completed, process.Completed]:
    """The answers of the plugin alone, and through the client."""
    whole = (*docker_command(), "buildx", *words)
    argv, env = direct(whole)
    if argv == whole:
        pytest.skip("the docker client of this machine is not known to start its plugin")
    return process.run(argv, cwd=root, env=env), process.run(whole, cwd=root)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["bake", "-f", "docker-bake.hcl", "--print", "app"], 0),
        (["bake", "-f", "docker-bake.hcl", "--call=outline,format=json", "app"], 0),
        (["bake", "-f", "docker-bake.hcl", "--print", "none"], 1),
        (["bake", "-f", "missing.hcl", "app"], 1),
        (["bake", "--no-such-option"], 125),
        (["inspect", "no-such-builder"], 1),
        (["version"], 0),
    ],
)
def test_the_answer_is_the_clients(engine: str, tmp_path: Path, words: list[str], code: int) -> None:
    (tmp_path / "docker-bake.hcl").write_text(BAKE)
    alone, behind = both(tmp_path, words)
    assert (alone.returncode, alone.stdout) == (behind.returncode, behind.stdout)
    assert bool(alone.returncode) == bool(code)
    assert last(alone) == last(behind)


def last(done: process.Completed) -> list[str]:
    """What is wrong, without the progress, whose times differ."""
    return [line for line in done.stderr.splitlines() if not line.startswith(("#", "docker:"))][-3:]


def test_a_build_names_the_same_image(engine: str, tmp_path: Path) -> None:
    (tmp_path / "docker-bake.hcl").write_text(BAKE)
    words = ["bake", "-f", "docker-bake.hcl", "--metadata-file", "out.json", "--set", "app.output=type=cacheonly"]
    found: list[set[str]] = []
    for whole in ((*docker_command(), "buildx", *words, "app"),) * 2:
        argv, env = direct(whole) if not found else (whole, {})
        process.run(argv, cwd=tmp_path, env=env)
        found.append(json.loads((tmp_path / "out.json").read_text())["app"].keys() | set())
    assert found[0] == found[1]


def test_the_context_of_the_client_is_the_plugins(engine: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A build goes where docker goes: an engine that is not there is not there for the plugin either."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    (tmp_path / "docker-bake.hcl").write_text(BAKE)
    alone, behind = both(tmp_path, ["bake", "-f", "docker-bake.hcl", "app"])
    assert alone.returncode == behind.returncode != 0
    assert f"{tmp_path}/none.sock" in alone.stderr


def test_a_broken_plugin_is_told_by_the_client(engine: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file that no machine runs, before the real one on the client's way."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    path = tmp_path / "cli-plugins/docker-buildx"
    path.parent.mkdir()
    path.write_text("no program\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    done = beyond.inspect_builder()
    assert done.argv[0] == docker_command()[0]
    path.unlink()
    assert Path(beyond.inspect_builder().argv[0]).name == "docker-buildx" or not elf(docker_command()[0])


def elf(program: str) -> bool:
    with Path(program).open("rb") as file:
        return file.read(4) == b"\x7fELF"
