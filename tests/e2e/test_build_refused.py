"""`orchestrate build` with the installed command: what is found out before anything is built."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.project import Project, write_project

if TYPE_CHECKING:
    from pathlib import Path

NOWHERE = "127.0.0.1:5000/unused"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return write_project(tmp_path, NOWHERE, app="RUN echo fine")


def test_no_engine(project: Project) -> None:
    done = project.build(env={"DOCKER_HOST": "unix:///nonexistent"})
    assert done.returncode == 5
    first, *rest = done.stderr.splitlines()
    assert first.startswith("error: ")
    assert "unix:///nonexistent" in done.stderr
    assert any(line.startswith("hint: ") for line in rest)
    assert done.stdout == ""


def test_an_argument_in_the_wrong_case(project: Project) -> None:
    matrix = project.root / "matrix.yaml"
    matrix.write_text(matrix.read_text().replace("    torch_cuda_arch_list:", "    TORCH_CUDA_ARCH_LIST:"))
    done = project.build("--push")
    assert done.returncode == 2
    error = project.reported()["app"]["error"]
    assert error["class"] == "arrived"
    assert "matrix.yaml:16:27: " in error["message"]
    assert "does not consume TORCH_CUDA_ARCH_LIST; did you mean torch_cuda_arch_list?" in error["message"]
    log = project.log("app")
    assert log is not None
    assert str(log) in done.stdout
    assert error["message"] in log.read_text()


def test_an_argument_that_is_like_no_other(project: Project) -> None:
    done = project.build("--arg", "zzz=1")
    assert done.returncode == 2
    assert done.stdout.count("CUDA_VERSION") == 1, done.stdout  # the list of what there is, once
    assert "app consumes: " in done.stdout


def test_a_report_that_could_not_be_written(project: Project, tmp_path: Path) -> None:
    occupied = tmp_path / "occupied"
    occupied.write_text("")
    done = project.run("build", "--report", str(occupied / "report.json"))
    assert done.returncode == 5
    assert f"--report {occupied}/report.json" in done.stderr
    assert "hint: " in done.stderr
    done = project.run("build", "--report", str(tmp_path))
    assert done.returncode == 2
    assert f"--report {tmp_path}: is a directory" in done.stderr
    assert project.log("app") is None  # nothing was built for it


def test_a_directory_for_the_report_is_made(project: Project, tmp_path: Path) -> None:
    report = tmp_path / "new" / "report.json"
    done = project.run("build", "--arg", "zzz=1", "--report", str(report))
    assert done.returncode == 2
    assert report.is_file()


def test_a_state_directory_that_is_a_file(project: Project) -> None:
    (project.root / ".orchestrate").write_text("")
    done = project.build()
    assert done.returncode == 5
    assert f"{project.root}/.orchestrate" in done.stderr
    assert "must be a directory that you may write to" in done.stderr


def test_verification_of_nothing(project: Project) -> None:
    done = project.build("--verify")
    assert done.returncode == 2
    assert "hint: add --push, --load or --output, or leave --verify out" in done.stderr


def test_a_dockerfile_that_is_not_there(project: Project) -> None:
    (project.root / "Dockerfile").unlink()
    done = project.build()
    assert done.returncode == 2
    error = project.reported()["app"]["error"]
    assert error["class"] == "matrix"
    assert f"{project.root}/Dockerfile" in error["message"]


def test_a_platform_that_the_builder_lacks_costs_its_variant_alone(project: Project) -> None:
    matrix = project.root / "matrix.yaml"
    matrix.write_text(matrix.read_text().replace("  linux/amd64: {}\n", "  linux/amd64: {}\n  linux/mips64le: {}\n"))
    done = project.run("build", "--report", str(project.report), "--platform", "linux/mips64le")
    assert done.returncode == 5, done.stderr
    assert "cannot build linux/mips64le" in done.stdout
    done = project.run("build", "--report", str(project.report))
    assert done.returncode == 5, done.stderr
    assert sorted(variant["status"] for variant in json.loads(project.report.read_text())["variants"]) == [
        "built",
        "failed",
    ]


def test_a_token_in_a_url_is_shown_nowhere(project: Project, tmp_path: Path) -> None:
    bake = json.loads((project.root / "docker-bake.json").read_text())
    bake["target"]["app"]["contexts"] = {"r": "https://ghp_SECRETTOKEN@127.0.0.1:9/n.git"}
    (project.root / "docker-bake.json").write_text(json.dumps(bake))
    dockerfile = project.root / "Dockerfile"
    dockerfile.write_text(f"{dockerfile.read_text()}COPY --from=r / /r\n")
    summary = tmp_path / "summary.md"
    done = project.build(env={"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)})
    assert done.returncode == 6, done.stdout  # nobody listens there: the transport's failure, tried again
    found = project.reported()["app"]
    assert (found["error"]["class"], found["attempts"]) == ("network", 3)
    log = project.log("app")
    assert log is not None
    said = done.stdout + done.stderr + project.report.read_text() + log.read_text() + summary.read_text()
    assert "127.0.0.1:9/n.git" in said
    assert "SECRETTOKEN" not in said
