"""`orchestrate build` with the installed command: registries that fail, and tags that wait for the verification."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.support.engine import call, remove_images
from tests.support.fatbins import library
from tests.support.faults import Fault
from tests.support.project import Project, write_project

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.engine import MakeFaulty, Registry


def test_a_registry_that_is_busy_twice(
    registry: Registry, faulty_registry: MakeFaulty, tmp_image: str, tmp_path: Path
) -> None:
    base = write_project(tmp_path / "base", tmp_image, base0="RUN echo base")
    assert base.build("--push").returncode == 0
    # In each attempt BuildKit asks a registry on this machine twice, as a TLS and as a plain one, and then gives up.
    proxy = faulty_registry(Fault(path="/manifests/", method="HEAD", status=503, times=4))
    name = tmp_image.partition("/")[2]
    project = write_project(tmp_path, tmp_image, app=f"FROM {proxy.address}/{name}:base0-amd64\nRUN echo fine")
    done = project.build("--push")
    assert done.returncode == 0, done.stdout
    found = project.reported()["app"]
    assert (found["status"], found["attempts"], found["error"]) == ("built", 3, None)
    assert found["digest"] == registry.digest(name, "app-amd64")
    assert "attempt 1 of 3 failed, next in " in done.stderr
    assert "503 Service Unavailable" in done.stderr


def test_ten_variants_do_not_hammer_a_registry_that_is_down(
    faulty_registry: MakeFaulty, tmp_image: str, tmp_path: Path
) -> None:
    proxy = faulty_registry(Fault(path="/manifests/", method="HEAD", status=503, times=-1))
    stages = {f"v{number}": f"FROM {proxy.address}/base:{number}\nRUN echo fine" for number in range(10)}
    project = write_project(tmp_path, tmp_image, **stages)
    done = project.build("--jobs", "10")
    assert done.returncode == 6, done.stdout
    found = project.reported().values()
    assert {one["error"]["class"] for one in found} == {"network"}
    # One makes all its attempts, the others their first: not ten times three.
    assert sum(one["attempts"] for one in found) == 12, [one["attempts"] for one in found]
    told = [note for one in found for note in one["notes"] if f"not tried again: {proxy.address} was down" in note]
    assert len(told) == 9


def test_a_push_that_meets_another_in_the_registry(
    registry: Registry, faulty_registry: MakeFaulty, tmp_image: str, tmp_path: Path
) -> None:
    body = b'{"errors":[{"code":"DIGEST_INVALID","message":"provided digest did not match uploaded content"}]}'
    proxy = faulty_registry(Fault(path="/manifests/", method="PUT", status=400, body=body))
    name = tmp_image.partition("/")[2]
    project = write_project(tmp_path, f"{proxy.address}/{name}", app="FROM scratch\nCOPY matrix.yaml /")
    done = project.build("--push")
    assert done.returncode == 0, done.stdout
    found = project.reported()["app"]
    assert (found["status"], found["attempts"], found["error"]) == ("built", 2, None)
    assert found["digest"] == registry.digest(name, "app-amd64")
    assert "provided digest did not match uploaded content" in done.stderr


def test_a_registry_that_lets_nobody_in(faulty_registry: MakeFaulty, tmp_image: str, tmp_path: Path) -> None:
    proxy = faulty_registry(Fault(path="/", status=401, times=-1))
    image = f"{proxy.address}/{tmp_image.partition('/')[2]}"
    project = write_project(tmp_path, image, app="RUN echo fine")
    try:
        done = project.build("--push")
    finally:
        remove_images(image)
    assert done.returncode == 6
    found = project.reported()["app"]
    assert (found["status"], found["attempts"], found["error"]["class"]) == ("failed", 1, "auth")
    assert "\n" not in found["error"]["message"]
    assert "status 401" in found["error"]["message"]
    assert f"docker login {proxy.address}" in found["error"]["message"]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("app-cu130-amd64: failed (auth)")]
    assert "status 401" in line


def with_kernels(folder: Path, image: str, *archs: str) -> Project:
    project = write_project(folder, image, app="COPY libaxpy.so /opt/axpy/libaxpy.so")
    (project.root / "libaxpy.so").write_bytes(library([archs]))
    return project


def test_a_tag_moves_only_when_the_kernels_are_there(registry: Registry, tmp_image: str, tmp_path: Path) -> None:
    name = tmp_image.partition("/")[2]
    project = with_kernels(tmp_path / "without", tmp_image, "80", "90")
    done = project.build("--push", "--verify")
    assert done.returncode == 4, done.stdout + done.stderr
    found = project.reported()["app"]
    assert (found["status"], found["error"]["class"]) == ("failed", "verification")
    assert "11.0" in found["error"]["message"]
    assert found["digest"].startswith("sha256:")
    assert f"pushed as {tmp_image}@{found['digest']}; its tags were not moved" in found["notes"]
    (kept,) = registry.tags(name)
    assert kept.startswith("unverified-app-cu130-amd64-2")

    project = with_kernels(tmp_path / "with", tmp_image, "80", "90", "110")
    done = project.build("--push", "--verify")
    assert done.returncode == 0, done.stdout + done.stderr
    found = project.reported()["app"]
    assert registry.digest(name, "app-amd64") == found["digest"] != ""
    assert done.stderr.splitlines()[-2] == "app-cu130-amd64  verifying"
    # the tag that held it is gone, in the engine as well; without referrers, a tag says what was verified
    tag, statement, held = registry.tags(name)
    assert (tag, held) == ("app-amd64", kept)
    assert re.fullmatch(r"sha256-[0-9a-f]{64}", statement)
    images = call("docker", "images", "--format", "{{.Tag}}", tmp_image).stdout.split()
    assert [tag for tag in images if tag.startswith("unverified") and tag != kept] == []
    assert f"{tmp_image}:app-amd64@{found['digest']}" in done.stdout.splitlines()


@pytest.mark.parametrize("option", ["--resume", "--changed"])
def test_an_image_that_nobody_verified_is_not_there_for_a_build_that_verifies(
    option: str, registry: Registry, tmp_image: str, tmp_path: Path
) -> None:
    name = tmp_image.partition("/")[2]
    project = with_kernels(tmp_path / "without", tmp_image, "80", "90")
    (project.root / ".dockerignore").write_text("matrix.yaml\n.orchestrate\n")  # another tag is no other content
    pushed = project.build("--push", option)
    assert pushed.returncode == 0, pushed.stdout + pushed.stderr
    assert project.build("--push", option).stdout.count("skipped") == 1
    matrix = project.root / "matrix.yaml"
    if option == "--changed":  # a new tag is not moved to it either
        text = matrix.read_text()
        matrix.write_text(text.replace("{target}-{platform.arch}", "{target}-{platform.arch}-2"))
        assert matrix.read_text() != text
    done = project.build("--push", option, "--verify")
    assert done.returncode == 4, done.stdout + done.stderr
    assert any(
        "says that it was verified for what is promised now" in one for one in project.reported()["app"]["notes"]
    )
    assert "app-amd64-2" not in registry.tags(name)

    project = with_kernels(tmp_path / "with", tmp_image, "80", "90", "110")
    assert project.build("--push", option, "--verify").returncode == 0
    first = project.reported()["app"]["digest"]
    again = project.build("--push", option, "--verify")
    assert again.returncode == 0, again.stdout + again.stderr
    found = project.reported()["app"]
    assert (found["status"], found["digest"]) == ("skipped", first)


def test_the_status_of_an_image_is_that_of_a_build_that_verifies(
    registry: Registry, tmp_image: str, tmp_path: Path
) -> None:
    def status(*words: str) -> str:
        done = project.run("plan", "--status", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()[0]

    project = with_kernels(tmp_path, tmp_image, "80", "90", "110")
    (project.root / ".dockerignore").write_text("matrix.yaml\n.orchestrate\n")
    assert project.build("--push", "--no-verify").returncode == 0
    assert status().split()[1] == "built"
    unverified = f"stale    nothing in {tmp_image} says that it was verified for what is promised now"
    assert status("--verify").endswith(unverified)
    matrix = project.root / "matrix.yaml"
    text = matrix.read_text()
    matrix.write_text(text.replace("\nverify:\n", "\nverify:\n  after_build: true\n"))
    assert matrix.read_text() != text
    assert status().endswith(unverified)
    assert status("--no-verify").split()[1] == "built"
    assert project.build("--push", "--resume").returncode == 0
    assert project.reported()["app"]["verified"] is True
    assert status().split()[1] == "built"


def test_what_is_printed_can_be_pulled_or_run(registry: Registry, tmp_image: str, tmp_path: Path) -> None:
    name = tmp_image.partition("/")[2]
    project = write_project(tmp_path, tmp_image, app="RUN echo fine")
    loaded = project.build("--load")
    assert loaded.returncode == 0, loaded.stderr
    assert f"{tmp_image}:app-amd64" in loaded.stdout.splitlines()
    matrix = project.root / "matrix.yaml"
    without = re.sub(r"(?m)^ *\"?tags\"?: .*\n", "", matrix.read_text())
    assert without != matrix.read_text()
    matrix.write_text(without)
    for words in (("--push",), ("--push", "--resume")):
        pushed = project.build(*words)
        assert pushed.returncode == 0, pushed.stdout + pushed.stderr
        reference = f"{tmp_image}@{project.reported()['app']['digest']}"
        assert reference in pushed.stdout.splitlines()
        assert call("docker", "buildx", "imagetools", "inspect", reference).returncode == 0
        assert registry.tags(name) == []
    refused = project.build("--load")
    assert refused.returncode == 2
    assert "--load: variant app-cu130-amd64 has no tags" in refused.stderr


def test_a_tag_that_cannot_be_set_is_tried_again_and_then_told(
    faulty_registry: MakeFaulty, registry: Registry, tmp_image: str, tmp_path: Path
) -> None:
    name = tmp_image.partition("/")[2]
    refused = Fault(path="/manifests/app-amd64", method="PUT", status=403, times=-1)
    proxy = faulty_registry(Fault(path="/manifests/app-amd64", method="PUT", status=503, times=1), refused)
    image = f"{proxy.address}/{name}"
    project = with_kernels(tmp_path, image, "80", "90", "110")
    try:
        done = project.build("--push", "--verify")
    finally:
        remove_images(image)
    found = project.reported()["app"]
    assert done.returncode == 6, done.stdout
    assert (found["status"], found["error"]["class"]) == ("failed", "auth")
    assert "verified, but its tags could not be set" in found["error"]["message"]
    assert proxy.count(method="PUT", path="/manifests/app-amd64", status=503) == 1
    statement, held = registry.tags(name)
    assert re.fullmatch(r"sha256-[0-9a-f]{64}", statement)
    assert held.startswith("unverified-app-cu130-amd64-2")
