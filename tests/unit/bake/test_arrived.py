"""The memory of outlines: what it keeps, and what it never believes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from orchestrator.bake.arrived import Outline, Outlines

if TYPE_CHECKING:
    from pathlib import Path


def test_it_remembers_over_runs(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "outlines.json"
    Outlines(path).put_all({"a": Outline(args={"X": "1"}, secrets=["ca"])})
    again = Outlines(path)
    assert again.get("a") == Outline(args={"X": "1"}, secrets=["ca"])
    assert again.get("b") is None
    assert [entry.name for entry in path.parent.iterdir()] == ["outlines.json"]


def test_without_a_file_it_remembers_for_itself() -> None:
    memory = Outlines(None)
    memory.put_all({"a": Outline()})
    assert memory.get("a") == Outline()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "1",
        "null",
        '{"a": 1}',
        '{"a": {"X": "1"}}',
        '{"a": {"args": {"X": 1}, "secrets": []}}',
        '{"a": {"args": {}, "secrets": {}}}',
        "\udcff",
        "[" * 5000,
    ],
)
def test_a_damaged_file_counts_as_empty(tmp_path: Path, text: str) -> None:
    path = tmp_path / "outlines.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    assert Outlines(path).get("a") is None
    Outlines(path).put_all({"b": Outline(args={"Y": ""})})
    assert json.loads(path.read_text()) == {"b": {"args": {"Y": ""}, "secrets": []}}


def test_the_oldest_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "outlines.json"
    path.write_text(json.dumps({str(number): {"args": {}, "secrets": []} for number in range(2000)}))
    memory = Outlines(path)
    memory.put_all({"0": Outline(args={"again": "1"})})
    memory.put_all({"new": Outline()})
    kept = list(json.loads(path.read_text()))
    assert len(kept) == 2000
    assert kept[-2:] == ["0", "new"]
    assert "1" not in kept


def test_a_disk_that_takes_nothing_costs_the_memory_alone(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    memory = Outlines(tmp_path / "file" / "outlines.json")
    memory.put_all({"a": Outline(args={"X": "1"}, secrets=["ca"])})
    assert memory.get("a") == Outline(args={"X": "1"}, secrets=["ca"])


def test_a_key_stands_for_everything_asked() -> None:
    keys = {
        Outlines.key({"a": 1}, ("docker",)),
        Outlines.key({"a": 2}, ("docker",)),
        Outlines.key({"a": 1}, ("podman",)),
    }
    assert len(keys) == 3
    assert Outlines.key({"a": 1, "b": 2}, ()) == Outlines.key({"b": 2, "a": 1}, ())
