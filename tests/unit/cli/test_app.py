"""How the command line ends: one message and one exit code for every kind of error."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import click
import pytest

from orchestrator.cli import app
from orchestrator.errors import (
    DriftError,
    EnvironmentLacksError,
    MatrixError,
    NetworkError,
    OrchestrateError,
    Problem,
    UsageError,
    VerificationError,
)

if TYPE_CHECKING:
    from pathlib import Path


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    @click.command(context_settings={"ignore_unknown_options": True})
    @click.argument("words", nargs=-1)
    def command(words: object) -> None:
        raise error

    monkeypatch.setattr(app, "create", lambda: command)
    monkeypatch.setattr(app, "_silence_stdout", lambda: None)  # it would close pytest's own


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (OrchestrateError("one"), 1, "error: one\n"),
        (MatrixError("two", hint="do x"), 2, "error: two\nhint: do x\n"),
        (UsageError("two"), 2, "error: two\n"),
        (DriftError("", problems=[Problem(what="a", file="f", line=1)]), 3, "f:1: a\n"),
        (VerificationError("four"), 4, "error: four\n"),
        (EnvironmentLacksError("five"), 5, "error: five\n"),
        (NetworkError("six"), 6, "error: six\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (OSError(errno.ENOSPC, "No space left on device", "/x"), 5, "error: /x: No space left on device\n"),
        (PermissionError(errno.EACCES, "Permission denied", "/y"), 5, "error: /y: Permission denied\n"),
        (BrokenPipeError(), 0, ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_an_error_becomes_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, said: str
) -> None:
    failing(monkeypatch, error)
    assert app.run(["plan"]) == code
    assert capsys.readouterr() == ("", said)


def test_a_mistake_of_ours_is_shown_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, KeyError("ours"))
    with pytest.raises(KeyError):
        app.run(["plan"])


def test_a_fault_of_ours_ends_with_its_traceback_and_no_credentials(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, KeyError("https://TOKEN@host/x"))
    with pytest.raises(SystemExit) as ended:
        app.main(["plan"])
    assert ended.value.code == 1
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "TOKEN" not in shown
    assert shown.splitlines()[-1].startswith("error: internal error: ")


def failing_with_causes() -> None:
    refused = ConnectionError("https://user:secret@host/v2: refused\x1b[2J")
    unreadable = ValueError("unreadable")
    unreadable.__cause__ = refused
    raise NetworkError("failed", hint="try again") from unreadable


def test_causes_are_shown_when_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("orchestrator.cli.common.open_plan", lambda _: failing_with_causes())
    assert app.run(["plan"]) == 6
    assert capsys.readouterr().err == "error: failed\nhint: try again\n"
    for flag in ("-v", "--verbose"):
        assert app.run(["plan", flag]) == 6
        assert capsys.readouterr().err == (
            "error: failed\nhint: try again\n"
            "caused by: ValueError: unreadable\n"
            "caused by: ConnectionError: https://host/v2: refused\n"
        )


def test_an_error_in_a_pipe_loads_no_rich(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "_show_styled", lambda _: pytest.fail("styled"))
    app.show(UsageError("x"))
    assert capsys.readouterr().err == "error: x\n"


def test_a_terminal_gets_colours_unless_it_is_told_not_to(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    app.show(UsageError("x"))
    assert capsys.readouterr().err == "\x1b[1;31merror: \x1b[0mx\n"
    monkeypatch.setenv("NO_COLOR", "1")
    app.show(UsageError("x"))
    assert "31m" not in capsys.readouterr().err


def test_markup_in_messages_is_text(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    failing(monkeypatch, UsageError("[bold]x[/bold] [/y]", hint="[z]", problems=[Problem(what="[red]p")]))
    app.run(["plan"])
    assert capsys.readouterr().err == "error: [bold]x[/bold] [/y]\n[red]p\nhint: [z]\n"


def test_annotations_for_github_are_escaped_and_leave_the_result_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    problems = [
        Problem(what="50% of\na", expected="c", file="m.yaml", line=2, column=3),
        Problem(what="b"),
        Problem(what="c", file="a.so"),
    ]
    app.show(MatrixError("m", problems=problems))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines()[-3:] == [
        "::error file=m.yaml,line=2,col=3::50%25 of%0Aa, expected c",
        "::error::b",
        "::error file=a.so::c",
    ]


def test_a_command_that_does_not_exist_is_met_with_those_that_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["plna"]) == 2
    assert capsys.readouterr().err == "error: No such command 'plna'.\nhint: did you mean plan?\n"


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    from orchestrator import __version__

    assert app.run(["--version"]) == 0
    assert capsys.readouterr().out == f"orchestrate {__version__}\n"


def test_a_plan_without_git_starts_no_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.unit.matrix.support import SMALL

    (tmp_path / "matrix.yaml").write_text(SMALL)
    assert app.run(["plan", "-C", str(tmp_path), "--arg", "A=1"]) == 0
    assert capsys.readouterr().out.startswith("acme/app: 1 variant\n")


def test_options_of_a_selection_are_checked_before_anything_else(tmp_path: Path) -> None:
    from orchestrator.cli.common import Selection, open_plan
    from tests.unit.matrix.support import SMALL

    (tmp_path / "matrix.yaml").write_text(SMALL)
    for args, axis, message in ((["A"], [], "--arg A: expected"), (["=x"], [], "--arg =x"), ([], ["a"], "--axis a: ")):
        with pytest.raises(OrchestrateError, match=message):
            open_plan(Selection(directory=tmp_path, args=args, axis=axis))
    plan = open_plan(Selection(directory=tmp_path, args=["A=b=c"], cuda=["13.0.2"], image="x/y"))
    assert plan.variants[0].args["A"].text == "b=c"
    assert plan.image == "x/y"


def test_names_of_strangers_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    app.show(UsageError("no \x1b[2Jfile\x9b1A", problems=[Problem(what="a\x1b]0;title\x07b")], hint="do\x1b[31m this"))
    shown = capsys.readouterr().err
    assert "\x1b" not in shown
    assert "\x9b" not in shown
    assert "no file" in shown
