from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from orchestrator.cli import app
from tests.unit.drift.matrices import BASE

if TYPE_CHECKING:
    from pathlib import Path

CLAIM = 'claims:\n  - {file: b.sh, name: A, says: "{cuda[13.0].version}"}\n'


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "matrix.yaml").write_text(BASE + CLAIM)
    (tmp_path / "b.sh").write_text("A=13.0.1\n")
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    code = app.run([str(word) for word in words])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_drift_is_3_and_told_on_stdout(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "check", "-C", tree)
    assert (code, out) == (3, "b.sh:1: A=: says 13.0.1, the matrix says 13.0.2: another patch of 13.0\n")
    assert "1 place contradicts the matrix" in err
    assert "`orchestrate check --fix` repairs 1 of them" in err


def test_diff_changes_nothing_and_fix_does(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, diff, _ = run(capsys, "check", "-C", tree, "--diff")
    assert code == 3
    assert "-A=13.0.1\n+A=13.0.2\n" in diff
    assert (tree / "b.sh").read_text() == "A=13.0.1\n"
    code, out, _ = run(capsys, "check", "-C", tree, "--fix", "--format", "json")
    assert (code, json.loads(out)["diff"], json.loads(out)["disagreements"]) == (0, diff, [])
    assert (tree / "b.sh").read_text() == "A=13.0.2\n"
    assert run(capsys, "check", "-C", tree)[:2] == (0, "1 claim, 1 place in 1 file: all agree\n")


def test_what_a_fix_leaves_is_still_3(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "b.sh").write_text("V=1\nA=$V\n")
    code, out, err = run(capsys, "check", "-C", tree, "--fix")
    assert code == 3
    assert out == (
        "b.sh:2: A=: says 1, the matrix says 13.0.2: it comes from $V\n    not fixed by --fix: it comes from $V\n"
    )
    assert "repairs" not in err


def test_github_paths_begin_at_the_directory(
    tree: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree.parent)
    code, out, _ = run(capsys, "check", "-C", tree.name, "--format", "github")
    assert code == 3
    assert out.startswith(f"::error file={tree.name}/b.sh,line=1,col=3,endColumn=9,title=A=::")
    monkeypatch.chdir(tree)
    assert "file=b.sh," in run(capsys, "check", "--format", "github")[1]


def test_a_matrix_without_claims_says_how_to_get_some(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "matrix.yaml").write_text(BASE)
    code, out, err = run(capsys, "check", "-C", tree)
    assert (code, out) == (0, "0 claims, 0 places in 0 files: all agree\n")
    assert "--find" in err


def test_find_needs_no_matrix_and_writes_nothing(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "matrix.yaml").unlink()
    (tree / "b.sh").write_text('TORCH_CUDA_ARCH_LIST="8.0 9.0"\n')
    code, out, _ = run(capsys, "check", "--find", "-C", tree)
    assert code == 0
    assert '  - {file: b.sh, name: TORCH_CUDA_ARCH_LIST, says: "{arch_lists.release}"}  # line 1\n' in out
    assert json.loads(run(capsys, "check", "--find", "-C", tree, "--format", "json")[1])["schema"] == 1
    assert run(capsys, "check", "--find", "--fix", "-C", tree)[0] == 2
    assert run(capsys, "check", "--find", "-C", tree / "gone")[0] == 2


def test_bytes_that_are_not_utf8_are_shown_as_escapes(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "b.sh").write_bytes(b"A='caf\xe9'\n")
    code, out, _ = run(capsys, "check", "-C", tree)
    assert (code, out) == (3, "b.sh:1: A=: says caf\\udce9, the matrix says 13.0.2: another value\n")


def test_init_writes_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bake = 'target "app" { args = { CUDA_ARCH_LIST = "8.0 9.0", CUDA_VERSION = "13.0.2" } }\n'
    (tmp_path / "docker-bake.hcl").write_text(bake)
    assert run(capsys, "init", "-C", tmp_path)[:2] == (0, f"{tmp_path}/matrix.yaml: 1 variant, 2 claims\n")
    assert run(capsys, "check", "-C", tmp_path)[0] == 0
    code, _, err = run(capsys, "init", "-C", tmp_path)
    assert code == 2
    assert "--force replaces it" in err
    assert run(capsys, "init", "-C", tmp_path, "--force")[0] == 0
    assert run(capsys, "init", "-C", tmp_path / "gone")[0] == 2


def test_init_says_what_no_file_says_and_plan_refuses_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "docker-bake.hcl").write_text('target "app" { args = { CUDA_ARCH_LIST = "8.0 9.0" } }\n')
    code, out, err = run(capsys, "init", "-C", tmp_path)
    assert (code, out) == (0, f"{tmp_path}/matrix.yaml: written, to be completed\n")
    assert f"{tmp_path}/matrix.yaml: UNKNOWN is the CUDA release, which no file names\n" in err
    hint = f"hint: write these values in place of UNKNOWN in {tmp_path}/matrix.yaml, then run `orchestrate plan`\n"
    assert err.endswith(hint)
    code, _, err = run(capsys, "plan", "-C", tmp_path)
    placeholder = '  UNKNOWN: {version: UNKNOWN}  # for example "13.0": {version: 13.0.2}'
    line = (tmp_path / "matrix.yaml").read_text().splitlines().index(placeholder) + 1
    assert code == 2
    assert f"matrix.yaml:{line}:" in err


def test_init_writes_what_does_not_plan_and_says_which_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bake = 'target "app" { args = { CUDA_ARCH_LIST = "10.0 12.0", CUDA_VERSION = "12.4.1" } }\n'
    (tmp_path / "docker-bake.hcl").write_text(bake)
    code, out, err = run(capsys, "init", "-C", tmp_path)
    assert (code, out) == (2, f"{tmp_path}/matrix.yaml: written, to be corrected\n")
    assert "no architecture is left for CUDA 12.4" in err
    assert err.endswith("hint: correct these lines of what was written, then run `orchestrate plan`\n")
    assert run(capsys, "plan", "-C", tmp_path)[0] == 2
