"""The questions about what targets consume; buildx's answers to them are tests/engine's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator import process
from orchestrator.bake.arrived import Outline, Outlines
from orchestrator.bake.outline import outlines, question, refusal, without_images
from orchestrator.dockerfile.bases import EMPTY
from orchestrator.engine.buildx import BakeCall
from orchestrator.process import Completed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

TEXT = "ARG BASE=debian\nFROM ${BASE} AS one\nARG A\nFROM one\nARG B\n"


def test_a_question_has_arguments_stages_and_no_base_image() -> None:
    target = {
        "target": "one", "platforms": ["linux/arm64"], "args": {"A": 1, "N": None}, "tags": ["t"],
        "contexts": {"img": "docker-image://x", "dir": "../d", "own": "target:base"},
    }  # fmt: skip
    asked = question(target, TEXT)
    assert asked.pop("dockerfile-inline").count("debian") == 1  # the argument's default
    assert asked == {
        "context": "empty",
        "args": {"A": "1"},
        "contexts": {"img": "empty", "dir": "empty", "own": "empty", EMPTY: "empty"},
        "output": ["type=cacheonly"],
        "target": "one",
        "platforms": ["linux/arm64"],
    }
    kept = question(target, TEXT, bases=True)
    assert kept["contexts"] == {"img": "docker-image://x", "dir": "empty", "own": "empty", EMPTY: "empty"}
    assert "FROM ${BASE} AS one" in kept["dockerfile-inline"]
    assert "FROM ${BASE} AS one" not in question(target, TEXT)["dockerfile-inline"]
    assert question({"target": "", "platforms": []}, TEXT).keys() == {
        "context", "dockerfile-inline", "args", "contexts", "output",
    }  # fmt: skip
    assert without_images({"a": "docker-image://x", "b": "./docker-image://"}) == {"b": "./docker-image://"}


class Buildx:
    """Answers like buildx: outlines, or a reason where a target that cannot be outlined is among those asked for."""

    def __init__(self, *bad: str, why: str = "dockerfile parse error on line 1: x") -> None:
        self.bad, self.why, self.raw = bad, why, ""
        self.asked: list[tuple[str, ...]] = []
        self.written: list[dict[str, Any]] = []

    def __call__(self, argv: Sequence[str], *, cwd: Path, timeout: float, env: Mapping[str, str]) -> Completed:
        assert timeout == 120
        assert env["BUILDX_NO_DEFAULT_ATTESTATIONS"] == "1"
        assert (cwd / "empty").is_dir()
        assert argv[:3] == ("docker", "buildx", "bake")
        assert argv[argv.index("-f") + 1] == "outline.json"
        assert argv.count("-f") == 1
        names = tuple(argv[argv.index("--call=outline,format=json") + 1 :])
        self.asked.append(names)
        self.written.append(json.loads((cwd / "outline.json").read_text())["target"])
        if set(names) & set(self.bad):
            return Completed(argv=tuple(argv), returncode=1, stdout="", stderr=f"ERROR: {self.why}\n")
        entry = {"args": [{"name": "A", "value": "1"}, {"name": "B"}], "secrets": [{"name": "s"}]}
        answer = {"target": {name: {"outline": entry} for name in names}}
        return Completed(argv=tuple(argv), returncode=0, stdout=self.raw or json.dumps(answer), stderr="")


FOUND = Outline(args={"A": "1", "B": ""}, secrets=["s"])


@pytest.fixture
def call(tmp_path: Path) -> BakeCall:
    return BakeCall(docker=("docker",), files=("a.hcl",), root=tmp_path)


def asked_of(monkeypatch: pytest.MonkeyPatch, buildx: Buildx) -> Buildx:
    monkeypatch.setattr(process, "run", buildx)
    return buildx


def test_all_are_asked_for_together_once_and_remembered(
    tmp_path: Path, call: BakeCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    buildx = asked_of(monkeypatch, Buildx())
    memory = Outlines(tmp_path / "outlines.json")
    same: dict[str, Any] = {"args": {"A": "${x}"}}
    other: dict[str, Any] = {"args": {}}
    assert outlines(call, {"a": same, "b": same, "c": other}, memory) == {"a": FOUND, "b": FOUND, "c": FOUND}
    assert [len(names) for names in buildx.asked] == [2]
    assert buildx.written[0]["b"] == {"args": {"A": "$${x}"}}
    assert outlines(call, {"d": same}, Outlines(tmp_path / "outlines.json")) == {"d": FOUND}
    assert len(buildx.asked) == 1
    assert outlines(call, {"d": same}) == {"d": FOUND}
    assert len(buildx.asked) == 2
    many = {f"t{number}": {"args": {"N": str(number)}} for number in range(201)}
    assert set(outlines(call, many)) == set(many)
    assert sorted(len(names) for names in buildx.asked[2:]) == [1, 200]


def test_what_cannot_be_outlined_is_asked_for_alone(call: BakeCall, monkeypatch: pytest.MonkeyPatch) -> None:
    buildx = asked_of(monkeypatch, Buildx("b"))
    targets: dict[str, dict[str, Any]] = {name: {"args": {"N": name}} for name in "abc"}
    why = "buildx cannot outline it: dockerfile parse error on line 1: x"
    assert outlines(call, targets) == {"a": FOUND, "b": why, "c": FOUND}
    assert sorted(buildx.asked) == [("a",), ("a", "b", "c"), ("b",), ("c",)]
    assert outlines(call, {"b": {}}) == {"b": why}
    assert len(buildx.asked) == 5


@pytest.mark.parametrize("raw", ["no JSON", "[]", "{}", '{"target": {"a": {}}}', '{"target": {"a": {"outline": 1}}}'])
def test_an_answer_of_another_form_is_none(call: BakeCall, monkeypatch: pytest.MonkeyPatch, raw: str) -> None:
    asked_of(monkeypatch, Buildx()).raw = raw
    assert outlines(call, {"a": {}}) == {"a": "buildx printed no outline"}


@pytest.mark.parametrize(
    "why",
    [
        "dockerfile parse error on line 7: unknown instruction: X",
        'target stage "x" could not be found',
        "file with no instructions",
        "no build stage in current context",
    ],
)
def test_a_form_that_the_frontend_refuses_is_told_where_the_file_itself_is_refused(
    call: BakeCall, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    target = {"args": {"A": 1, "N": None}, "contexts": {"c": "docker-image://x"}}
    buildx = asked_of(monkeypatch, Buildx("written", why=why))
    assert refusal(call, target, TEXT, f"buildx cannot outline it: {why}") == why
    (written,) = buildx.written
    assert written["written"]["dockerfile-inline"] == TEXT.replace("${", "$${")
    assert written["written"]["contexts"] == {"c": "empty"}
    assert written["written"]["args"] == {"A": "1"}
    asked_of(monkeypatch, Buildx("written", why="another reason"))
    assert refusal(call, target, TEXT, why) == ""
    asked_of(monkeypatch, Buildx())
    assert refusal(call, target, TEXT, why) == ""
    silent = asked_of(monkeypatch, Buildx())
    assert refusal(call, target, f"# syntax=a/b\n{TEXT}", why) == ""
    assert refusal(call, {"args": {"BUILDKIT_SYNTAX": "a/b"}}, TEXT, why) == ""
    assert refusal(call, target, TEXT, "connection refused") == ""
    assert silent.asked == []
