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
    from collections.abc import Callable, Collection, Iterator, Sequence

    from orchestrator.process import Completed

# BuildKit compiles a pattern anew for each of its records: 500 ids of 25 characters took 2 s beside 1,300 records.
_WORK = 100_000  # records times ids of one prune
_AT_LEAST, _AT_MOST = 10, 500  # ids in one prune: an argument has at most 128 kB
_LISTED_S = 600  # that pass at most between listing and removing
_SHORTEST = 8  # characters of an id that stand for it: a record made meanwhile has the same with one in 10^12
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
        unused_s: Seconds that it was unused for, as buildx says and less than; None where it was never used.
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
    unused_s: tuple[int, int] | None = None


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


def remove(
    chosen: Sequence[CacheRecord],
    held: Sequence[CacheRecord],
    builder: str = "",
    *,
    told: Callable[[int, int], None] | None = None,
) -> None:
    """Remove records; one that lies below another that stays, or is used meanwhile, stays.

    Args:
        chosen: What goes, children before their parents.
        held: All that the cache holds.
        builder: Its name, "" for the current one.
        told: Called with how many records are done, and of how many.

    Raises:
        EnvironmentLacksError: The builder does not answer.
        InterruptedRunError: A stop was asked for.
    """
    ids = [one.id for one in chosen]
    age = only_chosen_after(chosen, held)
    if age is not None:
        _require_pruned(beyond.prune_older(age, builder))
        left = {one.id for one in records(builder)}
        ids = [one for one in ids if one in left]
    done = len(chosen) - len(ids)
    for some in portions(ids, {one.id for one in held}):
        if told is not None:
            told(done, len(chosen))
        _require_pruned(beyond.prune_cache(some, builder))
        done += len(some)
    if told is not None:
        told(done, len(chosen))


def _require_pruned(done: Completed) -> None:
    if not done.ok:
        raise EnvironmentLacksError(f"the build cache cannot be pruned: {buildx.last_error(done.stderr)}")


def only_chosen_after(chosen: Sequence[CacheRecord], held: Sequence[CacheRecord]) -> int | None:
    """Return an age that nothing has but what goes, mounts and what is in use; None where there is no such age.

    Args:
        chosen: What goes.
        held: All that the cache holds.

    Returns:
        Seconds without use.
    """
    going = {one.id for one in chosen}
    spared = [one for one in held if one.id not in going and one.type is not RecordType.MOUNT and not one.in_use]
    if any(one.unused_s is None for one in spared):  # they go at any age
        return None
    age = max((one.unused_s[1] + _LISTED_S for one in spared if one.unused_s), default=0)
    found = [one for one in chosen if one.type is not RecordType.MOUNT]
    return age if any(one.unused_s is None or one.unused_s[0] >= age for one in found) else None


def portions(ids: Sequence[str], known: Collection[str]) -> Iterator[list[str]]:
    """Yield what stands for each id and for no other, in portions that one prune takes seconds for.

    Args:
        ids: Of the records that go.
        known: Of all records.
    """
    from bisect import bisect_left

    ordered = sorted(known)
    short = []
    for one in ids:
        at = bisect_left(ordered, one)
        beside = [other for other in ordered[max(0, at - 1) : at + 2] if other != one]
        length = _SHORTEST
        while length < len(one) and any(other.startswith(one[:length]) for other in beside):
            length += 1
        short.append(one[:length] if length < len(one) else f"{one}$")
    size = min(_AT_MOST, max(_AT_LEAST, _WORK // max(1, len(known))))
    for start in range(0, len(short), size):
        yield short[start : start + size]


def _record(row: dict[str, Any], now: datetime) -> CacheRecord:
    if not _ID.fullmatch(row["ID"]):
        raise ValueError(row["ID"])
    created = _created(row["CreatedAt"])
    used = str(row.get("LastUsedAt") or "")
    return CacheRecord(
        id=row["ID"],
        type=_type(str(row.get("Type") or "")),
        description=str(row.get("Description") or ""),
        size=parse_size(str(row["Size"])),
        created=created,
        used=max(created, now - timedelta(seconds=_age(used)[0] or 1)) if used else created,
        parents=tuple(map(str, row.get("Parents") or ())),
        in_use=not row.get("Reclaimable", False),
        shared=bool(row.get("Shared")),
        unused_s=_age(used) if used else None,
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


def _age(text: str) -> tuple[int, int]:
    """Seconds as they are said, and less than; `docker/go-units` rounds hours to the nearest and cuts the rest."""
    match = _AGE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    unit = _SECONDS[match[2]]
    number = int(match[1] or 1)
    least = 0 if text.startswith("Less") else number * unit
    return least, (number + 1) * unit
