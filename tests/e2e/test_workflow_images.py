"""`.github/workflows/images.yml`: its `run:` steps, in order, as a runner would run them, on a small matrix."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.base import write_rootfs

ROOT = Path(__file__).parents[2]
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/images.yml").read_text(encoding="utf-8"))

MATRIX = """\
version: 1
image: 127.0.0.1:1/workflow
bake: {files: [small.hcl], targets: [small]}
arch_lists: {release: 9.0 11.0}
cuda: {"12.9": {version: 12.9.1}, "13.0": {version: 13.0.2}}
platforms: {linux/amd64: {runner: ubuntu-24.04}}
variants: {arch_list: release, args: {archs: "{archs.torch}"}, tags: ["{image}:{cuda}"]}
cache: {backend: "off"}
"""
BAKE = 'target "small" {\n  context = "small"\n}\n'
DOCKERFILE = "FROM scratch\nADD rootfs.tar /\nARG archs\nRUN echo archs are ${archs}\n"


@pytest.fixture
def checkout(tmp_path: Path, engine: str) -> Path:
    """A copy of what git tracks, with a small matrix in the place of the real one."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    for name in filter(None, names.decode().split("\0")):
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "matrix.yaml").write_text(MATRIX, encoding="utf-8")
    (tmp_path / "small.hcl").write_text(BAKE, encoding="utf-8")
    write_rootfs(tmp_path / "small")
    (tmp_path / "small/Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
    return tmp_path


def run_job(job: dict[str, Any], checkout: Path, values: dict[str, str]) -> dict[str, str]:
    """Run a job's `run:` steps; gives what they wrote to GITHUB_OUTPUT."""
    output = checkout / "github-output"
    output.write_text("", encoding="utf-8")
    env = {**os.environ, "GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(checkout / "summary.md")}
    env |= {"GITHUB_ACTIONS": "true"}

    def fill(text: str) -> str:
        return re.sub(r"\$\{\{ *(.*?) *\}\}", lambda match: values[match[1]], text)

    env |= {name: fill(text) for name, text in job.get("env", {}).items()}
    for step in job["steps"]:
        if "run" not in step or (step.get("if") == "inputs.push" and not values["inputs.push"]):
            continue
        done = subprocess.run(["bash", "-eo", "pipefail", "-c", step["run"]], cwd=checkout, env=env, text=True,
                              capture_output=True, timeout=600)  # fmt: skip
        assert done.returncode == 0, f"{step['run']}\n{done.stdout}\n{done.stderr}"
    lines = output.read_text(encoding="utf-8").splitlines()
    return dict(line.partition("=")[::2] for line in lines)


def test_every_run_step_works_in_order(checkout: Path) -> None:
    values = {"inputs.cuda": "13.0", "inputs.push": "", "inputs.push && '1' || ''": ""}
    outputs = run_job(WORKFLOW["jobs"]["plan"], checkout, values)
    rows = json.loads(outputs["matrix"])["include"]
    assert [(row["variant"], row["runner"], row["archs"]) for row in rows] == [
        ("small-cu130-amd64", "ubuntu-24.04", "9.0 11.0")
    ]
    assert "small-cu130-amd64" in (checkout / "summary.md").read_text(encoding="utf-8")
    for row in rows:
        run_job(WORKFLOW["jobs"]["build"], checkout, values | {"matrix.variant": row["variant"]})
        report = json.loads((checkout / "report.json").read_text(encoding="utf-8"))
        assert [(found["id"], found["status"]) for found in report["variants"]] == [(row["variant"], "built")]


def test_actions_are_pinned_and_permissions_least() -> None:
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert workflow["permissions"] == {"contents": "read"}, path.name
        for job in workflow["jobs"].values():
            assert set(job.get("permissions", {})) <= {"contents", "packages"}
            for step in job["steps"]:
                assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", step.get("uses", "a@" + "0" * 40)), (path.name, step)
