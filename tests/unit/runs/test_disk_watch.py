"""How much disk a variant takes is remembered: free space at its start, less the lowest while it ran."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.runs import scheduler


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """What the disk has free at the next look: its last value."""
    values: list[int | None] = []
    monkeypatch.setattr(scheduler, "free_bytes", lambda _path: values[-1])
    monkeypatch.setattr(scheduler, "_DISK_EVERY", 0.0)
    return values


def test_the_lowest_point_counts(free: list[int | None]) -> None:
    watch = scheduler._DiskWatch(Path("/engine"))
    free.append(1000)
    watch.begin("a")
    free.append(300)
    watch.look()
    free.append(900)
    watch.begin("b")
    assert watch.end("a") == 700
    free.append(850)
    assert watch.end("b") == 50
    assert watch.end("b") == 0, "it ran once"


def test_space_that_grows_is_no_need(free: list[int | None]) -> None:
    watch = scheduler._DiskWatch(Path("/engine"))
    free.append(1000)
    watch.begin("a")
    free.append(2000)
    assert watch.end("a") == 0


def test_an_unknown_disk_says_nothing(free: list[int | None]) -> None:
    free.append(1000)
    watch = scheduler._DiskWatch(None)
    watch.begin("a")
    watch.look()
    assert watch.end("a") == 0
    free.append(None)
    watch = scheduler._DiskWatch(Path("/engine"))
    watch.begin("a")
    assert watch.end("a") == 0


def test_the_disk_is_not_asked_at_every_look(free: list[int | None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "_DISK_EVERY", 3600.0)
    watch = scheduler._DiskWatch(Path("/engine"))
    free.append(1000)
    watch.begin("a")
    watch.look()
    free.append(0)
    watch.look()
    assert watch.end("a") == 0
