"""From nothing to a pushed image and a pipeline: what a new user does, with the wheel, on a new project.

No file is edited by hand but for the image's name. It runs on the bare machine of `scripts/bare` as here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.support import actions, fatbins, images_workflow
from tests.support.artifacts import downloads
from tests.support.engine import call
from tests.support.images_workflow import EVENTS, PASSWORD, WRITER, Caller

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.download

ROOT = Path(__file__).parents[2]
BUILD = "import setuptools.build_meta as b, sys; b.build_wheel(sys.argv[1])"
BAKE = """\
variable "TORCH_CUDA_ARCH_LIST" {
  default = "9.0 11.0"
}
variable "CUDA_VERSION" {
  default = "13.0.2"
}
group "default" {
  targets = ["app"]
}
target "app" {
  context    = "."
  dockerfile = "Dockerfile"
  args = {
    CUDA_VERSION         = CUDA_VERSION
    torch_cuda_arch_list = TORCH_CUDA_ARCH_LIST
  }
}
"""
DOCKERFILE = """\
FROM scratch
ARG CUDA_VERSION=13.0.2
ARG torch_cuda_arch_list="9.0 11.0"
LABEL cuda=$CUDA_VERSION archs=$torch_cuda_arch_list
COPY kernels.so /
"""
TOOL = "tool/repository@" + "f" * 40


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[Caller]:
    assert engine
    yield from images_workflow.caller(tmp_path_factory.mktemp("caller"))


def new_project(root: Path) -> None:
    root.mkdir()
    (root / "docker-bake.hcl").write_text(BAKE, encoding="utf-8")
    (root / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
    (root / "kernels.so").write_bytes(fatbins.library([["90", "110"]]))
    call("git", "-C", root, "init", "-q", "-b", "main")


def commit(root: Path) -> None:
    git = ("git", "-C", root, "-c", "user.name=t", "-c", "user.email=t@example.org")
    call(*git, "add", "-A")
    call(*git, "commit", "-q", "-m", "more")


def wheel(caller: Caller, folder: Path) -> Path:
    subprocess.run([sys.executable, "-c", BUILD, str(folder)], cwd=caller.tool, check=True, capture_output=True)
    (made,) = folder.glob("*.whl")
    return made


def called(read: Any, event: str) -> dict[str, Any]:
    """What the written workflow hands to images.yml, as GitHub evaluates it."""
    (job,) = read["jobs"].values()
    assert set(job) <= {"permissions", "uses", "with", "secrets"}
    assert job["uses"] == "tool/repository/.github/workflows/images.yml@" + "f" * 40
    what = EVENTS[event]
    github = {"event_name": what.name, "event": dict(what.payload), "ref_type": "", **what.github}
    contexts = {
        "github": github,
        "inputs": {"cuda": None},
        "secrets": {"REGISTRY_USERNAME": "me", "REGISTRY_PASSWORD": PASSWORD},
    }
    given = {name: "" if value is None else value for name, value in actions.filled(job["with"], contexts).items()}
    return {"given": given, "secrets": actions.filled(job.get("secrets", {}), contexts)}


def test_a_new_project_gets_images_and_a_pipeline(
    caller: Caller, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new_project(caller.project)
    made = wheel(caller, tmp_path)
    began = time.monotonic()
    venv.create(tmp_path / "venv", with_pip=True)
    pip = [str(tmp_path / "venv/bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    downloads.made_available("the wheel's dependencies", *pip, made)
    env = {**os.environ, "DOCKER_CONFIG": str(tmp_path / "docker"), "CI": ""}
    login = ["docker", "login", caller.registry.address, "--username", "me", "--password-stdin"]
    subprocess.run(login, input=PASSWORD, text=True, env=env, check=True, capture_output=True)

    def orchestrate(*words: str) -> str:
        done = subprocess.run(
            [tmp_path / "venv/bin/orchestrate", *words], cwd=caller.project, env=env, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    orchestrate("init")
    matrix = caller.project / "matrix.yaml"
    text = matrix.read_text(encoding="utf-8")
    name = next(line for line in text.splitlines() if line.startswith("image: "))
    matrix.write_text(text.replace(name, f"image: {caller.registry}/acme/app"), encoding="utf-8")
    commit(caller.project)
    assert "app-cu130-amd64" in orchestrate("plan")
    report = json.loads(orchestrate("build", "--push", "--verify", "--format", "json", "--progress", "quiet"))
    pushed = time.monotonic() - began
    (row,) = report["variants"]
    assert row["status"] == "built"
    assert row["verified"]
    orchestrate("check")
    orchestrate("init", "--workflow", "--tool", TOOL)
    commit(caller.project)
    with capsys.disabled():
        print(f"\nfrom pip install to the first pushed image: {pushed:.1f} s")
    written = caller.project / ".github/workflows/images.yml"
    for program in (["zizmor", "--offline", "--no-progress", "--quiet", "--min-severity", "medium"],
                    ["check-jsonschema", "--quiet", "--builtin-schema", "vendor.github-workflows"]):  # fmt: skip
        done = subprocess.run(
            [Path(sys.executable).parent / program[0], *program[1:], written], capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    read = yaml.safe_load(written.read_text(encoding="utf-8"))
    for event in ("push", "fork"):
        asked = called(read, event)
        if event == "fork":
            asked["secrets"] = {}
        ran = caller.run(images_workflow.read(), asked["given"], secrets=asked["secrets"], event=event)
        assert not any(one.failed for one in ran.jobs), ran.log
        assert [one.job for one in ran.jobs] == ["plan", "push" if event == "push" else "build", "results"]
        assert ran.report("app-cu130-amd64")["verified"]
        if event == "push":
            assert [line.split()[1] for line in ran.logins] == [caller.registry.address] * 2
            assert list(json.loads(ran.outputs["digests"])) == ["app-cu130-amd64"]
        assert WRITER not in str(ran.logins)


def test_what_init_workflow_refuses(caller: Caller, tmp_path: Path) -> None:
    root = tmp_path / "project"
    new_project(root)

    def orchestrate(*words: str) -> subprocess.CompletedProcess[str]:
        program = Path(sys.executable).parent / "orchestrate"
        return subprocess.run([program, "init", *words], cwd=root, capture_output=True, text=True, check=False)

    done = orchestrate("--workflow")
    assert (done.returncode, "`orchestrate init`" in done.stderr) == (2, True)
    assert orchestrate().returncode == 0
    assert "--tool has no effect without --workflow" in orchestrate("--tool", TOOL, "--print").stderr
    done = orchestrate("--workflow", "--tool", "acme/tool@v1")
    assert done.returncode == 2
    assert "expected OWNER/REPOSITORY@SHA" in done.stderr
    done = orchestrate("--workflow", "--print")
    assert (done.returncode, "images.yml@SHA" in done.stdout) == (0, True)
    assert "in place of OWNER/REPOSITORY@SHA" in done.stderr
    assert not (root / ".github").exists()
    assert orchestrate("--workflow").returncode == 0
    done = orchestrate("--workflow")
    assert (done.returncode, "exists already" in done.stderr) == (2, True)
    assert orchestrate("--workflow", "--force", "--tool", TOOL).returncode == 0
    assert TOOL.partition("@")[2] in (root / ".github/workflows/images.yml").read_text(encoding="utf-8")
