"""A running build as lines: what is said of each event, once, and what a workflow and a program get of it."""

from __future__ import annotations

import io
import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from orchestrator.bake.events import LogLine, Notice, PlainLine, StepDone, StepFailed, StepKind, Steps, StepStarted
from orchestrator.cache.compile_statistics import CompileStatistics, Counts
from orchestrator.errors import FailureClass
from orchestrator.runs.outcome import ErrorInfo, Outcome, Status
from orchestrator.ui.lines import GitHubLines, JsonLines, PlainLines, Quiet, brief, end_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orchestrator.bake.events import Event

NO_STEPS = Steps()
DIGEST = "sha256:" + "a" * 64


def started(name: str, kind: StepKind = StepKind.RUN, shared: str = "") -> StepStarted:
    return StepStarted(number=3, name=name, kind=kind, steps=NO_STEPS, shared=shared)


def done(name: str, seconds: float = 0.0, *, kind: StepKind = StepKind.RUN, cached: bool = False) -> StepDone:
    return StepDone(number=3, name=name, kind=kind, seconds=seconds, cached=cached, steps=NO_STEPS)


def failed(name: str, error: str, *, kind: StepKind = StepKind.RUN, cancelled: bool = False) -> StepFailed:
    return StepFailed(number=3, name=name, kind=kind, seconds=1, error=error, steps=NO_STEPS, cancelled=cancelled)


def said(*events: Event) -> list[str]:
    """What is said of these events of the variant `v`, without its name."""
    stream = io.StringIO()
    lines = PlainLines(["v", "longer"], stream=stream)
    for event in events:
        lines.event("v", event)
    found = stream.getvalue().splitlines()
    assert all(line.startswith("v       ") for line in found)
    return [line[len("longer  ") :] for line in found]


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (started("[a 1/2] RUN make"), ["[a 1/2] RUN make"]),
        (started("[a 1/2] RUN --mount=type=cache,target=/x --network=none make -j"), ["[a 1/2] RUN make -j"]),
        (started("[a 1/2] RUN make", shared="other"), ["[a 1/2] RUN make (shared with other)"]),
        (started(f"[a 1/2] RUN {'x' * 200}"), [f"[a 1/2] RUN {'x' * 95}..."]),
        *(
            (started("step", kind), ["step"] if kind.value in shown else [])
            for shown in ({"run", "file", "fetch", "base", "cache-export", "export"},)
            for kind in StepKind
        ),
        (started("[internal] load metadata for docker.io/x", StepKind.BASE), []),
        (started("[internal] load .dockerignore", StepKind.FILE), []),
        (started("[a] load .dockerignore.more", StepKind.FILE), ["[a] load .dockerignore.more"]),
        (done("[a 1/2] RUN make", cached=True), ["cached: [a 1/2] RUN make"]),
        (done("x", kind=StepKind.INTERNAL, cached=True), []),
        (done("[a 1/2] RUN make", 0.99), []),
        (done("[a 1/2] RUN make", 1), ["done in 1.0s: [a 1/2] RUN make"]),
        (done("[a 1/2] RUN make", 75), ["done in 1m15s: [a 1/2] RUN make"]),
        (done("[a 1/2] RUN make", 75, cached=True), ["cached: [a 1/2] RUN make"]),
        (done("x", 75, kind=StepKind.INTERNAL), []),
        (
            failed("[a 1/2] RUN make", 'process "/bin/sh -c make" did not complete successfully: exit\n code: 2'),
            ["error: [a 1/2] RUN make: exit code: 2"],
        ),
        (failed("[a 1/2] RUN make", "e" * 500), [f"error: [a 1/2] RUN make: {'e' * 397}..."]),
        (failed("x", "gone", cancelled=True), []),
        (failed("importing cache", "no such", kind=StepKind.CACHE_IMPORT), []),
        (failed("x", "odd", kind=StepKind.INTERNAL), ["error: x: odd"]),
        (Notice(text="quiet for long\x1b[2J"), ["quiet for long"]),
        (LogLine(number=3, stream=1, text="output"), []),
        (PlainLine(text="buildx"), []),
    ],
)
def test_what_is_said_of_an_event(event: Event, shown: list[str]) -> None:
    assert said(event) == shown


def test_a_step_is_said_once_in_an_attempt() -> None:
    stream = io.StringIO()
    lines = PlainLines(["v", "w"], stream=stream)
    for name in ("v", "v", "w"):
        lines.event(name, started("step"))
        lines.event(name, done("step", cached=True))
    lines.attempt("v", 1, 3)  # the first is no news
    lines.event("v", started("step"))
    lines.attempt("v", 2, 3)
    lines.event("v", started("step"))
    assert stream.getvalue().splitlines() == [
        "v  step", "v  cached: step", "w  step", "w  cached: step", "v  attempt 2 of 3", "v  step",
    ]  # fmt: skip


def test_start_wait_and_end_of_a_variant() -> None:
    stream = io.StringIO()
    with PlainLines([], stream=stream) as lines:
        lines.started("v")
        lines.waiting("v", 1, 3, 2.06, f"reset {'r' * 500}")
        lines.finished(Outcome(id="v", status=Status.BUILT))
        lines.finished(Outcome(id="never", status=Status.CANCELLED))
    shown = stream.getvalue().splitlines()
    assert shown[0] == "v  started"
    assert re.fullmatch(r"v  attempt 1 of 3 failed, next in 2\.1s: reset r+\.\.\.", shown[1])
    assert len(shown[1]) == len("v  attempt 1 of 3 failed, next in 2.1s: ") + 400
    assert shown[2:] == ["v  built"]


def test_a_stream_that_is_gone_ends_nothing() -> None:
    for stream in (io.StringIO(), io.TextIOWrapper(io.BytesIO(), encoding="ascii")):
        for kind in (PlainLines, JsonLines):
            with kind(stream=stream) if kind is JsonLines else PlainLines([], stream=stream):
                pass
    closed = io.StringIO()
    with PlainLines([], stream=closed), JsonLines(stream=closed):
        closed.close()


def test_text_that_the_stream_cannot_carry_is_replaced() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    PlainLines(["v"], stream=stream).event("v", Notice(text="é…"))
    assert raw.getvalue() == b"v  ??\n"


def until(stream: io.StringIO, lines: int) -> Iterator[str]:
    """Wait for a number of lines; the test's own limit of time is what ends it otherwise."""
    for _ in range(1000):
        if len(found := stream.getvalue().splitlines()) >= lines:
            return iter(found)
        time.sleep(0.005)
    raise AssertionError(stream.getvalue())


def test_a_variant_that_is_silent_for_long_says_what_it_does() -> None:
    stream = io.StringIO()
    with PlainLines(["v", "w"], stream=stream, heartbeat_s=0.02) as lines:
        lines.started("v")
        lines.event("v", started("[a 1/2] RUN --network=none make", shared="w"))
        lines.event("v", LogLine(number=3, stream=1, text="compiling"))
        found = list(until(stream, 3))
        assert re.fullmatch(r"v  running for 0\.\ds: \[a 1/2\] RUN make \(shared with w\): compiling", found[2]), found
        lines.attempt("v", 2, 3)  # a new attempt has no step yet
        at = len(stream.getvalue().splitlines())
        assert re.fullmatch(r"v  running for 0\.\ds", list(until(stream, at + 1))[at])
        lines.finished(Outcome(id="v", status=Status.BUILT))
        at = len(stream.getvalue().splitlines())
        time.sleep(0.1)
        assert len(stream.getvalue().splitlines()) == at


def test_nobody_is_told_of_a_variant_that_speaks() -> None:
    stream = io.StringIO()
    with PlainLines(["v"], stream=stream, heartbeat_s=30) as lines:
        lines.started("v")
        time.sleep(0.05)
    assert stream.getvalue() == "v  started\n"


ERROR = ErrorInfo(failure=FailureClass.RUN, message="exit code: 2\nmore", step="[b 1/1] RUN --network=none make")


@pytest.mark.parametrize(
    ("outcome", "line"),
    [
        (Outcome(id="v", status=Status.BUILT), "built"),
        (Outcome(id="v", status=Status.SKIPPED, digest=DIGEST), f"skipped {DIGEST}"),
        (
            Outcome(id="v", status=Status.BUILT, digest=DIGEST, attempts=1, seconds=75, steps=Steps(total=3, cached=2)),
            f"built {DIGEST} [1m15s, 2/3 steps cached]",
        ),
        (Outcome(id="v", status=Status.BUILT, attempts=2, seconds=7), "built [7.0s, 2 attempts]"),
        (Outcome(id="v", status=Status.FAILED, error=ERROR), "failed (run) [b 1/1] RUN make: exit code: 2"),
        (
            Outcome(id="v", status=Status.FAILED, error=replace(ERROR, step="", message="m" * 500), attempts=1),
            f"failed (run) {'m' * 397}... [0.0s]",
        ),
        (
            Outcome(
                id="v", status=Status.BUILT,
                compile_cache=CompileStatistics(tool="sccache", on=True, cubin=Counts(hits=3, misses=1)),
            ),
            "built compile cache: device code: 3 of 4 from cache (PTX 0/0, cubin 3/4)",
        ),
    ],
)  # fmt: skip
def test_the_end_of_a_variant_in_one_line(outcome: Outcome, line: str) -> None:
    assert end_line(outcome) == line


def test_options_of_a_run_are_left_out_of_its_name() -> None:
    assert brief("[a 1/2] RUN --mount=type=secret,id=x --security=insecure --network=host make") == "[a 1/2] RUN make"
    assert brief("[a 1/2] RUN make --mount=x y") == "[a 1/2] RUN make --mount=x y"
    assert brief("x" * 110) == "x" * 110
    assert brief("x" * 111) == "x" * 107 + "..."


def block(outcome: Outcome) -> list[str]:
    """What a workflow is told of an outcome, below its line."""
    stream = io.StringIO()
    GitHubLines(["v"], stream=stream).finished(outcome)
    first, *rest = stream.getvalue().splitlines()
    assert first == f"v  {end_line(outcome)}"
    return rest


def test_a_failed_variant_is_an_annotation_and_its_log_a_folded_block(tmp_path: Path) -> None:
    (tmp_path / "v.log").write_text("one\n::add-mask::x\ntwo\n")
    located = replace(ERROR, file="d/Dockerfile", line=7)
    outcome = Outcome(id="v", status=Status.FAILED, error=located, attempts=1, log=tmp_path / "v.log")
    told = block(outcome)
    assert told[0] == (
        "::error file=d/Dockerfile,line=7,title=v failed (run)::[b 1/1] RUN --network=none make: exit code: 2%0Amore"
    )
    assert told[1] == "::group::log of v"
    stop = re.fullmatch(r"::stop-commands::([0-9a-f]{32})", told[2])
    assert stop is not None
    assert told[3:] == ["one", "::add-mask::x", "two", f"::{stop[1]}::", "::endgroup::"]


def test_the_last_lines_stand_in_for_a_log_that_is_not_there(tmp_path: Path) -> None:
    outcome = Outcome(id="v", status=Status.FAILED, error=replace(ERROR, step=""), last_lines=("a", "b"))
    assert block(outcome)[0] == "::error title=v failed (run)::exit code: 2%0Amore"
    assert block(outcome)[3:5] == ["a", "b"]
    (tmp_path / "v.log").write_text("of an earlier run")
    assert block(replace(outcome, log=tmp_path / "v.log"))[3:5] == ["a", "b"]  # it was never started
    assert block(replace(outcome, log=tmp_path / "none.log", attempts=1))[3:5] == ["a", "b"]
    assert len(block(replace(outcome, last_lines=()))) == 1
    assert block(replace(outcome, status=Status.CANCELLED, attempts=1)) == []
    assert block(replace(outcome, error=None)) == []


def objects(*events: Event) -> list[dict[str, Any]]:
    """The JSON lines of these events, without their times."""
    stream = io.StringIO()
    with JsonLines(stream=stream) as lines:
        for event in events:
            lines.event("v", event)
    return stripped(stream)


def stripped(stream: io.StringIO) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert all(re.fullmatch(r"[-\d]{10}T[:\d]{8}\.\d{3}\+00:00", one.pop("time")) for one in found)
    return found


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        (started("s"), {"event": "step", "number": 3, "name": "s", "kind": "run", "state": "started"}),
        (
            started("s", shared="w"),
            {"event": "step", "number": 3, "name": "s", "kind": "run", "state": "started", "shared": "w"},
        ),
        (
            done("s", 1.23456),
            {"event": "step", "number": 3, "name": "s", "kind": "run", "state": "done", "seconds": 1.235},
        ),
        (
            done("s", cached=True),
            {"event": "step", "number": 3, "name": "s", "kind": "run", "state": "cached", "seconds": 0.0},
        ),
        (
            failed("s", "e"),
            {"event": "step", "number": 3, "name": "s", "kind": "run", "state": "failed", "error": "e"},
        ),
        (
            failed("s", "e", cancelled=True),
            {"event": "step", "number": 3, "name": "s", "kind": "run", "state": "cancelled", "error": "e"},
        ),
        (LogLine(number=3, stream=2, text="t"), {"event": "output", "number": 3, "text": "t"}),
        (Notice(text="n"), {"event": "notice", "text": "n"}),
        (PlainLine(text="p"), None),
    ],
)
def test_an_event_as_json(event: Event, fields: dict[str, Any] | None) -> None:
    assert objects(event) == ([{"variant": "v", **fields}] if fields is not None else [])


def test_the_way_of_a_variant_as_json() -> None:
    stream = io.StringIO()
    lines = JsonLines(stream=stream)
    lines.started("v")
    lines.attempt("v", 2, 3)
    lines.waiting("v", 2, 3, 1.23456, "reset")
    lines.finished(Outcome(id="v", status=Status.FAILED, error=replace(ERROR, step=""), attempts=2, seconds=1.23456))
    lines.finished(Outcome(id="w", status=Status.BUILT, digest=DIGEST))
    lines.notice("of the run")
    assert stripped(stream) == [
        {"variant": "v", "event": "started"},
        {"variant": "v", "event": "attempt", "number": 2, "of": 3},
        {"variant": "v", "event": "waiting", "number": 2, "of": 3, "seconds": 1.235, "reason": "reset"},
        {
            "variant": "v", "event": "finished", "status": "failed", "digest": None, "seconds": 1.235, "attempts": 2,
            "error": {"class": "run", "message": "exit code: 2\nmore", "step": ""},
        },
        {
            "variant": "w", "event": "finished", "status": "built", "digest": DIGEST, "seconds": 0.0, "attempts": 0,
            "error": None,
        },
        {"variant": None, "event": "notice", "text": "of the run"},
    ]  # fmt: skip


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Quiet() as lines:
        lines.started("v")
        lines.attempt("v", 2, 3)
        lines.event("v", Notice(text="n"))
        lines.waiting("v", 1, 3, 1, "r")
        lines.finished(Outcome(id="v", status=Status.BUILT))
    assert capsys.readouterr() == ("", "")
