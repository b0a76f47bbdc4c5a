"""This repository eats it: its files agree with its matrix, and one edit and one command add an architecture."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from orchestrator.drift.check import check
from orchestrator.matrix.load import load
from tests.support.engine import ROOT

COMMAND = Path(sys.executable).parent / "orchestrate"


def orchestrate(root: Path, *words: str, code: int) -> str:
    done = subprocess.run(
        [str(COMMAND), *words], cwd=root, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The matrix and every file that it claims."""
    for name in ["matrix.yaml", *check(load(ROOT / "matrix.yaml")).files]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_this_repository_does_not_contradict_its_matrix() -> None:
    assert orchestrate(ROOT, "check", code=0).endswith(": all agree\n")


def test_an_architecture_is_added_by_one_edit_and_one_command(copy: Path) -> None:
    matrix = copy / "matrix.yaml"
    before = matrix.read_text()
    (line,) = [line for line in before.splitlines() if line.startswith("  release: ")]
    matrix.write_text(before.replace(line, line.replace("10.0 ", "10.0 10.3 ")))
    shown = orchestrate(copy, "check", code=3)
    assert shown.count("missing 10.3 (B300, GB300)") == 7  # two of them through a variable
    diff = orchestrate(copy, "check", "--fix", code=0)
    added = [row for row in diff.splitlines() if row.startswith("+") and "10.3" in row]
    changed = [row.removeprefix("+++ b/") for row in diff.splitlines() if row.startswith("+++ ")]
    assert changed == ["README.md", "docker/Dockerfile", "docker/versions.json", "examples/axpy/matrix.yaml"]
    assert len(added) == 5  # the Dockerfile has two consumers
    assert orchestrate(copy, "check", code=0).endswith(": all agree\n")
    for name in changed:
        old, new = (ROOT / name).read_text(), (copy / name).read_text()
        assert new.replace("10.0 10.3 ", "10.0 ") == old


def test_the_fixed_versions_file_is_what_its_generator_writes(copy: Path) -> None:
    assert subprocess.run([sys.executable, str(ROOT / "scripts/versions"), "--check"], check=False).returncode == 0
    (copy / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/versions", copy / "scripts")
    (copy / "orchestrator").symlink_to(ROOT / "orchestrator")
    dockerfile = copy / "docker/Dockerfile"
    dockerfile.write_text(dockerfile.read_text().replace("ARG PYTHON_VERSION=3.12", "ARG PYTHON_VERSION=3.13"))
    stale = subprocess.run(
        [sys.executable, str(copy / "scripts/versions"), "--check"], capture_output=True, text=True, check=False
    )
    assert (stale.returncode, "run it" in stale.stderr) == (3, True)
    subprocess.run([sys.executable, str(copy / "scripts/versions")], check=True)
    assert '"default": "3.13"' in (copy / "docker/versions.json").read_text()


def test_the_pre_commit_hooks_run(copy: Path) -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert [hook["id"] for hook in hooks] == ["orchestrate-check", "orchestrate-check-fix"]
    dockerfile = copy / "docker/Dockerfile"
    dockerfile.write_text(dockerfile.read_text().replace("ARG CUDA_VERSION=13.0.2", "ARG CUDA_VERSION=13.0.1"))
    for hook, code in zip([*hooks, hooks[0]], [3, 0, 0], strict=True):
        _, *words = hook["entry"].split()
        orchestrate(copy, *words, code=code)
