"""What each variant is to be: the value that `resume` decides about, for a build and for `plan --status` alike."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.bake.cache import local_directory
from orchestrator.bake.cached import cache_policy
from orchestrator.bake.file import repositories
from orchestrator.cache.contents import Contents
from orchestrator.cache.keys import unseen_note
from orchestrator.cache.statcache import StatCache
from orchestrator.matrix.selectors import every_id
from orchestrator.runs.explained import since
from orchestrator.runs.resume import Wanted
from orchestrator.state import STATE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orchestrator.bake.file import Output
    from orchestrator.cache.keys import Inputs
    from orchestrator.cache.records import Records
    from orchestrator.matrix.variants import Plan, Variant
    from orchestrator.runs.freshness import Freshness


def contents(
    plan: Plan, reports: Sequence[Path] = (), *, output: Output | None = None, cache: StatCache | None = None
) -> Contents:
    """Return what lists the contexts of a plan; what runs write themselves is in none, what lies beside it is.

    Args:
        plan: The plan.
        reports: Reports that the run reads or writes.
        output: Where results go, for the archives.
        cache: Digests that were read before; None for those of earlier runs.
    """
    root = plan.matrix.root.absolute()
    ours = [*reports, *_archives(plan, output), *_caches(plan)]
    return Contents(root=root, cache=cache or StatCache(root / STATE / "files.json"), ours=ours)


def _archives(plan: Plan, output: Output | None) -> Iterator[Path]:
    """The archives of a run, and those of earlier ones that built other variants of the matrix."""
    if output is None or output.directory is None:
        return
    for variant in plan.variants:
        yield from filter(None, (output.archive(variant.id), output.part(variant.id)))
    with contextlib.suppress(OSError):  # not made yet
        there = {path.name: path for path in output.directory.iterdir()}
        names = (f"{id_}.tar{end}" for id_ in every_id(plan.matrix.spec) for end in ("", ".part"))
        yield from (there[name] for name in names if name in there)


def _caches(plan: Plan) -> Iterator[Path]:
    """The local layer caches, which are directories of BuildKit's: what lies beside them is no cache."""
    policy = cache_policy(plan)
    if policy.backend != "local":
        return
    names = {local_directory(policy, variant.cache_ref) for variant in plan.variants}
    yield from (Path(f"{name}{suffix}") for name in names for suffix in ("", ".new", ".old"))
    with contextlib.suppress(OSError):  # not made yet
        yield from filter(_is_layout, Path(policy.directory).iterdir())


def _is_layout(path: Path) -> bool:
    return (path / "blobs").is_dir() or (path / "ingest").is_dir()


def wanted(
    variant: Variant, found: Inputs, *, image: str, output: Output, freshness: Freshness, records: Records
) -> Wanted:
    """Return what a variant is to be.

    Args:
        variant: The variant.
        found: What goes into it.
        image: The plan's repository, for a variant without tags.
        output: Where its result goes.
        freshness: Tells which results are too old.
        records: What went into earlier builds, to say what changed since.
    """
    places = repositories(image, variant)
    return Wanted(
        id=variant.id,
        key=found.key,
        unknown=found.unknown,
        unseen=unseen_note(found),
        tags=tuple(tag.text for tag in variant.tags) if output.push or output.load else (),
        repositories=places if variant.tags else dict.fromkeys(places, ()),
        since=partial(since, variant.id, found, records),
        stale=partial(freshness.stale, found.bases),
        uncompared=partial(freshness.uncompared, found.bases),
    )
