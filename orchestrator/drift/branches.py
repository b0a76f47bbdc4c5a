"""Arch lists of branches for CUDA releases that a first matrix does not build.

`case "$CUDA_VERSION" in 12.8*) LIST="8.0 10.0"`: beside a matrix of 12.4 alone such a list is right, and no claim is
written for it. Cut to what 12.4 compiles, it would make `check --fix` take 10.0 away.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec.structs import replace

from orchestrator.cuda.arch import parse_list
from orchestrator.cuda.toolkit import toolkit_for
from orchestrator.drift.recognize import minor
from orchestrator.drift.sights import Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from orchestrator.drift.find import Group
    from orchestrator.drift.sights import Sight

_RELEASE = re.compile(r"(?<![\d.])1[0-9]\.\d{1,2}(?:\.\d+)?(?![\d.])")
_REST = frozenset({"else", "*"})


def of_other_releases(groups: Iterable[Group], releases: Sequence[str]) -> list[Sight]:
    """The arch lists of branches that name other releases, or are the rest beside one that names a release.

    Those whose architectures the releases compile are left out: a claim says of them what they say.

    Args:
        groups: What was found.
        releases: The CUDA releases of the matrix: 13.0.
    """
    sights = [one for group in groups if group.subject.kind is Kind.ARCH_LIST for one in group.sights]
    named = {(one.file, one.name) for one in sights if _releases(one)}
    return [one for one in sights if _is_other(one, releases, named) and not _compiled(one, releases)]


def without(groups: Iterable[Group], sights: Collection[Sight]) -> Iterator[Group]:
    """The groups without some of their places."""
    left_out = {id(one) for one in sights}
    for group in groups:
        kept = {
            value: tuple(one for one in places if id(one) not in left_out) for value, places in group.values.items()
        }
        if any(kept.values()):
            yield replace(group, values={value: places for value, places in kept.items() if places})


def _releases(sight: Sight) -> set[str]:
    """The CUDA releases that the pattern of the branch names."""
    return {minor(one) for one in _RELEASE.findall(sight.locator.branch)}


def _is_other(sight: Sight, releases: Sequence[str], named: Collection[tuple[str, str]]) -> bool:
    if sight.locator.branch in _REST:
        return (sight.file, sight.name) in named
    own = _releases(sight)
    return bool(own) and own.isdisjoint(releases)


def _compiled(sight: Sight, releases: Sequence[str]) -> bool:
    """Whether each architecture is one that a release compiles."""
    toolkits = [toolkit_for(key) for key in releases]
    return all(any(one.supports(arch.without_ptx()) for one in toolkits) for arch in parse_list(sight.value))
