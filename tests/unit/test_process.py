"""The parts of the one door for processes that start none; the others are in tests/e2e/test_process.py."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import process
from orchestrator.errors import EnvironmentLacksError


@given(st.lists(st.text(alphabet="a $'\"\\\n;&*é=", max_size=8), min_size=1, max_size=5))
def test_a_command_line_can_be_typed(argv: list[str]) -> None:
    assert shlex.split(process.command_line(argv)) == argv


def test_the_environment_is_ours_with_more_laid_over_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A", "1")
    monkeypatch.setenv("B", "1")
    found = process.environment({"B": "2", "C": "3"})
    assert (found["A"], found["B"], found["C"]) == ("1", "2", "3")
    assert "C" not in process.environment()


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(EnvironmentLacksError, match="no-such-program is not installed or not on PATH"):
        process.run(("no-such-program", "x"))
