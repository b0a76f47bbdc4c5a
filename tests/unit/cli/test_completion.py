"""Shell completion: what the shells get, where it is installed, and that asking for it imports no command."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from orchestrator.cli import app, completion
from tests.unit.cli.test_options import COMMANDS

if TYPE_CHECKING:
    from pathlib import Path

HOME = {"HOME": "/h"}


def asked(monkeypatch: pytest.MonkeyPatch, words: str, current: str = "") -> None:
    monkeypatch.setenv("_ORCHESTRATE_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", f"orchestrate {words} {current}".replace("  ", " "))
    monkeypatch.setenv("COMP_CWORD", str(1 + len(words.split())))


@pytest.mark.parametrize(
    ("words", "current", "found"),
    [
        ("", "ver", {"verify"}),
        ("", "--sh", {"--show-completion"}),
        ("headers", "se", {"serve"}),
        ("plan", "--pl", {"--platform"}),
        ("plan --format", "g", {"github"}),
        ("plan --format json", "--ker", {"--kernels"}),
    ],
)
def test_words_are_completed(
    words: str, current: str, found: set[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked(monkeypatch, words, current)
    assert app.run([]) == 0
    assert {line.partition(",")[2] for line in capsys.readouterr().out.splitlines()} == found


def test_names_of_commands_are_completed_without_importing_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in app.COMMANDS:
        monkeypatch.delitem(sys.modules, f"orchestrator.cli.{name}", raising=False)
    asked(monkeypatch, "")
    assert app.run([]) == 0
    assert [line.partition(",")[2] for line in capsys.readouterr().out.splitlines()] == list(app.COMMANDS)
    assert not [name for name in app.COMMANDS if f"orchestrator.cli.{name}" in sys.modules]


def test_a_script_of_another_version_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_ORCHESTRATE_COMPLETE", "complete_bash")
    assert app.run([]) == 2
    assert "--install-completion" in capsys.readouterr().err


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_a_request_without_its_words_is_an_error(
    shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("COMP_WORDS", "COMP_CWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("_ORCHESTRATE_COMPLETE", f"{shell}_complete")
    assert app.run([]) == 2
    monkeypatch.setenv("COMP_CWORD", "one")
    assert app.run([]) == 2
    assert "COMP_" in capsys.readouterr().err


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_scripts_call_this_program(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["--show-completion", shell]) == 0
    said = capsys.readouterr().out
    assert f"_ORCHESTRATE_COMPLETE={shell}_complete" in said
    assert "%(" not in said


@pytest.mark.parametrize(
    ("shell", "where"),
    [
        ("bash", ".local/share/bash-completion/completions/orchestrate"),
        ("zsh", ".local/share/zsh/site-functions/_orchestrate"),
        ("fish", ".config/fish/completions/orchestrate.fish"),
    ],
)
def test_it_is_installed_where_the_shell_looks(
    shell: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert app.run(["--install-completion"]) == 0
    assert (tmp_path / where).read_text() == completion.script(shell) + "\n"
    assert capsys.readouterr().out == f"{tmp_path / where}: installed, for new shells\n"
    assert completion.place(shell, {**HOME, "XDG_DATA_HOME": "/d", "XDG_CONFIG_HOME": "/c"}).parts[1] in "cd"


def test_an_unknown_shell_is_told_the_known_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert app.run(["--show-completion"]) == 2
    assert "expected bash, zsh, fish" in capsys.readouterr().err
    monkeypatch.delenv("SHELL")
    assert app.run(["--install-completion"]) == 2
    assert app.run(["--show-completion", "tcsh"]) == 2


def test_there_is_something_to_complete() -> None:
    assert len(COMMANDS) >= 15
