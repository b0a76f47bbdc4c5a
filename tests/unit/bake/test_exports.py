"""Which failures are repeated without cache exports, or without the layer cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.bake import process
from orchestrator.bake.events import StepKind, Steps
from orchestrator.bake.exports import SafeBake, failed_at_export, lost_a_snapshot
from orchestrator.bake.process import BakeCommand, BakeResult, Failure
from orchestrator.process import Stop

if TYPE_CHECKING:
    from orchestrator.bake.events import Event

TOKEN = "failed to configure gha cache exporter: token is malformed"


def result(kind: StepKind, message: str, *, steps: int = 0) -> BakeResult:
    failure = Failure(step="" if kind is StepKind.CLIENT else "s", kind=kind, message=message, returncode=1)
    return BakeResult(returncode=1, failure=failure, steps=Steps(total=steps))


@pytest.mark.parametrize(
    ("found", "again"),
    [
        (result(StepKind.CLIENT, TOKEN), True),
        (result(StepKind.CLIENT, 'unknown cache exporter: "s3"'), True),
        (result(StepKind.CLIENT, "mkdir /proc/x: no such file or directory"), True),
        (result(StepKind.CACHE_EXPORT, "error writing layer blob"), True),
        (result(StepKind.RUN, "exit code: 1 cache exporter", steps=3), False),
        (result(StepKind.EXPORT, "denied", steps=3), False),
        (result(StepKind.CLIENT, "Unavailable: EOF", steps=3), False),
        (BakeResult(returncode=0, failure=None), False),
    ],
)
def test_what_may_be_the_fault_of_an_export(found: BakeResult, *, again: bool) -> None:
    assert failed_at_export(found) is again


def test_a_bake_is_repeated_once_without_exports_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    answers = [result(StepKind.CLIENT, TOKEN), BakeResult(returncode=0, failure=None, cache_problems=("x",))]

    def run(command: BakeCommand, **_: object) -> BakeResult:
        asked.append(command.argv)
        return answers[len(asked) - 1]

    monkeypatch.setattr(process, "run_bake", run)
    done = safe_run(writes=True)
    assert asked == [("bake",), ("bake", "--set", "*.cache-to=")]
    assert done.cache_problems == (f"the cache was not written, built without: {TOKEN}", "x")
    asked.clear()
    answers[:] = [result(StepKind.CLIENT, "failed to evaluate path"), result(StepKind.CLIENT, "x"), answers[1]]
    assert "neither read nor written" in safe_run(writes=True).cache_problems[0]
    assert asked[2] == ("bake", "--set", "*.cache-to=", "--set", "*.cache-from=")
    asked.clear()
    answers[2] = result(StepKind.CLIENT, "no such target")
    last = safe_run(writes=True)
    assert last.failure == answers[2].failure
    assert last.cache_problems == ()
    asked.clear()
    assert safe_run(writes=False).failure is not None
    assert len(asked) == 1


# As engine 28.5 says it of a step that an earlier build cancelled while it ended.
GONE = "failed to stat active key during commit: snapshot b66 does not exist: not found"
LOST = f"failed to commit b66 to 8sk during finalize: {GONE}"


@pytest.mark.parametrize(
    ("found", "again"),
    [
        (result(StepKind.RUN, LOST, steps=3), True),
        (result(StepKind.CLIENT, f"failed to solve: {LOST}", steps=3), True),
        (result(StepKind.FILE, f"failed to finalize upper parent during diff: {LOST}", steps=3), True),
        (result(StepKind.RUN, f"exit code: 1: {LOST}", steps=3), False),
        (result(StepKind.RUN, "parent snapshot sha256:e0 does not exist: not found", steps=3), False),
        (BakeResult(returncode=0, failure=None), False),
    ],
)
def test_a_snapshot_that_the_layer_cache_has_lost(found: BakeResult, *, again: bool) -> None:
    assert lost_a_snapshot(found) is again


def test_a_bake_is_repeated_once_without_the_layer_cache_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    answers = [result(StepKind.RUN, LOST), BakeResult(returncode=0, failure=None, cache_problems=("x",))]

    def run(command: BakeCommand, **_: object) -> BakeResult:
        asked.append(command.argv)
        return answers[len(asked) - 1]

    monkeypatch.setattr(process, "run_bake", run)
    done = safe_run(writes=False)
    assert done.failure is None
    assert asked == [("bake",), ("bake", "--no-cache")]
    assert done.cache_problems == (
        "the layer cache of the builder has lost the snapshot of a step: repeated without that cache", "x",
    )  # fmt: skip
    asked.clear()
    answers[1] = answers[0]
    assert safe_run(writes=False).failure == answers[0].failure
    assert len(asked) == 2


def safe_run(*, writes: bool) -> BakeResult:
    where = Path("/nonexistent")
    command = BakeCommand(
        id="v", argv=("bake",), bake_json="{}", target="v", cwd=where, log=where / "log", metadata=where / "m"
    )
    heard: list[Event] = []
    return SafeBake(command=command, writes=writes).run(on_event=heard.append, stop=Stop(), terminate_after=1)
