"""Logs of runs are found, newest first, and followed to the end of their run."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from orchestrator.runs import logs
from orchestrator.runs.logs import Log

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def log(state: Path, run: str, variant: str, text: str) -> Path:
    path = state / "runs" / run / f"{variant}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_newest_log_of_each_variant_in_their_order(tmp_path: Path) -> None:
    old = log(tmp_path, "20261126T070000-1", "b", "b old\n")
    log(tmp_path, "20261126T070000-1", "a", "a old\n")
    new = log(tmp_path, "20261126T080000-2", "a", "first\n\nlast words\n\n")
    log(tmp_path, "20261126T080000-2", "other", "")
    found = logs.newest(tmp_path, ["b", "a", "none"])
    assert found == [Log(variant="b", path=old), Log(variant="a", path=new)]
    assert [one.last for one in found] == ["b old", "last words"]
    assert logs.newest(tmp_path / "nothing", ["a"]) == []


def test_a_run_is_alive_as_long_as_it_holds_the_directory_and_its_process_is_there(tmp_path: Path) -> None:
    assert not logs.alive(Log(variant="a", path=log(tmp_path, f"20261126T080000-{os.getpid()}", "a", "")))
    (tmp_path / "holder").touch()
    assert logs.alive(Log(variant="a", path=log(tmp_path, f"20261126T080000-{os.getpid()}", "a", "")))
    assert not logs.alive(Log(variant="a", path=log(tmp_path, "20261126T080000-4194999", "a", "")))
    assert not logs.alive(Log(variant="a", path=log(tmp_path, "odd", "a", "")))
    assert not logs.alive(Log(variant="a", path=log(tmp_path, f"odd-{10**30}", "a", "")))


def test_a_log_is_read_to_its_end(tmp_path: Path) -> None:
    path = log(tmp_path, "r-1", "a", "one\ntwo\nhalf")
    assert list(logs.follow(Log(variant="a", path=path), on=False)) == ["one", "two", "half"]


def test_a_log_is_followed_until_its_run_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, going = log(tmp_path, "r-1", "a", "one\n"), threading.Event()
    monkeypatch.setattr(logs, "alive", lambda _: not going.is_set())
    lines = logs.follow(Log(variant="a", path=path), on=True)
    assert next(lines) == "one"
    with path.open("a") as stream:
        stream.write("two\nla")
    assert next(lines) == "two"
    with path.open("a") as stream:
        stream.write("st\n")
    going.set()
    assert list(lines) == ["last"]
