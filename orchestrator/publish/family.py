"""Families: the variants that differ in platform alone, which one index holds, and the tags that it gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.bake.file import repositories
from orchestrator.errors import UsageError
from orchestrator.publish.record import Rank
from orchestrator.reference import Repository, Tag, parse, repository

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from orchestrator.matrix.variants import DroppedVariant, Plan, Variant


class Wish(Struct, frozen=True, kw_only=True):
    """A tag that a family is to get.

    Attributes:
        repository, tag: Which.
        rank: When it moves.
        immutable: Whether it must not move once it names something.
    """

    repository: Repository
    tag: Tag
    rank: Rank
    immutable: bool


class Family(Struct, frozen=True, kw_only=True):
    """The variants of one index.

    Attributes:
        name: As it is shown: `openai-cu130`.
        members: Platform -> variant, in the order of the plan.
        dropped: Platform -> row that the plan leaves out.
        required: Platforms without which the index is not published.
        wishes: The tags that it gets.
    """

    name: str
    members: Mapping[str, Variant]
    dropped: Mapping[str, DroppedVariant]
    required: tuple[str, ...]
    wishes: tuple[Wish, ...]

    @property
    def repositories(self) -> tuple[Repository, ...]:
        """Every repository that it is published to, once."""
        return tuple(dict.fromkeys(wish.repository for wish in self.wishes))


def families(plan: Plan, chosen: Collection[str]) -> tuple[Family, ...]:
    """Return the families of a plan.

    Args:
        plan: The whole plan: a family is what the matrix plans, whatever the options select of it.
        chosen: Ids of variants; a family with one of them is returned whole.

    Raises:
        UsageError: The matrix publishes nothing.
    """
    spec = plan.matrix.spec.publish
    if spec is None or not (spec.tags or spec.floating):
        raise UsageError(
            f"{plan.matrix.positions.file}: publish.tags was not found: there is no tag to move",
            hint='add publish: {tags: ["{image}:{git.sha}{cuda.tag_suffix}{target.tag_suffix}"]}',
        )
    found: dict[tuple[tuple[str, str], ...], list[Variant]] = {}
    for variant in plan.variants:
        found.setdefault(variant.family(), []).append(variant)
    dropped: dict[tuple[tuple[str, str], ...], dict[str, DroppedVariant]] = {}
    for row in plan.dropped:
        dropped.setdefault(row.family(), {})[row.cell["platform"]] = row
    return tuple(
        Family(
            name=_name(members[0]),
            members={variant.platform: variant for variant in members},
            dropped=dropped.get(key, {}),
            required=tuple(spec.require_platforms),
            wishes=_wishes(members[0], immutable=spec.immutable),
        )
        for key, members in found.items()
        if any(variant.id in chosen for variant in members)
    )


def source(plan: Plan, variant: Variant) -> Repository:
    """Return the repository that a variant is pushed to."""
    return repository(next(iter(repositories(plan.image, variant))))


def _name(variant: Variant) -> str:
    """The variant's id without its platform."""
    parts = [variant.target, f"cu{variant.cuda.replace('.', '')}"]
    return "-".join([*parts, *(f"{name}{value}" for name, value in variant.axes.items())])


def _wishes(variant: Variant, *, immutable: bool) -> tuple[Wish, ...]:
    found: dict[tuple[Repository, Tag], Wish] = {}
    to = [repository(value.text) for value in variant.index_repositories]
    for values, floating in ((variant.index_tags, False), (variant.floating_tags, True)):
        for value in values:
            named = parse(value.text)
            if named.tag is None:  # reported by matrix/render.py
                continue
            rank = Rank.VERSION if not floating else Rank.LATEST if _is_latest(named.tag) else Rank.FLOATING
            for place in to or [named.repository]:
                wish = Wish(repository=place, tag=named.tag, rank=rank, immutable=immutable and rank is Rank.VERSION)
                found.setdefault((place, named.tag), wish)
    return tuple(found.values())


def _is_latest(tag: Tag) -> bool:
    return str(tag) == "latest" or str(tag).startswith("latest-")
