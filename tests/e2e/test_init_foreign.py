"""`init`, `plan`, `check` and `build` on three shapes of bake projects that are not laid out as ours.

Written anew after public projects: pods with a matrix target and functions, a server with two images and an override
file, a worker that is described in a Compose file alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e import foreign_shapes
from tests.support.engine import call

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = Path(sys.executable).parent / "orchestrate"


def orchestrate(root: Path, *words: str, code: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(COMMAND), words[0], "-C", str(root), *words[1:]],
        capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL, check=False, env={**os.environ, **more},
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done


def variants(root: Path) -> dict[str, Any]:
    plan = json.loads(orchestrate(root, "plan", "--format", "json").stdout)
    return {one["id"]: one for one in plan["variants"]}


@pytest.fixture
def shape(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for name, text in foreign_shapes.SHAPES[request.param].items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture
def removed() -> Iterator[list[str]]:
    """Images that the engine forgets after the test."""
    names: list[str] = []
    yield names
    for name in names:
        call("docker", "image", "rm", "-f", name, check=False)


EXPECTED = {
    "pods": {
        "torch-cu124-py311-cu124-amd64", "torch-cu126-py311-cu126-amd64", "torch-cu124-py312-cu124-amd64",
        "torch-cu126-py312-cu126-amd64",
    },
    "server": {"server-cu129-amd64", "server-cu129-arm64", "cli-cu129-amd64", "cli-cu129-arm64"},
    "worker": {"worker-cu126-amd64"},
}  # fmt: skip
LABELS = {
    "pods": ("torch-cu126-py312-cu126-amd64", {"cuda": "12.6.3", "python": "3.12", "jobs": "8"}),
    "server": ("server-cu129-amd64", {"archs": "80-real;90-real;100-real", "cuda": "12.9.1"}),
    "worker": ("worker-cu126-amd64", {"archs": "8.0 8.9 9.0+PTX", "cuda": "12.6.3"}),
}


@pytest.mark.parametrize("shape", EXPECTED, indirect=True)
def test_a_first_matrix_plans_checks_and_builds(
    shape: Path, request: pytest.FixtureRequest, removed: list[str]
) -> None:
    name = request.node.callspec.params["shape"]
    orchestrate(shape, "init")
    planned = variants(shape)
    assert set(planned) == EXPECTED[name]
    assert "all agree" in orchestrate(shape, "check").stdout
    orchestrate(shape, "plan", "--preflight", "--no-push")
    chosen, labels = LABELS[name]
    removed += planned[chosen]["tags"]
    orchestrate(shape, "build", "--load", "--variant", chosen)
    (image,) = json.loads(call("docker", "image", "inspect", planned[chosen]["tags"][0]).stdout)
    assert labels.items() <= image["Config"]["Labels"].items()


@pytest.mark.parametrize(
    ("shape", "place", "old", "new"),
    [
        ("pods", ".github/workflows/build.yml", "8.9;9.0", "8.9"),
        ("server", "CMakeLists.txt", "90-real 100-real", "90-real"),
        ("worker", "compose.yaml", "8.9 9.0+PTX", "9.0+PTX"),
    ],
    indirect=["shape"],
)
def test_a_copy_that_is_forgotten_is_found_and_repaired(shape: Path, place: str, old: str, new: str) -> None:
    orchestrate(shape, "init")
    before = (shape / place).read_bytes()
    assert old.encode() in before
    (shape / place).write_bytes(before.replace(old.encode(), new.encode()))
    report = json.loads(orchestrate(shape, "check", "--format", "json", code=3).stdout)
    assert [one["file"] for one in report["disagreements"]] == [place]
    orchestrate(shape, "check", "--fix")
    assert (shape / place).read_bytes() == before
    assert orchestrate(shape, "check", "--fix").stderr.count("fixed") == 0


def test_a_contradiction_in_a_shape_is_shown_the_first_time(tmp_path: Path) -> None:
    for name, text in foreign_shapes.SHAPES["worker"].items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text.replace('ARG TORCH_CUDA_ARCH_LIST="8.0 8.9', 'ARG TORCH_CUDA_ARCH_LIST="8.0'))
    orchestrate(tmp_path, "init")
    report = json.loads(orchestrate(tmp_path, "check", "--format", "json", code=3).stdout)
    assert [(one["file"], one["words"]) for one in report["disagreements"]] == [
        ("compose.yaml", ["adds 8.9 (L4, L40)"])
    ]


def test_init_opens_no_output_and_no_variable_of_the_environment_counts(tmp_path: Path) -> None:
    (tmp_path / "kept.tar").write_text("kept")
    (tmp_path / "Dockerfile").write_text("ARG CUDA_VERSION=12.4.1\nFROM nvidia/cuda:${CUDA_VERSION}-base\n")
    (tmp_path / "docker-bake.hcl").write_text(
        'variable "CUDA" { default = "12.6.3" }\n'
        'target "app" {\n  args = { CUDA_VERSION = CUDA }\n  output = ["type=tar,dest=kept.tar"]\n}\n'
        'group "default" { targets = ["app"] }\n'
    )
    text = orchestrate(tmp_path, "init", "--print", CUDA="13.0.2").stdout
    assert (tmp_path / "kept.tar").read_text() == "kept"
    assert '"12.6": {version: 12.6.3' in text
    assert "13.0" not in text


def test_what_buildx_refuses_is_told_and_the_files_are_read_alone(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM nvidia/cuda:12.4.1-base\nARG TORCH_CUDA_ARCH_LIST='8.0 9.0'\n")
    (tmp_path / "docker-bake.hcl").write_text('target "app" {\n  tags = [missing("x")]\n}\n')
    done = orchestrate(tmp_path, "init")
    assert "note: the bake files are read without buildx: docker buildx bake refuses docker-bake.hcl: " in done.stderr
    assert "matrix.yaml: 1 variant" in done.stdout
