"""How a running build looks on a terminal, in a pipe, and in GitHub Actions."""

from __future__ import annotations

import errno
import io
import json
import re
import time
from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from orchestrator.bake.events import LogLine, Notice, StepDone, StepFailed, StepKind, Steps, StepStarted, StepStatus
from orchestrator.errors import FailureClass
from orchestrator.runs.outcome import ErrorInfo, Outcome, Status
from orchestrator.ui.board import LiveBoard, Progress, make_reporter
from orchestrator.ui.lines import GitHubLines, JsonLines, PlainLines, Quiet

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = "sha256:" + "a" * 64
EVIL = "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b2J bell\x07"


class Stream(io.StringIO):
    """A text stream that says what a test wants of itself."""

    def __init__(self, *, tty: bool = False, encoding: str = "utf-8") -> None:
        super().__init__()
        self._tty = tty
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a property where the base class has an attribute
        return self._encoding

    def isatty(self) -> bool:
        return self._tty


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "10")


def failed(variant: str, **fields: object) -> Outcome:
    error = ErrorInfo(failure=FailureClass.RUN, message="exit code: 1", step="[b 1/1] RUN false")
    outcome = Outcome(id=variant, status=Status.FAILED, attempts=1, seconds=61, error=error)
    return Outcome(**{**{name: getattr(outcome, name) for name in Outcome.__struct_fields__}, **fields})


def built(variant: str) -> Outcome:
    steps = Steps(total=5, cached=2, done=5)
    return Outcome(id=variant, status=Status.BUILT, digest=DIGEST, attempts=2, seconds=4.25, steps=steps)


def started(name: str, kind: StepKind = StepKind.RUN) -> StepStarted:
    return StepStarted(number=1, name=name, kind=kind, steps=Steps(total=5, cached=2, done=3))


@pytest.mark.parametrize(
    ("tty", "env", "kind"),
    [
        (True, {"TERM": "xterm"}, LiveBoard),
        (True, {"TERM": "dumb"}, PlainLines),
        (False, {}, PlainLines),
        (True, {"GITHUB_ACTIONS": "true"}, GitHubLines),
        (False, {"GITHUB_ACTIONS": "true"}, GitHubLines),
        (False, {"GITHUB_ACTIONS": "false"}, PlainLines),
    ],
)
def test_which_one(tty: bool, env: dict[str, str], kind: type) -> None:
    assert type(make_reporter(["a"], stream=Stream(tty=tty), env=env)) is kind


def test_plain_lines_tell_starts_steps_and_ends() -> None:
    stream = Stream()
    with PlainLines(["a", "long"], stream=stream) as lines:
        lines.started("a")
        lines.attempt("a", 1, 3)
        lines.event("a", started("[internal] load .dockerignore", StepKind.INTERNAL))
        lines.event("a", started(f"[b 1/1] RUN make {EVIL}"))
        lines.event(
            "a",
            StepDone(number=1, name="[b 1/1] RUN x", kind=StepKind.RUN, seconds=3, cached=False, steps=Steps()),
        )
        lines.event(
            "a",
            StepDone(number=2, name="[b 1/1] COPY x", kind=StepKind.FILE, seconds=0, cached=True, steps=Steps()),
        )
        lines.event(
            "a",
            StepFailed(
                number=3, name="exporting to image", kind=StepKind.EXPORT, seconds=0, error="503\nx", steps=Steps()
            ),
        )
        lines.waiting("a", 1, 3, 2.04, "503")
        lines.attempt("a", 2, 3)
        lines.finished(built("a"))
        lines.finished(failed("long"))
    assert stream.getvalue().splitlines() == [
        "a     started",
        "a     [b 1/1] RUN make red   bell",
        "a     done in 3.0s: [b 1/1] RUN x",
        "a     cached: [b 1/1] COPY x",
        "a     error: exporting to image: 503 x",
        "a     attempt 1 of 3 failed, next in 2.0s: 503",
        "a     attempt 2 of 3",
        f"a     built {DIGEST} [4.2s, 2/5 steps cached, 2 attempts]",
        "long  failed (run) [b 1/1] RUN false: exit code: 1 [1m01s]",
    ]


def test_a_stream_that_cannot_carry_a_letter_gets_another() -> None:
    stream = Stream(encoding="ascii")
    PlainLines(["a"], stream=stream).event("a", started("[b 1/1] RUN echo ✓"))
    assert stream.getvalue() == "a  [b 1/1] RUN echo ?\n"


def test_in_actions_a_failed_variant_comes_with_its_whole_log_as_one_group(tmp_path: Path) -> None:
    log = tmp_path / "b.log"
    log.write_text("#1 one\n::set-output name=x::evil\n::endgroup::\nlast\n")
    stream = Stream()
    with GitHubLines(["a", "b"], stream=stream) as lines:
        lines.finished(built("a"))
        lines.finished(failed("b", log=log))
    said = stream.getvalue().splitlines()
    assert said[1:3] == [
        "b  failed (run) [b 1/1] RUN false: exit code: 1 [1m01s]",
        "::error title=b failed (run)::[b 1/1] RUN false: exit code: 1",
    ]
    assert said[3] == "::group::log of b"
    token = said[4].removeprefix("::stop-commands::")
    assert re.fullmatch(r"[0-9a-f]{32}", token)
    # What looks like a command stands where the runner takes none, until the token that no log can know.
    assert said[5:] == ["#1 one", "::set-output name=x::evil", "::endgroup::", "last", f"::{token}::", "::endgroup::"]


def test_a_log_that_is_gone_is_replaced_by_the_last_lines(tmp_path: Path) -> None:
    stream = Stream()
    GitHubLines(["b"], stream=stream).finished(failed("b", log=tmp_path / "none", last_lines=("last",)))
    assert "last" in stream.getvalue().splitlines()


def test_an_annotation_is_one_line_whatever_it_says() -> None:
    stream = Stream()
    error = ErrorInfo(failure=FailureClass.RUN, message="100%\n::error::two")
    GitHubLines(["b"], stream=stream).finished(failed("b,c:d", error=error))
    assert "::error title=b%2Cc%3Ad failed (run)::100%25%0A: :error::two" in stream.getvalue().splitlines()


def step(name: str, kind: StepKind = StepKind.RUN, *, cached: bool = False, seconds: float = 0) -> StepDone:
    return StepDone(number=1, name=name, kind=kind, seconds=seconds, cached=cached, steps=Steps())


def test_a_step_is_named_once_an_attempt_and_not_over_110_characters() -> None:
    stream = Stream()
    lines = PlainLines(["a", "b"], stream=stream)
    long = f"[b 1/1] RUN --mount=type=cache,target=/c --network=none make {'x' * 600}"
    short = f"[b 1/1] RUN make {'x' * 600}"[:107] + "..."
    for variant in ("a", "b"):
        lines.event(variant, started("[context x] load .dockerignore", StepKind.BASE))
        lines.event(variant, started("[context x] load metadata for docker.io/library/x", StepKind.BASE))
        lines.event(variant, started(long))
        lines.event(variant, started(long))
    lines.event("a", step(long, seconds=2))
    error = f'process "/bin/sh -c make {"x" * 600}" did not complete successfully: exit code: 2'
    lines.event("a", StepFailed(number=1, name=long, kind=StepKind.RUN, seconds=0, error=error, steps=Steps()))
    lines.attempt("a", 2, 3)
    lines.event("a", started(long))
    lines.waiting("a", 2, 3, 1, "r" * 1000)
    assert stream.getvalue().splitlines() == [
        f"a  {short}",
        f"b  {short}",
        f"a  done in 2.0s: {short}",
        f"a  error: {short}: exit code: 2",
        "a  attempt 2 of 3",
        f"a  {short}",
        f"a  attempt 2 of 3 failed, next in 1.0s: {'r' * 397}...",
    ]


def test_a_reader_that_went_away_does_not_end_the_run() -> None:
    class Leaving(Stream):
        gone = False

        def flush(self) -> None:
            if self.gone:
                raise OSError(errno.EIO, "Input/output error")

    for kind, tty in ((PlainLines, False), (LiveBoard, True)):
        stream = Leaving(tty=tty)
        with kind(["a"], stream=stream):
            stream.gone = True


def shown(board: LiveBoard, *, height: int = 10, width: int = 100) -> list[str]:
    console = Console(width=width, height=height, file=Stream(), color_system=None, force_terminal=True)
    with console.capture() as capture:
        console.print(board.render())
    return [line.rstrip() for line in capture.get().splitlines()]


def test_the_board_has_a_row_for_each_variant() -> None:
    board = LiveBoard(["one", "two", "three", "four"], stream=Stream(tty=True))
    board.started("one")
    board.attempt("one", 2, 3)
    board.event("one", started(f"[b 1/1] RUN make [bold]{EVIL}"))
    board.started("two")
    board.event("two", StepStatus(number=1, what="pushing layers", current=30, total=120, done=False))
    board.finished(built("three"))
    one, two, three, four = shown(board)
    assert re.fullmatch(r"\S one   \(attempt 2/3\) \[b 1/1\] RUN make \[bold\]red   bell +3/5 2 cached 0\.\ds", one)
    assert re.fullmatch(r"\S two   pushing layers 25% +0\.\ds", two)
    assert re.fullmatch(r"✓ three sha256:aaaaaaaaaaaa +5/5 2 cached 4\.2s", three)
    assert four == "· four"
    board.finished(failed("one"))
    assert re.fullmatch(r"✗ one   exit code: 1 +1m01s", shown(board)[0].replace("(attempt 2/3) ", ""))


def test_when_not_all_fit_those_that_run_stay() -> None:
    names = [f"v{number:02d}" for number in range(40)]
    board = LiveBoard(names, stream=Stream(tty=True))
    for name in names[:20]:
        board.started(name)
        board.finished(built(name))
    board.started("v30")
    board.started("v31")
    board.finished(failed("v21"))
    lines = shown(board)
    assert len(lines) <= 9
    assert [line.split()[1] for line in lines[:3]] == ["v30", "v31", "v21"]
    assert lines[-1].strip() == "… and 33 more"


def test_on_a_narrow_terminal_both_ends_of_a_name_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    board = LiveBoard(["a-rather-long-name-of-a-service-cu130-amd64"], stream=Stream(tty=True))
    board.finished(built("a-rather-long-name-of-a-service-cu130-amd64"))
    (row,) = shown(board, width=50)
    assert re.fullmatch(r"✓ a-rather-lon…-cu130-amd64 sha256:a+ +4\.2s", row)


def test_without_unicode_the_board_is_ascii() -> None:
    board = LiveBoard(["one", "two", "six"], stream=Stream(tty=True, encoding="ascii"))
    board.started("one")
    board.finished(failed("two"))
    assert "".join(shown(board)).isascii()


def test_the_live_board_draws_on_its_stream_and_cleans_up() -> None:
    stream = Stream(tty=True)
    with LiveBoard(["one"], stream=stream) as board:
        board.started("one")
        board.finished(built("one"))
    assert "one" in stream.getvalue()
    assert stream.getvalue().rstrip().endswith("\x1b[2K")  # the last thing is to erase it: the table follows


def test_a_step_that_was_cancelled_is_no_error() -> None:
    out = Stream()
    with PlainLines(["a"], stream=out) as lines:
        for cancelled in (True, False):
            lines.event(
                "a",
                StepFailed(
                    number=1, name="[b 1/1] RUN make", kind=StepKind.RUN, seconds=1.0, error="context canceled",
                    steps=Steps(), cancelled=cancelled,
                ),
            )  # fmt: skip
    assert out.getvalue() == "a  error: [b 1/1] RUN make: context canceled\n"


@pytest.mark.parametrize(
    ("progress", "kind"),
    [
        (Progress.BOARD, LiveBoard),
        (Progress.PLAIN, PlainLines),
        (Progress.JSON, JsonLines),
        (Progress.QUIET, Quiet),
    ],
)
def test_a_reporter_that_is_asked_for(progress: Progress, kind: type) -> None:
    for stream in (Stream(), Stream(tty=True)):
        found = make_reporter(["a"], progress=progress, stream=stream, env={"GITHUB_ACTIONS": "true"})
        assert type(found) is kind


def output(text: str) -> LogLine:
    return LogLine(number=1, stream=1, text=text)


def test_a_silent_variant_says_what_it_does_once_a_minute() -> None:
    stream = Stream()
    with PlainLines(["a", "b"], stream=stream, heartbeat_s=0.1) as lines:
        lines.started("a")
        lines.started("b")
        lines.event("a", started("[a 1/2] RUN ninja"))
        lines.event("a", output("[12/400] Building x.o"))
        lines.event("a", output("  "))
        lines.finished(built("b"))
        time.sleep(0.4)
        lines.finished(built("a"))
        said = stream.getvalue().splitlines()
    beats = [line for line in said if "running for" in line]
    assert 2 <= len(beats) <= 5
    assert all(
        re.fullmatch(r"a  running for 0\.\ds: \[a 1/2\] RUN ninja: \[12/400\] Building x\.o", beat) for beat in beats
    )
    time.sleep(0.2)
    assert stream.getvalue().splitlines() == said  # nothing after the end


def test_a_heartbeat_names_a_step_that_still_runs() -> None:
    stream = Stream()
    with PlainLines(["a"], stream=stream, heartbeat_s=0.1) as lines:
        lines.started("a")
        lines.event("a", started("[base 4/5] RUN pip install torch"))
        lines.event("a", output("Installing collected packages: torch"))
        beside = StepStarted(number=2, name="[runtime 4/8] RUN true", kind=StepKind.RUN, steps=Steps())
        lines.event("a", beside)
        lines.event("a", LogLine(number=2, stream=1, text="nothing to do"))
        lines.event(
            "a", StepDone(number=2, name=beside.name, kind=StepKind.RUN, seconds=0.1, cached=False, steps=Steps())
        )
        time.sleep(0.3)
        lines.event("a", output("Successfully installed"))
        time.sleep(0.3)
    beats = [line.split(": ", 1)[1] for line in stream.getvalue().splitlines() if "running for" in line]
    pip = "[base 4/5] RUN pip install torch"
    assert dict.fromkeys(beats) == dict.fromkeys((
        f"{pip}: Installing collected packages: torch", f"{pip}: Successfully installed",
    ))  # fmt: skip


def test_the_board_shows_a_step_that_still_runs() -> None:
    board = LiveBoard(["a"], stream=Stream(tty=True))
    board.started("a")
    board.event("a", started("[base 4/5] RUN pip install torch"))
    board.event("a", StepStarted(number=2, name="[runtime 4/8] RUN true", kind=StepKind.RUN, steps=Steps()))
    assert "[runtime 4/8] RUN true" in drawn(board, 120)[0]
    board.event("a", StepDone(number=2, name="RUN true", kind=StepKind.RUN, seconds=0.1, cached=False, steps=Steps()))
    assert "[base 4/5] RUN pip install torch" in drawn(board, 120)[0]
    board.event("a", output("Successfully installed"))
    board.attempt("a", 2, 3)
    board.event("a", StepStarted(number=2, name="[runtime 4/8] RUN true", kind=StepKind.RUN, steps=Steps()))
    board.event("a", StepDone(number=2, name="RUN true", kind=StepKind.RUN, seconds=0.1, cached=False, steps=Steps()))
    assert not any("pip install" in line for line in drawn(board, 120)), "that step was one of the attempt before"


def test_a_variant_that_speaks_has_no_heartbeat() -> None:
    stream = Stream()
    with PlainLines(["a"], stream=stream, heartbeat_s=0.3) as lines:
        lines.started("a")
        for number in range(6):
            time.sleep(0.1)
            lines.event("a", Notice(text=f"line {number}"))
    assert "running for" not in stream.getvalue()


def test_json_lines_hold_every_event() -> None:
    stream = Stream()
    with JsonLines(stream=stream) as lines:
        lines.started("a")
        lines.attempt("a", 1, 3)
        lines.event("a", started("[a 1/1] RUN x"))
        lines.event("a", output("##[error]x\x1b"))
        failure = StepFailed(number=1, name="n", kind=StepKind.RUN, seconds=1, error="exit code: 1", steps=Steps())
        lines.event("a", failure)
        lines.waiting("a", 1, 3, 2.5, "busy")
        lines.finished(failed("a"))
        lines.notice("warning: x")
    text = stream.getvalue()
    assert "##[" not in text
    found = [json.loads(line) for line in text.splitlines()]
    assert all(datetime.fromisoformat(one.pop("time")).tzinfo for one in found)
    assert found == [
        {"variant": "a", "event": "started"},
        {"variant": "a", "event": "attempt", "number": 1, "of": 3},
        {"variant": "a", "event": "step", "number": 1, "name": "[a 1/1] RUN x", "kind": "run", "state": "started"},
        {"variant": "a", "event": "output", "number": 1, "text": "##[error]x\x1b"},
        {
            "variant": "a", "event": "step", "number": 1, "name": "n", "kind": "run", "state": "failed",
            "error": "exit code: 1",
        },
        {"variant": "a", "event": "waiting", "number": 1, "of": 3, "seconds": 2.5, "reason": "busy"},
        {
            "variant": "a", "event": "finished", "status": "failed", "digest": None, "seconds": 61, "attempts": 1,
            "error": {"class": "run", "message": "exit code: 1", "step": "[b 1/1] RUN false"},
        },
        {"variant": None, "event": "notice", "text": "warning: x"},
    ]  # fmt: skip


def drawn(board: LiveBoard, width: int, height: int = 15) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, height=height, color_system=None).print(board.render())
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_the_board_shows_the_last_line_of_output_and_a_bar_of_ninja(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    board = LiveBoard(["a", "b"], stream=Stream(tty=True))
    board.started("a")
    board.event("a", started("[a 1/2] RUN make"))
    board.event("a", output("compiling \x1b[31mx.cu"))
    first, second, third = drawn(board, 100)
    assert "[a 1/2] RUN make" in first
    assert "3/5 2 cached" in first
    assert second.strip() == "compiling x.cu"
    assert third.strip() == "\u00b7 b"
    board.event("a", output("[123/400] Building CUDA object x.o"))
    assert drawn(board, 100)[1].strip() == "\u2588\u2588\u2588" + "\u2591" * 9 + " 123/400 Building CUDA object x.o"
    board.event("a", started("[a 2/2] RUN true"))
    assert len(drawn(board, 100)) == 2  # a new step has said nothing yet


def test_a_narrow_board_loses_no_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    board = LiveBoard(["a"], stream=Stream(tty=True))
    board.started("a")
    board.event("a", started("[a 1/2] RUN make"))
    board.event("a", output("[1/0] odd"))
    first, second = drawn(board, 60)
    assert "cached" not in first
    assert re.fullmatch(r"    \[1/0\] odd +3/5 2 cached", second)
    assert len(second) == 60


def test_a_step_that_runs_for_another_variant_as_well_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    event = StepStarted(number=1, name="[b 1/2] RUN make", kind=StepKind.RUN, steps=Steps(total=2), shared="one")
    for width in (120, 80, 60):
        monkeypatch.setenv("COLUMNS", str(width))
        board = LiveBoard(["two"], stream=Stream(tty=True))
        board.started("two")
        board.event("two", event)
        board.event("two", output("[7/9] Building x.o"))
        first, second = drawn(board, width)
        assert "RUN make" in first
        assert re.search(r"^ +█+░+ 7/9 Building( x\.o)? +shared with one( |$)", second)
        board.event("two", started("[b 2/2] RUN rest"))
        assert "shared" not in "\n".join(drawn(board, width))
    stream = Stream()
    with PlainLines(["two"], stream=stream, heartbeat_s=0.1) as lines:
        lines.started("two")
        lines.event("two", event)
        time.sleep(0.3)
    _, step, *beats = stream.getvalue().splitlines()
    assert step == "two  [b 1/2] RUN make (shared with one)"
    assert beats
    assert beats[0].endswith(": [b 1/2] RUN make (shared with one)")
    stream = Stream()
    JsonLines(stream=stream).event("two", event)
    assert json.loads(stream.getvalue())["shared"] == "one"


def test_output_takes_no_line_from_a_variant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "7")
    names = ["a", "b", "c", "d"]
    board = LiveBoard(names, stream=Stream(tty=True))
    for name in names:
        board.started(name)
        board.event(name, started("RUN x"))
        board.event(name, output(f"says {name}"))
    lines = drawn(board, 100, 7)
    assert len(lines) == 5
    assert sum("RUN x" in line for line in lines) == 4
    assert sum("says" in line for line in lines) == 1


def test_an_annotation_stands_at_the_instruction_that_failed() -> None:
    stream = Stream()
    error = ErrorInfo(failure=FailureClass.RUN, message="exit code: 1", step="RUN x", file="docker/Dockerfile", line=7)
    with GitHubLines(["b"], stream=stream) as reporter:
        reporter.finished(Outcome(id="b", status=Status.FAILED, attempts=1, error=error))
    assert "::error file=docker/Dockerfile,line=7,title=b failed (run)::RUN x: exit code: 1" in stream.getvalue()


@pytest.mark.parametrize(("width", "row"), [(120, 0), (99, 1), (60, 1)])
def test_bytes_are_shown_where_there_is_room(width: int, row: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    board = LiveBoard(["one"], stream=Stream(tty=True))
    board.started("one")
    board.event("one", StepStarted(number=1, name="RUN x", kind=StepKind.RUN, steps=Steps(total=3)))
    moved = StepStatus(number=1, what="x", current=1, total=2, done=True, pulled=30_000_000, sent=2_000, pushed=1_000)
    board.event("one", moved)
    board.event("one", output("x" * 200))
    lines = shown(board, width=width)
    assert ["30.0 MB pulled, 3.0 kB sent" in line for line in lines] == [number == row for number in range(2)]
    assert ["xxxx" in line for line in lines] == [False, True]
    assert {len(line) for line in lines} == {width}
