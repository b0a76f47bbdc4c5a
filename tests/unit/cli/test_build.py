"""`orchestrate build`: what its options ask a run for, and what becomes of its result; runs are tests/e2e's."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from orchestrator.bake.file import Output
from orchestrator.bake.watch import Bounds
from orchestrator.cache.rights import CacheUse
from orchestrator.cli import app
from orchestrator.engine import doctor
from orchestrator.runs import kept, run, targets
from orchestrator.runs.ended import Result
from orchestrator.runs.outcome import Outcome, Status
from orchestrator.runs.report import report
from orchestrator.runs.wishes import AirGap, Limits, Wishes
from tests.unit.matrix.support import SMALL, planned
from tests.unit.runs.test_kept import STARTED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orchestrator.matrix.variants import Plan
    from orchestrator.runs.reporter import Screen


class Run:
    """What a run was asked for; it ends as a test says."""

    def __init__(self) -> None:
        self.wishes: list[Wishes] = []
        self.variants: list[list[str]] = []
        self.asked: list[str] = []
        self.status = Status.BUILT
        self.code = 0
        self.said: list[tuple[str, str]] = []

    @contextlib.contextmanager
    def question(self, builder: str) -> Iterator[str]:
        self.asked.append(builder)
        yield f"asked {builder}"

    @contextlib.contextmanager
    def begun(self, plan: Plan, builder: str, asked: str | None) -> Iterator[tuple[str, str | None]]:
        assert plan.variants
        yield builder, asked

    def build(self, plan: Plan, wishes: Wishes, screen: Screen, *, early: tuple[str, str | None]) -> Result:
        assert early == (wishes.builder, f"asked {wishes.builder}")
        self.wishes.append(wishes)
        self.variants.append([one.id for one in plan.variants])
        for kind, text in self.said:
            (screen.warn if kind == "warn" else screen.tell)(text)
        outcomes = tuple(Outcome(id=one.id, status=self.status) for one in plan.variants)
        return Result(outcomes=outcomes, code=self.code, report=report(plan.variants, outcomes, started=STARTED))


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_ACTIONS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "matrix.yaml").write_text(SMALL)
    found = Run()
    monkeypatch.setattr(doctor, "Asked", found.question)
    monkeypatch.setattr(targets, "begun", found.begun)
    monkeypatch.setattr(run, "build", found.build)
    return found


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = app.run(["build", *words])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


PLAIN = Wishes(limits=Limits(bounds=Bounds(step_s=None, silence_s=None)))


def bounded(wishes: Wishes) -> Wishes:
    """Without the limits of the matrix, which have a test of their own."""
    return replace(wishes, limits=replace(wishes.limits, bounds=PLAIN.limits.bounds, variant_s=None))


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        ("", {}),
        ("--push", {"output": Output(push=True)}),
        ("--load", {"output": Output(load=True)}),
        ("--jobs 3", {"limits": {"parallel": 3}}),
        ("--fail-fast --adapt", {"limits": {"fail_fast": True, "adapt": True}}),
        ("--push --resume --max-age 2h", {"output": Output(push=True), "resume": True, "max_age_s": 7200}),
        ("--push --changed", {"output": Output(push=True), "changed": True}),
        ("--push --verify", {"output": Output(push=True), "verify": True}),
        ("--no-verify", {"verify": False}),
        ("--builder farm", {"builder": "farm"}),
        ("--cache off", {"cache": CacheUse.OFF}), ("--cache read-only", {"cache": CacheUse.READ_ONLY}),
        ("--air-gapped --registry a --registry b", {"air_gap": AirGap(registries=("a", "b"))}),
        ("--air-gapped", {"air_gap": AirGap()}),
    ],
)  # fmt: skip
def test_options_become_wishes(
    ran: Run, capsys: pytest.CaptureFixture[str], words: str, fields: dict[str, Any]
) -> None:
    code, out, _ = said(capsys, *words.split(), "--progress", "quiet")
    assert (code, "app-cu130-amd64" in out) == (0, True)
    (wishes,) = ran.wishes
    wanted = {**fields, "limits": replace(PLAIN.limits, **fields.get("limits", {}))}
    expected = replace(PLAIN, **wanted)
    assert replace(bounded(wishes), allowed=expected.allowed) == expected
    assert ran.asked == [wishes.builder]


def test_paths_are_those_of_the_directory_one_stands_in(
    ran: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, "-o", "out", "--report", "r.json", "--limit", "step=2h")[0] == 0
    (wishes,) = ran.wishes
    assert wishes.output == Output(directory=tmp_path / "out")
    assert wishes.report == tmp_path / "r.json"
    assert wishes.limits.bounds.step_s == 7200
    (tmp_path / "matrix.yaml").write_text(SMALL + "verify: {after_build: true}\n")
    assert said(capsys, "--push")[0] == said(capsys, "--push", "--no-verify")[0] == 0
    assert [one.verify for one in ran.wishes[1:]] == [True, False]


def test_the_slots_of_the_matrix_are_jobs(ran: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fleet = "builders: {a: {slots: 2}, b: {slots: 3}}\n"
    (tmp_path / "matrix.yaml").write_text(SMALL + fleet)
    for words in ((), ("--jobs", "4"), ("--builder", "x")):
        assert said(capsys, *words)[0] == 0
    assert [one.limits.parallel for one in ran.wishes] == [5, 4, 1]


def test_the_result_is_a_table_or_the_report_and_its_code_the_exit_code(
    ran: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    ran.status, ran.code = Status.FAILED, 1
    code, out, err = said(capsys, "--format", "json", "--progress", "quiet")
    assert (code, err) == (1, "")
    assert [one["status"] for one in json.loads(out)["variants"]] == ["failed"]
    code, out, err = said(capsys, "--progress", "quiet")
    assert (code, err) == (1, "")
    assert "app-cu130-amd64" in out
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("progress", "lines"),
    [
        ("plain", ["warning: one", "two"]),
        ("quiet", ["warning: one"]),
        ("json", ["warning: one", "two"]),
    ],
)
def test_what_belongs_to_no_variant_is_told(
    ran: Run, capsys: pytest.CaptureFixture[str], progress: str, lines: list[str]
) -> None:
    ran.said = [("warn", "one"), ("tell", "two")]
    _, _, err = said(capsys, "--progress", progress)
    if progress == "json":
        found = [json.loads(line) for line in err.splitlines()]
        assert [text for line in found for text in line.values() if text in lines] == lines
    else:
        assert err.splitlines() == lines


def test_only_what_the_last_run_did_not_build(ran: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = "error: --only-failed: no run was found that has ended\nhint: build without it first\n"
    assert said(capsys, "--only-failed") == (2, "", missing)

    def run_of(name: str, status: Status) -> None:
        made = [Outcome(id="app-cu130-amd64", status=status, output="type=image,push=true")]
        directory = tmp_path / ".orchestrate" / "runs" / name
        directory.mkdir(parents=True)
        kept.keep(directory, report(planned(SMALL).variants, made, started=STARTED), made, seconds=1)

    run_of("20261126T120000-1", Status.FAILED)
    (tmp_path / "matrix.yaml").write_text(SMALL.replace("  linux/amd64:\n", "  linux/amd64:\n  linux/arm64:\n"))
    amd64 = ("--only-failed", "--platform", "linux/amd64", "--push", "--progress", "quiet")
    assert said(capsys, *amd64)[0] == said(capsys, "--only-failed", "--progress", "quiet")[0] == 0
    assert ran.variants == [["app-cu130-amd64"], ["app-cu130-amd64", "app-cu130-arm64"]]
    run_of("20261126T130000-1", Status.BUILT)
    nothing = "nothing to build: every selected variant was built by the last run that had it\n"
    assert said(capsys, *amd64, "--report", "r.json") == (0, "", nothing)
    assert json.loads((tmp_path / "r.json").read_text())["variants"] == []
    elsewhere = ("--only-failed", "--platform", "linux/amd64", "--load", "--progress", "quiet")
    assert said(capsys, *elsewhere)[0] == said(capsys, "--only-failed", "--push", "--progress", "quiet")[0] == 0
    assert ran.variants[2:] == [["app-cu130-amd64"], ["app-cu130-arm64"]]
    assert len(ran.wishes) == 4


def test_without_a_matrix_nobody_is_asked(ran: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "-f", "gone.yaml")
    assert (code, out, ran.asked, ran.wishes) == (2, "", [], [])
    code, out, err = said(capsys, "--max-age", "soon", "--resume")
    assert (code, out) == (2, "")
    assert err.startswith("error: --max-age soon: the span is invalid: ")
