"""A content key never claims a file that docker does not send: equal size and time hide no other content."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from orchestrator.reference import Digest, Tag, repository
from orchestrator.registry.client import Registry as Client
from tests.support.project import wait_for_line, write_project

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.engine import Registry
    from tests.support.project import Project

SECOND = 1_000_000_000
EPOCH = SECOND * SECOND  # 2001
STEPS = """COPY data /data
COPY --from=extra given /given
COPY --from=linked below /below
"""
FILES = {"data": "data", "given": "extra/given", "below": "base/below"}


def write(path: Path, text: str, *, at: int = EPOCH) -> None:
    """A file with a time that was set, written as another file that takes its place."""
    new = path.with_name("new")
    new.write_text(text)
    os.utime(new, ns=(at, at))
    new.rename(path)


def sent_project(folder: Path, image: str) -> Project:
    project = write_project(folder, image, app=STEPS)
    root = project.root
    for name, path in FILES.items():
        (root / path).parent.mkdir(exist_ok=True)
        write(root / path, f"first {name}")
    (root / "docker").mkdir()
    (root / "Dockerfile").rename(root / "docker" / "Dockerfile")
    (root / "base" / "Dockerfile").write_text("FROM scratch\nCOPY below /below\n")
    app = {"context": ".", "target": "app", "dockerfile": "docker/../docker/Dockerfile",
           "contexts": {"extra": "extra", "linked": "target:base"}}  # fmt: skip
    bake = {"target": {"app": app, "base": {"context": "base"}}}
    (root / "docker-bake.json").write_text(json.dumps(bake))
    return project


def held(image: str) -> dict[str, str]:
    """The files of `FILES` as the pushed image has them."""
    found: dict[str, str] = {}
    with Client(repository(image)) as client:
        content = client.manifest(Tag("app-amd64")).content
        if "manifests" in content:
            content = client.manifest(Digest(content["manifests"][0]["digest"])).content
        for layer in content["layers"][-3:]:
            with tarfile.open(fileobj=io.BytesIO(client.blob(Digest(layer["digest"])))) as members:
                for member in members:
                    stream = members.extractfile(member) if member.name in FILES else None
                    if stream is not None:
                        found[member.name] = stream.read().decode()
    return found


def test_a_file_of_equal_size_and_time_is_sent(registry: Registry, tmp_image: str, tmp_path: Path) -> None:
    project = sent_project(tmp_path / "one", tmp_image)
    root = project.root
    assert project.build("--push").returncode == 0, project.report.read_text()
    expected = {name: f"first {name}" for name in FILES}
    assert held(tmp_image) == expected
    for name, path in FILES.items():
        write(root / path, f"other {name}")
        expected[name] = f"other {name}"
        assert project.build("--push", "--resume").returncode == 0
        assert project.reported()["app"]["status"] == "built"
        assert held(tmp_image) == expected
    assert project.build("--push", "--resume").returncode == 0
    assert project.reported()["app"]["status"] == "skipped"

    write(root / "data", "third data", at=EPOCH + SECOND)  # as docker sees by itself, and back to what was
    assert project.build("--push").returncode == 0
    assert held(tmp_image) == {**expected, "data": "third data"}
    write(root / "data", "first data")
    assert project.build("--push").returncode == 0
    assert held(tmp_image) == {**expected, "data": "first data"}


def test_a_checkout_elsewhere_sends_its_own_files(registry: Registry, tmp_image: str, tmp_path: Path) -> None:
    project = sent_project(tmp_path / "one", tmp_image)
    assert project.build("--push").returncode == 0
    other = replace(project, root=tmp_path / "two" / "project", report=tmp_path / "two.json")
    shutil.copytree(project.root, other.root, ignore=shutil.ignore_patterns(".orchestrate"))
    for name, path in FILES.items():
        write(other.root / path, f"other {name}")
    assert other.build("--push", "--resume").returncode == 0
    assert other.reported()["app"]["status"] == "built"
    assert held(tmp_image) == {name: f"other {name}" for name in FILES}
    assert project.build("--push", "--resume").returncode == 0
    assert held(tmp_image) == {name: f"first {name}" for name in FILES}


def test_a_file_that_keeps_the_time_of_another_is_sent(registry: Registry, tmp_image: str, tmp_path: Path) -> None:
    project = sent_project(tmp_path / "one", tmp_image)
    data = project.root / "data"
    data.write_text("plain data")  # with the time of its writing
    assert project.build("--push").returncode == 0
    write(data, "other data", at=data.stat().st_mtime_ns)  # as `touch -r` and `cp -p` leave it
    assert project.build("--push", "--resume").returncode == 0
    assert held(tmp_image)["data"] == "other data"


def two_variants(folder: Path, image: str) -> Project:
    """One variant that takes its time, and one that is sent a file afterwards."""
    project = write_project(folder, image, first="RUN echo begun && sleep 8", app="COPY data /data")
    (project.root / "data").write_text("first data")
    return project


def test_a_file_that_is_edited_while_another_variant_builds_is_in_the_key(
    registry: Registry, tmp_image: str, tmp_path: Path
) -> None:
    project = two_variants(tmp_path, tmp_image)
    run = project.start("--push", "--jobs", "1")
    wait_for_line(run, project, "first", "begun")
    (project.root / "data").write_text("other data")
    out, _ = run.communicate(timeout=300)
    assert run.returncode == 0, out
    assert held(tmp_image)["data"] == "other data"
    assert project.build("--push", "--resume", "--variant", "app-*").returncode == 0
    assert project.reported()["app"]["status"] == "skipped"
    (project.root / "data").write_text("first data")
    assert project.build("--push", "--resume", "--variant", "app-*").returncode == 0
    assert project.reported()["app"]["status"] == "built"
    assert held(tmp_image)["data"] == "first data"


@pytest.mark.parametrize("name", ["data", "notes"])
def test_a_file_that_changes_all_the_time(registry: Registry, tmp_image: str, tmp_path: Path, name: str) -> None:
    project = write_project(tmp_path, tmp_image, app="COPY data /data")
    (project.root / "data").write_text("first data")
    ended = threading.Event()

    def edit() -> None:
        number = 0
        while not ended.wait(0.002):
            number += 1
            (project.root / name).write_text(f"{number}")

    writer = threading.Thread(target=edit)
    writer.start()
    try:
        assert project.build("--push").returncode == 0, project.report.read_text()
    finally:
        ended.set()
        writer.join()
    notes, taken = project.reported()["app"]["notes"], name == "data"
    assert any("built without a content key" in note for note in notes) == taken
    assert (project.reported()["app"]["key"] is None) == taken
    assert project.build("--push", "--resume").returncode == 0
    assert project.reported()["app"]["status"] == "built"
    assert held(tmp_image)["data"] == (project.root / "data").read_text()
