"""Preflight's judgement; its questions to buildx are put in tests/engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from orchestrator.bake import outline
from orchestrator.bake.arrived import Outline
from orchestrator.bake.file import BakeFile
from orchestrator.bake.preflight import Arrival, Consumer, Injected, NotArrivedError, arrivals, check
from orchestrator.bake.preflight import arrival as arrival_of
from orchestrator.dockerfile.lives import Loss, Lost
from orchestrator.engine.buildx import BakeCall, last_error
from orchestrator.errors import MatrixError, Place


def test_the_command() -> None:
    bake = BakeCall(docker=("docker", "--context", "x"), files=("a.hcl", "b.json"), root=Path("/r"), builder="b")
    assert bake.argv("-f", "v.json") == (
        "docker", "--context", "x", "buildx", "bake", "--builder", "b", "-f", "a.hcl", "-f", "b.json", "-f", "v.json"
    )  # fmt: skip


def arrival(*consumers: Consumer) -> Arrival:
    return Arrival(checked=True, consumers=consumers)


def test_a_value_that_arrives_as_another_is_told() -> None:
    found = arrival(Consumer(target="t", args={"A": "theirs"}))
    with pytest.raises(NotArrivedError) as caught:
        check(found, Injected(args={"A": "ours"}), variant="v")
    (problem,) = caught.value.problems
    assert str(problem) == "v: A reaches target t with another value, expected 'ours', found 'theirs'"


def test_a_place_may_hold_colons() -> None:
    places = {"B": Place(file="C:/x/matrix.yaml", line=3, column=7)}
    with pytest.raises(NotArrivedError) as caught:
        check(arrival(Consumer(target="t", args={})), Injected(args={"B": "1"}, places=places), variant="v")
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.column) == ("C:/x/matrix.yaml", 3, 7)
    assert caught.value.hint == "t consumes: none"


def test_what_was_not_checked_is_not_judged() -> None:
    check(Arrival(checked=False, why_not="x"), Injected(args={"A": "1"}), variant="v")


def test_a_linked_target_may_consume_what_the_target_does_not() -> None:
    found = arrival(Consumer(target="app", args={"LIST": "9.0"}), Consumer(target="base", args={"CUDA": "13.0.2"}))
    check(found, Injected(args={"LIST": "9.0", "CUDA": "13.0.2"}), variant="v")
    assert found.consumed == {"LIST": "9.0", "CUDA": "13.0.2"}
    with pytest.raises(NotArrivedError) as caught:
        check(found, Injected(args={"CUDA_VERSION": "13.0.2"}), variant="v")
    assert str(caught.value).splitlines() == [
        "v: 1 injected argument does not reach the target",
        "v: target app and the linked base do not consume CUDA_VERSION",
        "app consumes: LIST; base consumes: CUDA",
    ]


def test_nowhere_with_another_value() -> None:
    found = arrival(Consumer(target="app", args={"CUDA": "13.0.2"}), Consumer(target="base", args={"CUDA": "12.4.1"}))
    with pytest.raises(NotArrivedError, match=r"CUDA reaches target base with another value, expected '13.0.2'"):
        check(found, Injected(args={"CUDA": "13.0.2"}), variant="v")


def test_a_locked_base_that_no_stage_starts_from_is_told() -> None:
    """The image had the digest of it as a label."""
    app, base = (
        Consumer(target="app", args={}, unused=("a:1", "b:1")),
        Consumer(target="base", args={}, unused=("b:1",)),
    )
    given = Injected(locked=("a:1",), places={"b:1": Place(file="bases.lock.json", line=1)})
    check(arrival(app, base), given, variant="v")
    with pytest.raises(NotArrivedError) as caught:
        check(arrival(app, base), replace(given, locked=("a:1", "b:1")), variant="v")
    (problem,) = caught.value.problems
    assert problem.what == "v: target app and the linked base do not start from b:1, which the lock names for it"
    assert (problem.file, problem.hint) == ("bases.lock.json", "`orchestrate lock bases` writes the lock again")


def test_contexts_and_secrets_arrive_like_arguments() -> None:
    app = Consumer(target="app", args={}, secrets=("ca",), unused=("one", "two"))
    base = Consumer(target="base", args={}, secrets=("token",), unused=("one",))
    check(arrival(app, base), Injected(contexts=("two",), secrets=("ca", "token", "GIT_AUTH_TOKEN")), variant="v")
    with pytest.raises(NotArrivedError) as caught:
        check(arrival(app, base), Injected(contexts=("one",), secrets=("tokens",)), variant="v")
    assert str(caught.value).splitlines() == [
        "v: 2 injected values do not reach the target",
        "v: target app and the linked base do not use the named context one",
        "v: target app and the linked base do not mount the secret tokens; did you mean token?",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("#1 x\nERROR: one\nERROR: two\n", "two"),
        ("#1 x\nlast\n\n", "last"),
        ("", "no output"),
    ],
)
def test_the_line_that_says_what_is_wrong(text: str, line: str) -> None:
    assert last_error(text) == line


@pytest.mark.parametrize("loss", Loss)
def test_an_argument_that_one_target_loses_reaches_the_other(loss: Loss) -> None:
    """An ENV gives the steps another value, which a base must not have; what is merely unread harms nothing."""
    lost = Lost(name="A", loss=loss, line=3, declared=2, certain=True)
    loses, takes = Consumer(target="app", args={"A": "1"}, lost=(lost,)), Consumer(target="base", args={"A": "1"})
    for both in ((loses, takes), (takes, loses)):
        if loss in {Loss.ENV, Loss.BASE}:
            with pytest.raises(NotArrivedError, match="v: A does not reach a step of target app: ENV A"):
                check(arrival(*both), Injected(args={"A": "1"}), variant="v")
        else:
            check(arrival(*both), Injected(args={"A": "1"}), variant="v")
    with pytest.raises(NotArrivedError) as caught:
        check(arrival(loses, Consumer(target="base", args={})), Injected(args={"A": "1"}), variant="v")
    (problem,) = caught.value.problems
    assert problem.what.startswith("v: A does not reach a step of target app: ")
    unsure = replace(lost, certain=False)
    check(arrival(replace(loses, lost=(unsure,))), Injected(args={"A": "1"}), variant="v")


def baked(members: dict[str, dict[str, Any]]) -> BakeFile:
    return BakeFile(target="v", members=members, origins={"v": "app", "v--base": "base"})


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Outline | str]:
    """What buildx outlines, by target, and "refused" for what it says of a Dockerfile as it is written."""
    found: dict[str, Outline | str] = {}

    def outlines(_: BakeCall, asked: dict[str, Any], memory: object) -> dict[str, Outline | str]:
        assert memory is None
        return {name: found.get(name, Outline(args={"A": "1"}, secrets=["s"])) for name in asked}

    monkeypatch.setattr(outline, "outlines", outlines)
    monkeypatch.setattr(outline, "refusal", lambda *_: str(found.get("refused", "")))
    return found


TEXT = "FROM scratch AS one\nARG A\nCOPY --from=dep / /\n"


def asked(root: Path, **members: dict[str, Any]) -> Arrival | MatrixError:
    call = BakeCall(docker=("docker",), files=("docker-bake.hcl",), root=root)
    file = baked({name.replace("__", "--"): body for name, body in members.items()})
    (found,) = arrivals(call, [file])
    if isinstance(found, MatrixError):
        with pytest.raises(MatrixError) as error:
            arrival_of(call, file)
        assert str(error.value) == str(found)
    else:
        assert arrival_of(call, file) == found
    return found


def inline(text: str, **more: Any) -> dict[str, Any]:
    return {"context": ".", "dockerfile-inline": text, **more}


@pytest.mark.usefixtures("answers")
def test_what_is_consumed_and_what_is_linked_for_nothing(tmp_path: Path) -> None:
    contexts = {"dep": "target:v--base", "other": "target:v--idle"}
    found = asked(tmp_path, v=inline(TEXT, contexts=contexts), v__base=inline(TEXT), v__idle=inline(TEXT))
    assert isinstance(found, Arrival)
    assert found.checked
    assert [one.target for one in found.consumers] == ["app", "base"]
    assert [one.target for one in found.idle] == ["v--idle"]
    (first, _) = found.consumers
    assert (dict(first.args), first.secrets, list(first.unused)) == ({"A": "1"}, ("s",), ["other"])


@pytest.mark.usefixtures("answers")
def test_what_cannot_be_asked_about_is_not_checked(tmp_path: Path) -> None:
    foreign = f"# syntax=a/b\n{TEXT}"
    why = "its frontend a/b is not Docker's own"
    assert asked(tmp_path, v=inline(foreign)) == Arrival(checked=False, why_not=why)
    assert asked(tmp_path, v=inline(TEXT, args={"BUILDKIT_SYNTAX": "a/b"})) == Arrival(checked=False, why_not=why)
    assert asked(tmp_path, v=inline(TEXT), v__base=inline(foreign)) == Arrival(
        checked=False, why_not=f"target base: {why}"
    )
    docker = asked(tmp_path, v=inline(f"# syntax=docker/dockerfile:1\n{TEXT}"))
    assert isinstance(docker, Arrival)
    assert docker.checked
    remote = asked(tmp_path, v={"context": "https://example.org/x.git"})
    assert isinstance(remote, Arrival)
    assert (remote.checked, bool(remote.why_not)) == (False, True)
    empty = asked(tmp_path, v=inline(TEXT), v__base=inline(" \n"))
    assert str(empty) == "target base: its Dockerfile is empty"
    assert isinstance(asked(tmp_path, v={"context": "."}), MatrixError)


def test_what_buildx_does_not_outline_is_not_checked_or_refused(
    tmp_path: Path, answers: dict[str, Outline | str]
) -> None:
    answers["v"] = "buildx gave no outline"
    assert asked(tmp_path, v=inline(TEXT)) == Arrival(checked=False, why_not="buildx gave no outline")
    (tmp_path / "docker-bake.hcl").write_text('target "app" {\n  target = "oen"\n}\n')
    answers["refused"] = 'target stage "oen" could not be found'
    error = asked(tmp_path, v=inline(TEXT, target="oen"))
    assert isinstance(error, MatrixError)
    (problem,) = error.problems
    assert error.message == "target app cannot be built"
    assert (problem.file, problem.line) == ("docker-bake.hcl", 2)
    assert problem.what == "target app: stage oen was not found"
    assert problem.hint == "did you mean one?"
    answers["refused"] = "dockerfile parse error on line 3: unknown instruction: X"
    error = asked(tmp_path, v=inline(TEXT))
    assert isinstance(error, MatrixError)
    (problem,) = error.problems
    assert (problem.file, problem.line) == ("dockerfile-inline", 3)
    assert problem.what == "target app: dockerfile parse error on line 3: unknown instruction: X"
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "D").write_text(TEXT)
    answers["refused"] = "file with no instructions"
    error = asked(tmp_path, v={"context": "sub", "dockerfile": "D"})
    assert isinstance(error, MatrixError)
    assert (error.problems[0].file, error.problems[0].line) == ("sub/D", 1)
