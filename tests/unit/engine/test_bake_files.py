"""The bake files that bake reads where none is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.engine.bake_files import NAMES, overrides, read_by_itself

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def unnamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BUILDX_BAKE_FILE", raising=False)
    monkeypatch.delenv("BUILDX_BAKE_PATH_SEPARATOR", raising=False)


def test_all_that_are_there_in_the_order_in_which_they_are_merged(tmp_path: Path) -> None:
    assert read_by_itself(tmp_path) == ()
    for name in ("docker-bake.hcl", "compose.yaml", "docker-bake.override.json", "bake.hcl"):
        (tmp_path / name).touch()
    assert read_by_itself(tmp_path) == ("compose.yaml", "docker-bake.hcl", "docker-bake.override.json")
    for name in NAMES:
        (tmp_path / name).touch()
    assert read_by_itself(tmp_path) == NAMES


@pytest.mark.parametrize(
    ("value", "separator", "found"),
    [("a.hcl", None, ("a.hcl",)), ("a.hcl:b.json:", None, ("a.hcl", "b.json")), ("a:b,,c", ",", ("a:b", "c"))],
)
def test_the_environment_names_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, separator: str | None, found: tuple[str, ...]
) -> None:
    (tmp_path / "docker-bake.hcl").touch()
    monkeypatch.setenv("BUILDX_BAKE_FILE", value)
    if separator is not None:
        monkeypatch.setenv("BUILDX_BAKE_PATH_SEPARATOR", separator)
    assert read_by_itself(tmp_path) == found


def test_what_is_merged_into_a_file(tmp_path: Path) -> None:
    for name in ("docker-bake.override.hcl", "docker-compose.yml", "docker-bake.hcl"):
        (tmp_path / name).touch()
    assert overrides(tmp_path, "docker-bake.hcl") == overrides(tmp_path, "compose.yml") == ("docker-bake.override.hcl",)
    assert overrides(tmp_path, "mine.hcl") == ()
    (tmp_path / "docker-bake.override.json").touch()
    assert overrides(tmp_path, "docker-bake.hcl") == ("docker-bake.override.json", "docker-bake.override.hcl")
