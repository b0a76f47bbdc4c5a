"""What a plan changes against another one: variants, and the architectures, arguments and tags of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.matrix.layers import Value
    from orchestrator.matrix.variants import Plan, Variant


class Edit(Struct, frozen=True, kw_only=True):
    """One value that is another one.

    Attributes:
        what: Its name: "argument max_jobs", "CUDA".
        before, after: The values, None where there is none.
    """

    what: str
    before: str | None
    after: str | None


class Moved(Struct, frozen=True, kw_only=True):
    """A list that gains and loses words.

    Attributes:
        what: Its name: "archs", "tags".
        gained, lost: The words, in the order of the list that has them.
    """

    what: str
    gained: tuple[str, ...]
    lost: tuple[str, ...]


class Changed(Struct, frozen=True, kw_only=True):
    """A variant that both plans have, and that is not the same.

    Attributes:
        id: Its id.
        lists: What its lists gain and lose.
        edits: The single values that changed.
    """

    id: str
    lists: tuple[Moved, ...]
    edits: tuple[Edit, ...]


class Removed(Struct, frozen=True, kw_only=True):
    """A variant that is not built any more.

    Attributes:
        id: Its id.
        why: The reason that `exclude` gives, "" where the row is gone.
    """

    id: str
    why: str


class Difference(Struct, frozen=True, kw_only=True):
    """Two plans compared by the ids of their variants.

    Attributes:
        added: The variants that are new.
        removed: Those that are gone.
        changed: Those that are another one.
        same: How many are the same.
    """

    added: tuple[Variant, ...]
    removed: tuple[Removed, ...]
    changed: tuple[Changed, ...]
    same: int


def difference(before: Plan | None, after: Plan) -> Difference:
    """Compare two plans.

    Args:
        before: The old plan, None where there was no matrix.
        after: The new plan.
    """
    old = {variant.id: variant for variant in before.variants} if before is not None else {}
    new = {variant.id: variant for variant in after.variants}
    reasons = {row.id: row.why for row in after.dropped}
    changed = [_changed(old[name], variant) for name, variant in new.items() if name in old]
    return Difference(
        added=tuple(variant for name, variant in new.items() if name not in old),
        removed=tuple(Removed(id=name, why=reasons.get(name, "")) for name in old if name not in new),
        changed=tuple(one for one in changed if one.lists or one.edits),
        same=sum(not (one.lists or one.edits) for one in changed),
    )


def _changed(old: Variant, new: Variant) -> Changed:
    lists = (
        _moved("archs", map(str, old.archs.effective), map(str, new.archs.effective)),
        _moved("tags", _texts(old.tags), _texts(new.tags)),
        _moved("index tags", _texts(old.index_tags), _texts(new.index_tags)),
        _moved("floating tags", _texts(old.floating_tags), _texts(new.floating_tags)),
        _moved("secrets", _texts(old.secrets), _texts(new.secrets)),
    )
    edits = (
        *_edited("CUDA", old.cuda_version, new.cuda_version),
        *_edited(
            "arch list", old.arch_list.text or old.arch_list.template, new.arch_list.text or new.arch_list.template
        ),
        *_edited("runner", " ".join(old.runner), " ".join(new.runner)),
        *_pairs("argument", old.args, new.args),
        *_pairs("label", old.labels, new.labels),
        *_pairs("context", old.contexts, new.contexts),
        *_edited("cache", old.cache_ref, new.cache_ref),
        *_edited("FlashInfer headers", str(old.headers), str(new.headers)),
        *_edited("compile cache", str(old.compile_cache), str(new.compile_cache)),
    )
    return Changed(id=new.id, lists=tuple(one for one in lists if one.gained or one.lost), edits=edits)


def _texts(values: Iterable[Value]) -> list[str]:
    return [value.text for value in values]


def _moved(what: str, before: Iterable[str], after: Iterable[str]) -> Moved:
    old, new = list(before), list(after)
    return Moved(
        what=what, gained=tuple(one for one in new if one not in old), lost=tuple(one for one in old if one not in new)
    )


def _edited(what: str, before: str | None, after: str | None) -> tuple[Edit, ...]:
    return (Edit(what=what, before=before, after=after),) if before != after else ()


def _pairs(what: str, before: Mapping[str, Value], after: Mapping[str, Value]) -> list[Edit]:
    found: list[Edit] = []
    for name in dict.fromkeys((*before, *after)):
        old, new = before.get(name), after.get(name)
        found += _edited(f"{what} {name}", None if old is None else old.text, None if new is None else new.text)
    return found
