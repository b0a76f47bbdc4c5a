"""Commands that show what a project's directory keeps of its builds: `logs`, `report last`, `cache explain`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from orchestrator.bake.imports import CacheSource, SourceState
from orchestrator.cli import app
from orchestrator.runs import kept
from orchestrator.runs.alone import HOLDER
from orchestrator.runs.journal import Journal
from orchestrator.runs.outcome import Outcome, Status, Steps
from orchestrator.ui import run_view
from tests.unit.matrix.support import SMALL
from tests.unit.runs.test_kept import keep
from tests.unit.runs.test_run import planned

if TYPE_CHECKING:
    from pathlib import Path

ONE, TWO = "app-cu130-amd64", "app-cu130-arm64"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "matrix.yaml").write_text(SMALL.replace("  linux/amd64:\n", "  linux/amd64:\n  linux/arm64:\n"))
    return tmp_path


def log(project: Path, run: str, variant: str, text: str) -> Path:
    path = project / ".orchestrate" / "runs" / run / f"{variant}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = app.run(list(words))
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_the_newest_log_of_each_variant_and_its_last_line(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log(project, "20260101T000000-1", TWO, "of another run\n")
    log(project, "20260101T000000-1", ONE, "older\n")
    log(project, "20260102T000000-1", ONE, "first\nlast\n\n")
    newer, older = (f".orchestrate/runs/2026010{day}T000000-1" for day in (2, 1))
    indent = " " * len(ONE)
    listed = f"{ONE}  {newer}/{ONE}.log\n{indent}  last\n{TWO}  {older}/{TWO}.log\n{indent}  of another run\n"
    assert said(capsys, "logs") == (0, listed, "")
    assert said(capsys, "logs", ONE) == (0, "first\nlast\n\n", "")


def test_a_log_is_followed_until_its_run_ends(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = log(project, f"20260101T000000-{os.getpid()}", ONE, "one\ntw")
    holder = project / ".orchestrate" / HOLDER
    holder.write_text("")

    def wait(seconds: float) -> None:
        assert 0 < seconds <= 1
        with path.open("a") as stream:
            stream.write("o\n")
        holder.unlink()

    monkeypatch.setattr("orchestrator.runs.logs.time.sleep", wait)
    assert said(capsys, "logs", "--follow", ONE) == (0, "one\ntwo\n", "")
    assert said(capsys, "logs", "-f", ONE) == (0, "one\ntwo\n", "")


def test_logs_that_are_not_there(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hint = "hint: `orchestrate build` writes one\n"
    assert said(capsys, "logs") == (5, "", f"error: this project: no log was found\n{hint}")
    assert said(capsys, "logs", ONE) == (5, "", f"error: {ONE}: no log was found\n{hint}")
    assert said(capsys, "logs", "app-cu130-arm46") == (
        2, "", f"error: app-cu130-arm46: the variant was not found\nhint: did you mean {TWO}?\n",
    )  # fmt: skip
    assert said(capsys, "logs", "--follow") == (
        2, "", "error: --follow: a variant is missing\nhint: orchestrate logs --follow ID\n",
    )  # fmt: skip


def test_the_last_run_is_shown_and_written_as_a_page(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = f"error: {project}/.orchestrate: no run was found that has ended\n"
    assert said(capsys, "report", "last") == (
        5, "", f"{missing}hint: `orchestrate build` keeps a report of each run\n",
    )  # fmt: skip
    plan = planned(project)
    state = project / ".orchestrate"
    keep(state, "20261126T120000-1", plan)
    alone = said(capsys, "report", "last")
    keep(state, "20261127T120000-1", plan)
    code, out, err = said(capsys, "report", "last")
    assert (code, err) == (0, "")
    newest, before = kept.last(state, 2)
    assert out.splitlines() == run_view.lines(newest, before)
    assert alone[1].splitlines()[1] == f"logs: {state}/runs/20261126T120000-1"
    page = state / "runs" / "20261127T120000-1" / "run.html"
    assert said(capsys, "report", "last", "--html") == (0, f"{page}\n", "")
    assert said(capsys, "report", "last", "--html", "mine.html") == (0, "mine.html\n", "")
    assert page.read_text() == (project / "mine.html").read_text()
    assert page.read_text().startswith("<!doctype html>")
    (project / "mine.html").write_text("my own")
    code, out, err = said(capsys, "report", "last", "--html", "mine.html")
    assert (code, out) == (2, "")
    assert err.startswith("error: --html mine.html: the file exists and is not ")


def test_why_a_build_was_not_taken_from_the_cache(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "cache", "explain", "app-cu130-amd6") == (
        2, "", f"error: app-cu130-amd6: the variant was not found\nhint: did you mean {ONE}?\n",
    )  # fmt: skip
    assert said(capsys, "cache", "explain", ONE) == (0, f"{ONE}: never built here, or its journal is gone\n", "")
    journal = Journal(project / ".orchestrate" / "journal.jsonl")
    found = CacheSource(ref="r/a:\x1b[2Jb", state=SourceState.FOUND)

    def built(seconds: float, cached: int, total: int = 3, changes: tuple[str, ...] = ()) -> list[str]:
        outcome = Outcome(
            id=ONE,
            status=Status.BUILT,
            seconds=seconds,
            steps=Steps(total=total, cached=cached),
            cache="ARG A changed" if changes else "",
            changes=changes,
            cache_sources=(found,) if changes else (),
        )
        journal.add(outcome, key="k")
        code, out, err = said(capsys, "cache", "explain", ONE)
        assert (code, err) == (0, "")
        first, *rest = out.splitlines()
        last = journal.last(ONE)
        assert last is not None
        assert first == f"{ONE}, built at {last.at}: {'ARG A changed' if changes else 'nothing was recorded'}"
        return rest

    ran = "of 3 steps came from the cache; the build took"
    assert built(9.0, 0) == [f"  0 {ran} 9.0 s"]
    assert built(8.5, 1) == [f"  1 {ran} 8.5 s"]
    assert built(8.0, 1) == [f"  1 {ran} 8.0 s, 1.0 s less than the slowest one here"]
    assert built(2.0, 0) == [f"  0 {ran} 2.0 s"]
    assert built(2.0, 0, total=0) == []
    assert built(2.0, 0, total=0, changes=("one",)) == ["  cache r/a:b: found"]
    assert built(2.0, 0, total=0, changes=("one", "two")) == [
        "  cache r/a:b: found",
        "  changed since the success before, the likeliest cause first:",
        "    one",
        "    two",
    ]
