"""Files that nobody wrote by hand: `check`, `check --find` and `init` name them and go on, and never die in C."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.drift.matrices import BASE

COMMAND = Path(sys.executable).parent / "orchestrate"
TELLING = "# cuda_version\n"
DEEP = {
    "flow.yaml": f"{TELLING}a: {'[' * 900_000}",
    "closed.yaml": f"{TELLING}a: {'[' * 30_000}{']' * 30_000}",
    "mappings.yaml": f"{TELLING}{'{a: ' * 200_000}",
    "block.yaml": f"{TELLING}{'- ' * 400_000}",
    "deep.json": f'{{"cuda_version": {"[" * 400_000}',
    "deep.toml": f"{TELLING}a = {'[' * 400_000}",
    "lists.hcl": f"{TELLING}a = {'[' * 3000}{']' * 3000}\n",
    "blocks.hcl": TELLING + 'a "b" {\n' * 3000,
    "templates.hcl": TELLING + 'a = "' + '${"' * 3000,
    "deep.sh": TELLING + "if true; then\n" * 30_000,
}
CLAIMS = {
    "yaml": "pointer: /a", "json": "pointer: /a", "toml": "pointer: /a", "hcl": "variable: a", "sh": "name: A",
}  # fmt: skip


def orchestrate(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(COMMAND), *words], cwd=root, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
        check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("deep")
    for name, text in DEEP.items():
        (root / name).write_text(text)
    (root / "docker-bake.hcl").write_text('target "app" { args = { CUDA_ARCH_LIST = "8.0 9.0" } }\n')
    claims = "".join(f"  - {{file: {name}, {CLAIMS[name.rsplit('.', 1)[1]]}, says: '1'}}\n" for name in DEEP)
    (root / "matrix.yaml").write_text(f"{BASE}claims:\n{claims}")
    return root


def test_a_claimed_file_is_one_disagreement_at_its_place(tree: Path) -> None:
    done = orchestrate(tree, "check", "--format", "json")
    assert done.returncode == 3, done.stderr[-2000:]
    found = {one["file"]: one for one in json.loads(done.stdout)["disagreements"]}
    assert found.keys() == DEEP.keys()
    for name, one in found.items():
        assert one["words"] == ["nested too deeply, expected at most 100 levels"], name
        assert one["line"] > 1 or one["column"] > 1, name
    assert "Traceback" not in done.stderr


def test_find_and_init_name_each_file_and_go_on(tree: Path) -> None:
    for words, result in (
        (("check", "--find"), "CUDA_ARCH_LIST"),
        (("check", "--find", "--format", "json"), "CUDA_ARCH_LIST"),
        (("init", "--print"), "CUDA_ARCH_LIST"),
    ):
        done = orchestrate(tree, *words)
        assert done.returncode == 0, done.stderr[-2000:]
        assert result in done.stdout
        skipped = [line for line in done.stderr.splitlines() if ": skipped: nested too deeply" in line]
        assert {line.partition(":")[0] for line in skipped} == DEEP.keys()


def test_a_matrix_like_that_is_refused(tmp_path: Path) -> None:
    (tmp_path / "matrix.yaml").write_text("a: " + "[" * 900_000)
    done = orchestrate(tmp_path, "check")
    assert done.returncode == 2
    assert "matrix.yaml:1:43: nested too deeply, expected at most 40 levels" in done.stderr


def test_a_file_that_cannot_be_replaced_leaves_all_as_they_were(tmp_path: Path) -> None:
    names = ("a.sh", "b.sh", "c.sh")
    claims = "".join(f"  - {{file: {name}, name: A, says: '2'}}\n" for name in names)
    (tmp_path / "matrix.yaml").write_text(f"{BASE}claims:\n{claims}")
    for name in names:
        (tmp_path / name).write_text("A=1\n")
    mounted = tmp_path / "b.sh"
    subprocess.run(["mount", "--bind", mounted, mounted], check=True)  # it can be prepared, and no rename replaces it
    try:
        done = orchestrate(tmp_path, "check", "--fix", "--format", "json")
    finally:
        subprocess.run(["umount", mounted], check=True)
    assert (done.returncode, "fixed:" in done.stderr) == (3, False)
    assert {one["file"]: one["unfixable"] for one in json.loads(done.stdout)["disagreements"]} == {
        name: "the file is not written: "
        + ("Device or resource busy" if name == "b.sh" else f"{mounted} cannot be replaced (Device or resource busy), "
           "so that all stay as they were")
        for name in names
    }  # fmt: skip
    assert [(tmp_path / name).read_text() for name in names] == ["A=1\n"] * 3
    assert sorted(path.name for path in tmp_path.iterdir()) == [*names, "matrix.yaml"]
    done = orchestrate(tmp_path, "check", "--fix")
    assert (done.returncode, done.stderr.count("fixed: ")) == (0, 3)
