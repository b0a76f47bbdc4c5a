"""`orchestrate cache prune`: what it removes of registries, what it only lists, and its exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import pytest

from orchestrator.cache import prune, repository, usage
from orchestrator.cache.repository import Held, Reach
from orchestrator.cli import app
from orchestrator.matrix import git
from orchestrator.reference import parse
from orchestrator.registry import client
from tests.unit.matrix.support import SMALL

if TYPE_CHECKING:
    from pathlib import Path

A, B = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
CACHE = parse("ghcr.io/acme/app-cache").repository
HELD = Held(
    tags={"app": A, "app-pr-12": B, "app-pr-13": A},
    reach={one: Reach(manifests=(one,), sizes={one: 1000}, whole=True, created="") for one in (A, B)},
)


class Registry:
    def __init__(self, repository: object) -> None:
        assert repository == CACHE

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


@pytest.fixture
def removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The tags that were removed from a registry that holds `HELD`."""
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_TOKEN", "GH_TOKEN", "GITHUB_REPOSITORY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "matrix.yaml").write_text(SMALL)
    found: list[str] = []

    def remove(_: object, doomed: tuple[prune.Doomed, ...], __: object, **___: object) -> prune.Removed:
        found.extend(one.tag for one in doomed)
        return prune.Removed(done=doomed, failed=())

    monkeypatch.setattr(usage, "cache_repositories", lambda _: {CACHE: frozenset({"app"})})
    monkeypatch.setattr(repository, "held", lambda *_: HELD)
    monkeypatch.setattr(git, "branches", lambda _: ("main",))
    monkeypatch.setattr(git, "origin", lambda _: "")
    monkeypatch.setattr(client, "Registry", Registry)
    monkeypatch.setattr(prune, "remove", remove)
    return found


def test_without_yes_nothing_is_removed(removed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["cache", "prune", "--closed-pr", "12", "--closed-pr", "13"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"to remove  {CACHE}:app-pr-12    ")
    assert lines[1].startswith(f"to remove  {CACHE}:app-pr-13    ")
    assert lines[1].endswith("; the tag alone: another tag reaches its manifest")
    assert lines[2].startswith(f"{CACHE}: 1 tag stays, 2 can go, 1")
    assert lines[2].endswith("; --yes removes them")
    assert removed == []


def test_with_yes_it_is(removed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["cache", "prune", "--closed-pr", "12", "--yes"]) == 0
    shown = capsys.readouterr()
    assert removed == ["app-pr-12"]
    assert f"removed  {CACHE}:app-pr-12" in shown.out
    assert f"{CACHE}: 2 tags stay, 1 went" in shown.out
    assert "--yes" not in shown.out
    assert "the branches of the origin" not in shown.err
    assert app.run(["cache", "prune"]) == 0
    assert capsys.readouterr().out == f"{CACHE}: 3 tags stay, 0 can go\n"


def test_what_could_not_be_removed_is_exit_code_6(
    removed: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failure = prune.Removed(done=(), failed=("app-pr-12: denied",))
    monkeypatch.setattr(prune, "remove", lambda *_, **__: failure)
    assert app.run(["cache", "prune", "--closed-pr", "12", "--yes"]) == 6
    assert f"warning: {CACHE}: app-pr-12: denied" in capsys.readouterr().err
    assert removed == []


def test_branches_stay_where_nobody_knows_which_there_are(
    removed: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(git, "branches", lambda _: None)
    assert app.run(["cache", "prune", "--yes"]) == 0
    assert "the branches of the origin are not known: references of branches stay" in capsys.readouterr().err
    assert removed == []


@pytest.mark.parametrize("other", ["--closed-pr=1", "--older-than=3"])
def test_a_budget_is_no_choice_of_references(removed: list[str], other: str) -> None:
    assert app.run(["cache", "prune", "--keep", "1GB", other]) == 2
    assert removed == []
