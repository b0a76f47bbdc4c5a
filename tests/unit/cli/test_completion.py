"""Shell completion: what the shells get, where it is installed, and that asking for it imports no command."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from orchestrator.cli import app, common, completion
from tests.unit.cli.test_options import COMMANDS
from tests.unit.matrix.support import EXAMPLE, SMALL

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


MATRIX = EXAMPLE.replace("headers: {policy: optional, version: 0.6.13}\n", "")


@pytest.mark.parametrize(
    ("words", "current", "found"),
    [
        ("plan --cuda", "", ["12.9", "13.0"]),
        ("build --cuda", "13", ["13.0"]),
        ("plan --platform", "linux/ar", ["linux/arm64"]),
        ("plan --target", "openai-", ["openai-ubuntu2404"]),
        ("plan --variant", "openai-cu130-arm", [f"openai-cu130-arm64-python3-1{n}" for n in (2, 3)]),
        ("plan --explain", "openai-cu129-arm", []),  # excluded
        ("plan --axis", "", ["python=3.12", "python=3.13"]),
        ("plan --axis", "py", ["python=3.12", "python=3.13"]),
        ("plan --axis python =", "3.13", ["3.13"]),  # as bash cuts words
        ("plan --axis python", "=", ["3.12", "3.13"]),
        ("plan --axis = python =", "3.1", ["3.12", "3.13"]),
        ("plan --axis =", "p", ["python=3.12", "python=3.13"]),
        ("plan --cuda =", "12", ["12.9"]),
        ("verify --device", "12", ["12.0", "12.1"]),
        ("plan -f other.yaml --cuda", "", ["13.0"]),
        ("plan -f broken.yaml --cuda", "", []),
        ("plan -f missing.yaml --cuda", "", []),
        ("plan -C below --cuda", "12", ["12.9"]),
    ],
)  # fmt: skip
def test_values_come_from_the_matrix_at_hand(
    words: str, current: str, found: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "matrix.yaml").write_text(MATRIX)
    (tmp_path / "other.yaml").write_text(SMALL)
    (tmp_path / "broken.yaml").write_text("version: [")
    (tmp_path / ".git").mkdir()
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path)
    asked(monkeypatch, words, current)
    assert app.run([]) == 0
    out, err = capsys.readouterr()
    assert [line.partition(",")[2] for line in out.splitlines()] == found
    assert err == ""


# -- the matrix above --------------------------------------------------------------------------------------------------


def test_the_matrix_is_found_up_to_the_root_of_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "repo"
    (root / "a" / "b").mkdir(parents=True)
    (tmp_path / "matrix.yaml").write_text(SMALL)  # outside of the checkout
    monkeypatch.chdir(root / "a" / "b")
    assert common.Location().path == common.Location().place == Path("matrix.yaml")
    (root / "matrix.yaml").write_text(SMALL)
    assert common.above(Path()) is None  # no checkout
    (root / ".git").mkdir()
    assert common.Location().path == root / "matrix.yaml"
    assert common.Location().place == Path("matrix.yaml")
    assert common.open_matrix(common.Location()).positions.file == "../../matrix.yaml"
    assert common.open_matrix(common.Location(directory=root / "a")).root == root
    assert common.Location(file=Path("matrix.yaml")).path == Path("matrix.yaml")  # the one that is named, or none
    (root / "a" / "matrix.yaml").write_text(SMALL)
    assert common.Location().path == root / "a" / "matrix.yaml"
    (root / "a" / "b" / "matrix.yaml").write_text(SMALL)
    assert common.Location().path == Path("matrix.yaml")


def test_a_matrix_of_another_user_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "matrix.yaml").write_text(SMALL)
    assert common.above(tmp_path / "a") == tmp_path / "matrix.yaml"
    owner = Path.stat
    foreign = os.stat_result((0o100644, 1, 1, 1, 12345, 12345, 1, 0, 0, 0))
    monkeypatch.setattr(
        Path, "stat", lambda path, **more: foreign if path == tmp_path / "matrix.yaml" else owner(path, **more)
    )
    assert common.above(tmp_path / "a") is None
