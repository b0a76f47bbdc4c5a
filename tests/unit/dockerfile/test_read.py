from __future__ import annotations

from textwrap import dedent

import pytest

from orchestrator.dockerfile import declared as dockerfile
from orchestrator.dockerfile.read import instructions
from orchestrator.dockerfile.spans import Style

TWO_STAGES = dedent(
    """\
    # syntax=docker/dockerfile:1
    ARG CUDA_VERSION=13.0.2
    ARG BASE=nvidia/cuda:${CUDA_VERSION}-devel
    FROM ${BASE} AS base
    ARG CUDA_VERSION
    ARG list='8.0 9.0'
    ENV LIST=${list} OTHER="a b"
    RUN <<EOF
    ARG list=not-an-instruction
    EOF
    FROM base AS final
    ARG list="8.0 10.0"
    ENV LEGACY some words here
    ENV VERSION=$CUDA_VERSION
    """
)


def values(text: str, kind: str, name: str, stage: str | None = None) -> list[str]:
    return [found.value for found in dockerfile.read(text, kind, name, stage)]


def test_every_occurrence_in_every_stage() -> None:
    assert values(TWO_STAGES, "ARG", "list") == ["8.0 9.0", "8.0 10.0"]
    assert values(TWO_STAGES, "ARG", "list", "final") == ["8.0 10.0"]
    assert values(TWO_STAGES, "ARG", "list", "1") == []  # a named stage is known by its name
    assert values(TWO_STAGES, "ARG", "CUDA_VERSION", "global") == ["13.0.2"]


def test_a_heredoc_holds_no_instructions() -> None:
    assert "not-an-instruction" not in values(TWO_STAGES, "ARG", "list")


def test_variables_are_followed_and_not_editable() -> None:
    (base,) = dockerfile.read(TWO_STAGES, "ARG", "BASE")
    assert base.value == "nvidia/cuda:13.0.2-devel"
    assert base.via
    (env,) = dockerfile.read(TWO_STAGES, "ENV", "LIST")
    assert (env.value, env.written) == ("8.0 9.0", "${list}")
    (inherited,) = dockerfile.read(TWO_STAGES, "ENV", "VERSION")
    assert inherited.value == "13.0.2"  # base declared it, and final inherits base


def test_several_names_of_one_instruction_and_the_old_form() -> None:
    assert values(TWO_STAGES, "ENV", "OTHER") == ["a b"]
    assert values(TWO_STAGES, "ENV", "LEGACY") == ["some words here"]
    assert values("ARG A=1 B C='x y'\n", "ARG", "C") == ["x y"]


@pytest.mark.parametrize(
    ("line", "value", "inner", "style"),
    [
        ("ARG A=plain", "plain", "plain", Style.DOCKERFILE),
        ("ARG A='8.0 9.0'", "8.0 9.0", "8.0 9.0", Style.SINGLE),
        ('ARG A="8.0 9.0"', "8.0 9.0", "8.0 9.0", Style.DOUBLE),
        ('ARG A="say \\"x\\""', 'say "x"', 'say \\"x\\"', Style.DOUBLE),
        ("ARG A=8.0\\ 9.0", "8.0 9.0", "8.0\\ 9.0", Style.DOCKERFILE),
        ("ARG A=a'b'\"c\"", "abc", "a'b'\"c\"", Style.DOCKERFILE),
        ("ARG A=", "", "", Style.DOCKERFILE),
        ('ARG A=""', "", "", Style.DOUBLE),
        ('ARG A="${B:-8.0 9.0}"', "8.0 9.0", "8.0 9.0", Style.DEFAULT),
        ("arg A=x # no comment here", "x", "x", Style.DOCKERFILE),
    ],
)
def test_spans_and_styles(line: str, value: str, inner: str, style: Style) -> None:
    (found,) = dockerfile.read(line, "ARG", "A")
    assert (found.value, line[found.start : found.end], found.styles) == (value, inner, (style,))


def test_continuations_with_comments_and_crlf() -> None:
    text = 'ARG \\\r\n# between\r\n\r\n  A="8.0 \\\r\n9.0" \\\r\n  B=2\r\n'
    assert values(text, "ARG", "A") == ["8.0 9.0"]
    (found,) = dockerfile.read(text, "ARG", "B")
    assert text[found.start : found.end] == "2"


def test_the_escape_directive() -> None:
    text = "# escape=`\nARG `\n  A=x\nARG B=C:\\dir\n"
    assert values(text, "ARG", "A") == ["x"]
    assert values(text, "ARG", "B") == ["C:\\dir"]


def test_a_shift_is_no_heredoc() -> None:
    assert values("RUN echo $((1 <<N))\nARG A=1\n", "ARG", "A") == ["1"]


@pytest.mark.parametrize(
    "text", ["", "\ufeff", "FROM\nARG\nENV\nARG =\n", "ARG A='never closed\nARG B=1", "\\\n", "ARG"]
)
def test_broken_files_do_not_raise(text: str) -> None:
    dockerfile.declarations(text)
    list(instructions(text))


def test_instructions_have_keyword_rest_and_span() -> None:
    text = "FROM scratch\nRUN a \\\n  b\n"
    first, second = instructions(text)
    assert (first.keyword, first.rest) == ("FROM", "scratch")
    assert (second.keyword, second.rest) == ("RUN", "a   b")
    assert text[second.start : second.end] == "RUN a \\\n  b"
