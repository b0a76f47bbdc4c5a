"""What a run writes itself is no input of it; what lies beside that is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.bake.file import Output
from orchestrator.matrix import load
from orchestrator.matrix.expand import plan
from orchestrator.matrix.selectors import Selector, narrow
from orchestrator.runs.wanted import contents

if TYPE_CHECKING:
    from pathlib import Path

MATRIX = """\
version: 1
image: registry.lan/app
bake: {files: [docker-bake.json], targets: [app]}
arch_lists: {release: 9.0}
cuda: {"12.9": {version: 12.9.1}, "13.0": {version: 13.0.2}}
platforms: {linux/amd64: {}}
variants: {arch_list: release, tags: ["{image}:{cuda.short}"]}
cache: {backend: local, dir: data}
"""


def digest(root: Path, *, cache: str = "local", select: str = "13.0") -> str:
    text = MATRIX.replace("local", cache).encode()
    whole = plan(load.parse(text, path=root / "matrix.yaml", shown="matrix.yaml"))
    one = narrow(whole, Selector(cuda=(select,)))
    reports = (root / "data" / "report.json",)
    return contents(one, reports, output=Output(directory=root / "data")).of(".").digest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "project" / "data").mkdir(parents=True)
    (tmp_path / "project" / "data" / "input").write_text("1")
    return tmp_path / "project"


@pytest.mark.parametrize(
    "name",
    [
        "report.json",
        "app-cu130-amd64.tar",
        "app-cu130-amd64.tar.part",
        "app-cu129-amd64.tar",
        "registry.lan-app-cache-app-cu130-amd64/blobs/sha256/0",
        "registry.lan-app-cache-app-cu130-amd64-branch-x.new/blobs/sha256/0",
    ],
)
def test_what_runs_write_is_left_out(root: Path, name: str) -> None:
    before = digest(root)
    (root / "data" / name).parent.mkdir(parents=True, exist_ok=True)
    (root / "data" / name).write_text("x")
    assert digest(root) == before != ""
    assert digest(root, select="12.9") == before


@pytest.mark.parametrize("name", ["input", "other.tar", "weights/app-cu130-amd64.tar", "blobs"])
def test_what_lies_beside_it_decides_the_content(root: Path, name: str) -> None:
    before = digest(root)
    (root / "data" / name).parent.mkdir(parents=True, exist_ok=True)
    (root / "data" / name).write_text("2")
    assert digest(root) not in {before, ""}


def test_a_cache_that_is_elsewhere_leaves_nothing_out(root: Path) -> None:
    before = digest(root, cache="registry")
    (root / "data" / "layout" / "blobs").mkdir(parents=True)
    (root / "data" / "layout" / "blobs" / "x").write_text("2")
    assert digest(root, cache="registry") not in {before, ""}
    assert digest(root) != digest(root, cache="registry")
