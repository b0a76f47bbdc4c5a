"""`orchestrate publish --notes`: what a release changes, from images with real kernels, by the installed command."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.toolchain import Axpy, axpy

pytestmark = pytest.mark.download

COMMAND = Path(sys.executable).parent / "orchestrate"


def orchestrate(root: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *map(str, words)], cwd=root, capture_output=True, text=True, timeout=400, stdin=subprocess.DEVNULL,
        env={
            **os.environ, "XDG_CACHE_HOME": str(root.parent / "cache"),
            "GITHUB_STEP_SUMMARY": str(root.parent / "summary.md"),
        },
    )  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Axpy:
    return axpy(tmp_path_factory.mktemp("project"), "13.0")


def release(project: Axpy, image: str, archs: str, *, published: bool = True) -> str:
    """Build, then the notes of a publish, or of one that only looks."""
    report = project.root.parent / "report.json"
    common = ("--cuda", "13.0", "--image", image, "--archs", archs)
    done = orchestrate(
        project.root, "build", "--allow", "fs.read=../../docker", *common, "--push", "--verify", "--report", report
    )
    assert done.returncode == 0, done.stdout + done.stderr
    looking = () if published else ("--dry-run",)
    done = orchestrate(project.root, "publish", *common, "--report", report, "--notes", *looking)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("complete" in done.stderr) is published
    return done.stdout


def test_architectures_gained_and_lost_are_told_by_name(project: Axpy, tmp_image: str, registry: object) -> None:
    said = release(project, tmp_image, "8.0 9.0")
    assert said.startswith("### `axpy-cu130`\n\nFirst release, `sha256:")
    assert "- runs on: 8.0 (A100" in said
    assert "- CUDA: `13.0.2`" in said
    assert " to pull" in said
    assert orchestrate(project.root, "report", "last", "--html", project.root.parent / "run.html").returncode == 0
    page = (project.root.parent / "run.html").read_text()
    assert "<h3>device code by library</h3>" in page
    assert re.search(r"<li>without 8\.0: [\d.]+ kB less; with 8\.0 alone: [\d.]+ kB less</li>", page)

    said = release(project, tmp_image, "9.0 11.0 12.0+PTX")
    assert f"Since `{tmp_image}:cu130` named `sha256:" in said
    (gained,) = [line for line in said.splitlines() if line.startswith("- gained: ")]
    assert "11.0 (" in gained
    assert "Thor" in gained
    assert "12.0 PTX" in gained
    (lost,) = [line for line in said.splitlines() if line.startswith("- **lost**: ")]
    assert lost.startswith("- **lost**: 8.0 (A100")
    assert "9.0" not in gained + lost
    assert " is new to pull" in said
    (code,) = [line for line in said.splitlines() if line.startswith("- device code: ")]
    assert re.search(r"11\.0 0 B -> [\d.]+ k?B", code), code
    (layers,) = [line for line in said.splitlines() if line.startswith("- layers: 1 `sha256:")]
    assert "(new)" in layers
    summary = (project.root.parent / "summary.md").read_text()
    assert said.strip() in summary

    index = json.loads(
        orchestrate(project.root, "publish", "--cuda", "13.0", "--image", tmp_image, "--archs", "9.0 11.0 12.0+PTX",
                    "--from-registry", "--format", "json").stdout
    )  # fmt: skip
    assert index["moves"] == []
