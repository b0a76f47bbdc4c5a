"""`orchestrate build` where its state directory, its terminal or its start is disturbed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.project import COMMAND, wait_for_line, write_project

if TYPE_CHECKING:
    from tests.support.engine import Registry

NOWHERE = "127.0.0.1:5000/unused"


@pytest.mark.parametrize("name", ["", "runs"])
def test_a_state_directory_that_leads_elsewhere_is_refused(engine: str, tmp_path: Path, name: str) -> None:
    project = write_project(tmp_path, NOWHERE, app="RUN echo fine")
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "precious").mkdir(parents=True)
    link = project.root / ".orchestrate" / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(elsewhere)
    done = project.build()
    assert done.returncode == 5, done.stdout
    assert "expected no link out of the project" in done.stderr
    assert [path.name for path in elsewhere.iterdir()] == ["precious"]
    for words in (("plan", "--preflight"), ("cache", "explain", "app-cu130-amd64")):
        assert project.run(*words).returncode == 5


def test_a_state_directory_that_is_removed_in_the_middle_comes_back(registry: Registry, tmp_path: Path) -> None:
    one, two = "RUN echo asleep; sleep 3; echo awake", "RUN echo fine"
    project = write_project(tmp_path, registry.repository("removed"), one=one, two=two)
    run = project.start("--push")
    try:
        wait_for_line(run, project, "one", "| asleep")
        shutil.rmtree(project.root / ".orchestrate")
        said, _ = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == 0, said
    assert {variant["status"] for variant in project.reported().values()} == {"built"}
    log = project.log("one")
    assert log is not None
    assert "| awake" in log.read_text()
    state = project.root / ".orchestrate"
    assert [str(path) for path in (state, *state.rglob("*")) if path.stat().st_mode & 0o077] == []


def test_both_streams_on_a_full_disk(engine: str, tmp_path: Path) -> None:
    project = write_project(tmp_path, NOWHERE, app="RUN echo fine")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [str(COMMAND), "build", "--report", str(project.report)], cwd=project.root, env=project.environment(),
            stdin=subprocess.DEVNULL, stdout=full, stderr=full, timeout=60,
        )  # fmt: skip
    assert done.returncode == 5
    assert project.reported()["app"]["status"] == "built"


def test_a_reader_that_goes_away(engine: str, tmp_path: Path) -> None:
    project = write_project(tmp_path, NOWHERE, app="RUN echo fine")
    run = project.start()
    assert run.stdout is not None
    run.stdout.close()
    assert run.wait(timeout=60) == 0
    assert project.reported()["app"]["status"] == "built"


def catches(run: subprocess.Popen[str], number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal."""
    lines = Path(f"/proc/{run.pid}/status").read_text().splitlines()
    caught = next(line for line in lines if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


@pytest.mark.parametrize("wait_s", [0, 0.1, 0.2, 0.4, 0.8])
def test_a_hangup_in_the_first_second(engine: str, tmp_path: Path, wait_s: float) -> None:
    project = write_project(tmp_path, NOWHERE, app="RUN echo asleep; sleep 200")
    run = project.start()
    try:
        while not catches(run, signal.SIGHUP):  # an interpreter that begins catches none
            assert run.poll() is None
            time.sleep(0.001)
        time.sleep(wait_s)
        run.send_signal(signal.SIGHUP)
        said, _ = run.communicate(timeout=30)
    finally:
        run.kill()
    assert run.returncode == 130, said
    assert "Traceback" not in said
    if project.report.exists() or wait_s >= 0.4:
        found = json.loads(project.report.read_text())["variants"]
        assert {variant["status"] for variant in found} <= {"cancelled"}
