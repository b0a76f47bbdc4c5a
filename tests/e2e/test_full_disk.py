"""A disk that is full, for real: each message names the place, and what is not the image costs no image."""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.project import COMMAND, write_project
from tests.unit.headers import samples

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
    return run(project.root, ["build", *words], filled=filled, **env)


def run(root: Path, words: Sequence[str], *, filled: bool, **env: str) -> subprocess.CompletedProcess[str]:
    """The same with any command."""
    small = root.parent / "small"
    steps = ["set -e", f"mount -t tmpfs -o size=1m none {small}"]
    if filled:
        steps.append(f"head -c 2000000 /dev/zero >{small}/fill 2>/dev/null || :")
    steps.append(f"exec {shlex.join([str(COMMAND), *words])}")
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", "\n".join(steps)], cwd=root, env={**os.environ, **env},
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


def test_the_place_of_the_compile_cache(project: Project) -> None:
    store = project.root.parent / "small" / "compile"
    matrix = project.root / "matrix.yaml"
    matrix.write_text(f"{matrix.read_text()}\ncompile_cache: {{}}\n")
    done = build(project, [], filled=True, ORCHESTRATE_COMPILE_CACHE_STORE=str(store))
    assert done.returncode == 5, done.stdout + done.stderr
    assert f"linux/amd64 is built without it: cannot write {store}: No space left on device" in done.stderr
    assert f"error: {store}/contexts/" in done.stderr


def test_the_place_of_the_header_store(tmp_path: Path) -> None:
    root = tmp_path / "headers"
    root.mkdir()
    samples.wheel(root / "flashinfer_python-0.6.13-py3-none-any.whl")
    for path, data in samples.artifacts().items():
        (root / "mirror" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "mirror" / path).write_bytes(data)
    small, store = tmp_path / "small", tmp_path / "store"
    small.mkdir()
    lock = ["headers", "lock", "--from", "flashinfer_python-0.6.13-py3-none-any.whl", "--mirror", "mirror"]
    for words in (lock, ["headers", "fetch", "--mirror", "mirror"], ["headers", "export", "-o", "bundle.tar.zst"]):
        done = run(root, words, filled=False, ORCHESTRATE_HEADERS_STORE=str(store))
        assert done.returncode == 0, done.stderr
    full = f"cannot write the header store {small}/h: No space left on device"
    for words, said in (
        (lock, full),
        (["headers", "fetch", "--mirror", "mirror"], full),
        (["headers", "import", "bundle.tar.zst"], f"cannot import bundle.tar.zst: {full}"),
    ):
        done = run(root, words, filled=True, ORCHESTRATE_HEADERS_STORE=f"{small}/h")
        assert (done.returncode, f"error: {said}\n" in done.stderr) == (5, True), (words, done.stderr)
    for place in ("tree", "bundle.tar.zst"):
        done = run(root, ["headers", "export", "-o", f"{small}/{place}"], filled=True,
                   ORCHESTRATE_HEADERS_STORE=str(store))  # fmt: skip
        said = f"error: cannot write {small}/{place}: No space left on device\n"
        assert (done.returncode, said in done.stderr) == (5, True), done.stderr
