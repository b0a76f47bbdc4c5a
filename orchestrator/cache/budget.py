"""Chooses what of the caches of a machine goes so that they fit a budget: the longest unused first.

Never chosen: mounts of compile caches and package managers, what a build uses now, what the next plan needs, and what
such a record lies on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.engine.build_cache import RecordType

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime
    from pathlib import Path

    from orchestrator.engine.build_cache import CacheRecord


class Directory(Struct, frozen=True, kw_only=True):
    """A local layer cache.

    Attributes:
        path: Where it is.
        size: Bytes.
        used: When it was last written.
        needed: Whether the plan reads or writes it.
        same_disk: Whether it is on the disk of the engine.
    """

    path: Path
    size: int
    used: datetime
    needed: bool
    same_disk: bool = True


class Budget(Struct, frozen=True, kw_only=True):
    """What may be kept.

    Attributes:
        keep: Bytes that all caches may hold, None for no limit.
        min_free: Bytes that are to be free on the engine's disk, None for no limit.
        free: Bytes that are, None where unknown.
    """

    keep: int | None = None
    min_free: int | None = None
    free: int | None = None


class Choice(Struct, frozen=True, kw_only=True):
    """What goes.

    Attributes:
        records: Records of the builder's cache, children before their parents.
        directories: Local layer caches.
        held: Bytes that all caches hold now.
        freed: Bytes that go.
        missing: Bytes by which the budget is missed all the same.
    """

    records: tuple[CacheRecord, ...]
    directories: tuple[Directory, ...]
    held: int
    freed: int
    missing: int


def choose(
    records: Sequence[CacheRecord], directories: Sequence[Directory], budget: Budget, *, needed: Collection[str]
) -> Choice:
    """Return what goes.

    Args:
        records: What the builder's cache holds.
        directories: The local layer caches.
        budget: What may be kept.
        needed: Ids of the records that the next plan needs.
    """
    held = sum(one.size for one in records) + sum(one.size for one in directories)
    need = _Need(
        total=max(0, held - budget.keep) if budget.keep is not None else 0,
        disk=max(0, budget.min_free - budget.free) if budget.min_free is not None and budget.free is not None else 0,
    )
    removable = _Removable(records, needed)
    old = sorted((one for one in directories if not one.needed), key=lambda one: one.used, reverse=True)
    gone: list[CacheRecord] = []
    left: list[Directory] = []
    while need.open:
        record = removable.oldest()
        if old and (record is None or old[-1].used < record.used):
            directory = old.pop()
            left.append(directory)
            need.went(directory.size, disk=directory.same_disk)
        elif record is not None:
            removable.take(record)
            gone.append(record)
            need.went(record.size, disk=not record.shared)
        else:
            break
    return Choice(
        records=tuple(gone), directories=tuple(left), held=held, freed=need.freed, missing=max(need.total, need.disk, 0)
    )


class _Need(Struct, kw_only=True):
    """Bytes that are still to go: of all caches, and of the engine's disk."""

    total: int
    disk: int
    freed: int = 0

    @property
    def open(self) -> bool:
        return self.total > 0 or self.disk > 0

    def went(self, size: int, *, disk: bool = True) -> None:
        self.freed += size
        self.total -= size
        self.disk -= size if disk else 0


class _Removable:
    """Records that may go, the longest unused first; a parent only after all its children."""

    def __init__(self, records: Sequence[CacheRecord], needed: Collection[str]) -> None:
        self._by_id = {one.id: one for one in records}
        self._children = dict.fromkeys(self._by_id, 0)
        for one in records:
            for parent in one.parents:
                if parent in self._children:
                    self._children[parent] += 1
        self._needed = needed
        self._heap: list[tuple[datetime, datetime, str]] = []
        for one in records:
            self._offer(one)

    def _offer(self, one: CacheRecord) -> None:
        import heapq

        spared = one.type is RecordType.MOUNT or one.in_use or one.id in self._needed
        if not spared and not self._children[one.id]:
            heapq.heappush(self._heap, (one.used, one.created, one.id))

    def oldest(self) -> CacheRecord | None:
        return self._by_id[self._heap[0][2]] if self._heap else None

    def take(self, one: CacheRecord) -> None:
        import heapq

        heapq.heappop(self._heap)
        for parent in one.parents:
            if parent in self._children:
                self._children[parent] -= 1
                self._offer(self._by_id[parent])
