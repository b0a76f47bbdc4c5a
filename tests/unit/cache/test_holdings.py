"""Local layer caches: only what is one of the matrix' own counts, for what counts may be removed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator.bake.ladder import Standing
from orchestrator.cache import holdings
from orchestrator.cache.budget import Directory
from orchestrator.cache.holdings import Where, local_caches, measured, of_builder, of_directories, of_stores
from orchestrator.cache.prune import Doomed, Verdict
from orchestrator.cache.repository import Held, Reach
from orchestrator.engine.build_cache import CacheRecord, RecordType
from orchestrator.matrix import load
from orchestrator.matrix.expand import plan

if TYPE_CHECKING:
    from pathlib import Path

MATRIX = """\
version: 1
image: r.lan/app
bake: {files: [bake.json], targets: [app]}
arch_lists: {all: "9.0"}
cuda: {"13.0": {version: 13.0.2}}
platforms: {linux/amd64: {}}
variants: {arch_list: all}
cache: {backend: local}
"""
OWN = "r.lan-app-cache-app-cu130-amd64"


def found(root: Path) -> dict[str, bool]:
    (root / "matrix.yaml").write_text(MATRIX)
    rows = local_caches(plan(load.load(root / "matrix.yaml")), Standing())
    assert {variants for _, variants in rows} <= {("app-cu130-amd64",)}
    return {one.path.name: one.needed for one, _ in rows}


def made(folder: Path, name: str) -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / "index.json").write_text("{}")
    return folder / name


def test_the_plans_own_is_needed_and_a_branchs_is_not(tmp_path: Path) -> None:
    folder = tmp_path / ".orchestrate" / "cache"
    for name in (OWN, f"{OWN}.new", f"{OWN}-branch-x", "notes"):
        made(folder, name)
    (folder / f"{OWN}-empty").mkdir()
    assert found(tmp_path) == {OWN: True, f"{OWN}.new": True, f"{OWN}-branch-x": False}


def test_nothing_behind_a_link_counts(tmp_path: Path) -> None:
    outside, project = tmp_path / "home", tmp_path / "project"
    made(outside, f"{OWN}-branch-x")
    (project / ".orchestrate").mkdir(parents=True)
    (project / ".orchestrate" / "cache").symlink_to(outside)
    assert found(project) == {}
    (project / ".orchestrate" / "cache").unlink()
    (project / ".orchestrate" / "cache").mkdir()
    (project / ".orchestrate" / "cache" / f"{OWN}-branch-y").symlink_to(outside / f"{OWN}-branch-x")
    assert found(project) == {}


def test_a_file_with_two_names_is_measured_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100)
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    assert measured(tmp_path)[0] == 100
    assert measured(tmp_path / "none") == (0, None)


def record(
    id_: str, type_: RecordType, size: int, hour: int, description: str = "", *, in_use: bool = False
) -> CacheRecord:
    used = datetime(2026, 3, 4, hour, tzinfo=UTC)
    return CacheRecord(id=id_, type=type_, size=size, created=used, used=used, description=description, in_use=in_use)


def test_a_builder_holds_kinds_of_records_and_mounts() -> None:
    records = [
        record("a", RecordType.LAYER, 100, 1), record("b", RecordType.LAYER, 20, 3),
        record("c", RecordType.SOURCE, 3, 2), record("d", RecordType.LAYER, 4, 2, in_use=True),
        record("m", RecordType.MOUNT, 5, 1, "cached mount /root/.ccache from exec /bin/sh -c make"),
        record("n", RecordType.MOUNT, 50, 2, 'cached mount /c from exec x with id "/compile-cache-acme/cu130/"'),
        record("o", RecordType.MOUNT, 6, 2, 'cached mount /d from exec x with id "pip"'),
    ]  # fmt: skip
    found = list(of_builder(records, "main", needed={"b"}, namespaces={"acme/cu130": ("app",)}))
    at = {hour: datetime(2026, 3, 4, hour, tzinfo=UTC) for hour in (1, 2, 3)}
    rows = [(one.kind, one.name, one.size, one.reclaimable, one.variants, one.used) for one in found]
    assert rows == [
        ("layers", "main, 3 records", 124, 100, (), at[3]),
        ("build contexts", "main, 1 records", 3, 3, (), at[2]),
        ("compile cache", "compile-cache-acme/cu130", 50, 0, ("app",), at[2]),
        ("cache mount", "pip", 6, 0, (), at[2]),
        ("cache mount", "/root/.ccache", 5, 0, (), at[1]),
    ]
    assert {one.where for one in found} == {Where.BUILDER}


def test_directories_and_stores_have_a_row_where_they_hold_something(tmp_path: Path) -> None:
    made(tmp_path, "kept")
    made(tmp_path, "old")
    now = datetime(2026, 3, 4, tzinfo=UTC)
    owned = [
        (Directory(path=tmp_path / name, size=9, used=now, needed=needed, same_disk=True), ("app",))
        for name, needed in (("kept", True), ("old", False))
    ]
    rows = [(one.where, one.kind, one.name, one.size, one.reclaimable, one.variants) for one in of_directories(owned)]
    assert rows == [
        (Where.DIRECTORY, "layers", str(tmp_path / "kept"), 9, 0, ("app",)),
        (Where.DIRECTORY, "layers", str(tmp_path / "old"), 9, 9, ("app",)),
    ]
    (tmp_path / ".orchestrate" / "runs").mkdir(parents=True)
    (tmp_path / ".orchestrate" / "runs" / "log").write_text("12345")
    stores = list(of_stores(tmp_path, {"headers": tmp_path / "old", "wheels": tmp_path / "none"}))
    assert [(one.kind, one.size, one.where) for one in stores] == [
        ("logs", 5, Where.STORE), ("headers", 2, Where.STORE)
    ]  # fmt: skip
    assert all(one.used is not None for one in stores)


def test_tags_of_a_repository_count_what_they_share_once() -> None:
    one, two, three = (f"sha256:{sign * 64}" for sign in "abc")
    found = Held(
        tags={"app": one, "app-pr-12": two, "app-x-branch-y": two, "gone": "", "other": three},
        reach={
            one: Reach(manifests=(one,), sizes={one: 1, "s": 10}, created="2026-11-26T12:00:00"),
            two: Reach(manifests=(two,), sizes={two: 2, "s": 10}, created="2026-11-25T12:00:00+01:00"),
            three: Reach(manifests=(three,), sizes={three: 4}, created="soon"),
        },
    )
    doomed = (
        Doomed(tag="app-pr-12", digest=two, why="w"),
        Doomed(tag="other", digest=three, why="w", shared="kept"),
        Doomed(tag="", digest=one, why="superseded"),
        Doomed(tag="", digest=three, why="superseded"),
    )
    owners = {"app": "app-v", "app-x": "app-x-v"}
    rows = list(holdings.of_repository("r/c", found, Verdict(doomed=doomed), owners))
    assert [(row.name, row.kind, row.variants, row.size, row.reclaimable) for row in rows] == [
        ("r/c:app", "layers", ("app-v",), 11, 0),
        ("r/c:app-pr-12", "layers", ("app-v",), 2, 2),
        ("r/c:app-x-branch-y", "layers", ("app-x-v",), 0, 0),
        ("r/c:gone", "other tag", (), 0, 0),
        ("r/c:other", "other tag", (), 4, 0),
        (f"r/c@{one}", "superseded export", (), 0, 0),
        (f"r/c@{three}", "superseded export", (), 0, 0),
    ]
    assert {row.where for row in rows} == {holdings.Where.REGISTRY}
    assert rows[0].used == datetime(2026, 11, 26, 12, tzinfo=UTC)
    assert rows[1].used == datetime(2026, 11, 25, 11, tzinfo=UTC)
    assert [row.used for row in rows[3:5]] == [None, None]
    alone = Held(tags={}, reach=found.reach)
    (row,) = holdings.of_repository("r/c", alone, Verdict(doomed=doomed[2:3]), owners)
    assert (row.size, row.reclaimable, row.used) == (11, 11, datetime(2026, 11, 26, 12, tzinfo=UTC))
