"""What the caches of a plan hold on this machine: local layer caches, stores and state, as rows for `cache ls`."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from orchestrator.bake.cache import local_directory
from orchestrator.bake.cached import cache_ladder, cache_policy
from orchestrator.cache.budget import Directory
from orchestrator.engine.build_cache import RecordType
from orchestrator.state import STATE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from orchestrator.bake.ladder import Standing
    from orchestrator.cache.prune import Verdict
    from orchestrator.cache.repository import Held
    from orchestrator.engine.build_cache import CacheRecord
    from orchestrator.matrix.variants import Plan


class Where(StrEnum):
    """Where something is held."""

    BUILDER = "builder"
    DIRECTORY = "directory"
    STORE = "store"
    REGISTRY = "registry"


class Holding(Struct, frozen=True, kw_only=True):
    """Something that a cache holds.

    Attributes:
        where: The kind of place.
        kind: What it is: layers, cache mount, compile cache, logs…
        name: Its reference, directory or id.
        variants: The variants whose it is; () for all or none.
        size: Bytes.
        reclaimable: Bytes of them that `cache prune` may remove.
        used: When it was last used or made; None where unknown.
    """

    where: Where
    kind: str
    name: str
    size: int
    variants: tuple[str, ...] = ()
    reclaimable: int = 0
    used: datetime | None = None


Owned: TypeAlias = tuple[Directory, tuple[str, ...]]
"""A local layer cache, and the variants whose it is."""

_RECORDS = {
    RecordType.LAYER: "layers",
    RecordType.SOURCE: "build contexts",
    RecordType.GIT: "git checkouts",
    RecordType.FRONTEND: "frontends",
    RecordType.INTERNAL: "internal",
}


def of_builder(
    records: Sequence[CacheRecord], name: str, *, needed: Collection[str], namespaces: Mapping[str, tuple[str, ...]]
) -> Iterator[Holding]:
    """Yield a row for each kind of record, and one for each cache mount.

    Args:
        records: What the builder's cache holds.
        name: Of the builder.
        needed: Ids of the records that the next plan needs.
        namespaces: Namespace of a compile cache -> the variants that share it.
    """
    for type_, kind in _RECORDS.items():
        found = [one for one in records if one.type is type_]
        if found:
            free = sum(one.size for one in found if not (one.in_use or one.id in needed))
            size = sum(one.size for one in found)
            yield Holding(
                where=Where.BUILDER, kind=kind, name=f"{name}, {len(found)} records", size=size,
                reclaimable=free, used=max(one.used for one in found),
            )  # fmt: skip
    for one in sorted((one for one in records if one.type is RecordType.MOUNT), key=lambda one: -one.size):
        mount, _, rest = one.description.removeprefix("cached mount ").partition(" from ")
        given = rest.rpartition(' with id "')[2].removesuffix('"').strip("/") if ' with id "' in rest else ""
        users = namespaces.get(given.removeprefix("compile-cache-"))
        yield Holding(
            where=Where.BUILDER, kind="compile cache" if users else "cache mount", name=given or mount, size=one.size,
            variants=users or (), used=one.used,
        )  # fmt: skip


def local_caches(plan: Plan, standing: Standing, *, disk: Path | None = None) -> list[Owned]:
    """Return the local layer caches, each with the variants whose it is.

    A checkout is untrusted, and what is returned may be removed: only a directory with the name of one of the matrix'
    references that holds an index of BuildKit counts, and none behind a link.

    Args:
        plan: Every variant of the matrix.
        standing: What a build may do with caches here and now.
        disk: Where the engine keeps its layers, None where that is elsewhere.
    """
    policy = cache_policy(plan)
    folder = Path(policy.directory)
    needed: set[str] = set()
    owners: dict[str, list[str]] = {}
    for variant in plan.variants:
        owners.setdefault(local_directory(policy, variant.cache_ref), []).append(variant.id)
        found = cache_ladder(plan, variant, standing)
        needed |= {local_directory(policy, rung.ref) for rung in (*found.read, *found.write)}
    rows = []
    for path in sorted(folder.iterdir()) if folder.is_dir() and not linked(folder, plan.matrix.root) else []:
        base = max((one for one in owners if str(path).startswith(one)), key=len, default="")
        if base and not path.is_symlink() and (path / "index.json").is_file():
            size, used = measured(path)
            own = str(path).removesuffix(".new").removesuffix(".old")
            row = Directory(
                path=path, size=size, used=used or datetime.fromtimestamp(0, UTC), needed=own in needed,
                same_disk=disk is not None and _disk(path) == _disk(disk),
            )  # fmt: skip
            rows.append((row, tuple(owners.get(base, ()))))
    return rows


def linked(folder: Path, root: Path) -> bool:
    """Return whether a link inside of the project leads to a directory."""
    return any(one.is_symlink() for one in (folder, *folder.parents) if one.is_relative_to(root.absolute()))


def of_directories(rows: Sequence[Owned]) -> Iterator[Holding]:
    """Yield a row for each local layer cache."""
    for one, variants in rows:
        yield Holding(
            where=Where.DIRECTORY, kind="layers", name=str(one.path), size=one.size, variants=variants,
            reclaimable=0 if one.needed else one.size, used=one.used,
        )  # fmt: skip


def of_stores(root: Path, stores: Mapping[str, Path]) -> Iterator[Holding]:
    """Yield a row for each store that is there, and for the state directory.

    Args:
        root: The directory of the matrix.
        stores: What it is -> where.
    """
    state = root / STATE
    for kind, path in {"logs": state / "runs", "records": state / "inputs", **stores}.items():
        size, used = measured(path)
        if size:
            yield Holding(where=Where.STORE, kind=kind, name=str(path), size=size, used=used)


def of_repository(name: str, found: Held, verdict: Verdict, owners: Mapping[str, str]) -> Iterator[Holding]:
    """Yield a row for each tag; bytes that several tags share are counted for the first one alone.

    Args:
        name: Of the repository.
        found: What it holds.
        verdict: What of it can go.
        owners: Tag of the main branch's reference -> its variant.
    """
    doomed = {one.tag: one for one in verdict.doomed}
    seen: set[str] = set()
    for tag, digest in sorted(found.tags.items()):
        reach = found.reach.get(digest)
        sizes = {} if reach is None else {one: size for one, size in reach.sizes.items() if one not in seen}
        seen |= sizes.keys()
        size = sum(sizes.values())
        base = max((one for one in owners if tag == one or tag.startswith(f"{one}-")), key=len, default="")
        gone = doomed.get(tag)
        yield Holding(
            where=Where.REGISTRY, kind="layers" if base else "other tag", name=f"{name}:{tag}", size=size,
            variants=(owners[base],) if base else (), used=_time(reach.created if reach is not None else ""),
            reclaimable=size if gone is not None and not gone.shared else 0,
        )  # fmt: skip
    for one in (one for one in verdict.doomed if not one.tag):
        sizes = {digest: size for digest, size in found.reach[one.digest].sizes.items() if digest not in seen}
        seen |= sizes.keys()
        size = sum(sizes.values())
        yield Holding(
            where=Where.REGISTRY, kind="superseded export", name=f"{name}@{one.digest}", size=size, reclaimable=size,
            used=_time(found.reach[one.digest].created),
        )  # fmt: skip


def measured(path: Path) -> tuple[int, datetime | None]:
    """Return the bytes below a directory, each file once, and when one of them last changed; (0, None) for none."""
    size, newest, seen = 0, 0.0, set()
    for folder, _, names in os.walk(path, onerror=lambda _: None):
        for name in names:
            try:
                found = os.lstat(f"{folder}/{name}")
            except OSError:
                continue
            if found.st_nlink > 1:
                if (found.st_dev, found.st_ino) in seen:
                    continue
                seen.add((found.st_dev, found.st_ino))
            size += found.st_size
            newest = max(newest, found.st_mtime)
    return size, datetime.fromtimestamp(newest, UTC) if newest else None


def _disk(path: Path) -> int:
    try:
        return path.stat().st_dev
    except OSError:
        return -1


def _time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
