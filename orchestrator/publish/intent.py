"""Reads what the tags of families name now, refuses moves that must not be made, and makes the moves of the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.errors import OrchestrateError, Problem
from orchestrator.matrix import git
from orchestrator.publish.pushed import REVISION, pushed
from orchestrator.publish.record import Move, Rank
from orchestrator.registry.clients import Clients, every
from orchestrator.registry.errors import NotFoundError
from orchestrator.registry.manifests import described

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from orchestrator.publish.check import Checked
    from orchestrator.publish.family import Wish
    from orchestrator.reference import Digest, Repository
    from orchestrator.registry.client import Registry
    from orchestrator.registry.manifests import Descriptor, Manifest


class Intent(Struct, frozen=True, kw_only=True):
    """What is to move.

    Attributes:
        families: The families, with the problems that their tags add.
        moves: The tags that change.
        settled: The tags that name the right digest already.
        held: Repository -> what the record keeps there: the old digests and the new ones.
    """

    families: tuple[Checked, ...]
    moves: tuple[Move, ...]
    settled: tuple[str, ...]
    held: Mapping[Repository, Sequence[Descriptor]]


def intent(clients: Clients, families: Sequence[Checked], root: Path, *, allow_older: bool) -> Intent:
    """Make the moves of the families that may be published.

    Args:
        clients: The registries.
        families: What `Checker.check` found.
        root: A directory of the checkout, which knows what is older.
        allow_older: Whether floating tags move though what they name may be newer.

    Raises:
        NetworkError, DamagedAnswerError: A tag cannot be read.
    """
    wishes = [wish for one in families if one.index is not None for wish in one.family.wishes]
    manifests = dict(zip(wishes, every(lambda wish: _manifest(clients, wish), wishes), strict=True))
    judging = _Judging(clients=clients, root=root, allow_older=allow_older, olds=manifests)
    judged = [judging.judged(one) for one in families]
    moves: list[Move] = []
    settled: list[str] = []
    held: dict[Repository, dict[Digest, Descriptor]] = {}
    for checked in judged:
        if checked.index is None:
            continue
        for wish in checked.family.wishes:
            old = manifests[wish]
            kept = held.setdefault(wish.repository, {})
            kept[checked.index.digest] = checked.index.descriptor
            if old is not None:
                kept[old.digest] = old.descriptor
            if old is not None and old.digest == checked.index.digest:
                settled.append(f"{wish.repository}:{wish.tag}")
                continue
            moves.append(
                Move(
                    repository=wish.repository,
                    tag=wish.tag,
                    rank=wish.rank,
                    immutable=wish.immutable,
                    old=old.digest if old is not None else None,
                    new=checked.index.digest,
                )
            )
    return Intent(
        families=tuple(judged),
        moves=tuple(moves),
        settled=tuple(settled),
        held={repository: tuple(one.values()) for repository, one in held.items()},
    )


def _manifest(clients: Clients, wish: Wish) -> Manifest | None:
    try:
        return clients.of(wish.repository).manifest(wish.tag)
    except NotFoundError:
        return None


class _Judging(Struct, frozen=True, kw_only=True):
    clients: Clients
    root: Path
    allow_older: bool
    olds: Mapping[Wish, Manifest | None]

    def judged(self, checked: Checked) -> Checked:
        """The family; without an index where a tag of it must not move."""
        if checked.index is None:
            return checked
        found = [problem for wish in checked.family.wishes for problem in self._wish(checked, wish)]
        return replace(checked, problems=(*checked.problems, *found), index=None if found else checked.index)

    def _wish(self, checked: Checked, wish: Wish) -> Iterator[Problem]:
        old, index = self.olds[wish], checked.index
        if old is None or index is None or old.digest == index.digest:
            return
        name = f"{wish.repository}:{wish.tag}"
        if wish.immutable:
            yield Problem(
                what=f"{name} is immutable and does not match: expected {index.digest}, found {old.digest}",
                hint="publish under another version, or remove publish.immutable",
            )
            return
        if self.allow_older:
            return
        was = revision_of(self.clients.of(wish.repository), old)
        older = git.is_ancestor(self.root, was, checked.revision)
        if older is False:
            yield Problem(
                what=f"{name} is newer: it names commit {was}, which is not an ancestor of {checked.revision}",
                hint="check out a newer commit, or pass --allow-older",
            )
        elif older is None and wish.rank is not Rank.VERSION:
            expected = f"an ancestor of {checked.revision or 'a known commit'}"
            yield Problem(
                what=f"{name} may be newer: expected {expected}, found {was[:64] or 'an image that names no commit'}",
                hint="fetch the whole history (git fetch --unshallow), or pass --allow-older",
            )


def revision_of(client: Registry, manifest: Manifest) -> str:
    """Return the commit that an index or image names, "" where it names none."""
    notes = manifest.content.get("annotations")
    if isinstance(notes, dict) and isinstance(notes.get(REVISION), str):
        return str(notes[REVISION])
    try:
        digests = [one.digest for one in described(manifest)] if manifest.index else [manifest.digest]
        return next(filter(None, (pushed(client, digest).revision for digest in digests[:1])), "")
    except OrchestrateError:  # an image of another tool, which need not say
        return ""
