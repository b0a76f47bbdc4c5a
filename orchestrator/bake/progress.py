"""Follows one running bake: numbered steps, counts, the failure and its last lines.

Memory is bounded by the number of steps, not by the length of the log: of output only the tail of steps that have not
ended well is kept. Does not depend on where the lines come from nor on where the events go. Control sequences and
credentials are taken out of everything that leaves here.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.bake.counted import Counted
from orchestrator.bake.events import (
    Event,
    LogLine,
    PlainLine,
    RawLog,
    RawStatus,
    RawVertex,
    StepDone,
    StepFailed,
    StepKind,
    Steps,
    StepStarted,
    StepStatus,
    decode,
    step_kind,
)
from orchestrator.bake.imports import CacheSource, source
from orchestrator.bake.moved import Moved, Ran, StepTime, Tally, seconds, timeline
from orchestrator.bake.origin import Excerpt, Origin
from orchestrator.redact import redact
from orchestrator.untrusted import without_controls

if TYPE_CHECKING:
    from datetime import datetime

LINE_LIMIT = 16_000  # characters (unfinished: bytes) of one output line; a longer one is cut into several
TAIL_LINES = 40  # lines kept of each unfinished step, and of what buildx itself says
TAIL_WIDTH = 2_000  # characters kept of each such line
MESSAGE_WIDTH = 500

_CLIPPED = "[output clipped, log limit"
_CANCELLED = re.compile(r"\bcontext canceled\b|\bcode = Canceled\b|^canceled", re.IGNORECASE)
_RUN_ENDED = re.compile(r'^process ".*" did not complete successfully: ', re.DOTALL)
_PUSHED = re.compile(r"pushing manifest for (\S+@\S+)$")
_WRAPPING = re.compile(r"^(?:ERROR: )?(?:target [\w-]+: )?(?:failed to solve: )?", re.DOTALL)

SAID_NOTHING = "and printed nothing"
"""The end of the message of a failure that neither a step nor buildx has a word for."""


class Failure(Struct, frozen=True, kw_only=True):
    """Why a bake failed.

    Attributes:
        step: The failed step as BuildKit names it, or "" when buildx failed without one.
        kind: What that step does; StepKind.CLIENT without one.
        message: The reason in one line, without credentials.
        returncode: What buildx ended with (1; since 0.25 also 100 internal, 102 resource exhausted, 130 cancelled).
        client: What buildx itself said last (`ERROR: …`), for the cases that no step shows.
    """

    step: str
    kind: StepKind
    message: str
    returncode: int
    client: str = ""


class _Step(Struct):
    number: int
    name: str
    kind: StepKind
    started: datetime | None = None
    completed: datetime | None = None
    cached: bool = False
    error: str = ""
    received: int = 0
    tail: deque[str] | None = None  # of steps that have output and did not end well: an empty one takes 600 bytes
    pending: dict[int, bytes] | None = None


class Progress:
    """Follows one bake from its first line to its last.

    Vertexes are kept by digest alone: log entries name no other key, and a step that two linked targets share under
    two names is one step.
    """

    def __init__(self) -> None:
        self._steps: dict[str, _Step] = {}
        self._plain: deque[str] = deque(maxlen=TAIL_LINES)
        self._counted: Counted[_Step] = Counted()
        self._counts: Steps | None = None  # until one of them changes
        self._numbered = 0
        self.clipped = False
        self.cache_problems: tuple[str, ...] = ()
        self._sources: dict[str, CacheSource] = {}
        self.pushed: tuple[str, ...] = ()
        self._tally = Tally()
        self._excerpt = Excerpt()

    @property
    def moved(self) -> Moved:
        """The bytes that were moved so far."""
        return self._tally.moved

    @property
    def excerpt(self) -> Origin | None:
        """Where the failed instruction stands, as buildx prints it."""
        return self._excerpt.found

    @property
    def timeline(self) -> tuple[StepTime, ...]:
        """When each step ran that took time or belongs to the Dockerfile, in order."""
        ran = [
            Ran(name=step.name, kind=step.kind, started=step.started, completed=step.completed, state=_state(step))
            for step in self._steps.values()
            if step.started is not None
        ]
        return timeline(ran)

    @property
    def cache_sources(self) -> tuple[CacheSource, ...]:
        """The cache references that were read, in order."""
        return tuple(self._sources.values())

    @property
    def steps(self) -> Steps:
        """The counts as they stand."""
        if self._counts is None:
            counted = self._counted.steps()
            ended = [[step for step in same if step.completed is not None] for same in counted]
            self._counts = Steps(
                total=len(counted),
                done=sum(map(bool, ended)),
                cached=sum(bool(same) and all(step.cached for step in same) for same in ended),
            )
        return self._counts

    @property
    def first_ran(self) -> str:
        """The first step that did not come from the cache, "" where all did."""
        ran = [
            step
            for same in self._counted.steps()
            for step in same
            if step.number and not step.cached and not all(one.cached for one in same)
        ]
        return min(ran, key=lambda step: step.number).name if ran else ""

    def feed(self, line: bytes) -> list[Event]:
        """The events of one line of bake's standard error, in order."""
        found = decode(line)
        if found is None:
            return []
        if isinstance(found, PlainLine):
            text = _shown(found.text)
            self._excerpt.add(text)
            self._plain.append(text[:TAIL_WIDTH])
            return [PlainLine(text=text)]
        events: list[Event] = []
        for vertex in found.vertexes:
            self._vertex(vertex, events)
        for status in found.statuses:
            self._status(status, events)
        for log in found.logs:
            self._log(log, events)
        for warning in found.warnings:
            detail = tuple(map(_shown, warning.detail))
            events.append(replace(warning, text=_shown(warning.text), detail=detail, file=_shown(warning.file)))
        return events

    def behind(self, other: Progress) -> bool:
        """Whether another account of the same build knows more: an end or output of a step that is not known here."""
        for digest, there in other._steps.items():
            here = self._steps.get(digest)
            if there.completed is not None and (here is None or here.completed is None):
                return True
            if there.received > (here.received if here is not None else 0):
                return True
        return False

    def finish(self) -> list[Event]:
        """The events of output that ended without a newline."""
        events: list[Event] = []
        for step in self._steps.values():
            self._flush(step, events)
        return events

    def failure(self, returncode: int) -> Failure | None:
        """The failure behind an exit status, None for 0.

        When one step fails BuildKit cancels the others, so the first error that is no cancellation is the cause; a
        cache that could not be imported is never the cause (the build goes on without it).
        """
        if returncode == 0:
            return None
        failed = self._failed()
        client = next((line for line in reversed(self._plain) if line.startswith("ERROR:")), "")
        if not client and self._plain:
            client = self._plain[-1]
        if failed is None:
            text = client or f"docker buildx bake ended with status {returncode} {SAID_NOTHING}"
            return Failure(
                step="", kind=StepKind.CLIENT, message=one_line(text), returncode=returncode, client=one_line(client)
            )
        return Failure(
            step=failed.name,
            kind=failed.kind,
            message=one_line(_RUN_ENDED.sub("", failed.error)),  # the step already names the command
            returncode=returncode,
            client=one_line(client),
        )

    def last_lines(self) -> tuple[str, ...]:
        """The end of the failed step's own output; without any, of what buildx itself said."""
        failed = self._failed()
        if failed is not None and failed.tail:
            return tuple(failed.tail)
        return tuple(self._plain)

    def _failed(self) -> _Step | None:
        wrong = [s for s in self._steps.values() if s.error and s.kind is not StepKind.CACHE_IMPORT]
        real = [s for s in wrong if not _CANCELLED.search(s.error)] or wrong
        # An export that fails with ignore-error ends nothing: it is the cause only where nothing else failed.
        return next(iter([s for s in real if s.kind is not StepKind.CACHE_EXPORT] or real), None)

    def _step(self, digest: str, name: str = "") -> _Step:
        step = self._steps.get(digest)
        if step is None:
            shown = _shown(" ".join(name.split()))
            step = _Step(number=0, name=shown, kind=step_kind(shown))
            self._steps[digest] = step
            self._counted.add(shown, step.kind, step)
            self._counts = None
        return step

    def _vertex(self, vertex: RawVertex, events: list[Event]) -> None:
        step = self._step(vertex.digest, vertex.name)
        if vertex.started is not None and vertex.completed is None and (step.started is None or step.completed):
            self._start(step, vertex.digest, vertex.started, events)
        if vertex.completed is not None and step.completed is None:
            if step.started is None:
                # Out of the cache it begins and ends in one line: one event says all of it.
                begun: list[Event] = [] if vertex.cached else events
                self._start(step, vertex.digest, vertex.started or vertex.completed, begun)
            self._complete(step, vertex, vertex.completed, events)
        elif vertex.error and not step.error:
            step.error = _shown(vertex.error)

    def _start(self, step: _Step, digest: str, at: datetime, events: list[Event]) -> None:
        if step.completed is not None:  # started again: what was said of its end no longer holds
            step.completed, step.cached, step.error = None, False, ""
            self._counts = None
        if not step.number:
            self._numbered += 1
            step.number = self._numbered
        step.started = at
        events.append(StepStarted(number=step.number, name=step.name, kind=step.kind, steps=self.steps, vertex=digest))

    def _complete(self, step: _Step, vertex: RawVertex, at: datetime, events: list[Event]) -> None:
        self._flush(step, events)
        step.completed, step.cached, step.error = at, vertex.cached, _shown(vertex.error)
        self._counts = None
        took = seconds(step.started, at)
        if step.kind is StepKind.CACHE_IMPORT and not _CANCELLED.search(step.error):
            found = source(step.name, step.error)
            self._sources[found.ref] = found
        if step.error:
            if step.kind in (StepKind.CACHE_IMPORT, StepKind.CACHE_EXPORT) and not _CANCELLED.search(step.error):
                self.cache_problems += (_cache_problem(step),)
            events.append(
                StepFailed(
                    number=step.number,
                    name=step.name,
                    kind=step.kind,
                    seconds=took,
                    error=step.error,
                    steps=self.steps,
                    cancelled=bool(_CANCELLED.search(step.error)),
                )
            )
            return
        step.tail = None
        events.append(
            StepDone(
                number=step.number,
                name=step.name,
                kind=step.kind,
                seconds=took,
                cached=step.cached,
                steps=self.steps,
            )
        )

    def _status(self, status: RawStatus, events: list[Event]) -> None:
        step = self._steps.get(status.vertex)
        if step is None:
            return
        done = status.completed is not None
        if done and step.kind is StepKind.EXPORT and (found := _PUSHED.match(status.what)):
            self.pushed = tuple(dict.fromkeys((*self.pushed, _shown(found[1]))))
        self._tally.add(status, step.kind)
        if step.number:
            events.append(
                StepStatus(
                    number=step.number,
                    what=_shown(status.what),
                    current=status.current,
                    total=status.total,
                    done=done,
                    pulled=self.moved.pulled,
                    sent=self.moved.sent,
                    pushed=self.moved.pushed,
                )
            )

    def _log(self, log: RawLog, events: list[Event]) -> None:
        step = self._step(log.vertex)
        if not step.number:
            self._numbered += 1
            step.number = self._numbered
        step.received += len(log.data)
        data = log.data if step.pending is None else step.pending.pop(log.stream, b"") + log.data
        *whole, rest = data.split(b"\n")
        for line in whole:
            self._lines(step, log.stream, line, events)
        while len(rest) > LINE_LIMIT:
            cut = rest.rfind(b" ", 0, LINE_LIMIT) + 1 or LINE_LIMIT  # not in the middle of a URL
            self._lines(step, log.stream, rest[:cut], events)
            rest = rest[cut:]
        if rest:
            step.pending = {**(step.pending or {}), log.stream: rest}

    def _flush(self, step: _Step, events: list[Event]) -> None:
        pending, step.pending = step.pending, None
        for stream, rest in (pending or {}).items():
            self._lines(step, stream, rest, events)

    def _lines(self, step: _Step, stream: int, line: bytes, events: list[Event]) -> None:
        whole = _shown(_as_shown(line))  # before it is cut: a half of a credential has no form to know it by
        for at in range(0, len(whole) or 1, LINE_LIMIT):
            text = whole[at : at + LINE_LIMIT]
            self.clipped = self.clipped or text.startswith(_CLIPPED)
            if step.tail is None:
                step.tail = deque(maxlen=TAIL_LINES)
            step.tail.append(text[:TAIL_WIDTH])
            events.append(LogLine(number=step.number, stream=stream, text=text))


def _shown(text: str) -> str:
    """Text of a build without control sequences, which may hide a credential, and without credentials."""
    return redact(without_controls(text))


def one_line(text: str) -> str:
    """Return a reason in one line: without BuildKit's wrapping, line breaks, credentials and excess length."""
    flat = " ".join(_shown(_WRAPPING.sub("", text)).split())
    return flat if len(flat) <= MESSAGE_WIDTH else flat[: MESSAGE_WIDTH - 1] + "…"


def _cache_problem(step: _Step) -> str:
    if step.kind is StepKind.CACHE_EXPORT:
        return f"the cache was not written: {one_line(step.error)}"
    reference = step.name.rpartition(" ")[2]
    if step.error.endswith("not found"):
        return f"no cache at {reference} yet"
    return f"cache {reference} could not be used: {one_line(step.error)}"


def _as_shown(line: bytes) -> str:
    """A line as a terminal would leave it: of pieces that overwrite each other (progress bars) the last."""
    text = line.decode(errors="replace").rstrip("\r")
    return text.rsplit("\r", 1)[-1] if "\r" in text else text


def _state(step: _Step) -> str:
    if step.completed is None:
        return "unfinished"
    return "failed" if step.error else "cached" if step.cached else "done"
