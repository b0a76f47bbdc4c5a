from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.dockerfile.spans import Source, write
from orchestrator.drift.readers import cmake, lines, make

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.dockerfile.spans import Found

LIST = "8.0 9.0 12.0+PTX"


def values(found: Iterable[tuple[str, Found]]) -> list[tuple[str, str, bool]]:
    return [(name, place.value, bool(place.via)) for name, place in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"A={LIST}\n", LIST),
        (f"  A={LIST}  \r\nB=1", LIST),
        ('A="8.0"', '"8.0"'),  # docker/build-push-action passes the quotes on
        ("A=1 # 2", "1 # 2"),
        ("# A=1\nA=2", "2"),
        ("A = 1", None),
    ],
)
def test_a_list_takes_the_rest_of_the_line(text: str, expected: str | None) -> None:
    found = dict(lines.read_list(Source(text=text)))
    assert (found["A"].value if "A" in found else None) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"A={LIST}\n", LIST),
        (f"export A = '{LIST}' # x\r\n", LIST),
        (f'A="{LIST}"', LIST),
        ("A=1 # 2", "1"),
        ("A=1#2", "1#2"),
        ("A=", ""),
        ('A="open', '"open'),
    ],
)
def test_an_env_file_has_quotes_and_comments(text: str, expected: str) -> None:
    (found,) = [place for name, place in lines.read_env(Source(text=text)) if name == "A"]
    assert found.value == expected
    assert text[found.start : found.end] == expected


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("build-args", "A=1", True),
        ("Build-Args", "A=1\n\n# x\nB=2 3\n", True),
        ("environment", "A=1", True),
        ("run", "A=1 make", False),
        ("run", "A=8.0 9.0 12.0+PTX", True),  # no command is called 9.0
        ("build-args", "docker build .", False),
        ("build-args", "", False),
    ],
)
def test_what_is_a_list(key: str, text: str, expected: bool) -> None:
    assert lines.is_list(key, text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"A = {LIST}\n", [("A", LIST, False)]),
        (f"export A:={LIST} # x\n", [("A", LIST, False)]),
        ("A = 1  \nB = 2 \r\n", [("A", "1", False), ("B", "2", False)]),  # make keeps the blanks
        ("A = 1# x\n", [("A", "1", False)]),
        ("A ?= 1\n", [("A", "1", False)]),
        ("A = 1\nA += 2\n", [("A", "1 2", True)]),
        ("A = 8.0 \\\n    9.0\n", [("A", "8.0 9.0", False)]),
        ("V = 13.0\nA = cuda-$(V)\n", [("V", "13.0", False), ("A", "cuda-13.0", True)]),
        ("A = $(shell date)\n", [("A", "$(shell date)", True)]),
        ("A != date\n", [("A", "date", True)]),
        ("all:\n\tA=1 make\n", []),
        ("# A = 1\n", []),
        ("# x \\\n A = 1\nB = 2 # x \\\n A = 3\n", [("B", "2", False)]),  # a comment goes on
        ("all:\n\techo \\\n A=1\nB = 2\n", [("B", "2", False)]),
        ("define T\nA = 1\ndefine U\nendef\nA = 2\nendef\nA = 3\n", [("A", "3", False)]),
        ("\ufeffA = 1 \\\r\n \\\n # x\r\nB = 2", [("A", "1", False), ("B", "2", False)]),
    ],
)
def test_assignments_of_a_makefile(text: str, expected: list[tuple[str, str, bool]]) -> None:
    assert values(make.read(Source(text=text))) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('set(A "8.0;9.0")', [("A", "8.0;9.0", False)]),
        ('SET(A "75;80" CACHE STRING "the list" FORCE)', [("A", "75;80", False)]),
        ("set(A 75 80)", [("A", "75;80", False)]),
        ('set(A "75" 80)', [("A", "75;80", True)]),
        ("set(A 75)\nlist(APPEND A 80 90)", [("A", "75;80;90", True)]),
        ('#[[ set(A "1") ]]\n# set(A "2")\nset(A "3" PARENT_SCOPE)', [("A", "3", False)]),
        ("set(A ${B})", [("A", "${B}", True)]),
        ('set(A ;75;;80;)\nset(B ";75;")', [("A", "75;80", False), ("B", ";75;", False)]),
        ("set(A)", []),
    ],
)
def test_variables_of_a_cmake_file(text: str, expected: list[tuple[str, str, bool]]) -> None:
    assert values(cmake.read(Source(text=text))) == expected


READERS = {
    "env": ("B=1\nA={}\nC=2\n", lines.read_env),
    "env quoted": ('B=1\nA="{}" # x\nC=2\n', lines.read_env),
    "env single": ("B=1\nA='{}'\nC=2\n", lines.read_env),
    "make": ("B = 1\nA := {} # x\nC = 2\n", make.read),
    "cmake": ('set(B 1)\nset(A "{}" CACHE STRING "x")\nset(C 2)\n', cmake.read),
    "cmake bare": ("set(B 1)\nset(A {})\nset(C 2)\n", cmake.read),
    "list": ("B=1\nA={}\nC=2", lines.read_list),
}


@pytest.mark.parametrize("kind", READERS)
@given(st.text(alphabet="0189.+PTX af;,:-_/$#\\\"'\t=()", min_size=1, max_size=20))
def test_a_value_that_can_be_written_is_read_back_and_moves_nothing_else(kind: str, value: str) -> None:
    template, read = READERS[kind]
    text = template.format("1")
    (place,) = [found for name, found in read(Source(text=text)) if name == "A"]
    written = write(value, place.styles)
    if written is None or (kind == "list" and value != value.strip()):
        return
    after = text[: place.start] + written + text[place.end :]
    found = {name: one.value for name, one in read(Source(text=after))}
    assert found == {"A": value, "B": "1", "C": "2"}


@given(st.text(alphabet="A=:+?!$(){}\\\n\t #\"'[]seltAPND", max_size=60))
def test_no_text_breaks_them(text: str) -> None:
    for read in (lines.read_env, lines.read_list, make.read, cmake.read):
        for _, found in read(Source(text=text)):
            assert 0 <= found.start <= found.end <= len(text)
