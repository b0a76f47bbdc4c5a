"""Shows a running build as lines: for pipes and logs, in GitHub Actions, and as JSON for programs.

All of it goes to one stream (standard error). Implements `runs.reporter.Reporter`.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self, TextIO

from msgspec import Struct

from orchestrator.bake.events import LogLine, Notice, StepDone, StepFailed, StepKind, StepStarted
from orchestrator.durations import duration
from orchestrator.runs.outcome import Status
from orchestrator.runs.report import error_row
from orchestrator.ui import github
from orchestrator.ui.current_step import CurrentStep
from orchestrator.ui.results import compile_line, never_started
from orchestrator.ui.text import shorten
from orchestrator.untrusted import clean, json_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.bake.events import Event
    from orchestrator.runs.outcome import Outcome

HEARTBEAT_S = 60.0
"""Seconds without a line of a variant that runs, after which one says what it does."""

# Steps that the builder makes for itself are not shown; those that take time or belong to the Dockerfile are.
_NEWS = frozenset({StepKind.RUN, StepKind.FILE, StepKind.FETCH, StepKind.BASE, StepKind.CACHE_EXPORT, StepKind.EXPORT})
_NO_NEWS = re.compile(r"^\[[^\]]*\] load (?:\.dockerignore$|metadata for )")
OPTIONS = re.compile(r"(?<= RUN )(?:--(?:mount|network|security)=\S+ +)+")
_RUN_ENDED = re.compile(r'^process ".*" did not complete successfully: ')
_WIDTH = 110  # characters of a step's name in a line; the log holds it whole
_REASON = 400


class _Running(Struct):
    """A variant that runs, for the line that says what it does."""

    began: float
    said: float
    current: CurrentStep


class PlainLines:
    """A line for each start, step and end, each beginning with the variant's name, for logs and pipes.

    Args:
        variants: All variants of the run.
        stream: Where to.
        heartbeat_s: Seconds without a line of a variant that runs, after which one says what it does.
    """

    def __init__(self, variants: Sequence[str], *, stream: TextIO, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._stream = stream
        self._width = max(map(len, variants), default=0)
        self._lock = threading.Lock()
        self._said: dict[str, set[str]] = {}
        self._running: dict[str, _Running] = {}
        self._heartbeat_s = heartbeat_s
        self._over = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        with contextlib.suppress(OSError, ValueError):  # the reader went away: no reason to lose the report
            self._stream.flush()

    def started(self, variant: str) -> None:
        """See Reporter."""
        self._running[variant] = _Running(began=time.monotonic(), said=time.monotonic(), current=CurrentStep())
        self._say(variant, "started")

    def attempt(self, variant: str, number: int, of: int) -> None:
        """See Reporter."""
        if number > 1:
            self._said.pop(variant, None)
            if (running := self._running.get(variant)) is not None:
                running.current = CurrentStep()
            self._say(variant, f"attempt {number} of {of}")

    def event(self, variant: str, event: Event) -> None:
        """See Reporter."""
        if (running := self._running.get(variant)) is not None:
            running.current.feed(event)
        match event:
            case StepStarted(kind=kind, name=name, shared=shared) if _is_news(kind, name):
                self._say_once(variant, _told(name, shared))
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
        self._running.pop(outcome.id, None)
        if not never_started(outcome):  # the results list them, and why, once
            self._say(outcome.id, end_line(outcome))

    def _say_once(self, variant: str, text: str) -> None:
        said = self._said.setdefault(variant, set())  # a variant's events come from one thread
        if text not in said:
            said.add(text)
            self._say(variant, text)

    def _beat(self) -> None:
        """Say of each variant that was silent for long what it does, so that a pipeline sees that it goes on."""
        while not self._over.wait(min(5.0, self._heartbeat_s / 2)):
            for variant, running in list(self._running.items()):
                if time.monotonic() - running.said >= self._heartbeat_s:
                    with contextlib.suppress(OSError, ValueError):  # nobody reads on
                        self._say(variant, _doing(running))

    def _say(self, variant: str, text: str) -> None:
        if (running := self._running.get(variant)) is not None:
            running.said = time.monotonic()
        self._write(f"{variant.ljust(self._width)}  {clean(text)}")

    def _write(self, *lines: str) -> None:
        encoding = self._stream.encoding or "utf-8"
        text = "".join(f"{line}\n" for line in lines).encode(encoding, errors="replace").decode(encoding)
        with self._lock:
            self._stream.write(text)
            self._stream.flush()


def _doing(running: _Running) -> str:
    what = [f"running for {duration(time.monotonic() - running.began)}"]
    step, line, shared = running.current.shown
    what += [_told(step, shared)] if step else []
    what += [shorten(line, _WIDTH, "...")] if line else []
    return ": ".join(what)


class GitHubLines(PlainLines):
    """Plain lines, and for a failed variant an annotation and its whole log as one folded block."""

    def finished(self, outcome: Outcome) -> None:
        """See Reporter."""
        super().finished(outcome)
        if outcome.status is not Status.FAILED or outcome.error is None:
            return
        message = f"{outcome.error.step}: {outcome.error.message}" if outcome.error.step else outcome.error.message
        title = f"{outcome.id} failed ({outcome.error.failure})"
        place = github.Place(file=outcome.error.file, line=outcome.error.line)
        block = [github.command("error", message, title=title, place=place)]
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


class JsonLines:
    """One JSON object a line for each thing that happens, for programs (docs/build.md)."""

    def __init__(self, *, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def started(self, variant: str) -> None:
        """See Reporter."""
        self._write(variant, "started")

    def attempt(self, variant: str, number: int, of: int) -> None:
        """See Reporter."""
        self._write(variant, "attempt", number=number, of=of)

    def event(self, variant: str, event: Event) -> None:
        """See Reporter."""
        match event:
            case StepStarted(number=number, name=name, kind=kind, shared=shared):
                more = {"shared": shared} if shared else {}
                self._write(variant, "step", number=number, name=name, kind=kind.value, state="started", **more)
            case StepDone(number=number, name=name, kind=kind, seconds=seconds, cached=cached):
                state = "cached" if cached else "done"
                step: dict[str, Any] = {"number": number, "name": name, "kind": kind.value, "state": state}
                self._write(variant, "step", **step, seconds=round(seconds, 3))
            case StepFailed(number=number, name=name, kind=kind, error=error, cancelled=cancelled):
                state = "cancelled" if cancelled else "failed"
                step = {"number": number, "name": name, "kind": kind.value, "state": state}
                self._write(variant, "step", **step, error=error)
            case LogLine(number=number, text=text):
                self._write(variant, "output", number=number, text=text)
            case Notice(text=text):
                self._write(variant, "notice", text=text)
            case _:
                pass

    def waiting(self, variant: str, number: int, of: int, seconds: float, reason: str) -> None:
        """See Reporter."""
        self._write(variant, "waiting", number=number, of=of, seconds=round(seconds, 3), reason=reason)

    def finished(self, outcome: Outcome) -> None:
        """See Reporter."""
        error = outcome.error
        self._write(
            outcome.id,
            "finished",
            status=outcome.status.value,
            digest=outcome.digest,
            seconds=round(outcome.seconds, 3),
            attempts=outcome.attempts,
            error=error_row(error) if error is not None else None,
        )

    def notice(self, text: str) -> None:
        """What belongs to no variant."""
        self._write(None, "notice", text=text)

    def _write(self, variant: str | None, event: str, **fields: Any) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json_text({"time": now, "variant": variant, "event": event, **fields}, indent=None)
        with self._lock:
            self._stream.write(f"{line}\n")
            self._stream.flush()


class Quiet:
    """Shows nothing until the results."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def started(self, variant: str) -> None:
        """See Reporter."""

    def attempt(self, variant: str, number: int, of: int) -> None:
        """See Reporter."""

    def event(self, variant: str, event: Event) -> None:
        """See Reporter."""

    def waiting(self, variant: str, number: int, of: int, seconds: float, reason: str) -> None:
        """See Reporter."""

    def finished(self, outcome: Outcome) -> None:
        """See Reporter."""


def brief(name: str) -> str:
    """Return a step's name for a line: without the options in front of a RUN's command, and not over 110 characters."""
    return shorten(OPTIONS.sub("", name), _WIDTH, "...")


def _told(name: str, shared: str) -> str:
    """A step that runs, and the variant for which BuildKit runs it as well."""
    return f"{brief(name)}{f' (shared with {shared})' if shared else ''}"


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
