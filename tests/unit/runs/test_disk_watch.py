"""How much disk a variant takes is remembered: free space at its start, less the lowest while it ran."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from orchestrator.process import Stop
from orchestrator.runs import scheduler
from orchestrator.runs.job import Job
from orchestrator.runs.retry import RetryPolicy
from orchestrator.runs.wishes import Limits
from tests.unit.runs.support import Silent, command


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


def run(free: list[int | None], room: int) -> scheduler._Run:
    memory = scheduler.Memory(disk=Path("/engine"), room=room)
    return scheduler._Run(
        [], reporter=scheduler._Careful(Silent()), stop=Stop(), limits=Limits(parallel=2), retry=RetryPolicy(),
        memory=memory,
    )  # fmt: skip


def job(name: str) -> Job:
    return Job(id=name, prepare=lambda: command(name))  # it is never started


def test_a_variant_waits_for_room_while_another_runs(free: list[int | None]) -> None:
    free.append(10)
    started = run(free, room=100)
    assert started._held_back(job("a")) == 0.0, "nothing else runs"
    held = threading.Thread(target=started._held_back, args=(job("b"),))
    held.start()
    held.join(0.2)
    assert held.is_alive()
    free.append(100)
    held.join(10)
    assert not held.is_alive()
    assert started._running == {"a", "b"}


def test_a_variant_that_waits_starts_once_nothing_else_runs_or_all_is_halted(free: list[int | None]) -> None:
    free.append(10)
    started = run(free, room=100)
    for ends in (True, False):
        started._running = {"a"}
        held = threading.Thread(target=started._held_back, args=(job("b"),))
        held.start()
        held.join(0.1)
        assert held.is_alive()
        if ends:
            started._running.discard("a")
        else:
            started._halt.interrupt(immediate=False)
        held.join(10)
        assert not held.is_alive()
