"""Preflight's judgement; its questions to buildx are put in tests/engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from orchestrator.bake.preflight import Arrival, Consumer, Injected, NotArrivedError, check
from orchestrator.dockerfile.lives import Loss, Lost
from orchestrator.engine.buildx import BakeCall, last_error
from orchestrator.errors import Place


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
