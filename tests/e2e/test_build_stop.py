"""`orchestrate build` with the installed command: signals in the middle, and the first failure as a reason to stop."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.project import Project, wait_for_line, write_project

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.support.engine import Registry

NOWHERE = "127.0.0.1:5000/unused"


def signalled(run: subprocess.Popen[str], *numbers: signal.Signals) -> tuple[float, str]:
    """Send signals half a second apart: seconds until the command has ended, and what it said."""
    asked = time.monotonic()
    for number in numbers:
        run.send_signal(number)
        time.sleep(0.5)
    said, _ = run.communicate(timeout=30)
    return time.monotonic() - asked, said


def client(folder: Path, match: str, do: str) -> dict[str, str]:
    """The real docker client, but for one kind of call."""
    path = folder / "docker"
    path.write_text(f'#!/bin/sh\ncase "$*" in *{match}*) echo there >"$0.called"; {do};; esac\nexec docker "$@"\n')
    path.chmod(0o755)
    return {"ORCHESTRATE_DOCKER": str(path)}


def wait_for(path: Path, run: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert run.poll() is None, run.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_of_a_step(engine: str, tmp_path: Path, number: signal.Signals) -> None:
    project = write_project(tmp_path, NOWHERE, slow="RUN echo asleep; sleep 200", later="RUN echo fine")
    run = project.start()
    try:
        wait_for_line(run, project, "slow", "| asleep")
        assert any("buildx" in line for line in project.processes())
        seconds, said = signalled(run, number)
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 130, said
    assert seconds < 15
    assert project.processes() == []
    assert "Traceback" not in said
    found = project.reported()
    assert [variant["status"] for variant in found.values()] == ["cancelled", "cancelled"]
    assert {variant["error"]["message"] for variant in found.values()} == {"stopped by a signal"}
    assert (found["slow"]["attempts"], found["later"]["attempts"], found["later"]["log"]) == (1, 0, None)


@pytest.mark.parametrize("match", ["--print", "--call=outline"])
def test_a_signal_during_the_preflight(engine: str, tmp_path: Path, match: str) -> None:
    project = write_project(tmp_path, NOWHERE, app="RUN echo fine")
    run = project.start(env=client(tmp_path, match, "exec sleep 200"))
    try:
        wait_for(tmp_path / "docker.called", run)
        seconds, said = signalled(run, signal.SIGTERM)
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 130, said
    assert seconds < 5
    assert project.processes() == []
    assert "Traceback" not in said
    assert [variant["status"] for variant in project.reported().values()] == ["cancelled"]


def test_a_second_signal_does_not_wait(engine: str, tmp_path: Path) -> None:
    project = write_project(tmp_path, NOWHERE, app="RUN echo fine")
    run = project.start(env=client(tmp_path, "rawjson", "trap '' TERM INT; exec sleep 200"))
    try:
        wait_for(tmp_path / "docker.called", run)
        seconds, said = signalled(run, signal.SIGINT, signal.SIGINT)
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 130, said
    assert seconds < 5  # a client that does not listen is given ten
    assert project.processes() == []
    assert project.reported()["app"]["status"] == "cancelled"


def test_a_signal_during_the_verification(registry: Registry, tmp_image: str, tmp_path: Path) -> None:
    project = write_project(tmp_path, tmp_image, app="RUN echo fine")
    run = project.start("--push", "--verify", env=client(tmp_path, "save", "exec sleep 200"))
    try:
        wait_for(tmp_path / "docker.called", run)
        seconds, said = signalled(run, signal.SIGTERM)
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 130, said
    assert seconds < 5
    assert project.processes() == []
    found = project.reported()["app"]
    assert (found["status"], found["error"]["message"]) == ("cancelled", "stopped by a signal")
    (held,) = registry.tags(tmp_image.partition("/")[2])
    assert held.startswith("unverified-app-cu130-amd64-2")


def test_the_first_failure_cancels_the_others(engine: str, tmp_path: Path) -> None:
    project = write_project(tmp_path, NOWHERE, slow="RUN sleep 100", bad="RUN sleep 1; exit 3", later="RUN echo fine")
    asked = time.monotonic()
    done = project.build("--fail-fast", "--jobs", "2")
    assert time.monotonic() - asked < 30
    assert done.returncode == 1
    found = project.reported()
    assert {target: variant["status"] for target, variant in found.items()} == {
        "slow": "cancelled",
        "bad": "failed",
        "later": "cancelled",
    }
    assert found["slow"]["error"]["message"] == "cancelled because bad-cu130-amd64 failed (--fail-fast)"
    assert project.processes() == []


def test_a_reader_that_goes_away_changes_nothing(engine: str, tmp_path: Path) -> None:
    project: Project = write_project(tmp_path, NOWHERE, app="RUN sleep 1; exit 9")
    run = project.start()
    assert run.stdout is not None
    run.stdout.close()
    assert run.wait(timeout=60) == 1
    assert project.reported()["app"]["error"]["message"] == "exit code: 9"


def test_a_second_run_in_a_directory_waits_for_the_first_and_says_so(engine: str, tmp_path: Path) -> None:
    project = write_project(tmp_path, NOWHERE, slow="RUN echo asleep; sleep 4; echo awake")
    first = project.start()
    try:
        wait_for_line(first, project, "slow", "| asleep")
        second = project.build()
        said, _ = first.communicate(timeout=30)
    finally:
        first.kill()
    assert (first.returncode, second.returncode) == (0, 0), said + second.stderr
    assert f"waiting: orchestrate with process id {first.pid} on " in second.stderr
    assert project.reported()["slow"]["steps"]["cached"] == 3  # it began when the first had ended


def test_a_run_that_waited_builds_what_the_bake_file_says_then(engine: str, tmp_path: Path) -> None:
    project = write_project(tmp_path, NOWHERE, slow="RUN echo asleep; sleep 4; echo awake")
    bake = project.root / "docker-bake.json"
    (project.root / "Other").write_text((project.root / "Dockerfile").read_text() + "RUN echo from the other\n")
    first = project.start()
    try:
        wait_for_line(first, project, "slow", "| asleep")
        second = project.start()
        assert second.stdout is not None
        assert "waiting: " in second.stdout.readline()
        content = json.loads(bake.read_text())
        content["target"]["slow"]["dockerfile"] = "Other"
        bake.write_text(json.dumps(content))
        said, _ = second.communicate(timeout=60)
    finally:
        first.communicate(timeout=30)
    assert (first.returncode, second.returncode) == (0, 0), said
    assert project.reported()["slow"]["steps"]["total"] == 4


def test_a_signal_ends_the_waiting_for_another_run(engine: str, tmp_path: Path) -> None:
    project = write_project(tmp_path, NOWHERE, slow="RUN echo asleep; sleep 200")
    first = project.start()
    try:
        wait_for_line(first, project, "slow", "| asleep")
        second = project.start()
        assert second.stdout is not None
        assert "waiting: " in second.stdout.readline()
        seconds, _ = signalled(second, signal.SIGTERM)
    finally:
        first.send_signal(signal.SIGTERM)
        first.communicate(timeout=30)
    assert (second.returncode, first.returncode) == (130, 130)
    assert seconds < 5
