"""Reads what BuildKit's cache on a builder holds (`docker buildx du`), and removes chosen records of it.

python-on-whales has no `buildx du`, and its `prune` cannot name records. Sizes and ages come as text, rounded by
buildx; the age is rounded down, to hours from two hours on and to days from two days on.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orchestrator.engine import beyond, buildx
from orchestrator.errors import EnvironmentLacksError
from orchestrator.sizes import InvalidSizeError, parse_size

if TYPE_CHECKING:
    from collections.abc import Sequence

_AT_ONCE = 500  # ids in one prune: an argument has at most 128 kB, an id about 26 bytes
_AGE = re.compile(r"(?:Less than a|About an?|(\d+)) (second|minute|hour|day|week|month|year)s?(?: ago)?")
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800, "month": 2592000, "year": 31536000}
_CREATED = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.\d+)? ([+-]\d{4})")
_ID = re.compile(r"[A-Za-z0-9_-]+")


class RecordType(StrEnum):
    """What a record of BuildKit's cache is."""

    MOUNT = "exec.cachemount"
    SOURCE = "source.local"
    GIT = "source.git.checkout"
    FRONTEND = "frontend"
    INTERNAL = "internal"
    LAYER = "regular"


class CacheRecord(Struct, frozen=True, kw_only=True):
    """One record.

    Attributes:
        id: Its id.
        type: What it is; what a newer BuildKit adds counts as internal.
        description: What made it, as BuildKit says it.
        size: Bytes.
        created: When.
        used: When last, at the latest: buildx rounds.
        parents: Ids of the records that it lies on.
        in_use: Whether a build uses it now.
        shared: Whether an image of the engine holds its bytes as well: removing it frees nothing.
    """

    id: str
    type: RecordType
    description: str
    size: int
    created: datetime
    used: datetime
    parents: tuple[str, ...] = ()
    in_use: bool = False
    shared: bool = False


def records(builder: str = "", *, now: datetime | None = None) -> list[CacheRecord]:
    """Return what the cache of a builder holds.

    Args:
        builder: Its name, "" for the current one.
        now: What ages are counted from.

    Raises:
        EnvironmentLacksError: The builder does not answer, or its answer cannot be read.
        InterruptedRunError: A stop was asked for.
    """
    done = beyond.cache_usage(builder)
    if not done.ok:
        raise EnvironmentLacksError(f"the build cache cannot be listed: {buildx.last_error(done.stderr)}")
    return parse(done.stdout, now=now or datetime.now(UTC))


def parse(text: str, *, now: datetime) -> list[CacheRecord]:
    """Read the lines of `docker buildx du --format json`.

    Raises:
        EnvironmentLacksError: A line cannot be read.
    """
    found = []
    for line in text.splitlines():
        if line.strip():
            try:
                found.append(_record(json.loads(line), now))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError, InvalidSizeError) as error:
                raise EnvironmentLacksError(f"docker buildx du: a line is invalid: {line[:200]!r}") from error
    return found


def remove(ids: Sequence[str], builder: str = "") -> None:
    """Remove records; one that lies below another that stays, or is used meanwhile, stays.

    Args:
        ids: Of the records, children before their parents.
        builder: Its name, "" for the current one.

    Raises:
        EnvironmentLacksError: The builder does not answer.
        InterruptedRunError: A stop was asked for.
    """
    for start in range(0, len(ids), _AT_ONCE):
        done = beyond.prune_cache(ids[start : start + _AT_ONCE], builder)
        if not done.ok:
            raise EnvironmentLacksError(f"the build cache cannot be pruned: {buildx.last_error(done.stderr)}")


def _record(row: dict[str, Any], now: datetime) -> CacheRecord:
    if not _ID.fullmatch(row["ID"]):
        raise ValueError(row["ID"])
    created = _created(row["CreatedAt"])
    used = row.get("LastUsedAt") or ""
    return CacheRecord(
        id=row["ID"],
        type=_type(str(row.get("Type") or "")),
        description=str(row.get("Description") or ""),
        size=parse_size(str(row["Size"])),
        created=created,
        used=max(created, now - _age(str(used))) if used else created,
        parents=tuple(map(str, row.get("Parents") or ())),
        in_use=not row.get("Reclaimable", False),
        shared=bool(row.get("Shared")),
    )


def _type(text: str) -> RecordType:
    try:
        return RecordType(text)
    except ValueError:
        return RecordType.INTERNAL


def _created(text: str) -> datetime:
    match = _CREATED.match(text)
    if match is None:
        raise ValueError(text)
    return datetime.fromisoformat(f"{match[1]}T{match[2]}{match[3]}")


def _age(text: str) -> timedelta:
    match = _AGE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return timedelta(seconds=int(match[1] or 1) * _SECONDS[match[2]])
