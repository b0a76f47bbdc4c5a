"""`orchestrate plugin`: the script that it writes, and what it leaves alone; tests/e2e calls it through docker."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import pytest

from orchestrator import __version__, process
from orchestrator.cli import app, plugin


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return tmp_path / "docker" / "cli-plugins" / "docker-orchestrate"


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = app.run(["plugin", *words])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_it_is_written_and_taken_away(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    installed = f"{path}: installed; docker orchestrate --help shows that it works\n"
    assert said(capsys, "install") == (0, installed, "")
    assert (path.read_text(), path.stat().st_mode & 0o777) == (plugin.script(), 0o755)
    path.write_text(path.read_text() + "# of an older version\n")
    assert said(capsys, "install") == (0, installed, "")
    assert path.read_text() == plugin.script()
    assert said(capsys, "remove") == said(capsys, "remove") == (0, f"{path}: removed\n", "")
    assert not path.exists()


def test_a_plugin_of_somebody_else_stays(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\n")
    refused = f"error: {path}: is there and was not written by orchestrate\nhint: move it away: mv {path} {path}.old\n"
    for action in ("install", "remove"):
        assert said(capsys, action) == (2, "", refused)
    path.unlink()
    path.mkdir()
    assert said(capsys, "install") == (5, "", f"error: {path}: cannot be read: Is a directory\n")
    path.rmdir()
    path.parent.rmdir()
    path.parent.write_text("")
    code, out, err = said(capsys, "install")
    assert (code, out) == (5, "")
    assert err.startswith(f"error: {path}: cannot be ")


def test_what_the_client_asks_of_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = plugin.script().splitlines()
    assert lines[:3] == [
        "#!/bin/sh",
        "# Made by `orchestrate plugin install`.",
        'if [ "$1" = docker-cli-plugin-metadata ]; then',
    ]
    assert json.loads(shlex.split(lines[3])[2]) == {
        "SchemaVersion": "0.1.0",
        "Vendor": "The build orchestrator authors",
        "Version": __version__,
        "ShortDescription": "Build CUDA container images from one matrix.yaml",
    }
    assert lines[-1] == f'exec {shlex.join(process.python())} -m orchestrator "$@"'
    assert plugin.place() == path
    monkeypatch.setenv("DOCKER_CONFIG", "")
    monkeypatch.setenv("HOME", "/home/me")
    assert plugin.place() == Path("/home/me/.docker/cli-plugins/docker-orchestrate")
    assert os.environ["DOCKER_CONFIG"] == ""
