"""`orchestrate report last` and what the last run is good for: real builds, and the page in a real browser."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e import test_verify_html
from tests.e2e.test_verify_html import browse, colours_of, document
from tests.support.project import Project, write_project

if TYPE_CHECKING:
    from pathlib import Path

NOWHERE = "127.0.0.1:5000/unused"
BAD = "RUN echo '<b>look</b>' >&2; exit 9"
chromium = test_verify_html.chromium
FAILED, BAR, PAPER = (0xFB, 0xDD, 0xDD), (0x3F, 0x7F, 0xC4), (0xFF, 0xFF, 0xFF)


@pytest.fixture(scope="module")
def project(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project after two runs: the first built one variant, the second one of two."""
    project = write_project(tmp_path_factory.mktemp("report"), NOWHERE, good="RUN sleep 2; echo fine", bad=BAD)
    assert project.build("--target", "good").returncode == 0
    assert project.build("--jobs", "2").returncode == 1
    return project


def test_the_table_of_the_last_run(project: Project) -> None:
    done = project.run("report", "last")
    assert done.returncode == 0, done.stderr
    head, _, names, *rows = done.stdout.splitlines()
    assert head.endswith(": 1 built, 1 failed")
    shown = ["variant", "status", "time", "before", "change", "cached", "attempts", "pulled", "sent"]
    assert names.split()[:9] == shown
    good, bad = (dict(zip(names.split(), row.split(), strict=False)) for row in rows[:2])
    assert (good["status"], good["cached"], bad["status"], bad["before"]) == ("built", "3/3", "failed", "-")
    assert float(good["before"].removesuffix("s")) >= 2
    line = project.root.joinpath("Dockerfile").read_text().splitlines().index(BAD) + 1
    assert f"bad-cu130-amd64: failed (run) at Dockerfile:{line} [bad 1/1] {BAD}: exit code: 9" in done.stdout


def test_the_kept_report_is_that_of_the_run_and_more(project: Project) -> None:
    newest = max(project.root.glob(".orchestrate/runs/*/run.json"))
    content, told = json.loads(newest.read_text()), json.loads(project.report.read_text())
    assert newest.stat().st_mode & 0o777 == 0o600
    for row, said in zip(content["variants"], told["variants"], strict=True):
        assert said.items() <= row.items()
        assert row["tries"][0]["steps"]
    first = min(project.root.glob(".orchestrate/runs/*/run.json"))
    (good,) = json.loads(first.read_text())["variants"]
    times = {name: seconds for name, _, _, seconds, _ in good["tries"][0]["steps"]}
    assert 2 <= times["[good 1/1] RUN sleep 2; echo fine"] < 60
    assert good["bytes"]["sent"] > 1000  # the context


@pytest.mark.download
def test_the_page_in_a_browser(project: Project, chromium: str, tmp_path: Path) -> None:
    page = tmp_path / "build.html"
    done = project.run("report", "last", "--html", str(page))
    assert (done.returncode, done.stdout) == (0, f"{page}\n"), done.stderr
    seen = document(chromium, page)
    assert not {"script", "img", "link", "iframe", "b"} & set(seen.elements)
    assert "1 built, 1 failed" in seen.text
    assert "RUN echo '<b>look</b>' >&2; exit 9" in seen.text
    rows = {row[0].split()[0]: row for row in seen.rows["variants"][1:]}
    assert set(rows) == {"good-cu130-amd64", "bad-cu130-amd64"}
    assert rows["bad-cu130-amd64"][1] == "✗ failed"
    picture = tmp_path / "page.png"
    browse(chromium, page, f"--screenshot={picture}", "--blink-settings=preferredColorScheme=1")
    painted = colours_of(picture)
    assert painted.get(FAILED, 0) > 2000
    assert painted.get(BAR, 0) > 200
    assert painted.get(PAPER, 0) > 100_000
    assert len(painted) > 30


def test_a_page_beside_the_logs_and_one_that_stands_in_the_way(project: Project, tmp_path: Path) -> None:
    done = project.run("report", "last", "--html")
    place = project.root / done.stdout.strip()
    assert (place.name, place.parent.parent.name) == ("run.html", "runs")
    assert place.read_text().startswith("<!doctype html>")
    assert project.run("report", "last", "--html").returncode == 0  # its own page is replaced
    refused = project.run("report", "last", "--html", "matrix.yaml")
    assert refused.returncode == 2
    assert "is not an HTML page" in refused.stderr


def test_without_a_run_nothing_is_shown_and_nothing_selected(tmp_path: Path) -> None:
    project = write_project(tmp_path, NOWHERE, app="RUN echo fine")
    for words, code in ((("report", "last"), 5), (("build", "--only-failed"), 2)):
        done = project.run(*words)
        assert done.returncode == code
        assert "no run was found that has ended" in done.stderr


def test_only_what_failed_is_built_until_nothing_is_left(engine: str, tmp_path: Path) -> None:
    mended = "RUN --mount=target=/context test ! -e /context/broken"
    project = write_project(tmp_path, NOWHERE, good="RUN echo fine", bad=mended, worse=mended)
    (project.root / "broken").touch()
    assert project.build().returncode == 1
    assert project.build("--only-failed", "--target", "worse").returncode == 1
    assert set(project.reported()) == {"worse"}
    (project.root / "broken").unlink()
    assert project.build("--only-failed").returncode == 0
    assert {name: one["status"] for name, one in project.reported().items()} == {"bad": "built", "worse": "built"}
    done = project.build("--only-failed")
    assert done.returncode == 0
    assert "nothing to build: every selected variant was built by the last run that had it" in done.stderr
    assert project.reported() == {}
