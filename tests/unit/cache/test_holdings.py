"""Local layer caches: only what is one of the matrix' own counts, for what counts may be removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.bake.ladder import Standing
from orchestrator.cache.holdings import local_caches, measured
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
