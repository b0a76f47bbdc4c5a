"""`orchestrate cache prune --keep`, `cache ls`: what they show and remove of builders, directories and registries."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.cache import holdings
from orchestrator.cache.budget import Directory
from orchestrator.cli import app
from orchestrator.engine import build_cache, machine
from orchestrator.engine.build_cache import CacheRecord, RecordType
from orchestrator.errors import EnvironmentLacksError
from orchestrator.runs import caches
from orchestrator.runs.caches import FleetCaches, MachineCaches
from tests.unit.matrix.support import SMALL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from orchestrator.cache.holdings import Owned
    from orchestrator.matrix.variants import Plan

USED = datetime(2026, 11, 20, 7, 30, tzinfo=UTC)


def record(name: str, size: int, **fields: Any) -> CacheRecord:
    return CacheRecord(id=name, type=RecordType.LAYER, description="d", size=size, created=USED, used=USED, **fields)


class Machine:
    """Caches that a test fills, and what was asked and removed of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.free: int | None = 5_000
        self.records: dict[str, list[CacheRecord]] = {"one": [record("a", 2000), record("b", 500)]}
        self.directories: list[Owned] = []
        self.needed: frozenset[str] = frozenset({"b"})
        self.away: set[str] = set()
        self.silent: dict[str, str] = {}
        self.asked: list[tuple[list[str], str]] = []
        self.removed: list[tuple[str, list[str]]] = []

    def fleet(self, plan: Plan, builder: str) -> FleetCaches:
        self.asked.append(([one.id for one in plan.variants], builder))
        found = [
            MachineCaches(
                builder=name,
                records=list(records),
                needed=self.needed,
                disk=None if name in self.away else self.root,
                directories=self.directories if name == "one" else (),
            )
            for name, records in self.records.items()
        ]
        return FleetCaches(builders=found, silent=self.silent)

    def remove(
        self, chosen: Sequence[CacheRecord], every: Sequence[CacheRecord], builder: str, *, told: Callable[..., None]
    ) -> None:
        assert callable(told)
        assert list(every) == self.records[builder]
        self.removed.append((builder, [one.id for one in chosen]))
        self.records[builder] = [one for one in every if one not in chosen]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "matrix.yaml").write_text(SMALL.replace("  linux/amd64:\n", "  linux/amd64:\n  linux/arm64:\n"))
    found = Machine(tmp_path)
    monkeypatch.setattr(caches, "fleet_caches", found.fleet)
    monkeypatch.setattr(machine, "free_bytes", lambda disk: None if disk is None else found.free)
    monkeypatch.setattr(build_cache, "remove", found.remove)
    monkeypatch.setattr(build_cache, "records", lambda builder: found.records[builder])
    return found


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = app.run(["cache", *words])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_what_does_not_fit_is_listed_and_removed_with_yes(here: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    line = "1 record of builder one    2.0 kB, unused since 2026-11-20T07:30+00:00\n"
    assert said(capsys, "prune", "--keep", "1kB") == (
        0, f"to remove  {line}2.5 kB held, 2.0 kB can go; --yes removes it\n", "",
    )  # fmt: skip
    assert here.asked == [(["app-cu130-amd64", "app-cu130-arm64"], "")]
    assert here.removed == []
    code, out, _ = said(capsys, "prune", "--keep", "1kB", "--yes", "--builder", "one")
    assert (code, out) == (0, f"remove  {line}2.5 kB held, 2.0 kB can go\n2.0 kB freed\n")
    assert here.asked[1][1] == "one"
    assert here.removed == [("one", ["a"])]
    assert said(capsys, "prune", "--keep", "1kB", "--yes")[:2] == (0, "500 B held, 0 B can go\n")
    assert len(here.removed) == 1


def test_a_budget_that_is_missed_is_told(here: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    here.needed = frozenset({"a", "b"})
    assert said(capsys, "prune", "--keep", "1kB") == (
        0,
        "2.5 kB held, 0 B can go\n",
        (
            "warning: the limit is missed by 1.5 kB: the rest is cache mounts, in use, or needed by the next "
            "build of the matrix\n"
        ),
    )


def test_directories_go_whole(here: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    path = here.root / "kept"
    path.mkdir()
    (path / "blob").write_text("x")
    old = Directory(path=path, size=700, used=USED - timedelta(days=1), needed=False)
    here.directories = [(old, ())]
    here.records = {"one": []}
    assert said(capsys, "prune", "--keep", "1B") == (
        0, f"to remove  {path}    700 B\n700 B held, 700 B can go; --yes removes it\n", "",
    )  # fmt: skip
    assert path.is_dir()
    code, out, _ = said(capsys, "prune", "--keep", "1B", "--yes")
    assert (code, out) == (0, f"remove  {path}    700 B\n700 B held, 700 B can go\n700 B freed\n")
    assert not path.exists()


def test_free_space_is_made_where_it_is_known(here: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "prune", "--min-free", "5kB")[1] == "2.5 kB held, 0 B can go\n"
    assert said(capsys, "prune", "--min-free", "6kB")[1].endswith("2.5 kB held, 2.0 kB can go; --yes removes it\n")
    here.records["far"] = [record("c", 3000)]
    here.away = {"far"}
    place = "--min-free: builder far keeps its layers on another machine"
    code, out, err = said(capsys, "prune", "--min-free", "5kB")
    assert (code, out, err) == (0, "2.5 kB held, 0 B can go\n", f"{place}: it is left out\n")
    code, out, err = said(capsys, "prune", "--min-free", "5kB", "--keep", "2500B")
    assert (code, err) == (0, f"{place}: --keep alone counts there\n")
    assert out.endswith("3.0 kB held, 3.0 kB can go; --yes removes it\n")
    here.away = {"one", "far"}
    assert said(capsys, "prune", "--min-free", "5kB") == (
        2,
        "",
        (
            "error: --min-free: builder one keeps its layers on another machine, whose free space is not known\n"
            "hint: set a budget with --keep\n"
        ),
    )


def test_a_builder_that_is_silent_makes_it_6(here: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    here.silent = {"far": "it is down"}
    code, out, err = said(capsys, "prune", "--keep", "9kB")
    assert (code, out, err) == (6, "2.5 kB held, 0 B can go\n", "warning: builder far is left out: it is down\n")


@pytest.mark.parametrize("option", ["--keep", "--min-free"])
def test_a_size_that_is_none(here: Machine, capsys: pytest.CaptureFixture[str], option: str) -> None:
    code, out, err = said(capsys, "prune", option, "much")
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {option} much: ")
    assert here.asked == []


def test_everything_that_holds_something_is_listed(
    here: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here.root / "matrix.yaml").write_text((here.root / "matrix.yaml").read_text() + 'cache: {backend: "off"}\n')
    for name in ("ORCHESTRATE_HEADERS_STORE", "ORCHESTRATE_COMPILE_CACHE_STORE"):
        monkeypatch.setenv(name, str(here.root / name))
    monkeypatch.setenv("XDG_CACHE_HOME", str(here.root / "cache"))
    (here.root / "ORCHESTRATE_HEADERS_STORE").mkdir()
    (here.root / "ORCHESTRATE_HEADERS_STORE" / "blob").write_text("x" * 9000)
    path = here.root / "kept"
    path.mkdir()
    old = Directory(path=path, size=700, used=USED, needed=False)
    here.directories = [(old, ("app-cu130-arm64",))]
    here.silent = {"far": "it is down"}
    code, out, err = said(capsys, "ls", "--format", "json", "--builder", "one")
    assert (code, err) == (6, "builder far is left out: it is down\n")
    assert json.loads(out)["left_out"] == [{"place": "builder far", "why": "it is down"}]
    here.silent = {}
    assert here.asked == [(["app-cu130-amd64", "app-cu130-arm64"], "one")]
    rows = {row["name"]: row for row in json.loads(out)["holdings"]}
    assert rows[str(path)]["variants"] == ["app-cu130-arm64"]
    assert rows[str(here.root / "ORCHESTRATE_HEADERS_STORE")]["kind"] == "headers"
    assert sum(row["size"] for row in rows.values() if row["where"] == "builder") == 2500
    code, out, err = said(capsys, "ls", "--cuda", "13.0", "--platform", "linux/amd64")
    assert code == 0
    assert str(path) not in out
    assert "ORCHESTRATE_HEADERS_STORE" in out

    def fails(*_: object) -> FleetCaches:
        raise EnvironmentLacksError("no engine")

    monkeypatch.setattr(caches, "fleet_caches", fails)
    monkeypatch.setattr(holdings, "local_caches", lambda plan, _: [(old, (plan.variants[0].id,))])
    code, out, err = said(capsys, "ls")
    assert (code, err) == (5, "the builder is left out: no engine\n")
    assert str(path) in out
