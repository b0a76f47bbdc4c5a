"""`orchestrate check --find`: finds every place of a repository that holds an arch list, a CUDA version or an argument.

Needs no matrix. Groups the places by value, contradictions (contradict.py) first; adopt.py proposes claims for them.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.drift.claims import is_dockerfile
from orchestrator.drift.contradict import contradictions
from orchestrator.drift.files import walk
from orchestrator.drift.replaced import replaced
from orchestrator.drift.scan import reader_by_name, scan
from orchestrator.drift.sights import Kind, Seen, Sight, Subject, normal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from orchestrator.drift.contradict import Contradiction
    from orchestrator.drift.loose import Mention
    from orchestrator.drift.replaced import Replaced
    from orchestrator.errors import Problem

_VENDORED = frozenset({"_deps", "3rdparty", "third_party", "vendor"})
"""Folders of copies of other repositories."""


class Group(Struct, frozen=True, kw_only=True):
    """Everything found about one subject.

    Attributes:
        subject: What it is about.
        values: Value -> the places that say it, the most frequent value first.
        contradictions: The places that contradict another one, each with that one and the difference in words.
        followed: Places that take their value from another one: `--build-arg CUDA_VERSION=$CUDA_VERSION`.
    """

    subject: Subject
    values: Mapping[str, tuple[Sight, ...]]
    contradictions: tuple[Contradiction, ...] = ()
    followed: tuple[Sight, ...] = ()

    @property
    def sights(self) -> tuple[Sight, ...]:
        """Every place, in the order of the values."""
        return tuple(sight for sights in self.values.values() for sight in sights)

    @property
    def contradicts(self) -> bool:
        """Whether places contradict each other."""
        return bool(self.contradictions)


class Findings(Struct, frozen=True, kw_only=True):
    """What a repository holds.

    Attributes:
        groups: The subjects, contradictions first; of these arch lists, then CUDA releases, then arguments.
        mentions: Lists and versions in lines that no reader understands.
        replaced: Places of bake files whose values an override file replaces; no group holds them.
        skipped: Files that could not be read as what their name says, each with its place.
    """

    groups: Sequence[Group]
    mentions: Sequence[Mention] = ()
    replaced: Sequence[Replaced] = ()
    skipped: Sequence[Problem] = ()


def find(root: Path) -> Findings:
    """Look through a repository.

    Args:
        root: Its directory.
    """
    seen = Seen()
    for path in walk(root):
        name = path.relative_to(root).as_posix()
        if reader_by_name(name) and not _VENDORED.intersection(name.split("/")):
            scan(path, name, seen)
    over = replaced(root, seen.sights)
    seen.sights = [sight for sight in seen.sights if all(sight is not one.sight for one in over)]
    sights = [sight for sight in seen.sights if sight.subject.kind is not Kind.ARGUMENT]
    sights += _arguments(seen)
    grouped: dict[Subject, dict[str, list[Sight]]] = defaultdict(lambda: defaultdict(list))
    for sight in sights:
        grouped[sight.subject][normal(sight.value)].append(sight)
    against = defaultdict(list)
    for one in contradictions(sights, seen.mentions):
        against[one.sight.subject].append(one)
    groups = [
        Group(
            subject=subject,
            values={value: tuple(places) for value, places in sorted(values.items(), key=lambda one: -len(one[1]))},
            contradictions=tuple(against[subject]),
            followed=tuple(one for one in seen.followed if one.subject == subject),
        )
        for subject, values in grouped.items()
    ]
    return Findings(
        groups=sorted(groups, key=_order),
        mentions=tuple(seen.mentions),
        replaced=[one for one in over if one.sight.subject.kind is not Kind.ARGUMENT],
        skipped=tuple(seen.skipped),
    )


def _order(group: Group) -> tuple[bool, int, str]:
    return not group.contradicts, list(Kind).index(group.subject.kind), group.subject.name


def _arguments(seen: Seen) -> list[Sight]:
    """The arguments that a CUDA Dockerfile gives a default and another file repeats."""
    given = [sight for sight in seen.sights if sight.subject.kind is Kind.ARGUMENT]
    defaults = {sight.subject for sight in given if sight.file in seen.cuda_dockerfiles}
    others = {sight.subject for sight in given if sight.file not in seen.cuda_dockerfiles}
    return [
        sight
        for sight in given
        if sight.subject in defaults & others
        and (not sight.dockerfile or sight.dockerfile in seen.cuda_dockerfiles)
        and (sight.file in seen.cuda_dockerfiles or not is_dockerfile(sight.file))
    ]
