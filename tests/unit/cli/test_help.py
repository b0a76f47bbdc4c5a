"""`orchestrate help`: topics that are true, and the help texts of commands."""

from __future__ import annotations

import re

import pytest

from orchestrator.cli import app
from orchestrator.cli.topics import TOPICS
from orchestrator.errors import FailureClass
from orchestrator.matrix.schema import MatrixFile
from tests.unit.cli.test_options import COMMANDS, OPTIONS

ALL = {name: {opt for of, option in OPTIONS if of == name for opt in option.opts} for name in COMMANDS}


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert app.run(["help", *words]) == code
    found = capsys.readouterr()
    return found.err if code else found.out


@pytest.mark.parametrize("name", TOPICS)
def test_a_topic_fits_a_terminal_and_names_what_exists(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, name)
    assert text == f"{TOPICS[name].text}\n"
    assert max(map(len, text.splitlines())) <= 120
    for words in re.findall(r"orchestrate ([a-z]+(?: [a-z]+)?)([^`\n]*)", text):
        command = words[0] if words[0] in COMMANDS else words[0].split()[0]
        assert command in ALL, words
        assert set(re.findall(r"--[a-z-]+", words[1].split("   ")[0])) <= ALL[command], words


def test_the_exit_codes_are_those_of_the_program() -> None:
    codes = {int(code) for code in re.findall(r"^  (\d+) ", TOPICS["exit-codes"].text, re.MULTILINE)}
    assert codes == {0, *(one.exit_code for one in FailureClass)}


def test_the_sections_of_the_matrix_are_its_sections() -> None:
    assert set(re.findall(r"^  ([a-z_]+)  ", TOPICS["matrix"].text, re.MULTILINE)) <= set(MatrixFile.section_keys)


def test_without_a_topic_the_commands_and_topics_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys)
    assert all(re.search(rf"^  {name}  +\S", text, re.MULTILINE) for name in (*app.COMMANDS, *TOPICS))


@pytest.mark.parametrize("name", ["build", "headers", "headers lock"])
def test_the_help_of_a_command_is_its_own(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, *name.split())
    assert app.run([*name.split(), "--help"]) == 0
    assert capsys.readouterr().out == text


@pytest.mark.parametrize(
    ("words", "problem", "hint"),
    [
        ("biuld", "biuld: no such topic or command", "did you mean build?"),
        ("exit-code", "exit-code: no such topic or command", "did you mean exit-codes?"),
        ("headers lokc", "headers lokc: no such topic or command", "did you mean lock?"),
        ("build more", "build more: no such topic or command", ""),
    ],
)
def test_a_topic_that_is_not_there(words: str, problem: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, *words.split(), code=2)
    assert text.startswith(f"error: {problem}\n")
    assert hint in text
