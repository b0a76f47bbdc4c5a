"""`orchestrate plan` where it asks neither git, buildx nor a registry."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from orchestrator.cli import app
from orchestrator.engine import buildx
from orchestrator.ui import plan_view
from tests.unit.matrix.support import EXAMPLE, SMALL, planned

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, value in {"SHA": "0" * 40, "BRANCH": "main", "TAG": "v1", "DIRTY": "0"}.items():
        monkeypatch.setenv(f"ORCHESTRATE_GIT_{name}", value)
    (tmp_path / "matrix.yaml").write_text(EXAMPLE)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = app.run(["plan", *words])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_every_format_is_that_of_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    plan = planned(EXAMPLE)
    assert said(capsys) == said(capsys, "--format", "table") == (0, plan_view.plain(plan), "")
    code, out, err = said(capsys, "--format", "json")
    assert (code, out, err) == (0, json.dumps(json.loads(out), indent=2) + "\n", "")
    assert json.loads(out).keys() == plan_view.as_json(plan).keys()
    assert json.loads(out)["variants"] == json.loads(json.dumps(plan_view.as_json(plan)["variants"]))
    code, out, err = said(capsys, "--format", "github")
    assert (code, out.count("\n"), err) == (0, 1, "")
    assert json.loads(out) == plan_view.as_github(plan)
    code, out, err = said(capsys, "--format", "sarif")
    assert (code, json.loads(out)["runs"][0]["results"], err) == (0, [], "")


def test_an_invalid_matrix_is_a_result_of_sarif_as_well(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "matrix.yaml").write_text("version: 1\nnonsense: 1\n")
    code, out, err = said(capsys, "--format", "sarif")
    assert code == 2
    (first, *_) = json.loads(out)["runs"][0]["results"]
    assert first["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "matrix.yaml"
    assert err.startswith("error: ")
    assert said(capsys)[:2] == (2, "")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--preflight --format github", "--preflight --format github: expected table or sarif or json"),
        ("--preflight --format bake", "--preflight --format bake: expected table or sarif or json"),
        ("--status --format sarif", "--status --format sarif: expected table or json"),
        ("--diff main --format github", "--diff --format github: expected table or json"),
        ("--network-report --format github", "--network-report: format github is invalid: expected table or json"),
        ("--explain openai-cu130-py312", "--explain openai-cu130-py312: the variant was not found"),
    ],
)
def test_what_has_no_such_format_or_variant(capsys: pytest.CaptureFixture[str], words: str, expected: str) -> None:
    code, out, err = said(capsys, *words.split())
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {expected}\n")


def test_a_row_that_is_not_built_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    row = next(one for one in planned(EXAMPLE).dropped if one.id)
    assert said(capsys, "--explain", row.id) == (
        0, f"{row.id} is not built: no GB10 support below 13.0    {row.origin}\n", "",
    )  # fmt: skip


@pytest.fixture
def resolved(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of two platforms whose target buildx has resolved; one Dockerfile fetches something."""
    target = {"context": ".", "dockerfile": "Dockerfile", "args": {"A": "1"}}
    monkeypatch.setattr(buildx, "resolve", lambda *_, **__: {"app": target})
    (project / "docker").touch(mode=0o755)
    monkeypatch.setenv("ORCHESTRATE_DOCKER", str(project / "docker"))
    (project / "bake.hcl").write_text('target "app" {}\n')
    (project / "Dockerfile").write_text("FROM debian:12\nRUN apt-get update\n")
    text = SMALL.replace("  linux/amd64:\n", "  linux/amd64:\n  linux/arm64:\n") + 'cache: {backend: "off"}\n'
    (project / "matrix.yaml").write_text(text)
    return project


@pytest.mark.usefixtures("resolved")
def test_the_bake_files_of_all_variants_in_one(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, "--format", "bake")
    ids = ["app-cu130-amd64", "app-cu130-arm64"]
    content = json.loads(out)
    assert (code, content["group"]) == (0, {"default": {"targets": ids}})
    assert list(content["target"]) == ids
    assert content["target"][ids[1]]["platforms"] == ["linux/arm64"]
    first, *commands = err.splitlines()
    assert first == "# save the above as variants.json, then in .:"
    assert commands == [f"docker buildx bake -f variants.json {name}" for name in ids]


@pytest.mark.usefixtures("resolved")
def test_what_the_builds_fetch(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, "--network-report", "--format", "json")
    assert (code, err) == (0, "")
    rows = json.loads(out)["accesses"]
    assert json.loads(out)["schema"] == 1
    assert {row["name"] for row in rows} >= {"debian:12"}
    assert all(row["variants"] == ["app-cu130-amd64", "app-cu130-arm64"] for row in rows)
    code, out, err = said(capsys, "--network-report")
    assert (code, err) == (0, f"{len(rows)} access{'es' if len(rows) != 1 else ''} of 2 variants\n")
    lines = [line for line in out.splitlines() if not line.startswith("    offline: ")]
    assert lines == [f"{row['place']}  {row['kind']}  {row['name']}" for row in rows]
    cures = [line for line in out.splitlines() if line.startswith("    offline: ")]
    assert cures == [f"    offline: {row['cure']}" for row in rows if row["cure"]]
    code, out, err = said(capsys, "--network-report", "--platform", "linux/arm64")
    assert (code, err) == (0, f"{len(rows)} access{'es' if len(rows) != 1 else ''} of 1 variant\n")
