"""The end of a build: the table, the failures, the notes; and the small pieces of text."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.console import Console

from orchestrator.durations import duration
from orchestrator.errors import FailureClass
from orchestrator.runs.outcome import ErrorInfo, Outcome, Status, Steps
from orchestrator.ui.results import SHOWN_LINES, failure_lines, plain, show_results, summary
from orchestrator.ui.text import short_digest, shorten
from orchestrator.untrusted import clean
from tests.support.generated import examples

DIGEST = "sha256:" + "a" * 64
BUILT = Outcome(
    id="openai-cu130-amd64",
    status=Status.BUILT,
    digest=DIGEST,
    tags=("ghcr.io/acme/app:cu130",),
    references=(f"ghcr.io/acme/app:cu130@{DIGEST}",),
    attempts=3,
    seconds=125.5,
    steps=Steps(total=12, cached=5, done=12),
    notes=("no cache at r:c yet",),
)
FAILED = Outcome(
    id="openai-cu129-amd64",
    status=Status.FAILED,
    attempts=1,
    seconds=7.04,
    log=Path("state/openai-cu129-amd64.log"),
    error=ErrorInfo(failure=FailureClass.RUN, message="exit code: 2", step="[build 3/4] RUN make [all]"),
    last_lines=tuple(f"line {number} \x1b[31m" for number in range(40)),
)
CANCELLED = Outcome(
    id="c", status=Status.CANCELLED, error=ErrorInfo(failure=FailureClass.INTERRUPTED, message="stopped by a signal")
)
ALL = [BUILT, FAILED, CANCELLED]


def printed(*, terminal: bool, width: int = 100) -> list[str]:
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=terminal, color_system=None, highlight=False)
    show_results(ALL, console=console)
    return [line.rstrip() for line in stream.getvalue().splitlines()]


AFTER = [
    f"ghcr.io/acme/app:cu130@{DIGEST}",
    "openai-cu130-amd64: note: no cache at r:c yet",
    "openai-cu129-amd64: failed (run) at [build 3/4] RUN make [all]: exit code: 2",
    *(f"  | line {number} " for number in range(40 - SHOWN_LINES, 40)),
    "  log: state/openai-cu129-amd64.log",
    "1 variant not started: stopped by a signal",
    "1 built, 1 failed, 1 cancelled",
]


@pytest.mark.parametrize("width", [40, 300])
def test_in_a_pipe_every_line_is_whole(width: int) -> None:
    assert printed(terminal=False, width=width) == [
        f"variant             status     digest{' ' * 67}time   cached  attempts",
        f"openai-cu130-amd64  built      {DIGEST}  2m05s  5/12    3",
        f"openai-cu129-amd64  failed     -{' ' * 72}7.0s   -       1",
        f"c                   cancelled  -{' ' * 72}0.0s   -       0",
        *(line.rstrip() for line in AFTER),
    ]


def test_on_a_terminal_it_is_a_table() -> None:
    lines = printed(terminal=True)
    rows = [line.split() for line in lines]
    assert ["openai-cu130-amd64", "+", "built", "sha256:aaaaaaaaaaaa", "2m05s", "5/12", "3"] in [
        ["+" if cell == "✓" else cell for cell in row] for row in rows
    ]
    assert [line.rstrip() for line in AFTER] == lines[-len(AFTER) :]


def test_on_a_narrow_terminal_no_name_and_no_digest_is_cut() -> None:
    lines = printed(terminal=True, width=60)
    assert "openai-cu130-amd64  built      sha256:aaaaaaaaaaaa  2m05s  5/12    3" in lines
    assert lines[-len(AFTER) :] == [line.rstrip() for line in AFTER]


def test_nothing_of_nothing() -> None:
    stream = io.StringIO()
    show_results([], console=Console(file=stream))
    assert stream.getvalue() == ""
    assert summary([]) == "nothing to build"
    assert summary(ALL) == "1 built, 1 failed, 1 cancelled"


def test_a_message_of_several_lines_stays_together() -> None:
    message = "two arguments do not arrive\nmatrix.yaml:3: A\nmatrix.yaml:4: B"
    error = ErrorInfo(failure=FailureClass.ARRIVED, message=message)
    assert failure_lines(Outcome(id="v", status=Status.FAILED, error=error)) == [
        "v: failed (arrived): two arguments do not arrive",
        "    matrix.yaml:3: A",
        "    matrix.yaml:4: B",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0s"), (59.94, "59.9s"), (59.96, "1m00s"), (60, "1m00s"), (3599.9, "59m59s"), (7620, "2h07m")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_digests() -> None:
    assert short_digest(DIGEST) == "sha256:aaaaaaaaaaaa"
    assert short_digest(None) == ""


@examples(100)
@given(st.text(max_size=40))
def test_clean_text_moves_no_cursor(text: str) -> None:
    cleaned = clean(text)
    assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in cleaned)
    assert clean(cleaned) == cleaned


@examples(50)
@given(st.text(max_size=20), st.integers(3, 20))
def test_shortened_text_fits(text: str, width: int) -> None:
    short = shorten(text, width, "...")
    assert len(short) <= width
    assert short == text or short.endswith("...")


def test_variants_that_were_never_started_are_listed_once() -> None:
    error = ErrorInfo(failure=FailureClass.INTERRUPTED, message="stopped by a signal")
    never = [Outcome(id=f"v{number}", status=Status.CANCELLED, error=error) for number in range(500)]
    begun = Outcome(id="begun", status=Status.CANCELLED, error=error, attempts=1, seconds=3)
    lines = plain([begun, *never]).splitlines()
    assert lines[-3:] == [
        "begun: cancelled (interrupted): stopped by a signal",
        "500 variants not started: stopped by a signal",
        "501 cancelled",
    ]
    assert sum(line.startswith("v77 ") for line in lines) == 1
    assert len(lines) == 502 + 3


def test_the_place_of_a_failed_instruction_is_named() -> None:
    error = ErrorInfo(failure=FailureClass.RUN, message="exit code: 2", step="[b 1/1] RUN make")
    error = replace(error, file="d/Dockerfile", line=7)
    (line,) = failure_lines(Outcome(id="b", status=Status.FAILED, error=error))
    assert line == "b: failed (run) at d/Dockerfile:7 [b 1/1] RUN make: exit code: 2"
    (line,) = failure_lines(Outcome(id="b", status=Status.FAILED, error=replace(error, step="")))
    assert line == "b: failed (run) at d/Dockerfile:7: exit code: 2"
