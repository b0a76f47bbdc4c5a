"""What recorded and made-up progress means: counts, the failure, its last lines, and bounded memory."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.bake.events import (
    Event,
    LogLine,
    PlainLine,
    StepDone,
    StepFailed,
    StepKind,
    Steps,
    StepStarted,
    StepStatus,
    StepWarning,
)
from orchestrator.bake.imports import SourceState
from orchestrator.bake.log import LogFile, render
from orchestrator.bake.moved import Moved, Timeline
from orchestrator.bake.progress import LINE_LIMIT, TAIL_LINES, Progress, one_line
from tests.support.generated import examples

RECORDED = Path(__file__).parent / "recorded"
T0, T1, T2 = "2026-01-01T00:00:00Z", "2026-01-01T00:00:01.5Z", "2026-01-01T00:00:09Z"


def vertex(digest: str, name: str, **fields: Any) -> bytes:
    return json.dumps({"vertexes": [{"digest": digest, "name": name, **fields}]}).encode()


def output(digest: str, data: bytes, stream: int = 1) -> bytes:
    row = {"vertex": digest, "stream": stream, "data": base64.b64encode(data).decode(), "timestamp": T0}
    return json.dumps({"logs": [row]}).encode()


def play(*lines: bytes) -> tuple[Progress, list[Event]]:
    progress = Progress()
    events = [event for line in lines for event in progress.feed(line)]
    return progress, [*events, *progress.finish()]


def recorded(name: str) -> tuple[Progress, list[Event]]:
    return play(*(RECORDED / f"{name}.jsonl").read_bytes().split(b"\n"))


def texts(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, LogLine)]


def test_a_recorded_success() -> None:
    progress, events = recorded("good")
    assert progress.failure(0) is None
    assert progress.steps == Steps(total=3, cached=2, done=3)
    assert texts(events) == ["err", "hello recorded", "progress 2", "no newline"]  # two streams, as they came
    assert progress.cache_problems == ("no cache at 127.0.0.1:5000/recorded/cache yet",)
    assert [(one.ref, one.state) for one in progress.cache_sources] == [
        ("127.0.0.1:5000/recorded/cache", SourceState.EMPTY)
    ]
    assert not progress.clipped


def test_a_recorded_failure_names_the_step_and_keeps_its_own_words() -> None:
    progress, events = recorded("bad")
    failure = progress.failure(1)
    assert failure is not None
    assert failure.kind is StepKind.RUN
    assert failure.step.startswith("[bad 1/1] RUN echo before;")
    assert progress.excerpt is not None
    assert (progress.excerpt.file, progress.excerpt.line) == ("Dockerfile", 8)
    assert failure.message == "exit code: 4"
    assert failure.client.endswith("did not complete successfully: exit code: 4")
    assert progress.last_lines() == ("before", "network x not found", "\ufffd\ufffd bytes")
    assert sum(isinstance(event, StepFailed) for event in events) == 1


def test_a_step_that_another_build_had_under_its_own_name_counts_once() -> None:
    progress, _ = play(
        vertex("a", "[slow 1/1] RUN sleep 4", started=T0, completed=T1),
        vertex("b", "[slow 1/2] RUN sleep 4", started=T0, completed=T1),
        vertex("c", "[slow 2/2] RUN sleep 4", started=T0, completed=T1),
        vertex("d", "[fast 1/1] RUN sleep 4", started=T0, completed=T1),
    )
    assert progress.steps == Steps(total=3, cached=0, done=3)


def test_a_step_of_a_stage_that_this_build_does_not_have_counts_once() -> None:
    foreign = vertex("a", "[1/3] ADD rootfs.tar /", started=T0, completed=T1, cached=True)
    own = (
        vertex("b", "[base 1/2] ADD rootfs.tar /", started=T0, completed=T1, cached=True),
        vertex("c", "[base 2/2] RUN :", started=T0, completed=T1, cached=True),
        vertex("d", "[slow 1/1] RUN sleep 4", started=T0, completed=T1, cached=True),
    )
    for lines in ((foreign, *own), (*own, foreign)):
        assert play(*lines)[0].steps == Steps(total=3, cached=3, done=3)


def test_a_recorded_missing_base_image() -> None:
    progress, _ = recorded("missing")
    failure = progress.failure(1)
    assert failure is not None
    assert failure.kind is StepKind.METADATA
    assert failure.message == "127.0.0.1:5000/recorded/none:1: not found"
    assert progress.last_lines()[-1].startswith("ERROR: failed to solve: 127.0.0.1:5000/recorded/none:1:")


def test_the_cause_is_the_step_that_was_not_cancelled() -> None:
    progress, _ = play(
        vertex("a", "[one 1/1] RUN sleep 9", started=T0),
        vertex("b", "[two 1/1] RUN false", started=T0),
        vertex("a", "[one 1/1] RUN sleep 9", started=T0, completed=T1, error="context canceled"),
        vertex("b", "[two 1/1] RUN false", started=T0, completed=T1, error="boom"),
    )
    failure = progress.failure(1)
    assert failure is not None
    assert failure.step == "[two 1/1] RUN false"


def test_a_cache_that_cannot_be_read_is_a_problem_and_never_the_failure() -> None:
    name = "importing cache manifest from 127.0.0.1:5000/c:1"
    progress, _ = play(
        vertex("c", name, started=T0, completed=T1, error="unexpected status: 503 Service Unavailable"),
        b"ERROR: docker-bake.hcl:3,1-2: oh",
    )
    assert progress.cache_problems == (
        "cache 127.0.0.1:5000/c:1 could not be used: unexpected status: 503 Service Unavailable",
    )
    failure = progress.failure(1)
    assert failure is not None
    assert (failure.kind, failure.step, failure.message) == (StepKind.CLIENT, "", "docker-bake.hcl:3,1-2: oh")


def test_a_failure_without_a_word() -> None:
    failure = Progress().failure(102)
    assert failure is not None
    assert failure.returncode == 102
    assert "ended with status 102" in failure.message


def test_counts_are_by_name_and_leave_out_what_is_no_step_of_the_dockerfile() -> None:
    progress, _ = play(
        vertex("f", "[base 1/3] FROM docker.io/library/debian", started=T0, completed=T1, cached=True),
        vertex("i", "[internal] load build context", started=T0, completed=T1),
        vertex("a", "[base 2/3] RUN a"),
        vertex("b", "[base 3/3] RUN b"),
        vertex("b2", "[base 3/3] RUN b", started=T0, completed=T0, cached=True),
    )
    assert progress.steps == Steps(total=2, cached=1, done=1)


def test_each_event_has_the_counts_of_its_moment() -> None:
    _, events = play(
        vertex("a", "[x 1/3] RUN a", started=T0),
        vertex("b", "[x 2/3] RUN b", started=T0),
        vertex("a", "[x 1/3] RUN a", started=T0, completed=T1),
        vertex("c", "[x 3/3] RUN c", started=T1, completed=T1, cached=True),
    )
    counts = [event.steps for event in events if isinstance(event, StepStarted | StepDone)]
    assert counts == [
        Steps(total=1), Steps(total=2), Steps(total=2, done=1), Steps(total=3, done=2, cached=1),
    ]  # fmt: skip


def test_a_step_that_begins_again_is_not_done() -> None:
    lines = [
        vertex("a", "[x 1/1] RUN a", started=T0, completed=T1, cached=True),
        vertex("a", "[x 1/1] RUN a", started=T1),
    ]
    progress, _ = play(*lines)
    assert progress.steps == Steps(total=1, cached=0, done=0)
    progress, events = play(*lines, vertex("a", "[x 1/1] RUN a", started=T1, completed=T2))
    assert progress.steps == Steps(total=1, cached=0, done=1)
    done = [event for event in events if isinstance(event, StepDone)]
    assert [(event.number, event.cached, event.seconds) for event in done] == [(1, True, 1.5), (1, False, 7.5)]


def test_a_step_from_the_cache_is_one_event() -> None:
    _, events = play(vertex("a", "[x 1/1] RUN a", started=T0, completed=T0, cached=True))
    assert not any(isinstance(event, StepStarted) for event in events)
    assert render(events[0]) == ("#1 [x 1/1] RUN a", "#1 CACHED")


def test_output_is_put_together_to_whole_lines_for_each_stream() -> None:
    start = vertex("a", "[x 1/1] RUN a", started=T0)
    end = vertex("a", "[x 1/1] RUN a", started=T0, completed=T1)
    _, events = play(start, output("a", b"hel"), output("a", b"ERR", 2), output("a", b"lo\nwor"), end)
    assert texts(events) == ["hello", "ERR", "wor"]
    assert isinstance(events[-1], StepDone)  # what was left came out before the step ended


def test_of_a_progress_bar_the_last_state_stays() -> None:
    _, events = play(vertex("a", "[x 1/1] RUN a", started=T0), output("a", b" 1%\r 50%\r100%\r\n"))
    assert texts(events) == ["100%"]


def test_clipping_is_seen_only_where_buildkit_says_it() -> None:
    start = vertex("a", "[x 1/1] RUN a", started=T0)
    clipped, _ = play(start, output("a", b"abcde\n[output clipped, log limit 200KiB/s reached]\n"))
    assert clipped.clipped
    quoted, _ = play(start, output("a", b"they said [output clipped, log limit 2MiB reached]\n"))
    assert not quoted.clipped


def test_memory_does_not_grow_with_the_output() -> None:
    progress, _ = play(vertex("a", "[x 1/1] RUN a", started=T0))
    for _ in range(300):
        assert list(progress.feed(output("a", b"y\n" * 50)))
        assert list(progress.feed(output("a", b"x" * 3 * LINE_LIMIT)))
    step = next(iter(progress._steps.values()))
    assert sum(len(rest) for rest in (step.pending or {}).values()) <= LINE_LIMIT
    error = vertex("a", "[x 1/1] RUN a", started=T0, completed=T1, error="boom")
    assert isinstance(list(progress.feed(error))[-1], StepFailed)
    assert len(progress.last_lines()) == TAIL_LINES


def test_what_a_step_said_before_it_ended_well_is_forgotten() -> None:
    progress, _ = play(
        vertex("a", "[x 1/1] RUN a", started=T0),
        output("a", b"all is well\n"),
        vertex("a", "[x 1/1] RUN a", started=T0, completed=T1),
        vertex("a", "[x 1/1] RUN a", started=T1, completed=None),
        vertex("a", "[x 1/1] RUN a", started=T1, completed=T2, error="boom"),
        b"ERROR: boom",
    )
    assert progress.last_lines() == ("ERROR: boom",)


def test_credentials_in_urls_never_come_out() -> None:
    secret = "https://user:hunter2@example.org/x"
    progress, events = play(
        vertex("a", f"[x 1/1] ADD {secret} /", started=T0),
        output("a", f"GET {secret}\n".encode()),
        f"ERROR: {secret}: no".encode(),
        vertex("a", f"[x 1/1] ADD {secret} /", started=T0, completed=T1, error=f"{secret}: 401"),
    )
    said = [*(line for event in events for line in render(event)), *progress.last_lines(), str(progress.failure(1))]
    assert "hunter2" not in "\n".join(said)
    assert any("https://example.org/x" in line for line in said)


TOKEN = "https://ghp_SECRETTOKEN@127.0.0.1:9/n.git"


def test_a_token_is_in_no_event_and_in_no_log(tmp_path: Path) -> None:
    long = "x" * (LINE_LIMIT - 20)  # the line is cut in the middle of the token
    progress, events = play(
        vertex("a", f"[internal] load git source {TOKEN}", started=T0),
        output("a", f"{long} {TOKEN}\n{TOKEN}\n".encode()),
        output("a", f"{long} {TOKEN}".encode()),  # and no end of the line comes
        f"ERROR: failed to solve: {TOKEN}: no".encode(),
        vertex("a", f"[internal] load git source {TOKEN}", started=T0, completed=T1, error=f"fetch {TOKEN}: no"),
    )
    path = tmp_path / "v.log"
    with LogFile(path) as log:
        log.begin("v", ["docker", "buildx", "bake", "--set", f"a.contexts.r={TOKEN}"])
        for event in events:
            log.write(event)
        log.write(PlainLine(text=TOKEN))  # of whoever forgot
        log.note(TOKEN)
        log.end(1, stopped=False)
    failure = progress.failure(1)
    assert failure is not None
    said = f"{events}{progress.last_lines()}{failure}{path.read_text()}"
    assert "SECRET" not in said
    assert "ghp_" not in said
    assert failure.step == "[internal] load git source https://127.0.0.1:9/n.git"
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("ERROR: target a-b: failed to solve: x:\n  y", "x: y"),
        ("ERROR: failed to solve: z", "z"),
        ("failed to solve: z", "z"),
        ("plain", "plain"),
        ("x" * 900, "x" * 499 + "…"),
    ],
)
def test_a_reason_in_one_line(text: str, line: str) -> None:
    assert one_line(text) == line


def test_the_log_file_reads_like_plain_progress_and_grows_by_attempts(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "v.log"
    for _ in range(2):
        with LogFile(path) as log:
            log.begin("v", ["docker", "buildx", "bake", "a b"])
            for event in recorded("bad")[1]:
                log.write(event)
            log.write(StepWarning(text="careful", file="Dockerfile", line=3))
            log.end(1, stopped=False)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines.count("$ docker buildx bake 'a b'") == 2
    assert "#7 | network x not found" in lines
    assert any(line.startswith("#7 ERROR: process") for line in lines)
    assert "WARNING: careful (Dockerfile:3)" in lines
    assert [line for line in lines if line.startswith("ERROR: failed to solve")]
    assert not [line for line in lines if line.startswith("{")]


def test_events_that_are_written_at_once_are_kept_apart(tmp_path: Path) -> None:
    events: list[Event] = [
        LogLine(number=1, stream=1, text="Authorization: Bearer"),  # with what follows it would be a credential
        StepStatus(number=1, what="x", current=1, total=2, done=False),
        LogLine(number=1, stream=1, text=f"hello {TOKEN}"),
    ]
    with LogFile(tmp_path / "together") as log:
        log.write(*events)
        log.write()
    with LogFile(tmp_path / "alone") as log:
        for event in events:
            log.write(event)
    assert (tmp_path / "together").read_text() == (tmp_path / "alone").read_text()
    assert (tmp_path / "alone").read_text().splitlines()[1] == "#1 | hello https://127.0.0.1:9/n.git"


VERTEX = st.fixed_dictionaries(
    {"digest": st.sampled_from("abc"), "name": st.sampled_from(["[x 1/2] RUN a", "[x 2/2] COPY b", "exporting", ""])},
    optional={
        "started": st.sampled_from([T0, T1, "2026-01-01T00:00:00", "never"]),
        "completed": st.sampled_from([T1, T2, None]),
        "cached": st.booleans(),
        "error": st.sampled_from(["", "boom", "context canceled"]),
    },
)
LOG = st.fixed_dictionaries(
    {
        "vertex": st.sampled_from("abcd"),
        "stream": st.integers(0, 3),
        "data": st.binary(max_size=30).map(lambda data: base64.b64encode(data).decode()),
    }
)
LINE = st.one_of(
    st.binary(max_size=60).map(lambda line: line.replace(b"\n", b"")),
    st.builds(lambda rows: json.dumps({"vertexes": rows}).encode(), st.lists(VERTEX, max_size=3)),
    st.builds(lambda rows: json.dumps({"logs": rows}).encode(), st.lists(LOG, max_size=3)),
)


@examples(200)
@given(st.lists(LINE, max_size=20))
def test_no_sequence_of_lines_breaks_it(lines: list[bytes]) -> None:
    progress, events = play(*lines)
    steps = progress.steps
    assert 0 <= steps.cached <= steps.done <= steps.total
    assert progress.failure(0) is None
    assert progress.failure(1) is not None
    for event in events:
        assert all("\n" not in line for line in render(event))


def test_a_step_that_another_build_takes_over_is_cancelled_and_no_error(tmp_path: Path) -> None:
    name = "[b 1/1] RUN make"
    progress, events = play(
        vertex("sha256:a", name, started=T0),
        vertex("sha256:a", name, started=T0, completed=T1, error="context canceled"),
        vertex("sha256:a", name, started=T1),
        vertex("sha256:a", name, started=T1, completed=T2),
    )
    (failed,) = (event for event in events if isinstance(event, StepFailed))
    assert failed.cancelled
    assert render(failed) == ("#1 CANCELED",)
    assert progress.failure(0) is None
    _, events = play(vertex("sha256:a", name, started=T0, completed=T1, error="exit code: 1"))
    assert [event.cancelled for event in events if isinstance(event, StepFailed)] == [False]


def test_control_sequences_leave_no_event_and_hide_no_credential(tmp_path: Path) -> None:
    hostile = "\x1b]0;t\x07https://ghp_\x1b[0mSECRET@h/x\u202e"
    warning = {"short": base64.b64encode(hostile.encode()).decode(), "detail": [], "sourceInfo": {"filename": hostile}}
    progress, events = play(
        vertex("sha256:a", f"[b 1/1] RUN {hostile}", started=T0),
        output("sha256:a", hostile.encode() + b"\n"),
        json.dumps({"statuses": [{"vertex": "sha256:a", "id": hostile, "current": 1, "total": 2}]}).encode(),
        json.dumps({"warnings": [warning]}).encode(),
        f"ERROR: {hostile}".encode(),
        vertex("sha256:a", f"[b 1/1] RUN {hostile}", started=T0, completed=T1, error=hostile),
    )
    shown = repr(events) + repr(progress.failure(1)) + repr(progress.last_lines())
    assert "https://h/x" in shown
    for part in ("SECRET", "\\x1b", "\\x07", "u202e"):
        assert part not in shown
    with LogFile(tmp_path / "log") as log:
        log.note("##[add-mask]x", "::stop", "a\n::b\x1b[2J")
    assert (tmp_path / "log").read_text() == "# #[add-mask]x\n: :stop\na\n: :b\n"


def test_the_status_of_a_step_that_has_begun_is_shown() -> None:
    def status(digest: str) -> bytes:
        row = {"vertex": digest, "id": "sha256:1 \x1b[31m", "current": 5, "total": 10, "timestamp": T0}
        return json.dumps({"statuses": [row]}).encode()

    _, events = play(status("d"), vertex("d", "RUN x", started=T0), status("d"), status("unknown"))
    (told,) = [event for event in events if isinstance(event, StepStatus)]
    assert (told.number, told.current, told.total, told.done) == (1, 5, 10, False)
    assert "\x1b" not in told.what


def test_tags_that_moved_are_known_once_their_manifest_is_there() -> None:
    digest = f"sha256:{'d' * 64}"
    what = f"pushing manifest for r.lan:5000/a/b:x@{digest}"

    def status(**more: str) -> bytes:
        return json.dumps({"statuses": [{"id": what, "vertex": "v", "current": 0, **more}]}).encode()

    progress = Progress()
    vertex = {"digest": "v", "name": "exporting to image", "started": "2026-11-26T08:00:00Z"}
    for line in (json.dumps({"vertexes": [vertex]}).encode(), status(started="2026-11-26T08:00:01Z")):
        list(progress.feed(line))
    assert len(progress.pushed) == 0
    done = status(started="2026-11-26T08:00:01Z", completed="2026-11-26T08:00:02Z")
    list(progress.feed(done))
    list(progress.feed(done))
    assert list(progress.pushed) == [f"r.lan:5000/a/b:x@{digest}"]


def test_what_another_step_says_cannot_pass_for_a_push() -> None:
    progress = Progress()
    vertex = {"digest": "v", "name": "[a 1/1] RUN x", "started": "2026-11-26T08:00:00Z"}
    list(progress.feed(json.dumps({"vertexes": [vertex]}).encode()))
    what = f"pushing manifest for r/a:x@sha256:{'d' * 64}"
    status = {"id": what, "vertex": "v", "current": 0, "completed": "2026-11-26T08:00:02Z"}
    list(progress.feed(json.dumps({"statuses": [status]}).encode()))
    assert progress.pushed == ()


def test_bytes_are_counted_once_each_and_by_direction() -> None:
    blob = f"sha256:{'a' * 64}"

    def moved(digest: str, what: str, *counts: int) -> list[bytes]:
        rows = [{"vertex": digest, "id": what, "current": count, "total": 100, "timestamp": T0} for count in counts]
        return [json.dumps({"statuses": [row]}).encode() for row in rows]

    progress, events = play(
        vertex("base", "[a 1/2] FROM x", started=T0),
        vertex("context", "[internal] load build context", started=T0),
        vertex("export", "exporting to image", started=T0),
        *moved("base", blob, 10, 60, 60, 100),
        *moved("base", f"extracting {blob}", 100),
        *moved("context", "transferring context:", 7, 5),
        *moved("export", f"pushing layer {blob}", 20, 40),
    )
    assert progress.moved == Moved(pulled=100, sent=7, pushed=40)
    told = [event for event in events if isinstance(event, StepStatus)]
    assert (told[-1].pulled, told[-1].sent, told[-1].pushed) == (100, 7, 40)


def test_a_timeline_says_when_each_step_ran() -> None:
    progress, _ = play(
        vertex("d", "[internal] load metadata for x", started=T0, completed=T0),  # took no time
        vertex("e", "[internal] load build context", started=T0, completed=T1),
        vertex("a", "[a 1/3] COPY x", started=T0, completed=T0, cached=True),
        vertex("b", "[a 2/3] RUN x", started=T1, completed=T2, error="exit code: 1"),
        vertex("c", "[b 1/1] RUN y", started=T1),
    )
    shown = [(one.name.partition(" ")[0], one.began, one.seconds, one.state) for one in progress.timeline]
    length, rest = shown[0][2], shown[3][2]
    assert length > 0
    assert rest > 0
    assert shown == [
        ("[internal]", 0.0, length, "done"),
        ("[a", 0.0, 0.0, "cached"),
        ("[a", length, rest, "failed"),
        ("[b", length, rest, "unfinished"),
    ]
    assert Progress().timeline == ()
    packed = Timeline(progress.timeline)
    assert (tuple(packed), packed[-1], packed[1:]) == (progress.timeline, progress.timeline[-1], progress.timeline[1:])
    assert tuple(Timeline(())) == ()
    with pytest.raises(IndexError):
        packed[len(packed)]
