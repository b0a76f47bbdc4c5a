"""`orchestrate build` with the installed command: archives, the engine's store, and what is not built again."""

from __future__ import annotations

import hashlib
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.engine import call
from tests.support.project import write_project

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.engine import Registry


def archive(path: Path) -> dict[str, bytes]:
    """The files of an OCI archive, each blob being what its name says."""
    files = {}
    with tarfile.open(path) as opened:
        for member in opened:
            stream = opened.extractfile(member)
            if stream is not None:
                files[member.name] = stream.read()
    for name, data in files.items():
        if name.startswith("blobs/sha256/"):
            assert hashlib.sha256(data).hexdigest() == name.rpartition("/")[2]
    return files


def test_an_archive_of_each_variant(engine: str, tmp_path: Path) -> None:
    project = write_project(tmp_path, "127.0.0.1:5000/unused", one="RUN echo one", two="RUN echo two")
    done = project.build("--output", str(tmp_path / "new" / "out"))
    assert done.returncode == 0, done.stderr
    for target, variant in project.reported().items():
        files = archive(tmp_path / "new" / "out" / f"{target}-cu130-amd64.tar")
        (entry,) = json.loads(files["index.json"])["manifests"]
        assert entry["digest"] == variant["digest"]
    read = project.run("verify", str(tmp_path / "new" / "out" / "one-cu130-amd64.tar"), "--format", "json")
    assert read.returncode == 4, read.stderr  # it can be read, and there is no device code in it
    assert "11.0" in read.stdout


def test_an_image_in_the_engine(engine: str, tmp_image: str, tmp_path: Path) -> None:
    project = write_project(tmp_path, tmp_image, app="RUN echo fine")
    done = project.build("--load")
    assert done.returncode == 0, done.stderr
    (image,) = json.loads(call("docker", "image", "inspect", f"{tmp_image}:app-amd64").stdout)
    labels: dict[str, Any] = image["Config"]["Labels"]
    assert labels["com.orchestrate.variant"] == "app-cu130-amd64"
    assert labels["com.orchestrate.archs"] == "8.0 9.0 11.0"
    assert (
        call("docker", "run", "--rm", f"{tmp_image}:app-amd64", "/bin/sh", "-c", "echo $ARCHS").stdout
        == "8.0 9.0 11.0\n"
    )


def test_what_was_built_is_not_built_again(registry: Registry, tmp_image: str, tmp_path: Path) -> None:
    project = write_project(tmp_path, tmp_image, good="COPY data /data", bad="COPY nothing /data")
    (project.root / "data").write_text("one")
    words = ("build", "--push", "--resume", "--report", "report.json")  # a report in the context is no input

    def build() -> tuple[int, list[str], str]:
        done = project.run(*words)
        variants = json.loads((project.root / "report.json").read_text())["variants"]
        return done.returncode, [variant["status"] for variant in variants], variants[0]["digest"]

    code, statuses, digest = build()
    assert (code, statuses) == (1, ["built", "failed"])
    assert build() == (1, ["skipped", "failed"], digest)
    assert registry.digest(tmp_image.partition("/")[2], "good-amd64") == digest

    (project.root / "nothing").write_text("there now")
    (project.root / "data").write_text("two")
    code, statuses, changed = build()
    assert (code, statuses) == (0, ["built", "built"])
    assert changed != digest
    assert registry.digest(tmp_image.partition("/")[2], "good-amd64") == changed


def test_an_archive_that_stands_is_replaced_by_a_whole_one_or_left_alone(engine: str, tmp_path: Path) -> None:
    project = write_project(tmp_path, "127.0.0.1:5000/unused", app="COPY data /data")
    (project.root / "data").write_text("one")
    out = tmp_path / "o,u t"  # a comma is part of the name
    path = out / "app-cu130-amd64.tar"
    assert project.build("--output", str(out)).returncode == 0
    first = path.read_bytes()
    assert archive(path)

    assert project.build("--output", str(out), "--resume").returncode == 0
    assert project.reported()["app"]["status"] == "skipped"
    assert path.read_bytes() == first
    assert project.build("--output", str(out), "--arg", "NOPE=1").returncode == 2
    assert path.read_bytes() == first
    (project.root / "data").unlink()
    assert project.build("--output", str(out)).returncode == 1
    assert path.read_bytes() == first
    assert [file.name for file in out.iterdir()] == [path.name]

    (project.root / "data").write_text("two")
    assert project.build("--output", str(out), "--resume").returncode == 0
    assert path.read_bytes() != first
    path.write_bytes(path.read_bytes()[:1000])
    assert project.build("--output", str(out), "--resume").returncode == 0
    assert project.reported()["app"]["status"] == "built"
    assert archive(path)


def test_resume_builds_again_what_the_registry_lost(registry: Registry, tmp_image: str, tmp_path: Path) -> None:
    name = tmp_image.partition("/")[2]
    project = write_project(tmp_path, tmp_image, app="RUN echo fine")
    assert project.build("--push").returncode == 0
    assert project.build("--push", "--resume").returncode == 0
    assert project.reported()["app"]["status"] == "skipped"
    registry.forget(name)
    assert registry.digest(name, "app-amd64") == ""
    assert project.build("--push", "--resume").returncode == 0
    assert project.reported()["app"]["status"] == "built"
    assert registry.digest(name, "app-amd64") == project.reported()["app"]["digest"] != ""


def test_resume_loads_again_what_the_engine_lost(engine: str, tmp_image: str, tmp_path: Path) -> None:
    project = write_project(tmp_path, tmp_image, app="RUN echo fine")
    assert project.build("--load").returncode == 0
    assert project.build("--load", "--resume").returncode == 0
    assert project.reported()["app"]["status"] == "skipped"
    call("docker", "image", "rm", f"{tmp_image}:app-amd64")
    assert project.build("--load", "--resume").returncode == 0
    assert project.reported()["app"]["status"] == "built"
    call("docker", "image", "inspect", f"{tmp_image}:app-amd64")


@pytest.mark.parametrize("name", ["matrix.yaml", "docker-bake.json", "Dockerfile"])
def test_a_report_replaces_no_input(engine: str, tmp_path: Path, name: str) -> None:
    project = write_project(tmp_path, "127.0.0.1:5000/unused", app="RUN echo fine")
    before = (project.root / name).read_bytes()
    done = project.run("build", "--report", name)
    assert done.returncode == 2, done.stderr
    assert f"error: --report {name}: the file exists and is not a build report" in done.stderr
    assert (project.root / name).read_bytes() == before
    assert project.log("app") is None
