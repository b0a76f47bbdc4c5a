"""Decodes what a running bake says: the events of `--progress rawjson`.

BuildKit writes one JSON object a line (a SolveStatus: vertexes, statuses, logs, warnings; facts measured with buildx
0.29) and, on failure, plain text after it. This module turns one line into typed pieces and never fails on any bytes;
what the pieces mean together (which step failed, how many were cached) is in `progress`. Does not depend on how a
process is started nor on what is retried.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct


class StepKind(StrEnum):
    """What a BuildKit vertex does, as far as its failures are judged differently."""

    RUN = "run"
    FILE = "file"  # COPY, WORKDIR, ADD of a local file: the user's own tree
    FETCH = "fetch"  # ADD http…, git contexts
    BASE = "base"  # FROM, image sources
    METADATA = "metadata"
    AUTH = "auth"
    CONTEXT = "context"
    CACHE_IMPORT = "cache-import"
    CACHE_EXPORT = "cache-export"
    EXPORT = "export"  # exporting, pushing, sending the result
    INTERNAL = "internal"
    CLIENT = "client"  # no step at all: what buildx itself said


class Steps(Struct, frozen=True, kw_only=True):
    """How many Dockerfile steps a build has.

    Attributes:
        total: Steps that belong to the build (`[stage n/m] …`), each counted once.
        cached: Those of them that came from the cache.
        done: Those of them that have ended.
    """

    total: int = 0
    cached: int = 0
    done: int = 0


class StepStarted(Struct, frozen=True, kw_only=True):
    """A step began, or began again.

    `vertex` is BuildKit's digest of it. `shared` is another variant of the run for which BuildKit runs it at the same
    time, "" for none.
    """

    number: int
    name: str
    kind: StepKind
    steps: Steps
    vertex: str = ""
    shared: str = ""


class StepDone(Struct, frozen=True, kw_only=True):
    """A step succeeded, after `seconds` of its own work, or came from the cache."""

    number: int
    name: str
    kind: StepKind
    seconds: float
    cached: bool
    steps: Steps


class StepFailed(Struct, frozen=True, kw_only=True):
    """A step failed. For `StepKind.CACHE_IMPORT` the build goes on without that cache.

    A cancelled one is no reason of a failure: another step failed, or another build takes the same step over.
    """

    number: int
    name: str
    kind: StepKind
    seconds: float
    error: str
    steps: Steps
    cancelled: bool = False


class LogLine(Struct, frozen=True, kw_only=True):
    """One whole line of a step's output (`stream` 1 is its standard output, 2 its standard error)."""

    number: int
    stream: int
    text: str


class StepStatus(Struct, frozen=True, kw_only=True):
    """How far a part of a step is (a layer downloaded); `current` and `total` in bytes, 0 if unknown.

    `pulled`, `sent` and `pushed` are the bytes that the whole build has moved so far.
    """

    number: int
    what: str
    current: int
    total: int
    done: bool
    pulled: int = 0
    sent: int = 0
    pushed: int = 0


class StepWarning(Struct, frozen=True, kw_only=True):
    """A warning of BuildKit (a Dockerfile check, mostly); `file` and `line` where BuildKit gives them."""

    text: str
    detail: tuple[str, ...] = ()
    file: str = ""
    line: int = 0


class PlainLine(Struct, frozen=True, kw_only=True):
    """A line that is not JSON: what buildx says itself, the source excerpt and `ERROR: …` after a failure."""

    text: str


class Notice(Struct, frozen=True, kw_only=True):
    """What this program says of a build that runs: that it is quiet, say."""

    text: str


Event = StepStarted | StepDone | StepFailed | LogLine | StepStatus | StepWarning | PlainLine | Notice


class RawVertex(Struct, frozen=True, kw_only=True):
    """A vertex as one line has it; it is repeated as it changes."""

    digest: str = ""
    name: str = ""
    started: datetime | None = None
    completed: datetime | None = None
    cached: bool = False
    error: str = ""


class RawStatus(Struct, frozen=True, kw_only=True):
    """A status as one line has it; it is about `name`, or about `id` where that is empty."""

    vertex: str = ""
    id: str = ""
    name: str = ""
    current: int = 0
    total: int = 0
    completed: datetime | None = None

    @property
    def what(self) -> str:
        """What it is about."""
        return self.name or self.id


class RawLog(Struct, frozen=True, kw_only=True):
    """A piece of output, not necessarily a whole line."""

    vertex: str = ""
    stream: int = 0
    data: bytes = b""


class Update(Struct, frozen=True, kw_only=True):
    """One JSON line, decoded."""

    vertexes: tuple[RawVertex, ...] = ()
    statuses: tuple[RawStatus, ...] = ()
    logs: tuple[RawLog, ...] = ()
    warnings: tuple[StepWarning, ...] = ()


class _Line(Struct, frozen=True, kw_only=True):
    """A line of nothing but what is expected, without warnings: almost every one."""

    vertexes: tuple[RawVertex, ...] = ()
    statuses: tuple[RawStatus, ...] = ()
    logs: tuple[RawLog, ...] = ()
    warnings: None = None


def decode(line: bytes) -> Update | PlainLine | None:
    """Decode one line of bake's standard error.

    Args:
        line: The bytes up to a newline; any bytes at all.

    Returns:
        An Update for a line of rawjson progress, the text itself for every other line, None for an empty one.
        Pieces of an Update that do not have the expected shape are left out.
    """
    text = line.strip()
    if not text:
        return None
    if text.startswith(b"{"):
        if (update := _expected(text)) is not None:
            return update
        found = _json(text)
        if isinstance(found, dict) and not found.keys().isdisjoint(_KEYS):
            return Update(
                vertexes=tuple(v for v in map(_vertex, _dicts(found, "vertexes")) if v.digest),
                statuses=tuple(map(_status, _dicts(found, "statuses"))),
                logs=tuple(map(_log, _dicts(found, "logs"))),
                warnings=tuple(map(_warning, _dicts(found, "warnings"))),
            )
        if found == {}:
            return None
    return PlainLine(text=line.decode(errors="replace").rstrip())


_LINE = msgspec.json.Decoder(_Line)


def _expected(text: bytes) -> Update | None:
    """A line of the expected shape; None for one that has to be taken apart, as each with a warning."""
    try:
        found = _LINE.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    if not (found.vertexes or found.statuses or found.logs):
        return None
    return Update(vertexes=tuple(v for v in found.vertexes if v.digest), statuses=found.statuses, logs=found.logs)


_KEYS = frozenset({"vertexes", "statuses", "logs", "warnings"})


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _dicts(found: dict[str, Any], key: str) -> list[dict[str, Any]]:
    rows = found.get(key)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _vertex(row: dict[str, Any]) -> RawVertex:
    return RawVertex(
        digest=_text(row.get("digest")),
        name=_text(row.get("name")),
        started=_time(row.get("started")),
        completed=_time(row.get("completed")),
        cached=row.get("cached") is True,
        error=_text(row.get("error")),
    )


def _status(row: dict[str, Any]) -> RawStatus:
    return RawStatus(
        vertex=_text(row.get("vertex")),
        id=_text(row.get("id")),
        name=_text(row.get("name")),
        current=_number(row.get("current")),
        total=_number(row.get("total")),
        completed=_time(row.get("completed")),
    )


def _log(row: dict[str, Any]) -> RawLog:
    return RawLog(vertex=_text(row.get("vertex")), stream=_number(row.get("stream")), data=_bytes(row.get("data")))


def _warning(row: dict[str, Any]) -> StepWarning:
    detail = row.get("detail")
    info = row.get("sourceInfo")
    ranges = row.get("range")
    start = ranges[0].get("start") if isinstance(ranges, list) and ranges and isinstance(ranges[0], dict) else None
    return StepWarning(
        text=_bytes(row.get("short")).decode(errors="replace").strip(),
        detail=tuple(_bytes(one).decode(errors="replace") for one in detail) if isinstance(detail, list) else (),
        file=_text(info.get("filename")) if isinstance(info, dict) else "",
        line=_number(start.get("line")) if isinstance(start, dict) else 0,
    )


def _text(value: Any) -> str:
    # A lone surrogate can be written in JSON and cannot be written to a file.
    return value.encode(errors="replace").decode() if isinstance(value, str) else ""


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _bytes(value: Any) -> bytes:
    try:
        return base64.b64decode(value) if isinstance(value, str) else b""
    except (binascii.Error, ValueError):
        return b""


def _time(value: Any) -> datetime | None:
    try:
        return msgspec.convert(value, datetime) if isinstance(value, str) else None
    except (msgspec.ValidationError, ValueError):  # the latter for half of a surrogate pair
        return None


# An unnamed only stage has no name here.
_STAGE = re.compile(r"^\[(?:(?P<stage>[^\]]*?) )?(?P<number>\d+)/(?P<of>\d+)\] (?P<command>.*)$", re.DOTALL)
_REMOTE = re.compile(r"^(?:ADD\b.*?\s)?(?:https?|git|ssh)://|^git@", re.IGNORECASE)
_BEGINNINGS: tuple[tuple[re.Pattern[str], StepKind], ...] = (
    (re.compile(r"^\[internal\] load metadata\b|^resolve image config\b"), StepKind.METADATA),
    (re.compile(r"^\[internal\] load (?:git source|remote build context)\b"), StepKind.FETCH),
    (re.compile(r"^\[auth\]"), StepKind.AUTH),
    (re.compile(r"^importing cache manifest\b|^inferred cache manifest\b"), StepKind.CACHE_IMPORT),
    (
        re.compile(
            r"^exporting (?:cache\b|to GitHub Actions Cache\b)|^preparing (?:build cache\b|layers for inline cache\b)"
        ),
        StepKind.CACHE_EXPORT,
    ),
    (re.compile(r"^(?:exporting|pushing|sending|importing to docker|unpacking)\b"), StepKind.EXPORT),
    (re.compile(r"^docker-image://|^oci-layout://"), StepKind.BASE),
    (re.compile(r"^(?:\[context [^\]]*\] )?load from client|^\[internal\] load build context"), StepKind.CONTEXT),
    (re.compile(r"^\[context "), StepKind.BASE),
)


_FROM_CLIENT = re.compile(r"^\[internal\] load (?:build definition|\.dockerignore|local bake definitions)\b")


def from_client(name: str) -> bool:
    """Return whether a vertex waits for files that the client sends over the build's own connection."""
    return step_kind(name) is StepKind.CONTEXT or _FROM_CLIENT.match(name) is not None


class StepPlace(Struct, frozen=True, kw_only=True):
    """Where a step stands in its Dockerfile, as BuildKit names it: `[stage 2/5] RUN make`.

    Attributes:
        stage: Name of the stage, "" for an unnamed only one; behind the platform where a build has several.
        number: Of the step, from 1.
        of: How many steps the stage has.
        command: The instruction.
    """

    stage: str
    number: int
    of: int
    command: str


def step_place(name: str) -> StepPlace | None:
    """Return where a step stands in its Dockerfile; None for `[internal]` vertexes and others that are not in one."""
    if (found := _STAGE.match(name)) is None:
        return None
    return StepPlace(
        stage=found["stage"] or "", number=int(found["number"]), of=int(found["of"]), command=found["command"]
    )


def step_command(name: str) -> str | None:
    """Return the instruction of a Dockerfile's step; None as `step_place`."""
    place = step_place(name)
    return place.command if place else None


def step_kind(name: str) -> StepKind:
    """Return what a vertex does, read from its name as BuildKit's Dockerfile frontend writes it."""
    command = step_command(name)
    if command is not None:
        word = command.split(" ", 1)[0].upper()
        if word == "RUN":
            return StepKind.RUN
        if word == "FROM":
            return StepKind.BASE
        return StepKind.FETCH if _REMOTE.match(command) else StepKind.FILE
    for pattern, kind in _BEGINNINGS:
        if pattern.match(name):
            return kind
    if _REMOTE.match(name):
        return StepKind.FETCH
    return StepKind.INTERNAL
