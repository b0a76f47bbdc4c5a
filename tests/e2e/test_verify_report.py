"""What `orchestrate verify` says, as the installed command says it: SARIF, the last line, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support import fatbins

COMMAND = Path(sys.executable).parent / "orchestrate"


def verify(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "verify", *map(str, words)], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "60"},
    )  # fmt: skip


def tree(root: Path, **files: str) -> Path:
    root.mkdir()
    for name, tags in files.items():
        (root / name).write_bytes(fatbins.library([tags.split()]))
    return root


def test_sarif_is_the_whole_result(tmp_path: Path) -> None:
    source = tree(tmp_path / "app", **{"a.so": "80", "b.so": "80 90 120"})
    done = verify(source, "--archs", "9.0 12.0", "--format", "sarif")
    assert done.returncode == 4
    (one,) = json.loads(done.stdout)["runs"][0]["results"]
    assert (one["ruleId"], one["level"]) == ("orchestrate/kernels-missing", "error")
    assert "error: " in done.stderr
    assert json.loads(verify(source, "--archs", "8.0", "--format", "sarif").stdout)["runs"][0]["results"] == []


def test_what_a_new_one_lost_as_sarif(tmp_path: Path) -> None:
    old, new = tree(tmp_path / "old", **{"a.so": "80 90"}), tree(tmp_path / "new", **{"a.so": "90"})
    done = verify("--compare", old, new, "--fail-on-lost", "--format", "sarif")
    assert done.returncode == 4
    assert [one["ruleId"] for one in json.loads(done.stdout)["runs"][0]["results"]] == ["orchestrate/kernels-lost"]
    assert verify("--compare", old, new, "--format", "sarif").returncode == 0
    assert verify("--compare", new, old, "--fail-on-lost", "--format", "sarif").returncode == 0


def test_the_last_line_says_how_many_more(tmp_path: Path) -> None:
    source = tree(tmp_path / "app", **{f"lib{number}.so": "80" for number in range(7)})
    done = verify(source, "--archs", "9.0 10.0 12.0")
    assert done.returncode == 4
    text = " ".join(done.stderr.split())
    assert "7 problems in lib0.so, lib1.so, lib2.so, lib3.so and 3 more" in text
    assert text.count("lib6.so: ") == 1, "one block for each library, not one for each GPU"
    assert text.count("-gencode arch=compute_120,code=sm_120") == 7


def test_many_libraries_do_not_flood_the_terminal(tmp_path: Path) -> None:
    source = tree(tmp_path / "app", **{f"lib{number:02}.so": "80" for number in range(30)})
    done = verify(source, "--archs", "9.0")
    text = " ".join(done.stderr.split())
    assert text.count("is not served") == 20
    assert "10 more problems like these (--format json lists them)" in text
    assert done.stdout.count("what its 1 translation units hold") == 10
    assert "20 more libraries with several sets" in " ".join(done.stdout.split())
