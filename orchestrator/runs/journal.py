"""Keeps the journal of runs: which variant was built from which inputs, and what it cost.

One file of JSON lines under the state directory, only ever appended to, each entry one write and an fsync: a run that
is killed in the middle costs at most its own last line. Does not depend on how outcomes come about.
"""

from __future__ import annotations

import contextlib
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from orchestrator import files
from orchestrator.runs.outcome import Status, Steps

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from orchestrator.runs.outcome import Outcome

_SCHEMA = 1
_IMAGE_URI = re.compile(r"pkg:docker/(?P<name>[^?#]+)(?:\?.*)?")


class Entry(Struct, frozen=True, kw_only=True, tag_field="schema", tag=_SCHEMA):
    """One variant's end in one run; types are checked while a line is read, as every build reads all of them.

    Attributes:
        id: The variant.
        key: Stands for everything it was built from; equal keys mean equal inputs. "" where not known.
        status: How it ended.
        digest: What was built, `sha256:…`.
        tags: The references it was given.
        attempts: How often it was tried.
        seconds: How long it took.
        steps: Dockerfile steps.
        peak: Bytes by which free disk space fell while it ran, at most (of all variants that ran beside it too).
        size, mtime_ns, sha256: Of its archive; 0, 0 and "" where none was written.
        first_ran, cache, changes: The first step that ran, and why; `orchestrate cache explain` shows them.
        sources: Cache reference that was read -> what was found there, as it is shown.
        inputs: Name of the record of what went in.
        bases: Image -> digest, as BuildKit resolved the images that it starts from.
        builder: The builder of its last attempt, "" where not known.
        at: When, ISO 8601 in UTC.
    """

    id: str
    key: str
    status: Status
    digest: str | None
    tags: tuple[str, ...]
    attempts: int
    seconds: float
    steps: Steps
    peak: int
    at: str
    size: int = 0
    mtime_ns: int = 0
    sha256: str = ""
    first_ran: str = ""
    cache: str = ""
    changes: tuple[str, ...] = ()
    sources: dict[str, str] = field(default_factory=dict)
    inputs: str = ""
    bases: dict[str, str] = field(default_factory=dict)
    builder: str = ""


class Journal:
    """The journal file, read once and then appended to.

    Args:
        path: The file, `.orchestrate/journal.jsonl` as a rule; it need not exist. Lines that are cut off or of
            another program are skipped.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._by_key: dict[tuple[str, str], Entry] = {}
        self._made: dict[tuple[str, str], dict[str, Entry]] = {}
        self._last: dict[str, Entry] = {}
        self._peaks: dict[str, int] = {}
        self._slowest: dict[str, float] = {}
        for entry in _entries(path):
            self._remember(entry)

    def built(self, variant: str, key: str) -> Entry | None:
        """Return the variant's last entry for these inputs if it was built then; None for an empty key."""
        entry = self._by_key.get((variant, key)) if key else None
        return entry if entry is not None and entry.status is Status.BUILT else None

    def digests(self, variant: str, key: str) -> frozenset[str]:
        """Return the digest of every build of these inputs, whatever its output was."""
        return frozenset(self._made.get((variant, key), ()))

    def made(self, variant: str, key: str, digest: str) -> Entry | None:
        """Return the last build of these inputs that gave this digest: what is elsewhere may be of an earlier one."""
        return self._made.get((variant, key), {}).get(digest)

    def last(self, variant: str) -> Entry | None:
        """Return the variant's last entry that was built, from whatever inputs."""
        return self._last.get(variant)

    def records(self) -> set[str]:
        """Return the names of the records that the last builds of all variants refer to."""
        return {entry.inputs for entry in self._last.values() if entry.inputs}

    def peak(self, variant: str) -> int:
        """Return the most bytes of disk that the variant needed in a run; 0 where unknown."""
        return self._peaks.get(variant, 0)

    def slowest(self, variant: str) -> float:
        """Return the seconds of the variant's slowest build that succeeded; 0 where unknown."""
        return self._slowest.get(variant, 0.0)

    def add(self, outcome: Outcome, *, key: str, peak: int = 0) -> None:
        """Append an outcome.

        Raises:
            OSError: The file cannot be written.
        """
        entry = Entry(
            id=outcome.id,
            key=key,
            status=outcome.status,
            digest=outcome.digest,
            tags=outcome.tags,
            attempts=outcome.attempts,
            seconds=round(outcome.seconds, 3),
            steps=outcome.steps,
            peak=peak,
            size=outcome.size,
            mtime_ns=outcome.mtime_ns,
            sha256=outcome.sha256,
            first_ran=outcome.first_ran,
            cache=outcome.cache,
            changes=outcome.changes,
            sources={one.ref: one.state.value for one in outcome.cache_sources},
            inputs=outcome.inputs,
            bases=bases(outcome.metadata),
            builder=outcome.builder,
            at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self._append(_write(entry))
        self._remember(entry)

    def _remember(self, entry: Entry) -> None:
        self._by_key[entry.id, entry.key] = entry
        if entry.status is Status.BUILT:
            if entry.digest:
                self._made.setdefault((entry.id, entry.key), {})[entry.digest] = entry
            self._last[entry.id] = entry
            self._slowest[entry.id] = max(entry.seconds, self._slowest.get(entry.id, 0.0))
        # The largest of all runs: a run from a warm cache needs almost nothing and says nothing of a cold one.
        self._peaks[entry.id] = max(entry.peak, self._peaks.get(entry.id, 0))

    def _append(self, line: str) -> None:
        files.make_private(self._path.parent)
        # The newline in front ends a line that a killed run left torn; an empty line costs nothing.
        files.append(self._path, f"\n{line}\n")


def bases(metadata: Mapping[str, Any] | None) -> dict[str, str]:
    """Return image -> digest of what a build started from, as its provenance says; {} where it says nothing.

    Args:
        metadata: What `--metadata-file` holds for the target.
    """
    try:
        provenance: Any = (metadata or {})["buildx.build.provenance"]
        materials = provenance.get("materials") or provenance["buildDefinition"]["resolvedDependencies"]
        found = {
            str(one["uri"]): str(one["digest"]["sha256"]) for one in materials if "sha256" in one.get("digest", {})
        }
    except (AttributeError, KeyError, TypeError):
        return {}
    images = ((_IMAGE_URI.fullmatch(uri), digest) for uri, digest in found.items())
    return {unquote(match["name"]).replace("@", ":"): f"sha256:{digest}" for match, digest in images if match}


def _write(entry: Entry) -> str:
    row = {
        "schema": _SCHEMA,
        "id": entry.id,
        "key": entry.key,
        "status": entry.status.value,
        "digest": entry.digest,
        "tags": list(entry.tags),
        "attempts": entry.attempts,
        "seconds": entry.seconds,
        "steps": {"total": entry.steps.total, "cached": entry.steps.cached},
        "peak": entry.peak,
        "size": entry.size,
        "mtime_ns": entry.mtime_ns,
        "sha256": entry.sha256,
        "first_ran": entry.first_ran,
        "cache": entry.cache,
        "changes": list(entry.changes),
        "sources": dict(entry.sources),
        "inputs": entry.inputs,
        "bases": dict(entry.bases),
        "builder": entry.builder,
        "at": entry.at,
    }
    return json.dumps(row, separators=(",", ":"))


def _entries(path: Path) -> Iterator[Entry]:
    """The entries of the file in order; what is no line of it is skipped."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return
    row = msgspec.json.Decoder(Entry)
    for line in lines:
        # A line may hold anything: half of one, bytes that are no text, ten thousand brackets.
        with contextlib.suppress(msgspec.MsgspecError, ValueError, RecursionError):
            entry = row.decode(line)
            yield replace(entry, steps=replace(entry.steps, done=entry.steps.total))
