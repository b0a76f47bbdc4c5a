"""Shows a running build: a live board on a terminal, plain lines elsewhere, groups in GitHub Actions.

All of it goes to one stream (standard error). Implements `runs.reporter.Reporter`.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, TextIO

from orchestrator.bake.events import Notice, StepDone, StepFailed, StepKind, Steps, StepStarted, StepStatus
from orchestrator.durations import duration
from orchestrator.runs.outcome import Status
from orchestrator.runs.reporter import Reporter
from orchestrator.ui import github
from orchestrator.ui.results import STYLES, compile_line
from orchestrator.ui.text import middle, short_digest, shorten, signs
from orchestrator.untrusted import clean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

    from orchestrator.bake.events import Event
    from orchestrator.runs.outcome import Outcome

__all__ = ["GitHubLines", "LiveBoard", "PlainLines", "Reporter", "make_reporter"]

# Steps that the builder makes for itself are not shown; those that take time or belong to the Dockerfile are.
_NEWS = frozenset({StepKind.RUN, StepKind.FILE, StepKind.FETCH, StepKind.BASE, StepKind.CACHE_EXPORT, StepKind.EXPORT})
_NO_NEWS = re.compile(r"^\[[^\]]*\] load (?:\.dockerignore$|metadata for )")
_OPTIONS = re.compile(r"(?<= RUN )(?:--(?:mount|network|security)=\S+ +)+")
_RUN_ENDED = re.compile(r'^process ".*" did not complete successfully: ')
_WIDTH = 110  # characters of a step's name in a line; the log holds it whole
_REASON = 400
_NARROW = 70  # columns of a terminal, below which the board leaves the counts of steps out


def make_reporter(
    variants: Sequence[str], *, stream: TextIO | None = None, env: Mapping[str, str] | None = None
) -> LiveBoard | PlainLines:
    """Return the reporter that fits the stream; a context manager.

    Args:
        variants: All variants of the run, in order.
        stream: Where to; standard error if not given.
        env: Environment; this process's if not given.
    """
    out = stream if stream is not None else sys.stderr
    variables = os.environ if env is None else env
    if github.running(variables):
        return GitHubLines(variants, stream=out)
    if out.isatty() and variables.get("TERM") != "dumb":
        return LiveBoard(variants, stream=out)
    return PlainLines(variants, stream=out)


class PlainLines:
    """A line for each start, step and end, each beginning with the variant's name, for logs and pipes."""

    def __init__(self, variants: Sequence[str], *, stream: TextIO) -> None:
        self._stream = stream
        self._width = max(map(len, variants), default=0)
        self._lock = threading.Lock()
        self._said: dict[str, set[str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError, ValueError):  # the reader went away: no reason to lose the report
            self._stream.flush()

    def started(self, variant: str) -> None:
        """See Reporter."""
        self._say(variant, "started")

    def attempt(self, variant: str, number: int, of: int) -> None:
        """See Reporter."""
        if number > 1:
            self._said.pop(variant, None)
            self._say(variant, f"attempt {number} of {of}")

    def event(self, variant: str, event: Event) -> None:
        """See Reporter."""
        match event:
            case StepStarted(kind=kind, name=name) if _is_news(kind, name):
                self._say_once(variant, brief(name))
            case StepDone(kind=kind, cached=True, name=name) if _is_news(kind, name):
                self._say_once(variant, f"cached: {brief(name)}")
            case StepDone(kind=kind, seconds=seconds, name=name) if _is_news(kind, name) and seconds >= 1:
                self._say(variant, f"done in {duration(seconds)}: {brief(name)}")
            case StepFailed(cancelled=True):
                pass  # another step failed, or another build takes this one over
            case StepFailed(kind=kind, name=name, error=error) if kind is not StepKind.CACHE_IMPORT:
                reason = _RUN_ENDED.sub("", " ".join(error.split()))
                self._say(variant, f"error: {brief(name)}: {shorten(reason, _REASON, '...')}")
            case Notice(text=text):
                self._say(variant, text)
            case _:
                pass

    def waiting(self, variant: str, number: int, of: int, seconds: float, reason: str) -> None:
        """See Reporter."""
        why = shorten(reason, _REASON, "...")
        self._say(variant, f"attempt {number} of {of} failed, next in {seconds:.1f}s: {why}")

    def finished(self, outcome: Outcome) -> None:
        """See Reporter."""
        self._say(outcome.id, end_line(outcome))

    def _say_once(self, variant: str, text: str) -> None:
        said = self._said.setdefault(variant, set())  # a variant's events come from one thread
        if text not in said:
            said.add(text)
            self._say(variant, text)

    def _say(self, variant: str, text: str) -> None:
        self._write(f"{variant.ljust(self._width)}  {clean(text)}")

    def _write(self, *lines: str) -> None:
        encoding = self._stream.encoding or "utf-8"
        text = "".join(f"{line}\n" for line in lines).encode(encoding, errors="replace").decode(encoding)
        with self._lock:
            self._stream.write(text)
            self._stream.flush()


class GitHubLines(PlainLines):
    """Plain lines, and for a failed variant an annotation and its whole log as one folded block."""

    def finished(self, outcome: Outcome) -> None:
        """See Reporter."""
        super().finished(outcome)
        if outcome.status is not Status.FAILED or outcome.error is None:
            return
        message = f"{outcome.error.step}: {outcome.error.message}" if outcome.error.step else outcome.error.message
        title = f"{outcome.id} failed ({outcome.error.failure})"
        block = [github.command("error", message, title=title)]
        log = self._log(outcome)
        if log:
            # The log is untrusted: a line of it that looks like a workflow command must stay text.
            token = uuid.uuid4().hex
            block += [github.command("group", f"log of {outcome.id}"), github.command("stop-commands", token)]
            block += [*log, github.command(token), github.command("endgroup")]
        self._write(*block)

    def _log(self, outcome: Outcome) -> list[str]:
        if outcome.log is None or not outcome.attempts:
            return list(outcome.last_lines)
        try:
            return outcome.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return list(outcome.last_lines)


@dataclass(slots=True)
class _Row:
    status: Status | None = None
    began: float | None = None
    ended: float = 0.0
    step: str = ""
    steps: Steps = field(default_factory=Steps)
    attempt: int = 0
    of: int = 1
    digest: str | None = None


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
            refresh_per_second=8,
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
            row.attempt, row.of = number, of

    def event(self, variant: str, event: Event) -> None:
        """See Reporter."""
        with self._lock:
            row = self._rows[variant]
            match event:
                case StepStarted(name=name, steps=steps):
                    row.step, row.steps = _OPTIONS.sub("", name), steps
                case StepDone(steps=steps) | StepFailed(steps=steps):
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
            self._rows[variant].step = f"attempt {number} of {of} failed, next at {until}: {reason}"

    def finished(self, outcome: Outcome) -> None:
        """See Reporter."""
        with self._lock:
            row = self._rows.setdefault(outcome.id, _Row())
            row.status, row.ended, row.digest = outcome.status, outcome.seconds, outcome.digest
            row.steps = outcome.steps
            row.step = outcome.error.message.split("\n", 1)[0] if outcome.error else ""

    def render(self) -> RenderableType:
        """The board as it stands."""
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(width=1, no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, ratio=1, overflow="crop")
        table.add_column(no_wrap=True, justify="right")
        table.add_column(no_wrap=True, justify="right")
        with self._lock:
            rows = list(self._rows.items())
            most = max(3, self._console.height - 2)
            if len(rows) > most:
                rows = sorted(rows, key=_urgency)[: most - 1]
            for variant, row in rows:
                table.add_row(*self._cells(variant, row, width=self._console.width))
            hidden = len(self._rows) - len(rows)
        if hidden:
            table.add_row("", Text(f"{self._signs.ellipsis} and {hidden} more"), "", "", "")
        return table

    def _cells(self, variant: str, row: _Row, *, width: int) -> tuple[RenderableType, ...]:
        from rich.text import Text

        name = middle(variant, max(16, width // 2), self._signs.ellipsis)
        if row.status is not None:
            mark: RenderableType = Text(getattr(self._signs, row.status.value), style=STYLES[row.status])
            elapsed = row.ended
            step = short_digest(row.digest) if row.status in (Status.BUILT, Status.SKIPPED) else row.step
        elif row.began is not None:
            mark, elapsed, step = self._spin(), time.monotonic() - row.began, row.step
        else:
            return (Text(self._signs.waiting, style="dim"), Text(name, style="dim"), "", "", "")
        if row.attempt > 1:
            step = f"(attempt {row.attempt}/{row.of}) {step}"
        counted = row.steps.total and width >= _NARROW
        counts = f"{row.steps.done}/{row.steps.total} {row.steps.cached} cached" if counted else ""
        return (mark, Text(name), Text(clean(step)), Text(counts), Text(duration(elapsed)))

    def _spin(self) -> RenderableType:
        from rich.text import Text

        frames = self._signs.spinner
        return Text(frames[int(time.monotonic() * 8) % len(frames)], style="cyan")


def brief(name: str) -> str:
    """A step's name for a line: without the options in front of a RUN's command, and not over 110 characters."""
    return shorten(_OPTIONS.sub("", name), _WIDTH, "...")


def _is_news(kind: StepKind, name: str) -> bool:
    return kind in _NEWS and not _NO_NEWS.match(name)


def end_line(outcome: Outcome) -> str:
    """Return how a variant ended, in one line."""
    parts = [outcome.status.value]
    if outcome.digest is not None:
        parts.append(outcome.digest)
    if outcome.error is not None:
        reason = outcome.error.message.split("\n", 1)[0]
        step = f"{brief(outcome.error.step)}: " if outcome.error.step else ""
        parts.append(f"({outcome.error.failure}) {step}{shorten(reason, _REASON, '...')}")
    if outcome.attempts:
        steps = f", {outcome.steps.cached}/{outcome.steps.total} steps cached" if outcome.steps.total else ""
        many = f", {outcome.attempts} attempts" if outcome.attempts > 1 else ""
        parts.append(f"[{duration(outcome.seconds)}{steps}{many}]")
    if said := compile_line(outcome):
        parts.append(said)
    return " ".join(parts)


def _urgency(item: tuple[str, _Row]) -> int:
    row = item[1]
    if row.status is Status.FAILED:
        return 1
    if row.status is not None:
        return 3
    return 0 if row.began is not None else 2
