"""One hostile text through every sink: nothing of it acts on a terminal, a CI runner, Markdown or HTML."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from orchestrator.cli import app
from orchestrator.errors import FailureClass, MatrixError, Problem
from orchestrator.image.verdict.compare import compare
from orchestrator.image.verdict.policy import Policy
from orchestrator.image.verdict.scanned import scan_source
from orchestrator.image.verdict.verify import verdict
from orchestrator.runs.outcome import ErrorInfo, Outcome, Status
from orchestrator.runs.report import report, write_report
from orchestrator.ui import console, github, kernel_table, streams, summary
from orchestrator.ui import report as page
from orchestrator.ui.lines import GitHubLines, PlainLines
from orchestrator.ui.results import show_results
from tests.support import fatbins
from tests.unit.matrix.support import SMALL, planned

if TYPE_CHECKING:
    from pathlib import Path

NASTY = (
    "x\n::set-output name=a::b\r\n  ::add-mask::e ##[add-mask]e ##vso[task.x]e \x1b]0;owned\x07\x1b[2J\u202e\x9b31m "
    "[bold]b[/bold] https://ghp_TOKEN@github.com/a"
)


def safe(text: str, *, commands: str = "") -> None:
    """Require that nothing of the text acts; lines that begin with `commands` are our own."""
    for line in text.split("\n"):
        if not (commands and re.match(commands, line)):
            assert not re.match(r"\s*::", line), line
        assert "##[" not in line
        assert "##vso[" not in line
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    assert not re.search(r"(?<!u001b\]0;)(?<!u\{1b\}\]0;)owned", text)  # JSON and HTML spell it out


def outcome() -> Outcome:
    error = ErrorInfo(failure=FailureClass.RUN, message=NASTY, step=f"[b 1/1] RUN {NASTY}")
    return Outcome(
        id="app-cu130-amd64", status=Status.FAILED, attempts=1, error=error, last_lines=(NASTY, NASTY), notes=(NASTY,)
    )


def test_results(capsys: pytest.CaptureFixture[str]) -> None:
    show_results([outcome()], console=console.out())
    shown = capsys.readouterr().out
    assert shown.count("add-mask") > 3
    safe(shown)
    assert "TOKEN" not in shown


def test_lines_of_a_log() -> None:
    stream = io.StringIO()
    PlainLines(["a"], stream=stream).finished(outcome())
    safe(stream.getvalue())


def test_annotation_and_log_in_a_workflow() -> None:
    stream = io.StringIO()
    GitHubLines(["a"], stream=stream).finished(outcome())
    safe(stream.getvalue(), commands=r"::(error title=|group::|endgroup::|stop-commands::|[0-9a-f]{32}::$)")


def test_report_and_what_jq_makes_of_it(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    logged = replace(outcome(), log=tmp_path / "##[add-mask]e")
    write_report(path, report(planned(SMALL).variants, [logged], started=datetime.now(UTC)))
    text = path.read_text()
    safe(text)
    (row,) = json.loads(text)["variants"]
    for value in (*row["error"].values(), *row["notes"]):
        safe(value)
        assert "TOKEN" not in value


def test_job_summary() -> None:
    text = summary.markdown([outcome()])
    safe(text)
    assert "[bold]" not in re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)


def test_page_and_tables_of_an_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = NASTY.replace("/", "_")[:90]
    (tmp_path / name).mkdir()
    (tmp_path / name / "lib.so").write_bytes(fatbins.library([["80"]]))
    (tmp_path / "empty").mkdir()
    scanned = scan_source(str(tmp_path))
    result = verdict(scanned, (), Policy(), promised_by="")
    kernel_table.show(result, console.out())
    kernel_table.show_comparison(compare(scan_source(str(tmp_path / "empty")), scanned), console.out())
    streams.write_json(result.to_json())
    shown = capsys.readouterr().out
    assert shown.count("set-output") == 3
    safe(shown)
    safe(page.page(result))


@pytest.mark.parametrize("in_actions", [False, True])
def test_errors(in_actions: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true" if in_actions else "")
    problem = Problem(what=NASTY, file=NASTY, hint=NASTY, found=NASTY)
    app.show(MatrixError(NASTY, hint=NASTY, problems=[problem]))
    shown = capsys.readouterr().err
    safe(shown, commands="::error " if in_actions else "")
    assert shown.count("::error ") == int(in_actions)


def test_a_problem_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    app.show(MatrixError("message", problems=[Problem(what=NASTY, file=NASTY)]))
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_workflow_commands() -> None:
    place = github.Place(file=NASTY, line=1)
    line = github.command("error", NASTY, place=place, title=NASTY)
    assert "\n" not in line
    safe(line, commands="::error file=")


def test_streams(capsys: pytest.CaptureFixture[str]) -> None:
    streams.say(NASTY)
    streams.tell(NASTY)
    streams.write_json({NASTY: [NASTY]}, indent=None)
    out, err = capsys.readouterr()
    safe(out)
    safe(err)
    assert json.loads(out.splitlines()[-1]) == {NASTY: [NASTY]}


def test_a_table_that_folds_a_text_begins_no_line_with_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.table import Table

    screen = console.out()
    table = Table(box=None, width=8, pad_edge=False, show_header=False)
    table.add_column(overflow="fold")
    table.add_row("12345678::add-mask::e")
    screen.print(table)
    safe(capsys.readouterr().out)
