"""`orchestrate lock bases`: builds start from the locked digest whatever the tag names, and a moved base is told."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.labels import BASES
from tests.support.base import write_rootfs
from tests.support.bridge import PLUGINS
from tests.support.engine import call
from tests.support.project import COMMAND, Project, write_project

if TYPE_CHECKING:
    from tests.support.engine import Registry


def push_base(folder: Path, name: str, text: str) -> str:
    """Push a base image that holds a text; its digest."""
    write_rootfs(folder)
    (folder / "text").write_text(text)
    (folder / "Dockerfile").write_text("FROM scratch\nADD rootfs.tar /\nCOPY text /text\n")
    call("docker", "buildx", "build", "--push", "--provenance=false", "--tag", name, folder)
    inspected = call("docker", "buildx", "imagetools", "inspect", "--format", "{{json .Manifest}}", name).stdout
    return str(json.loads(inspected)["digest"])


def labels(registry: Registry, name: str, tag: str) -> dict[str, str]:
    manifest: dict[str, Any] = dict(registry.manifest(name, tag))
    if "manifests" in manifest:
        manifest = dict(registry.manifest(name, manifest["manifests"][0]["digest"]))
    config = json.loads(registry.blob(name, manifest["config"]["digest"]))
    return dict(config["config"]["Labels"])


def built(project: Project, registry: Registry, name: str, target: str) -> dict[str, str]:
    done = project.build("--push")
    assert done.returncode == 0, done.stderr
    return labels(registry, name, f"{target}-amd64")


def test_builds_start_from_what_was_locked(registry: Registry, tmp_image: str, tmp_path: Path) -> None:
    name = tmp_image.partition("/")[2]
    base = f"{tmp_image}-cache:base"  # a repository that the fixture removes as well
    first = push_base(tmp_path / "one", base, "one")
    project = write_project(
        tmp_path, tmp_image, app=f'FROM {base}\nRUN test "$(cat /text)" = one', other="RUN : nothing"
    )
    assert project.run("lock", "bases", "--check").returncode == 2  # there is none
    done = project.run("lock", "bases")
    assert (done.returncode, done.stderr.count("warning")) == (0, 0), done.stderr
    lock = json.loads((project.root / "bases.lock.json").read_text())
    assert lock["schema"] == 1
    assert set(lock["bases"]) == {base}
    assert lock["bases"][base]["digest"] == first
    assert lock["bases"][base]["variants"] == ["app-cu130-amd64"]
    assert set(lock["bases"][base]["platforms"]) == {"linux/amd64"}
    assert project.run("lock", "bases", "--check").returncode == 0
    said = built(project, registry, name, "app")
    assert said[BASES] == f"{base}@{first}"
    assert BASES not in labels(registry, name, "other-amd64")

    second = push_base(tmp_path / "two", base, "two")
    assert second != first
    done = project.run("lock", "bases", "--check")
    assert done.returncode == 3
    assert f"{base} moved from {first} (locked " in done.stderr
    assert f"to {second}; affected: app-cu130-amd64" in done.stderr
    # the build goes on from the first one, whose text its step demands, cold as well
    dockerfile = project.root / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text().replace("= one", "= one && : cold"))
    assert built(project, registry, name, "app")[BASES] == f"{base}@{first}"
    assert project.run("lock", "bases").returncode == 0
    assert project.build("--push").returncode == 1  # now it holds the other text
    dockerfile.write_text(dockerfile.read_text().replace("= one && : cold", "= two"))
    assert built(project, registry, name, "app")[BASES] == f"{base}@{second}"
    # another base is not the one that the lock names: neither its digest nor the label would be true
    other = f"{base}-other"
    third = push_base(tmp_path / "three", other, "two")
    text = dockerfile.read_text()
    dockerfile.write_text(text.replace(f"FROM {base} ", f"FROM {other} "))
    done = project.build("--push")
    assert done.returncode == 2
    assert f"target app does not start from {base}, which the lock names for it" in done.stdout
    assert project.run("lock", "bases").returncode == 0
    assert built(project, registry, name, "app")[BASES] == f"{other}@{third}"
    dockerfile.write_text(text)
    assert project.run("lock", "bases").returncode == 0
    # what went in is in the provenance, too
    provenance = call(
        "docker", "buildx", "imagetools", "inspect", "--format", "{{json .Provenance}}", f"{tmp_image}:app-amd64"
    ).stdout
    assert second.removeprefix("sha256:") in provenance


def test_an_image_that_is_built_on_its_own_last_release_is_told(tmp_image: str, tmp_path: Path) -> None:
    tagged = f"{tmp_image}:v0"
    digest = push_base(tmp_path / "one", tagged, "one")
    for number, base in enumerate((tagged, f"{tagged}@{digest}", f"{tmp_image}@{digest}")):
        project = write_project(tmp_path / f"{number}", tmp_image, app=f"FROM {base}\nRUN : nothing")
        done = project.run("lock", "bases")
        assert done.returncode == 0, done.stderr
        assert f"warning: {base} is an image of this project: a release that is built on the last one" in done.stderr


def test_a_lock_that_is_damaged_stops_a_build(tmp_image: str, tmp_path: Path) -> None:
    project = write_project(tmp_path, tmp_image, app="RUN : nothing")
    (project.root / "bases.lock.json").write_text('{"schema": 1, "bases": {"a": {"digest": "latest"}}}')
    done = project.build()
    assert done.returncode == 2
    assert "bases.lock.json: the lock of the base images is invalid: expected schema 1" in done.stderr


@pytest.mark.parametrize("words", ["lock bases", "publish --dry-run", "build", "plan --preflight", "plan --status"])
def test_without_buildx_the_machine_lacks_it_and_no_matrix_is_wrong(tmp_path: Path, words: str) -> None:
    project = write_project(tmp_path, "acme/app", app="RUN : nothing")
    with (project.root / "matrix.yaml").open("a") as matrix:
        matrix.write('publish: {tags: ["{image}:1"]}\n')
    (empty := tmp_path / "empty").mkdir()
    hidden = [f"mount --bind {empty} {folder}" for folder in PLUGINS if Path(folder).is_dir()]
    script = "\n".join(["set -e", *hidden, f"exec {shlex.join([str(COMMAND), *words.split()])}"])
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], cwd=project.root, capture_output=True, text=True, timeout=60,
        env=project.environment({"DOCKER_CONFIG": str(empty)}), stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert (done.returncode, "the docker client has no buildx plugin" in done.stderr) == (5, True), done.stderr
