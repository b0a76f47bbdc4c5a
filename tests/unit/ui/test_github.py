"""Workflow commands: one line each, whatever is in them, and places that the runner accepts."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.ui.github import Place, command, running


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        (None, "::error::x"),
        (Place(), "::error::x"),
        (Place(file="a"), "::error file=a::x"),
        (Place(file="a", line=0, column=0), "::error file=a::x"),
        (Place(file="a", line=0, column=7), "::error file=a::x"),
        (Place(line=3, column=4), "::error::x"),
        (Place(file="a", line=3), "::error file=a,line=3::x"),
        (Place(file="a", line=3, column=4), "::error file=a,line=3,col=4::x"),
        (Place(file="a", line=3, column=4, end_column=9), "::error file=a,line=3,col=4,endColumn=9::x"),
        (Place(file="a", line=3, end_column=9), "::error file=a,line=3::x"),
        (Place(file="a", line=3, column=1, end_column=1), "::error file=a,line=3,col=1,endColumn=1::x"),
        (Place(file="a", line=1), "::error file=a,line=1::x"),
    ],
)
def test_unknown_places_are_left_out(place: Place | None, shown: str) -> None:
    assert command("error", "x", place=place) == shown


def test_what_ends_a_property_or_a_line_is_escaped() -> None:
    place = Place(file="a,b:c%.py", line=1)
    assert command("error", "1%\n2: a,b\r\n3", place=place, title="t:1,2\nx") == (
        "::error file=a%2Cb%3Ac%25.py,line=1,title=t%3A1%2C2%0Ax::1%25%0A2: a,b%0A3"
    )
    assert command("endgroup") == "::endgroup::"
    assert command("warning", "\x1b[31mred\x1b[0m") == "::warning::red"


@given(text=st.text(), title=st.text(), file=st.text(min_size=1))
def test_nothing_in_a_text_begins_another_command(text: str, title: str, file: str) -> None:
    line = command("error", text, place=Place(file=file, line=1), title=title)
    assert not {"\r", "\n"} & set(line)
    assert line.startswith("::error ")
    properties, _, data = line.removeprefix("::error ").partition("::")
    fields = dict(one.split("=", 1) for one in properties.split(","))
    assert set(fields) <= {"file", "line", "title"}
    assert unquote(data).count("\n") == text.replace("\r\n", "\n").count("\n")


def test_a_workflow_is_told_by_one_variable() -> None:
    assert running({"GITHUB_ACTIONS": "true"})
    assert not running({"GITHUB_ACTIONS": "false"})
    assert not running({})
