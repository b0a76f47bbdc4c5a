"""A disk that is full, for real: each message names the place, and what is not the image costs no image."""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.project import COMMAND, write_project

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.support.project import Project


@pytest.fixture
def project(engine: str, tmp_path: Path) -> Project:
    (tmp_path / "small").mkdir()
    return write_project(tmp_path, "acme/app", app="RUN dd if=/dev/urandom of=/big bs=1M count=3")


def build(project: Project, words: Sequence[str], *, filled: bool, **env: str) -> subprocess.CompletedProcess[str]:
    """Build where `small`, beside the project, is a file system of 1 MB that only this command sees."""
    small = project.root.parent / "small"
    steps = ["set -e", f"mount -t tmpfs -o size=1m none {small}"]
    if filled:
        steps.append(f"head -c 2000000 /dev/zero >{small}/fill 2>/dev/null || :")
    steps.append(f"exec {shlex.join([str(COMMAND), 'build', *words])}")
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", "\n".join(steps)], cwd=project.root, env={**os.environ, **env},
        capture_output=True, text=True, timeout=150, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr
    return done


def test_the_place_of_an_archive(project: Project) -> None:
    small = project.root.parent / "small"
    done = build(project, ["--output", str(small)], filled=False)
    assert done.returncode == 5, done.stderr
    assert "app-cu130-amd64: failed (disk)" in done.stdout
    assert f"write {small}/app-cu130-amd64.tar.part: no space left on device" in done.stdout


def test_the_place_of_a_report(project: Project) -> None:
    report = project.root.parent / "small" / "report.json"
    done = build(project, ["--report", str(report)], filled=True)
    assert done.returncode == 5, done.stderr
    assert f"{report}: the report could not be written: No space left on device" in done.stderr
    assert "app-cu130-amd64  built" in done.stdout


def test_the_place_of_a_cache(project: Project) -> None:
    cache = project.root.parent / "small" / "cache"
    matrix = project.root / "matrix.yaml"
    matrix.write_text(matrix.read_text().replace('{backend: "off"}', f"{{backend: local, dir: {cache}}}"))
    done = build(project, ["--allow", f"fs={cache.parent}"], filled=False)
    assert done.returncode == 0, done.stderr
    (note,) = [line for line in done.stdout.splitlines() if "note: the cache was not written" in line]
    assert f"write {cache}/" in note
    assert "no space left on device" in note


def test_temporary_files_go_elsewhere(project: Project) -> None:
    done = build(project, [], filled=True, TMPDIR=str(project.root.parent / "small"))
    assert done.returncode == 0, done.stdout + done.stderr
