"""A stop during a preflight or a verification: what runs for it is ended with it."""

from __future__ import annotations

import contextlib
import time
import uuid
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

from orchestrator.errors import InterruptedRunError
from orchestrator.image.layers.parallel import Layer, scan_layers
from orchestrator.image.layers.store import LayerStore
from orchestrator.process import Stop, run, stoppable
from orchestrator.runs.outcome import Status
from orchestrator.runs.scheduler import Job, build_all
from tests.unit.runs.support import Silent

if TYPE_CHECKING:
    from orchestrator.bake.process import BakeCommand

MARK = "ORCHESTRATE_TEST_MARK"


def marked(mark: str) -> bool:
    """Whether a process with the mark in its environment is there."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if f"{MARK}={mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                    return True
    return False


def test_a_stop_ends_what_a_preflight_runs() -> None:
    mark, stop, started = uuid.uuid4().hex, Stop(), time.monotonic()

    def prepare() -> BakeCommand:
        stop.set()
        run(["sleep", "60"], env={MARK: mark})
        raise AssertionError("it was not stopped")

    (outcome,) = build_all([Job(id="a", prepare=prepare)], reporter=Silent(), stop=stop)
    assert time.monotonic() - started < 5
    assert outcome.status is Status.CANCELLED
    assert outcome.error is not None
    assert outcome.error.message == "stopped by a signal"
    assert not marked(mark)


def test_a_stop_ends_the_reading_of_a_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark, stop = uuid.uuid4().hex, Stop()
    monkeypatch.setenv(MARK, mark)

    def feed(stream: IO[bytes]) -> None:
        for _ in range(200):
            stop.set()
            stream.write(bytes(1 << 16))
            stream.flush()
            time.sleep(0.05)

    layer = Layer(digest="sha256:" + "0" * 64, size=1 << 40, path=None, offset=0, feed=feed)
    started = time.monotonic()
    with stoppable(stop), pytest.raises(InterruptedRunError):
        scan_layers([layer], LayerStore(tmp_path))
    assert time.monotonic() - started < 10
    assert not marked(mark)
