"""`orchestrate publish`: what its options ask for; publishes are in tests/unit/publish and tests/engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.cli import app
from orchestrator.publish import run
from orchestrator.publish.run import Result, Wishes
from orchestrator.ui import publish_view
from tests.unit.matrix.support import SMALL

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orchestrator.matrix.variants import Plan

MORE = SMALL.replace("  linux/amd64:\n", "  linux/amd64:\n  linux/arm64:\n") + "publish: {tags: ['{image}:all']}\n"
BOTH = frozenset({"app-cu130-amd64", "app-cu130-arm64"})


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hangup: None) -> list[Wishes]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    (tmp_path / "matrix.yaml").write_text(MORE)
    found: list[Wishes] = []

    def publish(plan: Plan, wishes: Wishes, *, tell: Callable[[str], None]) -> Result:
        assert {one.id for one in plan.variants} == BOTH
        tell("told")
        found.append(wishes)
        return Result()

    monkeypatch.setattr(run, "publish", publish)
    return found


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        ("", {}),
        ("--dry-run", {"dry_run": True}),
        ("--allow-older", {"allow_older": True}),
        ("--from-registry", {"from_registry": True}),
        ("--notes", {"notes": True}),
        ("--platform linux/arm64", {"chosen": frozenset({"app-cu130-arm64"})}),
    ],
)
def test_options_become_wishes(
    asked: list[Wishes], capsys: pytest.CaptureFixture[str], words: str, fields: dict[str, Any]
) -> None:
    assert app.run(["publish", *words.split()]) == Result().code
    assert asked == [Wishes(**{"chosen": BOTH, "reports": [], **fields})]
    assert capsys.readouterr().err.splitlines()[0] == "told"


def test_reports_are_those_of_the_directory_one_stands_in(
    asked: list[Wishes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app.run(["publish", "--report", "a.json", "--report", "b.json"])
    assert list(asked[0].reports) == [tmp_path / "a.json", tmp_path / "b.json"]
    assert capsys.readouterr().out.splitlines() == list(publish_view.lines(Result(), dry_run=False))
    app.run(["publish", "--dry-run"])
    assert capsys.readouterr().out.splitlines() == list(publish_view.lines(Result(), dry_run=True))
    app.run(["publish", "--format", "json"])
    assert capsys.readouterr().out.startswith('{\n  "schema": 1,')
