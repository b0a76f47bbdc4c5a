"""What each variant is to be: the value that `resume` decides about, for a build and for `plan --status` alike."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from orchestrator.bake.file import repositories
from orchestrator.cache.contents import Contents
from orchestrator.cache.keys import unseen_note
from orchestrator.cache.statcache import StatCache
from orchestrator.runs.explained import since
from orchestrator.runs.resume import Wanted
from orchestrator.state import STATE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from orchestrator.bake.file import Output
    from orchestrator.cache.keys import Inputs
    from orchestrator.cache.records import Records
    from orchestrator.matrix.variants import Plan, Variant
    from orchestrator.runs.freshness import Freshness


def contents(plan: Plan, written: Sequence[Path | None] = (), *, cache: StatCache | None = None) -> Contents:
    """Return what lists the contexts of a plan; files and directories that a run itself writes are in none.

    Args:
        plan: The plan.
        written: More of them: the report, the directory of the archives.
        cache: Digests that were read before; None for those of earlier runs.
    """
    root = plan.matrix.root.absolute()
    ours = [path for path in (*written, root / plan.matrix.spec.cache.dir) if path is not None]
    return Contents(root=root, cache=cache or StatCache(root / STATE / "files.json"), ours=ours)


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
    )
