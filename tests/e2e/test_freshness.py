"""`--resume` with a real registry: a base image that moved, and results that are older than `--max-age` allows."""

from __future__ import annotations

import json
import shutil
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.engine import call
from tests.support.project import write_project

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.project import Project

pytestmark = pytest.mark.usefixtures("registry")


def resumed(project: Project, *words: str) -> tuple[str, list[str]]:
    """How the variant ended, and why it was built."""
    done = project.build("--push", "--resume", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    found = project.reported()["app"]
    return found["status"], [note for note in found["notes"] if note.startswith("needs a build")]


def test_a_base_that_moved_is_a_reason_to_build(tmp_image: str, tmp_path: Path) -> None:
    base = write_project(tmp_path / "base", tmp_image, base0="RUN echo one")
    assert base.build("--push").returncode == 0
    project = write_project(tmp_path, tmp_image, app=f"FROM {tmp_image}:base0-amd64\nRUN echo fine")
    assert project.build("--push").returncode == 0
    assert resumed(project) == ("skipped", [])
    dockerfile = base.root / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text().replace("RUN echo one", "RUN echo two"))
    assert base.build("--push").returncode == 0
    status = project.run("plan", "--status").stdout
    assert f"stale    its base {tmp_image}:base0-amd64 moved from sha256:" in status
    how, (why,) = resumed(project)
    assert how == "built"
    assert f"its base {tmp_image}:base0-amd64 moved from sha256:" in why
    assert resumed(project) == ("skipped", [])


@pytest.mark.parametrize("step", ["COPY --from={0} /step /step", "RUN --mount=type=bind,from={0},target=/b true"])
def test_an_image_that_a_step_takes_is_a_base(tmp_image: str, tmp_path: Path, step: str) -> None:
    named = f"{tmp_image}:base0-amd64"
    base = write_project(tmp_path / "base", tmp_image, base0="RUN echo one >/step")
    assert base.build("--push").returncode == 0
    project = write_project(tmp_path, tmp_image, app=f"FROM scratch\n{step}\nCOPY Dockerfile /".format(named))
    if step.startswith("RUN"):
        project = write_project(tmp_path, tmp_image, app=step.format(named))
    assert project.build("--push").returncode == 0
    assert resumed(project) == ("skipped", [])
    dockerfile = base.root / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text().replace("echo one", "echo two"))
    assert base.build("--push").returncode == 0
    assert f"stale    its base {named} moved from sha256:" in project.run("plan", "--status").stdout
    how, (why,) = resumed(project)
    assert (how, f"its base {named} moved from sha256:" in why) == ("built", True)
    assert resumed(project) == ("skipped", [])
    # a build takes what was locked, whatever the tag names
    assert project.run("lock", "bases").returncode == 0
    ((name, locked),) = json.loads((project.root / "bases.lock.json").read_text())["bases"].items()
    assert name == named
    dockerfile.write_text(dockerfile.read_text().replace("echo two", "echo three"))
    assert base.build("--push").returncode == 0
    assert project.run("lock", "bases", "--check").returncode == 3
    assert project.build("--push").returncode == 0
    tag = f"{tmp_image}:app-amd64"
    shown = call("docker", "buildx", "imagetools", "inspect", "--format", "{{json .Provenance}}", tag).stdout
    assert locked["digest"].removeprefix("sha256:") in shown


def test_where_a_base_cannot_be_compared_the_report_says_so(tmp_image: str, tmp_path: Path) -> None:
    base = write_project(tmp_path / "base", tmp_image, base0="RUN echo one")
    assert base.build("--push").returncode == 0
    project = write_project(tmp_path, tmp_image, app=f"FROM {tmp_image}:base0-amd64\nRUN echo fine")
    assert project.build("--push").returncode == 0
    said = f"not known whether these moved since it was built: {tmp_image}:base0-amd64"
    assert resumed(project) == ("skipped", [])
    assert said not in project.reported()["app"]["notes"]
    shutil.rmtree(project.root / ".orchestrate")
    assert resumed(project) == ("skipped", [])
    assert said in project.reported()["app"]["notes"]
    assert said in project.run("plan", "--status").stdout


def test_an_age_bounds_how_long_a_skip_is_trusted(tmp_image: str, tmp_path: Path) -> None:
    project = write_project(tmp_path, tmp_image, app="RUN echo fine")
    assert project.build("--push").returncode == 0
    assert resumed(project, "--max-age", "7d") == ("skipped", [])
    time.sleep(2)
    how, (why,) = resumed(project, "--max-age", "1s")
    assert how == "built"
    assert "longer ago than --max-age allows" in why
    shutil.rmtree(project.root / ".orchestrate")
    assert resumed(project) == ("skipped", [])  # the tag carries the key
    how, (why,) = resumed(project, "--max-age", "7d")
    assert how == "built"
    assert "its age is not known on this machine (--max-age)" in why
