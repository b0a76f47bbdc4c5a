"""`orchestrate init`: what it writes, prints and refuses, with and without --workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.cli import app
from orchestrator.drift.find import find
from orchestrator.drift.first import first_matrix
from orchestrator.matrix import git
from orchestrator.matrix.expand import plan
from orchestrator.ui import workflow
from tests.unit.matrix.support import SMALL, fact, parse

if TYPE_CHECKING:
    from pathlib import Path

BAKE = 'target "app" { args = { CUDA_ARCH_LIST = "8.0 9.0", CUDA_VERSION = "13.0.2" } }\n'
EXISTS = "exists already\nhint: --force replaces it, --print shows the new one\n"


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(git, "default_branch", lambda _: "")
    monkeypatch.setattr(git, "branch", lambda _: "")
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = app.run(["init", *words])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_what_is_written_is_what_is_printed(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "docker-bake.hcl").write_text(BAKE)
    (root / "build.py").write_text("ARCHS = ['8.0', '9.0']\n")
    (root / "bad.json").write_text('{"cuda": ')
    text = first_matrix(root, find(root).groups).text
    code, out, err = said(capsys, "--print")
    assert (code, out) == (0, text)
    assert "bad.json" in err
    assert not (root / "matrix.yaml").exists()
    hint = "hint: `orchestrate plan` shows them, `orchestrate check` where the files disagree\n"
    code, out, err = said(capsys)
    assert (code, out) == (0, "matrix.yaml: 1 variant, 2 claims\n")
    assert err.endswith(hint)
    assert (root / "matrix.yaml").read_text() == text
    assert said(capsys) == (2, "", f"error: matrix.yaml {EXISTS}")
    assert said(capsys, "--print")[:2] == (0, text)
    (root / "matrix.yaml").write_text("old")
    assert said(capsys, "--force")[0] == 0
    assert (root / "matrix.yaml").read_text() == text


def test_a_place_that_cannot_be_written_is_5(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "docker-bake.hcl").write_text(BAKE)
    (root / "file").touch()
    code, out, err = said(capsys, "--file", "file/matrix.yaml")
    assert (code, out) == (5, "")
    assert "error: file/matrix.yaml: cannot be written: Not a directory\n" in err
    assert said(capsys, "-C", "gone") == (2, "", "error: gone: the directory was not found\n")


def expected(tool: str, branch: str) -> str:
    facts: set[str] = set()

    def asked(name: str) -> str:
        facts.add(name)
        return fact(name)

    return workflow.text(plan(parse(SMALL), fact=asked), tool=tool, branch=branch, facts=facts)


def test_a_workflow_is_written_for_the_matrix(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "matrix.yaml").write_text(SMALL)
    path = root / ".github" / "workflows" / "images.yml"
    tool = f"acme/orchestrate@{'0' * 40}"
    assert said(capsys, "--workflow", "--tool", tool) == (0, ".github/workflows/images.yml: written\n", "")
    assert path.read_text() == expected(tool, "main")
    assert said(capsys, "--workflow") == (2, "", f"error: .github/workflows/images.yml {EXISTS}")
    unknown = workflow.UNKNOWN_TOOL
    hint = f"hint: write the repository of orchestrate and a commit of it in place of {unknown}\n"
    monkeypatch.setattr(git, "branch", lambda _: "topic")
    assert said(capsys, "--workflow", "--print") == (0, expected(unknown, "topic"), hint)
    monkeypatch.setattr(git, "default_branch", lambda _: "trunk")
    code, out, err = said(capsys, "--workflow", "--force")
    assert (code, out, err) == (0, ".github/workflows/images.yml: written\n", hint)
    assert path.read_text() == expected(unknown, "trunk")


def test_a_workflow_that_cannot_be_written(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "matrix.yaml").write_text(SMALL)
    (root / ".github").touch()
    code, out, err = said(capsys, "--workflow")
    assert (code, out) == (5, "")
    assert err.startswith("error: .github/workflows/images.yml: cannot be written: ")
    for tool in ("acme/orchestrate", "acme/orchestrate@v1", f"acme/orchestrate@{'0' * 39}"):
        assert said(capsys, "--workflow", "--tool", tool) == (
            2,
            "",
            (
                f"error: --tool {tool}: expected OWNER/REPOSITORY@SHA, with a full commit of 40 digits\n"
                "hint: a tag can be moved to other code: `git rev-parse TAG` gives its commit\n"
            ),
        )
