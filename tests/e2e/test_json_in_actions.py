"""`--format json` of every command is JSON on standard output inside GitHub Actions too, in success and in failure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from orchestrator.cli import app, headers
from orchestrator.cli.kit import Command, LazyGroup
from tests.support import fatbins
from tests.support.project import write_project
from tests.unit.headers import samples

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = str(Path(sys.executable).parent / "orchestrate")
ACTIONS = {"GITHUB_ACTIONS": "true"}
WHEEL = "flashinfer_python-0.6.13-py3-none-any.whl"


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One call: its words, its exit code, and whether annotations are expected on standard error."""

    words: str
    code: int = 0
    annotated: bool = False


CASES = (
    Case(words="plan"),
    Case(words="build --target good"),
    Case(words="build --target bad", code=1, annotated=True),
    Case(words="check", code=3),
    Case(words="check --diff", code=3),
    Case(words="check --find"),
    Case(words="verify lib.so --archs 9.0"),
    Case(words="verify lib.so --archs 11.0", code=4, annotated=True),
    Case(words="verify --compare lib.so lib.so"),
    Case(words="doctor"),
    Case(words=f"headers lock --from {WHEEL} --mirror mirror"),
    Case(words="headers fetch"),
    Case(words="headers import one.tar.zst"),
    Case(words="headers status"),
    Case(words="publish --dry-run", code=1, annotated=True),  # a platform was never pushed
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Path:
    """A project with a claim that disagrees, a library, and a FlashInfer wheel with a mirror."""
    del engine
    root = write_project(
        tmp_path_factory.mktemp("actions"), "127.0.0.1:5000/actions", good="RUN echo fine", bad="RUN echo no; exit 9"
    ).root
    with (root / "matrix.yaml").open("a") as matrix:
        matrix.write('publish: {tags: ["{image}:index-{target}"]}\n')
        matrix.write('claims:\n  - {file: b.sh, name: A, says: "{cuda[13.0].version}"}\n')
    (root / "b.sh").write_text("A=13.0.1\n")
    (root / "lib.so").write_bytes(fatbins.library([["90"]]))
    samples.wheel(root / WHEEL)
    for path, data in samples.artifacts().items():
        target = root / "mirror" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    call(root, f"headers lock --from {WHEEL} --mirror mirror")
    call(root, "headers export -o one.tar.zst")
    return root


def call(root: Path, words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *words.split()], cwd=root, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL,
        env={**os.environ, "XDG_CACHE_HOME": str(root / ".cache"), **env},
    )  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.words)
def test_standard_output_is_json_alone(place: Path, case: Case) -> None:
    done = call(place, f"{case.words} --format json", **ACTIONS)
    assert done.returncode == case.code, done.stderr
    assert json.loads(done.stdout)["schema"] == 1
    assert ("::error" in done.stderr) == case.annotated, done.stderr
    assert "line=0" not in done.stderr


def with_json(group: LazyGroup, *path: str) -> Iterator[str]:
    for name in group.lazy:
        found = group.get_command(click.Context(group), name)
        if isinstance(found, Command) and any("--format" in param.opts for param in found.params):
            yield " ".join((*path, name))


def test_no_command_is_left_out() -> None:
    root = app.create()
    assert isinstance(root, LazyGroup)
    known = {*with_json(root), *with_json(headers.command, "headers")}
    assert {next(name for name in known if case.words.startswith(name)) for case in CASES} == known
