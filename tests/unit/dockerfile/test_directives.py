"""Parser directives at the top of a Dockerfile."""

from __future__ import annotations

import pytest

from orchestrator.dockerfile.directives import directives, escape_character, is_docker_frontend, syntax


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("# syntax=a/b\nFROM x\n", [("syntax", "a/b")]),
        ("#Syntax = a/b \n# ESCAPE=`\nFROM x\n", [("syntax", "a/b"), ("escape", "`")]),
        ("# check=skip=all;error=true\n", [("check", "skip=all;error=true")]),
        ("\ufeff# syntax=a\n", [("syntax", "a")]),
        ("# other=1\n# syntax=a\n", [("syntax", "a")]),
        ("# a comment\n# syntax=a\n", []), ("\n# syntax=a\n", []), ("FROM x\n# syntax=a\n", []), ("// syntax=a\n", []),
        ("# syntax=\n", []), ("# 1x=a\n# syntax=b\n", []), ("", []), ("# syntax=a", [("syntax", "a")]),
    ],
)  # fmt: skip
def test_the_first_other_line_ends_them(text: str, found: list[tuple[str, str]]) -> None:
    assert [(one.name, one.value) for one in directives(text)] == found
    for one in directives(text):
        assert one.value in text[one.start : one.end]
        assert text[one.end - 1 : one.end] in {"\n", text[-1]}
        assert "\n" not in text[one.start : one.end - 1]


def test_a_directive_of_another_language() -> None:
    assert [one.value for one in directives("// syntax=a\n# syntax=b\n", "//")] == ["a"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# escape=`\n", "`"), ("# escape=\\\n", "\\"), ("# escape=x\n", "\\"), ("", "\\"), ("# syntax=`\n", "\\"),
        ("# escape=`\n# escape=\\\n", "`"),
    ],
)  # fmt: skip
def test_the_escape_character(text: str, expected: str) -> None:
    assert escape_character(text) == expected


@pytest.mark.parametrize(
    ("text", "image"),
    [
        ("# syntax=a/b:1 more\nFROM x\n", "a/b:1"), ("// syntax=a\n", "a"), ("#!/bin/x\n# syntax=a\n", "a"),
        ("\ufeff#!/bin/x\n// syntax=a\n", "a"), ("#!/bin/x", ""), ("# escape=`\n# syntax=a\n", "a"), ("FROM x\n", ""),
        ("# escape=`\n", ""),
    ],
)  # fmt: skip
def test_the_frontend_that_a_file_asks_for(text: str, image: str) -> None:
    assert syntax(text) == image


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("docker/dockerfile", True), ("docker/dockerfile:1.7", True),
        ("r.lan:5000/m/dockerfile-upstream@sha256:1", True),
        ("dockerfile:1", True), ("acme/dockerfile-x:1", False), ("docker/dockerfiles", False), ("", False),
    ],
)  # fmt: skip
def test_dockers_own_frontends(image: str, *, expected: bool) -> None:
    assert is_docker_frontend(image) is expected
