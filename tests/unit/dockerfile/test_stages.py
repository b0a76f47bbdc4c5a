"""Stages: what each is FROM, which ones a target needs, and the values in their names."""

from __future__ import annotations

import pytest

from orchestrator.dockerfile.predefined import GLOBAL_ARGS, platform_args
from orchestrator.dockerfile.stages import assignments, parse
from orchestrator.dockerfile.words import MAX_VALUE, substitute


def test_stages_steps_and_lines() -> None:
    found = parse(
        "# syntax=docker/dockerfile:1\nARG V=13\nARG B=cuda:${V}\nFROM --platform=x ${B} AS A\n"
        "RUN one \\\n  # a comment between\n  two\nCOPY --from=B /x /y\nfrom a\nRUN --network=host three\n",
        {"V": "12"},
    )
    assert found.syntax == "docker/dockerfile:1"
    assert [(stage.name, stage.base, stage.parent) for stage in found.stages] == [("a", "cuda:12", None), ("1", "a", 0)]
    one, copy = found.stages[0].steps
    assert (one.text, one.line, copy.sources) == ("one   two", 5, ("B",))
    assert found.stages[1].steps[0].network == "host"
    assert [stage.name for stage in found.ancestry("")] == ["a", "1"]


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("FROM a AS one\nFROM b AS two\nFROM c\nCOPY --from=0 / /\n", ["one", "2"]),
        ("FROM a AS one\nFROM b\nCOPY --from=ONE / /\n", ["one", "1"]),
        ("FROM a AS one\nFROM b\nRUN --mount=type=bind,source=/,from=one true\n", ["one", "1"]),
        ("FROM a AS one\nFROM b\nRUN sh -c 'x --mount=from=one'\n", ["1"]),
        ("FROM a AS one\nFROM b\nRUN echo --network=host --from=one\n", ["1"]),
        ("FROM debian AS debian\nRUN x\n", ["debian"]),
        ("FROM a AS x\nFROM b AS x\nFROM x\n", ["x", "2"]),
        ("FROM a AS ctx\nFROM b\nCOPY --from=ctx / /\n", ["1"]),
    ],
)
def test_which_stages_a_target_needs(text: str, needed: list[str]) -> None:
    found = parse(text, replaced={"ctx"})
    assert [stage.name for stage in found.needed("", replaced={"ctx"})] == needed


def test_a_stage_is_from_an_earlier_one_only() -> None:
    found = parse("FROM debian AS debian\nFROM later\nFROM x AS later\nFROM LATER\n")
    assert [stage.parent for stage in found.stages] == [None, None, None, 2]
    assert [stage.name for stage in found.ancestry("debian")] == ["debian"]
    assert found.stage("2") is found.stages[2]
    assert found.stage("9") is None
    assert found.stage("9" * 10_000) is None


def test_a_from_sees_declared_arguments_and_the_platform() -> None:
    text = "ARG A=x\nARG Q='a b'\nFROM ${A}-${TARGETARCH}-${UNDECLARED:-d}\n"
    given = {"A": "y", "UNDECLARED": "z", **platform_args("linux/arm/v7")}
    assert parse(text, given).stages[0].base == "y-arm-d"
    assert list(assignments("A=1 B C='x y' D=$A")) == [("A", "1"), ("B", None), ("C", "'x y'"), ("D", "$A")]


def test_substitution() -> None:
    values = {"X": "v", "E": ""}
    assert substitute("${X:-d}-${X:+y}-$X", values.get) == "v-y-v"
    assert substitute("${N:-d}-${N:+y}-$N-${N:-${M:-${X}}}", values.get) == "d---v"
    assert substitute("${E:-d}${E-d}${E:+y}${E+y}", values.get) == "dy"
    assert substitute("a\"$X\"'$X'\\$X", values.get) == "av$X$X"
    assert substitute("$N ${N} ${X#v}", values.get, unset=None) == "$N ${N} ${X#v}"
    assert len(substitute("$X" * 100, {"X": "y" * MAX_VALUE}.get)) == MAX_VALUE
    deep = "${N:-" * 50_000
    assert isinstance(substitute(deep, values.get), str)


def test_arguments_that_each_double_the_last_stay_small() -> None:
    text = "ARG A0=xxxxxxxxxx\n" + "".join(f"ARG A{n}=$A{n - 1}$A{n - 1}\n" for n in range(1, 60)) + "FROM $A59\n"
    assert len(parse(text).stages[0].base) <= MAX_VALUE


def test_the_platform_arguments_are_of_the_global_scope() -> None:
    assert platform_args("linux/arm64").keys() <= GLOBAL_ARGS
    assert platform_args("") == {}
