"""Dockerfiles without their base images, as text; that the outline stays the same is shown in tests/engine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.dockerfile.bases import EMPTY, external_bases, images_env, without_bases, without_flags
from tests.support.generated import examples


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM a:1\nRUN x\n", "FROM scratch\nRUN x\n"),
        ("FROM --platform=linux/arm64 a AS b\n", "FROM --platform=linux/arm64 scratch AS b\n"),
        ("ARG A=x\nFROM $A\n", "ARG A=x\nFROM scratch\nARG A\n"),
        ("ARG A=x\nARG B=${A}:1\nFROM ${B}\n", "ARG A=x\nARG B=${A}:1\nFROM scratch\nARG B\nARG A\n"),
        ("FROM a AS b\nFROM b\n", "FROM scratch AS b\nFROM b\n"),
        ("FROM a AS b\nFROM B\n", "FROM scratch AS b\nFROM B\n"),
        ("FROM scratch\n", "FROM scratch\n"),
        ("FROM ctx\n", "FROM ctx\n"),
        ("FROM a\nCOPY --from=b:1 / /\n", f"FROM scratch\nCOPY --from={EMPTY} / /\n"),
        ("FROM a\nCOPY --from=0 / /\n", "FROM scratch\nCOPY --from=0 / /\n"),
        ("FROM a\nCOPY --from=ctx / /\n", "FROM scratch\nCOPY --from=ctx / /\n"),
        (
            "FROM a\nRUN --mount=type=bind,from=b:1,source=/s x\n",
            f"FROM scratch\nRUN --mount=type=bind,from={EMPTY},target=/from x\n",
        ),
        ("FROM a\nCOPY --parents --exclude=*.o a b\n", "FROM scratch\nCOPY   a b\n"),
        ("FROM a\nADD --unpack=true \\\n  --new x /\n", "FROM scratch\nADD  \\\n   x /\n"),
        ("FROM a\nRUN --device=nvidia.com/gpu --new=1 x --kept\n", "FROM scratch\nRUN   x --kept\n"),
        ("FROM a\nRUN --mount=type=cache,target=/c,new=1 x\n", "FROM scratch\nRUN  x\n"),
        (
            "FROM a\nRUN --mount=type=secret,id=t,env=T,new=1 x\n",
            "FROM scratch\nRUN --mount=type=secret,id=t x\n",
        ),
        ("FROM a\nHEALTHCHECK --start-interval=1s CMD x\n", "FROM scratch\nHEALTHCHECK  CMD x\n"),
        ("FROM a\nONBUILD COPY --parents a b\n", "FROM scratch\nONBUILD COPY  a b\n"),
        ("FROM a\nONBUILD COPY --parents --from=0 a b\n", "FROM scratch\nONBUILD COPY  --from=0 a b\n"),
        ("# syntax=x/y:1\nFROM a\n", "FROM scratch\n"),
        ("# escape=`\n# syntax=x/y:1\nFROM `\n a\n", "# escape=`\nFROM scratch\n"),
        ("FROM base-${TARGETARCH}\n", "FROM scratch\n"),
        ("FROM a AS base-amd64\nFROM base-${TARGETARCH}\n", "FROM scratch AS base-amd64\nFROM base-${TARGETARCH}\n"),
        ("", ""),
        ("FROM\n", "FROM\n"),
        ("FROM a b c d\n", "FROM a b c d\n"),
    ],
)
def test_known(text: str, expected: str) -> None:
    assert without_bases(text, contexts=["ctx"]) == expected


def test_an_argument_that_is_passed_decides_which_stage_is_meant() -> None:
    text = "ARG S=one\nFROM a AS one\nFROM ${S}\n"
    assert without_bases(text).endswith("FROM ${S}\n")
    assert without_bases(text, args={"S": "elsewhere:1"}).endswith("FROM scratch\nARG S\n")


PIECES = [
    "FROM ",
    "ARG ",
    "A",
    "a",
    "=",
    "${A",
    "}",
    ":-",
    "$",
    " AS ",
    "\n",
    "\\\n",
    "COPY --from=",
    "RUN ",
    '"',
    "'",
    "#",
]
PIECES += ["--mount=from=", "<<EOF\n", "EOF\n", "syntax=", "\r\n", "`", "0", " ", "\t"]


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
@examples(200)
def test_any_text_ends(text: str) -> None:
    assert isinstance(without_bases(text, contexts=["a"], args={"A": "${A}"}), str)


@pytest.mark.parametrize(
    ("text", "external"),
    [
        ("FROM debian\n", True),
        ("FROM scratch\n", False),
        ("FROM ctx\n", False),
        ("FROM scratch AS a\nFROM a\n", False),
        ("ARG B=scratch\nFROM $B\n", True),  # the argument says another one
        ("ARG C=scratch\nFROM $C\n", False),
    ],
)
def test_whether_a_stage_is_from_an_image(text: str, external: bool) -> None:
    assert external_bases(text, contexts=["ctx"], args={"B": "debian"}) is external


def test_the_env_of_images_is_asked_for_behind_each_from() -> None:
    text = (
        "# syntax=docker/dockerfile:1\nARG B=one\nFROM $B AS b\nARG X\nFROM b\nFROM \\\n two\nFROM scratch\nFROM ctx\n"
    )
    asked = without_flags(text, contexts=["ctx"], asked=["Y", "X"])
    assert asked.splitlines() == [
        "ARG B=one",
        "FROM $B AS b",
        'ARG orchestrate_env_0_X="${X+=${X}}"',
        'ARG orchestrate_env_0_Y="${Y+=${Y}}"',
        "ARG X",
        "FROM b",
        "FROM \\",
        " two",
        'ARG orchestrate_env_2_X="${X+=${X}}"',
        'ARG orchestrate_env_2_Y="${Y+=${Y}}"',
        "FROM scratch",
        "FROM ctx",
    ]
    assert without_flags(text, contexts=["ctx"]).count("orchestrate_env") == 0
    # The argument says that it is a stage of the file.
    assert without_flags("ARG B\nFROM a AS b\nFROM $B\n", args={"B": "b"}, asked=["X"]).count("orchestrate_env") == 1


def test_what_the_outline_says_of_it() -> None:
    consumed = {"X": "1", "orchestrate_env_0_X": "=a=b", "orchestrate_env_12_Y_1": "=", "orchestrate_env_2_X": ""}
    assert images_env(consumed) == ({"X": "1"}, {0: {"X": "a=b"}, 12: {"Y_1": ""}})
