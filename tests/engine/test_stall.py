"""Builds whose builder goes silent, and what is left when this program is killed: the installed command."""

from __future__ import annotations

import os
import re
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.bridge import bridge
from tests.support.isolated_engine import isolated_engine
from tests.support.project import Project, wait_for_line, write_project

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.support.engine import Registry

NOWHERE = "127.0.0.1:5000/unused"


def ended(run: subprocess.Popen[str], *, seconds: float) -> str:
    said, _ = run.communicate(timeout=seconds)
    return said


def gone(project: Project, *, seconds: float) -> bool:
    """Whether no process of a project's commands is left, at the latest after so many seconds."""
    end = time.monotonic() + seconds
    while project.processes():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def test_nothing_is_left_when_the_program_is_killed_in_a_silent_step(tmp_path: Path) -> None:
    project = write_project(tmp_path, NOWHERE, slow="RUN echo asleep; sleep 200")
    run = project.start()
    try:
        wait_for_line(run, project, "slow", "| asleep")
        assert any("buildx" in line for line in project.processes())
    finally:
        run.kill()
        run.communicate()
    assert gone(project, seconds=15), project.processes()


def test_a_quiet_step_of_three_times_the_limit_succeeds(tmp_path: Path) -> None:
    project = write_project(tmp_path, NOWHERE, quiet="RUN echo begin; sleep 9; echo end")
    done = project.build("--limit", "silence=3s")
    assert done.returncode == 0, done.stderr
    assert "the builder still runs" in done.stderr
    assert project.reported()["quiet"]["attempts"] == 1


def test_two_quiet_builds_that_share_a_step_are_no_stall(tmp_path: Path) -> None:
    shared = "RUN echo shared; sleep 9; echo end"
    project = write_project(tmp_path, NOWHERE, one=shared, two=shared, three=shared)
    done = project.build("--limit", "silence=2s", "--jobs", "3")
    assert done.returncode == 0, done.stderr
    assert {variant["attempts"] for variant in project.reported().values()} == {1}
    told = re.findall(
        r"^(\w+)-cu130-amd64 +\[.*\] RUN echo shared.* \(shared with (\w+)-cu130-amd64\)$", done.stderr, re.MULTILINE
    )
    assert len(told) == 2  # one of the three came first
    assert len({other for _, other in told}) == 1
    assert {one for one, _ in told}.isdisjoint(other for _, other in told)


def test_a_connection_that_hangs_is_told_by_the_record_of_the_build(registry: Registry, tmp_path: Path) -> None:
    project = write_project(tmp_path, registry.repository("stalled"), quiet="RUN echo begin; sleep 8; echo end")
    with bridge(tmp_path) as builder:
        run = project.start("--push", "--builder", builder.name, "--limit", "silence=3s", env=builder.env)
        try:
            wait_for_line(run, project, "quiet", "| begin")
            assert builder.signal(signal.SIGSTOP)
            said = ended(run, seconds=100)
        finally:
            run.kill()
            builder.signal(signal.SIGCONT)
    assert run.returncode == 0, said
    (found,) = project.reported().values()
    assert found["attempts"] == 2
    assert "attempt 1 of 3 failed" in said
    assert "limits.silence" in said
    assert registry.digest("stalled", "quiet-amd64") == found["digest"]
    assert gone(project, seconds=1), project.processes()


def test_an_engine_that_is_stopped_ends_the_build_as_stalled(tmp_path: Path) -> None:
    silent = "FROM scratch\nADD rootfs.tar /\nRUN --network=none echo begin; sleep 200"
    project = write_project(tmp_path, NOWHERE, quiet=silent)
    with isolated_engine() as engine:
        run = project.start("--limit", "silence=4s", env={"DOCKER_HOST": engine.host})
        try:
            wait_for_line(run, project, "quiet", "| begin")
            os.kill(engine.pid, signal.SIGSTOP)
            began = time.monotonic()
            said = ended(run, seconds=200)
        finally:
            run.kill()
            os.kill(engine.pid, signal.SIGCONT)
        seconds = time.monotonic() - began
    assert run.returncode == 6, said
    (found,) = project.reported().values()
    assert (found["status"], found["error"]["class"]) == ("failed", "stalled")
    assert gone(project, seconds=1), project.processes()
    # The limit, three questions of 20 s at most (4 s on a machine that is not busy), a bake that is killed, a wait
    # between attempts, and a machine that starts processes slowly.
    assert seconds < 4 + 3 * 20 + 2 + 3 + 15, said


@pytest.mark.parametrize(("limit", "words"), [("step=3s", "limits.step"), ("variant=3s", "limits.variant")])
def test_a_step_and_a_variant_have_an_end(tmp_path: Path, limit: str, words: str) -> None:
    project = write_project(tmp_path, NOWHERE, slow="RUN echo asleep; sleep 200", quick="RUN echo fine")
    began = time.monotonic()
    done = project.build("--limit", limit, "--jobs", "2")
    assert time.monotonic() - began < 40
    found = project.reported()
    assert done.returncode == 1, done.stderr
    assert (found["slow"]["status"], found["slow"]["error"]["class"]) == ("failed", "limit")
    assert words in found["slow"]["error"]["message"]
    assert "sleep 200" in found["slow"]["error"]["step"]
    assert found["slow"]["attempts"] == 1
    assert found["quick"]["status"] == "built"
    assert project.processes() == []
