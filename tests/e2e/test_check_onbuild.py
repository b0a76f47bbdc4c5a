"""`init` and `check` where only the ONBUILD of a base image declares what the bake file gives."""

from __future__ import annotations

import subprocess
import uuid
from typing import TYPE_CHECKING

import pytest
import yaml

from orchestrator.engine.client import docker_command
from tests.e2e.test_real_projects import orchestrate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BASE = "FROM scratch\nENV HOME=/\nONBUILD ARG CUDA_VERSION\nONBUILD ARG TORCH_CUDA_ARCH_LIST\n"
BAKE = """\
target "app" {
  args = {
    CUDA_VERSION = "13.0.2"
    TORCH_CUDA_ARCH_LIST = "8.0 9.0"
    NOBODY = "1"
  }
}
"""


def docker(*words: str, stdin: str = "") -> None:
    subprocess.run([*docker_command(), *words], input=stdin, text=True, capture_output=True, timeout=120, check=True)


@pytest.fixture(params=["", "registry.invalid/"])
def base(engine: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """An image of the engine with ONBUILD, under a name of its own."""
    assert engine
    name = f"{request.param}orchestrate-onbuild-{uuid.uuid4().hex[:12]}:1"
    docker("buildx", "build", "--builder", "default", "--load", "--tag", name, "-", stdin=BASE)
    yield name
    subprocess.run([*docker_command(), "image", "rm", "--force", name], capture_output=True, timeout=120, check=False)


def test_a_base_that_is_here_declares_and_one_that_is_not_is_not_known(base: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {base}\n")
    (tmp_path / "docker-bake.hcl").write_text(BAKE)
    assert orchestrate(tmp_path, "init").returncode == 0
    given = yaml.safe_load((tmp_path / "matrix.yaml").read_text())["variants"]["args"]
    assert given == {"CUDA_VERSION": "{cuda.version}", "TORCH_CUDA_ARCH_LIST": "{archs.torch}"}
    checked = orchestrate(tmp_path, "check")
    assert checked.returncode == 3
    assert checked.stdout.startswith("docker-bake.hcl:5: argument NOBODY of target app: no stage of the target")
    assert "1 place contradicts the matrix" in checked.stderr
    docker("image", "rm", "--force", base)
    again = orchestrate(tmp_path, "check")
    assert again.returncode == 0
    assert "not checked: bake arguments: no stage of target app declares" in again.stderr
    assert f"whether ONBUILD of {base} does is not known" in again.stderr
