"""Shows a running build: a live board on a terminal, and which of the reporters is the right one.

All of it goes to one stream (standard error). Implements `runs.reporter.Reporter`.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Self, TextIO

from msgspec import Struct, field

from orchestrator.bake.events import Notice, StepDone, StepFailed, Steps, StepStarted, StepStatus
from orchestrator.durations import duration
from orchestrator.runs.outcome import Status
from orchestrator.runs.reporter import Reporter
from orchestrator.sizes import size_text
from orchestrator.ui import github
from orchestrator.ui.current_step import CurrentStep
from orchestrator.ui.lines import OPTIONS, GitHubLines, JsonLines, PlainLines, Quiet
from orchestrator.ui.results import STYLES
from orchestrator.ui.text import middle, short_digest, signs
from orchestrator.untrusted import clean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

    from orchestrator.bake.events import Event
    from orchestrator.runs.outcome import Outcome
    from orchestrator.ui.board_lines import BoardLine

__all__ = ["GitHubLines", "LiveBoard", "PlainLines", "Progress", "Reporter", "make_reporter"]

_NARROW = 70  # columns of a terminal, below which the counts of steps go to a line of their own
_WIDE = 100  # columns of a terminal that has room for the bytes
_NINJA = re.compile(r"\[\s*(?P<done>\d{1,9})/(?P<all>\d{1,9})\]\s*(?P<rest>.*)")
_MANY = 60  # variants, beyond which the board is drawn half as often
_BAR = 12  # characters of a bar
_INDENT = 4  # columns in front of a variant's second line, where they are few


class Progress(StrEnum):
    """How a running build is shown."""

    AUTO = "auto"
    BOARD = "board"
    PLAIN = "plain"
    JSON = "json"
    QUIET = "quiet"


def make_reporter(
    variants: Sequence[str],
    *,
    progress: Progress = Progress.AUTO,
    stream: TextIO | None = None,
    env: Mapping[str, str] | None = None,
) -> LiveBoard | PlainLines | JsonLines | Quiet:
    """Return the reporter that was asked for, or the one that fits the stream; a context manager.

    Args:
        variants: All variants of the run, in order.
        progress: Which one.
        stream: Where to; standard error if not given.
        env: Environment; this process's if not given.
    """
    out = stream if stream is not None else sys.stderr
    variables = os.environ if env is None else env
    match progress:
        case Progress.QUIET:
            return Quiet()
        case Progress.JSON:
            return JsonLines(stream=out)
        case Progress.BOARD:
            return LiveBoard(variants, stream=out)
        case Progress.PLAIN:
            return PlainLines(variants, stream=out)
        case Progress.AUTO:
            pass
    if github.running(variables):
        return GitHubLines(variants, stream=out)
    if out.isatty() and variables.get("TERM") != "dumb":
        return LiveBoard(variants, stream=out)
    return PlainLines(variants, stream=out)


class _Row(Struct):
    status: Status | None = None
    began: float | None = None
    ended: float = 0.0
    step: str = ""
    steps: Steps = field(default_factory=Steps)
    attempt: int = 0
    of: int = 1
    digest: str | None = None
    line: str = ""
    moved: str = ""
    shared: str = ""
    current: CurrentStep = field(default_factory=CurrentStep)


class LiveBoard:
    """One row a variant, redrawn in place; the variants that run come first when not all fit."""

    def __init__(self, variants: Sequence[str], *, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=stream, highlight=False, soft_wrap=False)
        self._signs = signs(stream)
        self._rows = {variant: _Row() for variant in variants}
        self._lock = threading.Lock()
        self._live = Live(
            console=self._console,
            refresh_per_second=8 if len(self._rows) <= _MANY else 4,
            get_renderable=self.render,
            redirect_stdout=False,
            redirect_stderr=False,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError, ValueError):  # the terminal went away: no reason to lose the report
            self._live.stop()

    def started(self, variant: str) -> None:
        """See Reporter."""
        with self._lock:
            row = self._rows.setdefault(variant, _Row())
            row.began, row.step = time.monotonic(), "preflight"

    def attempt(self, variant: str, number: int, of: int) -> None:
        """See Reporter."""
        with self._lock:
            row = self._rows[variant]
            row.attempt, row.of, row.shared, row.current = number, of, "", CurrentStep()

    def event(self, variant: str, event: Event) -> None:
        """See Reporter."""
        with self._lock:
            row = self._rows[variant]
            if isinstance(event, StepStatus) and (event.pulled or event.sent or event.pushed):
                row.moved = moved_text(event.pulled, event.sent + event.pushed)
            if row.current.feed(event) and any(row.current.shown):
                step, row.line, shared = row.current.shown
                row.step, row.shared = OPTIONS.sub("", step), f"shared with {shared}" if shared else ""
            match event:
                case StepStarted(steps=steps) | StepDone(steps=steps) | StepFailed(steps=steps):
                    row.steps = steps
                case StepStatus(what=what, done=False, current=current, total=total) if total > 0:
                    row.step = f"{what} {100 * current // total}%"
                case Notice(text=text):
                    row.step = text
                case _:
                    pass

    def waiting(self, variant: str, number: int, of: int, seconds: float, reason: str) -> None:
        """See Reporter."""
        until = time.strftime("%H:%M:%S", time.localtime(time.time() + seconds))
        with self._lock:
            self._rows[variant].line = self._rows[variant].shared = ""
            self._rows[variant].step = f"attempt {number} of {of} failed, next at {until}: {reason}"

    def finished(self, outcome: Outcome) -> None:
        """See Reporter."""
        with self._lock:
            row = self._rows.setdefault(outcome.id, _Row())
            row.status, row.ended, row.digest = outcome.status, outcome.seconds, outcome.digest
            row.steps = outcome.steps
            row.step = outcome.error.message.split("\n", 1)[0] if outcome.error else ""
            row.line = ""

    def render(self) -> RenderableType:
        """Return the board as it stands."""
        from orchestrator.ui.board_lines import drawn

        with self._lock:
            rows = list(self._rows.items())
            width, most = self._console.width, max(3, self._console.height - 2)
            if len(rows) > most:
                rows = sorted(rows, key=_urgency)[: most - 1]
            hidden = len(self._rows) - len(rows)
            lines = [self._line(variant, row, width=width) for variant, row in rows]
        last = f"  {self._signs.ellipsis} and {hidden} more" if hidden else ""
        return drawn(lines, last, width=width, most=most, indent=0 if width >= _WIDE else _INDENT)

    def _below(self, row: _Row, *, width: int) -> tuple[str, str]:
        """What stands below a variant's row: its last line of output, and what has no room in the row."""
        if row.status is not None:
            return "", ""
        facts = [row.shared]
        facts += [row.moved] if width < _WIDE else []
        facts += [_counts(row.steps)] if width < _NARROW else []
        return self._output(row), "  ".join(filter(None, facts))

    def _output(self, row: _Row) -> str:
        """The last line of a step's output; ninja's `[123/400]` as a bar."""
        found = _NINJA.match(row.line)
        if found is None or not int(found["all"]):
            return clean(row.line)
        done, of = int(found["done"]), int(found["all"])
        filled = min(_BAR, _BAR * done // of)
        bar = self._signs.bar[0] * filled + self._signs.bar[1] * (_BAR - filled)
        return f"{bar} {done}/{of} {clean(found['rest'])}"

    def _line(self, variant: str, row: _Row, *, width: int) -> BoardLine:
        from orchestrator.ui.board_lines import BoardLine

        name = middle(variant, max(16, width // 2), self._signs.ellipsis)
        if row.status is not None:
            mark, style = getattr(self._signs, row.status.value), STYLES[row.status]
            elapsed = row.ended
            step = short_digest(row.digest) if row.status in (Status.BUILT, Status.SKIPPED) else row.step
        elif row.began is not None:
            frames = self._signs.spinner
            mark, style = frames[int(time.monotonic() * 8) % len(frames)], "cyan"
            elapsed, step = time.monotonic() - row.began, row.step
        else:
            return BoardLine(mark=self._signs.waiting, style="dim", rest="dim", name=name)
        if row.attempt > 1:
            step = f"(attempt {row.attempt}/{row.of}) {step}"
        counts = _counts(row.steps) if width >= _NARROW else ""
        if counts and row.moved and width >= _WIDE:
            counts = f"{row.moved}  {counts}"
        output, facts = self._below(row, width=width)
        return BoardLine(
            mark=mark, style=style, name=name, step=clean(step), counts=counts, elapsed=duration(elapsed),
            output=output, facts=facts,
        )  # fmt: skip


def _counts(steps: Steps) -> str:
    return f"{steps.done}/{steps.total} {steps.cached} cached" if steps.total else ""


def moved_text(down: int, up: int) -> str:
    """Return the bytes that a builder pulled and was sent, or pushed: `30.0 MB pulled, 1.2 MB sent`."""
    parts = [f"{size_text(count)} {way}" for count, way in ((down, "pulled"), (up, "sent")) if count]
    return ", ".join(parts)


def _urgency(item: tuple[str, _Row]) -> int:
    row = item[1]
    if row.status is Status.FAILED:
        return 1
    if row.status is not None:
        return 3
    return 0 if row.began is not None else 2
