"""`--resume` with a real registry: a base image that moved, and results that are older than `--max-age` allows."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import pytest

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
