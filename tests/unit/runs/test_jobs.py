"""What jobs are made of that needs no engine: the swap of a local cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.runs import local_cache

if TYPE_CHECKING:
    import pytest


def _tree(path: Path, content: str) -> None:
    path.mkdir()
    (path / "index.json").write_text(content)


def swap(new: Path, final: Path) -> None:
    local_cache.swap(new, final)


def test_a_new_cache_takes_the_place_of_the_old(tmp_path: Path) -> None:
    new, final = tmp_path / "c.new", tmp_path / "c"
    _tree(new, "1")
    swap(new, final)
    assert (final / "index.json").read_text() == "1"
    _tree(new, "2")
    swap(new, final)
    assert (final / "index.json").read_text() == "2"
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_what_a_killed_swap_left_is_cleared(tmp_path: Path) -> None:
    new, final = tmp_path / "c.new", tmp_path / "c"
    _tree(new, "3")
    _tree(final, "2")
    _tree(tmp_path / "c.old", "1")
    swap(new, final)
    assert (final / "index.json").read_text() == "3"
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_without_a_new_cache_the_old_one_stays(tmp_path: Path) -> None:
    _tree(tmp_path / "c", "1")
    swap(tmp_path / "c.new", tmp_path / "c")
    assert (tmp_path / "c" / "index.json").read_text() == "1"


def test_a_swap_that_fails_keeps_the_old_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new, final = tmp_path / "c.new", tmp_path / "c"
    _tree(new, "2")
    _tree(final, "1")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self == new:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    swap(new, final)
    assert (final / "index.json").read_text() == "1"
