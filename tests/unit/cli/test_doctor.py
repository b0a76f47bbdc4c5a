"""`orchestrate doctor`: what it asks for, how it shows checks, and its exit code; the checks are engine's own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NoReturn

import pytest

from orchestrator.cli import app
from orchestrator.engine import doctor
from orchestrator.engine.doctor import Need
from orchestrator.engine.machine import Check
from orchestrator.errors import EnvironmentLacksError
from orchestrator.registry import reach
from orchestrator.runs import jobs
from tests.unit.matrix.support import SMALL

if TYPE_CHECKING:
    from pathlib import Path

GOOD = Check(name="engine", status="ok", detail="28.5")
BAD = Check(name="disk", status="fail", detail="1 GiB free", hint="free some")


class Machine:
    """What the machine was asked for, and what it answers."""

    def __init__(self) -> None:
        self.needs: list[Need] = []
        self.images: list[str] = []
        self.checks: tuple[Check, ...] = (GOOD,)

    def diagnose(self, need: Need) -> tuple[Check, ...]:
        self.needs.append(need)
        return self.checks

    def check_registry(self, image: str) -> Check:
        self.images.append(image)
        return Check(name="registry", status="warn", detail="silent", hint="start it")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    monkeypatch.chdir(tmp_path)
    fake = Machine()
    monkeypatch.setattr(doctor, "diagnose", fake.diagnose)
    monkeypatch.setattr(reach, "check_registry", fake.check_registry)

    def no_buildx(*_: object) -> NoReturn:
        raise EnvironmentLacksError("there is no docker client")

    monkeypatch.setattr(jobs, "bake_files", no_buildx)  # tests/e2e has the platforms that Dockerfiles need
    return fake


def test_without_a_matrix_the_machine_alone_is_checked(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["doctor", "--platform", "linux/arm64", "--builder", "farm"]) == 0
    assert machine.needs == [Need(platforms=("linux/arm64",), builder="farm")]
    assert machine.images == []
    assert capsys.readouterr().out == "ok    engine  28.5\n"
    assert app.run(["doctor", "--image", "r/a"]) == 0
    assert machine.images == ["r/a"]
    assert capsys.readouterr().out == ("ok    engine    28.5\nwarn  registry  silent\n" + " " * 16 + "start it\n")


@pytest.mark.parametrize("words", ["--cuda 13.0", "--target app", "--axis a=b", "--variant x"])
def test_what_selects_variants_needs_a_matrix(machine: Machine, capsys: pytest.CaptureFixture[str], words: str) -> None:
    assert app.run(["doctor", *words.split()]) == 2
    error = capsys.readouterr().err
    assert "was not found: without a matrix there are no variants to select" in error
    assert "hint: name the matrix with -f or -C" in error
    assert app.run(["doctor", "-f", "gone.yaml"]) == 2
    assert machine.needs == []


def test_a_failed_check_is_exit_code_5_in_every_format(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.checks = (GOOD, BAD)
    assert app.run(["doctor", "--format", "json"]) == 5
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {
        "schema": 1,
        "checks": [
            {"name": "engine", "status": "ok", "detail": "28.5", "cure": ""},
            {"name": "disk", "status": "fail", "detail": "1 GiB free", "cure": "free some"},
        ],
    }
    assert "1 of 2 checks failed: disk" in shown.err


def test_the_machine_is_checked_for_the_variants(
    machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = SMALL + "cache: {backend: gha}\n"
    (tmp_path / "matrix.yaml").write_text(text)
    assert app.run(["doctor"]) == 0
    (need,) = machine.needs
    assert (need.platforms, need.jobs, need.cache, need.builder) == (("linux/amd64",), None, "gha", "")
    assert machine.images
    assert "ok    matrix    1 variant" in capsys.readouterr().out


def test_a_matrix_that_is_invalid_is_a_finding(
    machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "matrix.yaml").write_text("version: 1\nnonsense: 1\n")
    assert app.run(["doctor", "--format", "json"]) == 0
    (first, *_) = json.loads(capsys.readouterr().out)["checks"]
    assert (first["name"], first["status"]) == ("matrix", "warn")
    assert first["cure"] == "`orchestrate plan` shows every problem with its place"
    assert machine.needs == [Need()]


def test_compile_jobs_of_the_largest_variants_add_up(machine: Machine, tmp_path: Path) -> None:
    text = SMALL.replace("  linux/amd64:\n", "  linux/amd64:\n  linux/arm64:\n  linux/ppc64le:\n")
    text += """overrides:
  - {when: {platform: linux/amd64}, args: {max_jobs: 8}}
  - {when: {platform: linux/arm64}, args: {MAX_JOBS: 3}}
  - {when: {platform: linux/ppc64le}, args: {max_jobs: many, other: 99}}
"""
    (tmp_path / "matrix.yaml").write_text(text)
    for number in ("1", "2", "3"):
        assert app.run(["doctor", "--jobs", number]) == 0
    assert app.run(["doctor", "--platform", "linux/arm64"]) == 0
    assert app.run(["doctor", "--platform", "linux/ppc64le"]) == 0
    assert [need.jobs for need in machine.needs] == [8, 11, 11, 3, None]
    assert machine.needs[0].platforms == ("linux/amd64", "linux/arm64", "linux/ppc64le")


@pytest.mark.parametrize(
    ("section", "jobs"),
    [
        ("{max_jobs: 6}", 12),
        ("{max_jobs: 6, targets: [other]}", 5),
        ("{max_jobs: auto}", None),
        ('{max_jobs: "off"}', 5),
    ],
)
def test_compile_jobs_of_the_section_are_counted(
    machine: Machine, tmp_path: Path, section: str, jobs: int | None
) -> None:
    text = SMALL.replace("  linux/amd64:\n", "  linux/amd64:\n  linux/arm64:\n")
    text = text.replace("targets: [app]", "targets: [app, other]") if "other" in section else text
    text += "overrides:\n  - {when: {target: app, platform: linux/amd64}, args: {max_jobs: 5}}\n"
    (tmp_path / "matrix.yaml").write_text(f"{text}resources: {section}\n")
    assert app.run(["doctor", "--jobs", "2", "--target", "app"]) == 0
    assert [need.jobs for need in machine.needs] == [jobs]
