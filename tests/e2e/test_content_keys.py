"""Content keys with the installed command: who built it, where and when decides nothing; what goes in decides all."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.labels import KEY
from orchestrator.reference import Tag, repository
from orchestrator.registry.client import Registry as Client
from orchestrator.registry.removal import remove_tag
from tests.support.project import write_project

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.engine import Registry
    from tests.support.project import Project

NAMES = ("a", "b", "c", "d", "e", "f")


def key(registry: Registry, name: str, tag: str) -> str:
    """The key that a tag carries, as one request shows it."""
    manifest: dict[str, Any] = registry.manifest(name, tag)
    holders = [manifest, *manifest.get("manifests", [])]
    return next(str(one["annotations"][KEY]) for one in holders if KEY in one.get("annotations", {}))


def copied(project: Project, to: Path, *, mask: int) -> Project:
    """A checkout of the same content elsewhere, as another umask makes it, without times and without our state."""
    for directory, _, names in os.walk(project.root):
        inside = os.path.relpath(directory, project.root)
        if inside.startswith((".orchestrate", ".git")):
            continue
        (to / inside).mkdir(parents=True, exist_ok=True)
        (to / inside).chmod(0o777 & ~mask)
        for name in names:
            shutil.copyfile(f"{directory}/{name}", to / inside / name)
            executable = (project.root / inside / name).stat().st_mode & 0o100
            (to / inside / name).chmod((0o777 if executable else 0o666) & ~mask)
    return replace(project, root=to, report=to.with_suffix(".json"))


def statuses(project: Project) -> list[str]:
    return [variant["status"] for variant in project.reported().values()]


def test_checkouts_of_one_content_have_one_key_and_a_change_of_it_another(
    registry: Registry, tmp_image: str, tmp_path: Path
) -> None:
    name = tmp_image.partition("/")[2]
    project = write_project(tmp_path / "one", tmp_image, app="COPY . /src")
    (project.root / "run.sh").write_text("run")
    (project.root / "run.sh").chmod(0o755)
    subprocess.run(["git", "init", "-q"], cwd=project.root, check=True)
    assert project.build("--push").returncode == 0
    first = key(registry, name, "app-amd64")
    assert registry.digest(name, "app-amd64") == project.reported()["app"]["digest"]

    other = copied(project, tmp_path / "two", mask=0o002)
    (other.root / "empty").mkdir()
    assert other.build("--push", "--resume").returncode == 0
    assert statuses(other) == ["skipped"]

    (other.root / "run.sh").chmod(0o644)
    assert other.build("--push", "--resume").returncode == 0
    assert statuses(other) == ["built"]
    (note,) = [note for note in other.reported()["app"]["notes"] if note.startswith("needs a build")]
    assert f"{tmp_image}:app-amd64 was built from other inputs" in note
    assert key(registry, name, "app-amd64") != first


def test_changed_gives_new_tags_to_what_did_not_change(registry: Registry, tmp_image: str, tmp_path: Path) -> None:
    name = tmp_image.partition("/")[2]
    project = write_project(tmp_path / "one", tmp_image, app="COPY data /data", other="RUN echo fine")
    matrix = project.root / "matrix.yaml"
    matrix.write_text(matrix.read_text().replace("{target}-{platform.arch}", "first-{target}"))
    (project.root / "data").write_text("one")
    (project.root / ".dockerignore").write_text("matrix.yaml\n")
    assert project.build("--push", "--changed").returncode == 0
    assert statuses(project) == ["built", "built"]
    digests = {target: registry.digest(name, f"first-{target}") for target in ("app", "other")}

    matrix.write_text(f"# another commit\n{matrix.read_text().replace('first', 'second')}")
    shutil.rmtree(project.root / ".orchestrate")
    assert project.build("--push", "--changed").returncode == 0
    assert statuses(project) == ["skipped", "skipped"]
    assert {target: registry.digest(name, f"second-{target}") for target in digests} == digests

    (project.root / "data").write_text("two")
    matrix.write_text(matrix.read_text().replace("second", "third"))
    assert project.build("--push", "--changed").returncode == 0
    assert registry.digest(name, "third-app") not in {digests["app"], ""}


def wait_for_tags(registry: Registry, name: str, count: int, run: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while len(registry.tags(name)) < count:
        assert time.monotonic() < deadline
        if run.poll() is not None:
            return
        time.sleep(0.02)


@pytest.mark.parametrize("after", range(len(NAMES)))
def test_a_killed_run_goes_on_where_it_was_on_any_machine(
    registry: Registry, tmp_image: str, tmp_path: Path, after: int
) -> None:
    name = tmp_image.partition("/")[2]
    project = write_project(tmp_path / "one", tmp_image, **dict.fromkeys(NAMES, "RUN echo fine"))
    run = project.start("--push")
    wait_for_tags(registry, name, after, run)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    pushed = {tag.partition("-")[0] for tag in registry.tags(name)}
    fresh = copied(project, tmp_path / "two", mask=0o022)
    assert fresh.build("--push", "--resume").returncode == 0
    found = {target: variant["status"] for target, variant in fresh.reported().items()}
    assert found == {target: "skipped" if target in pushed else "built" for target in NAMES}
    assert project.build("--push", "--resume").returncode == 0
    assert statuses(project) == ["skipped"] * len(NAMES)


def test_a_tag_that_was_moved_or_deleted_is_never_reported_as_if(
    registry: Registry, tmp_image: str, tmp_path: Path
) -> None:
    project = write_project(tmp_path / "one", tmp_image, a="RUN echo a", b="RUN echo b", c="RUN echo c")
    assert project.build("--push").returncode == 0
    command = ["docker", "buildx", "imagetools", "create", "--tag", f"{tmp_image}:b-amd64", f"{tmp_image}:a-amd64"]
    subprocess.run(command, check=True, capture_output=True)
    with Client(repository(tmp_image)) as client:
        remove_tag(client, Tag("c-amd64"))
    assert project.build("--push", "--resume").returncode == 0
    assert statuses(project) == ["skipped", "built", "built"]
    name = tmp_image.partition("/")[2]
    for target, variant in project.reported().items():
        assert registry.digest(name, f"{target}-amd64") == variant["digest"] != ""
