"""What is wrong with a plan, as SARIF: where it stands, by which rule, once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from orchestrator.bake.preflight import NotArrivedError
from orchestrator.cli import app
from orchestrator.errors import EnvironmentLacksError, MatrixError, NetworkError, OrchestrateError, Problem, UsageError
from orchestrator.ui.plan_marks import as_sarif

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

BASE = """\
version: 1
image: ghcr.io/acme/app
bake: {files: [b.hcl], targets: [app]}
arch_lists: {release: 9.0}
cuda: {"13.0": {version: 13.0.2}}
platforms: {linux/amd64: {}}
variants: {arch_list: release, tags: ["{image}:{cuda}"]}
"""


def results(*errors: OrchestrateError) -> list[tuple[str, str, int, str]]:
    return shown(as_sarif(errors, "matrix.yaml"))


def shown(log: Any) -> list[tuple[str, str, int, str]]:
    found = []
    for one in log["runs"][0]["results"]:
        place = one["locations"][0]["physicalLocation"]
        text = one["message"]["text"]
        found.append((one["ruleId"], place["artifactLocation"]["uri"], place["region"]["startLine"], text))
    return found


def test_each_problem_stands_at_its_place_and_once() -> None:
    problem = Problem(file="sub/m.yaml", line=3, column=5, what="a key", expected="b", found="c")
    bad = MatrixError("m.yaml: 2 problems", problems=[problem, problem, Problem(what="no place", hint="write it")])
    assert results(bad, bad) == [
        ("orchestrate/matrix", "sub/m.yaml", 3, "a key, expected b, found c"),
        ("orchestrate/matrix", "matrix.yaml", 1, "no place; write it"),
    ]


def test_what_has_no_problems_is_its_message_and_hint() -> None:
    assert results(MatrixError("m.yaml was not found", hint="orchestrate init"), UsageError("not allowed")) == [
        ("orchestrate/matrix", "matrix.yaml", 1, "m.yaml was not found; orchestrate init"),
        ("orchestrate/buildable", "matrix.yaml", 1, "not allowed"),
    ]
    lost = NotArrivedError("app: A", problems=[Problem(file="m.yaml", line=2, what="nobody consumes A")], hint="ARG A")
    assert results(lost) == [("orchestrate/arrived", "m.yaml", 2, "nobody consumes A; ARG A")]


def test_what_no_file_causes_is_no_finding() -> None:
    assert results(EnvironmentLacksError("no engine"), NetworkError("down")) == []


def test_a_whole_path_is_shown_below_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    here = MatrixError("", problems=[Problem(file=str(tmp_path / "a/m.yaml"), line=1, what="x")])
    assert [one[1] for one in results(here, MatrixError("y"))] == ["a/m.yaml", "matrix.yaml"]
    away = MatrixError("", problems=[Problem(file="/elsewhere/m.yaml", line=1, what="x")])
    assert [one[1] for one in results(away)] == ["elsewhere/m.yaml"]


def test_the_command_prints_it_and_ends_as_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    matrix = tmp_path / "matrix.yaml"
    matrix.write_text(BASE)
    assert app.run(["plan", "--format", "sarif"]) == 0
    assert shown(json.loads(capsys.readouterr().out)) == []
    matrix.write_text(BASE + "unknown: 1\n")
    assert app.run(["plan", "--format", "sarif"]) == 2
    said = capsys.readouterr()
    (one,) = shown(json.loads(said.out))
    assert one[:3] == ("orchestrate/matrix", "matrix.yaml", len(BASE.splitlines()) + 1)
    assert "unknown" in one[3]
    assert "unknown" in said.err
    assert app.run(["plan", "--diff", "HEAD", "--format", "sarif"]) == 2
    assert "--diff --format sarif: expected table or json" in capsys.readouterr().err
