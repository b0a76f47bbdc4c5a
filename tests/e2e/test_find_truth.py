"""`check --find`, `init` and `check` beside truth tables that were made with a grep, and committed before their code.

Six source distributions that nobody here wrote: three releases of vLLM, LMCache, llama-cpp-python, Aphrodite. The
tables and the grep are in tests/facts; careful_grep.py says where the verdicts come from.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.facts import careful_grep
from tests.support.artifacts import download, extract_all

pytestmark = pytest.mark.download

COMMAND = Path(sys.executable).parent / "orchestrate"
FACTS = Path(careful_grep.__file__).parent
TREES = ("vllm==0.20.0", "vllm==0.26.0", "vllm==0.33.0", "lmcache==0.5.6", "llama-cpp-python==0.3.36",
         "aphrodite-engine==0.10.0")  # fmt: skip
PRECISION = 0.9
RECALL = 1.0


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a truth table."""

    file: str
    line: int
    value: str
    verdict: str

    @property
    def contradicts(self) -> bool:
        return self.verdict.startswith("contradicts ")


def facts(tree: Path) -> list[Row]:
    lines = (FACTS / f"{tree.name}.tsv").read_text(encoding="utf-8").splitlines()[1:]
    return [Row(file, int(line), value, verdict) for file, line, value, verdict in (one.split("\t") for one in lines)]


def orchestrate(*words: str | Path, codes: tuple[int, ...]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(COMMAND), *map(str, words)], capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL
    )
    assert done.returncode in codes, done.stdout[-2000:] + done.stderr
    return done


@pytest.fixture(scope="module", params=TREES)
def tree(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unpacked source distribution."""
    root = tmp_path_factory.mktemp("tree")
    with tarfile.open(download(request.param, sdist=True)) as archive:
        extract_all(archive, root)
    (found,) = root.iterdir()
    return found


@pytest.fixture(scope="module")
def found(tree: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(
        orchestrate("check", "--find", "-C", tree, "--format", "json", codes=(0,)).stdout
    )
    return content


def test_the_table_is_what_the_grep_finds(tree: Path) -> None:
    assert list(careful_grep.hits(tree)) == [(row.file, row.line, row.value) for row in facts(tree)]


def test_find_misses_nothing(tree: Path, found: dict[str, Any]) -> None:
    told: dict[tuple[str, int], list[str]] = {}
    for subject in found["subjects"]:
        for value in subject["values"]:
            for place in value["places"]:
                told.setdefault((place["file"], place["line"]), []).append(value["value"])
                told[place["file"], place["line"]].append(place["written"])
    for one in found["mentions"]:
        told.setdefault((one["file"], one["line"]), []).append(one["value"])
    rows = facts(tree)
    missed = [row for row in rows if not any(row.value in value for value in told.get((row.file, row.line), []))]
    recall = 1 - len(missed) / len(rows)
    print(f"{tree.name}: {len(rows)} rows, recall of --find {recall:.3f}")
    assert recall >= RECALL, missed


def flagged(found: dict[str, Any]) -> list[tuple[tuple[str, int], tuple[str, int]]]:
    """The places that contradict another, with that one."""
    return [
        ((one["file"], one["line"]), (one["against"]["file"], one["against"]["line"]))
        for subject in found["subjects"]
        for one in subject["contradictions"]
    ]


def test_what_find_flags_is_a_contradiction(tree: Path, found: dict[str, Any]) -> None:
    true = {(row.file, row.line) for row in facts(tree) if row.contradicts}
    pairs = flagged(found)
    right = [pair for pair in pairs if true.intersection(pair)]  # either side may be the one that is wrong
    missed = true - {place for pair in pairs for place in pair}
    print(f"{tree.name}: {len(pairs)} flagged, {len(right)} true, {len(true)} contradictions in the table")
    assert not missed
    assert len(right) >= PRECISION * len(pairs), [pair for pair in pairs if pair not in right]
    assert all(one["words"] for subject in found["subjects"] for one in subject["contradictions"])


def test_check_after_init_shows_the_contradictions_and_no_other(tree: Path, tmp_path: Path) -> None:
    if not tree.name.startswith("vllm"):
        pytest.skip("the project has no bake file")
    copy = tmp_path / tree.name
    shutil.copytree(tree, copy)
    orchestrate("init", "-C", copy, codes=(0,))
    planned = json.loads(orchestrate("plan", "-C", copy, "--format", "json", codes=(0,)).stdout)
    assert planned["variants"]
    preflight = ("plan", "-C", copy, "--preflight", "--no-push", "--platform", "linux/amd64", "--format", "json")
    checked = json.loads(orchestrate(*preflight, codes=(0,)).stdout)
    print(f"{tree.name}: {len(checked['variants'])} variants pass the preflight")
    report = json.loads(orchestrate("check", "-C", copy, "--format", "json", codes=(3,)).stdout)
    shown = {(one["file"], one["line"]) for one in report["disagreements"]}
    true = {(row.file, row.line) for row in facts(tree) if row.contradicts}
    print(f"{tree.name}: {report['claims']} claims, {len(shown)} disagreements, {len(true)} contradictions")
    assert true <= shown
    assert len(true) >= PRECISION * len(shown), shown - true
    orchestrate("check", "-C", copy, "--fix", codes=(0,))
    assert json.loads(orchestrate("check", "-C", copy, "--format", "json", codes=(0,)).stdout)["disagreements"] == []
