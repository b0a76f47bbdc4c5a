"""Decides which cache references of a registry can go, and removes them without touching anything else.

A tag goes only if it is known to be a cache reference of a branch that is gone, of a closed pull request, or of an age
that the user names. Its manifest goes with it only if no tag that stays reaches it and no record names it: main's warm
cache and that of a pull request are often one digest, and a registry deletes every tag of a digest that is deleted.
Where the manifest stays, the tag alone is removed: it is pointed at an empty manifest, and that is deleted.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.bake.ladder import Kind, Names, Scope
from orchestrator.cache.repository import Later, later
from orchestrator.errors import OrchestrateError
from orchestrator.reference import Digest, Tag, digests_in
from orchestrator.registry.removal import remove_tag

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from orchestrator.cache.repository import Held
    from orchestrator.registry.client import Registry

_ASKED_AT_ONCE = 100  # tags; with more, an answer holds for several manifests, or the requests grow with the square
_MOVED = "a tag was moved to its manifest meanwhile"
_SCOPE = re.compile(r"-(?:(branch|tag|commit)-(.+)|pr-([0-9]+))")


class Known(Struct, frozen=True, kw_only=True):
    """What is known about the references.

    Attributes:
        bases: The tags of the matrix' own references, which stay.
        branches: The branches that exist, None where unknown.
        closed: Numbers of pull requests that are closed.
        exports: Digests that builds of this machine exported to the repository.
        older: References of branches, tags, commits and pull requests that are older may go; None for no age.
        now: The time that ages are counted from.
    """

    bases: frozenset[str]
    branches: frozenset[str] | None = None
    closed: frozenset[str] = frozenset()
    exports: frozenset[str] = frozenset()
    older: timedelta | None = None
    now: datetime


class Doomed(Struct, frozen=True, kw_only=True):
    """A tag that can go.

    Attributes:
        tag, digest: What it is, and names; no tag for an export that another one superseded.
        why: The reason, as it is shown.
        shared: Why its manifest stays, "" where it goes too.
        children: Manifests that go with it.
    """

    tag: str
    digest: str
    why: str
    shared: str = ""
    children: tuple[str, ...] = ()


class Verdict(Struct, frozen=True, kw_only=True):
    """What of a repository can go.

    Attributes:
        doomed: The tags, and manifests without a tag.
    """

    doomed: tuple[Doomed, ...]


def decide(found: Held, known: Known, *, records: Collection[str]) -> Verdict:
    """Return what of a repository can go.

    Args:
        found: What it holds.
        known: What is known about its references.
        records: Digests that journals and publish records name.
    """
    reasons = {tag: _reason(tag, digest, found, known) for tag, digest in found.tags.items()}
    stay = {digest for tag, digest in found.tags.items() if not reasons[tag]}
    reached = {one for digest in stay if digest for one in found.reach[digest].manifests}
    kept = found.reach.keys() & set(records)
    records = {*records, *(one for digest in kept for one in found.reach[digest].manifests)}
    blind = "" in stay or any(not found.reach[digest].whole for digest in {*stay, *kept} - {""})
    untagged = {digest for digest in known.exports & found.reach.keys() if found.reach[digest].whole}
    untagged -= set(found.tags.values())
    dying = [(tag, found.tags[tag], why) for tag, why in reasons.items() if why]
    dying += [("", digest, "a later export took its tag") for digest in sorted(untagged)]
    doomed = []
    for tag, digest, why in dying:
        shared = _shared(digest, reached, records, blind=blind)
        if shared and not tag:
            continue
        children = () if shared else tuple(
            one for one in found.reach[digest].manifests[1:] if one not in reached and one not in records
        )  # fmt: skip
        doomed.append(Doomed(tag=tag, digest=digest, why=why, shared=shared, children=children))
    return Verdict(doomed=tuple(doomed))


def freed(found: Held, gone: Sequence[Doomed]) -> int:
    """Return the bytes that nothing in the repository names once these are gone; another one may still hold some.

    Args:
        found: What it held before.
        gone: What goes, or went.
    """
    tags = {one.tag for one in gone}
    digests = {one.digest for one in gone if not one.shared}
    kept = {digest for tag, digest in found.tags.items() if digest and tag not in tags}
    kept |= found.reach.keys() - digests - {""}
    stays = {one for digest in kept for one in found.reach[digest].sizes}
    sizes = {one: size for digest in digests for one, size in found.reach[digest].sizes.items()}
    return sum(size for one, size in sizes.items() if one not in stays)


def _shared(digest: str, reached: set[str], records: Collection[str], *, blind: bool) -> str:
    if digest in reached:
        return "another tag reaches its manifest"
    if digest in records:
        return "a record names it, or an index with it"
    return "not every tag that stays could be read" if blind else ""


def _reason(tag: str, digest: str, found: Held, known: Known) -> str:
    """Why a tag can go, "" where it stays."""
    if not digest or tag in known.bases:
        return ""
    base = max((one for one in known.bases if tag.startswith(f"{one}-")), key=len, default="")
    match = _SCOPE.fullmatch(tag[len(base) :]) if base else None
    if match is None:
        return ""
    kind, name, number = match.groups()
    if kind == Kind.BRANCH and known.branches is not None:
        names = Names(ref=f"cache:{base}")  # a long name is cut, so whole tags are compared
        alive = {names.of(Scope(kind=Kind.BRANCH, name=branch)).partition(":")[2] for branch in known.branches}
        if tag not in alive:
            return f"no branch has this reference: {name}"
    if number and number in known.closed:
        return f"pull request {number} is closed"
    made = _time(found.reach[digest].created)
    if known.older is not None and made is not None and known.now - made > known.older:
        return f"{(known.now - made).days} days old"
    return ""


def _time(text: str) -> datetime | None:
    try:
        made = datetime.fromisoformat(text)
    except ValueError:
        return None
    return made if made.tzinfo else made.replace(tzinfo=UTC)


def recorded(texts: Iterable[str]) -> frozenset[str]:
    """Return every digest in journals and records, also in lines that are cut off or of another program."""
    return frozenset(one for text in texts for one in digests_in(text))


def pull_requests(found: Held, bases: Collection[str]) -> frozenset[str]:
    """Return the numbers of the pull requests that have references.

    Args:
        found: What the repository holds.
        bases: The tags that scopes are added to.
    """
    matches = (_SCOPE.fullmatch(tag[len(base) :]) for tag in found.tags for base in bases if tag.startswith(f"{base}-"))
    return frozenset(match[3] for match in matches if match is not None and match[3])


class Removed(Struct, frozen=True, kw_only=True):
    """What was removed.

    Attributes:
        done: What went.
        failed: One line for each that could not be removed.
    """

    done: tuple[Doomed, ...]
    failed: tuple[str, ...]


def remove(
    client: Registry, doomed: Sequence[Doomed], found: Held, *, delete: Callable[[Digest], bool] | None = None
) -> Removed:
    """Remove tags, and their manifests where nothing else needs them.

    Before a manifest is deleted every tag is asked for again, because one may have been moved to it since the decision;
    in a repository of many tags once for several manifests. Registries delete without a condition, so a tag that moves
    between that answer and the deletion is lost with the manifest.

    Args:
        client: The repository.
        doomed: What goes.
        found: What the repository held when that was decided.
        delete: Deletes a manifest where the registry itself cannot (`registry.github.Packages.delete`).
    """
    delete = delete or client.delete
    now = _Now(client, found)
    done: list[Doomed] = []
    failed: list[str] = []
    deleted: set[str] = set()
    for one in doomed:
        try:
            if one.digest in deleted:  # with an earlier tag of the same manifest
                done.append(one)
                continue
            if one.tag and not _names(client, Tag(one.tag), one.digest):
                failed.append(f"{one.tag}: stays, it was moved meanwhile")
                continue
            moved = not one.shared and now.needs(one.digest)
            if moved and not one.tag:
                failed.append(f"{one.digest}: stays, a tag reaches it again")
                continue
            if one.shared or moved:
                remove_tag(client, Tag(one.tag), delete=delete)
            else:
                delete(Digest(one.digest))
                deleted.add(one.digest)
                for child in one.children:
                    if not now.needs(child):
                        delete(Digest(child))
            done.append(replace(one, shared=_MOVED, children=()) if moved else one)
        except OrchestrateError as error:
            failed.append(f"{one.tag or one.digest}: {error}")
    return Removed(done=tuple(done), failed=tuple(failed))


class _Now:
    """What tags reach now that they did not reach at the decision.

    Args:
        client: The repository.
        before: What it held then.
    """

    def __init__(self, client: Registry, before: Held) -> None:
        self._client, self._before = client, before
        self._later = Later()
        self._left = 0

    def needs(self, digest: str) -> bool:
        """Whether a tag reaches a manifest, or may do so.

        Raises:
            NetworkError, DamagedAnswerError: The tags cannot be listed.
        """
        if not self._left:
            self._later = later(self._client, self._before)
            self._left = 1 + len(self._before.tags) // _ASKED_AT_ONCE
        self._left -= 1
        return not self._later.whole or digest in self._later.manifests


def _names(client: Registry, tag: Tag, digest: str) -> bool:
    current = client.head(tag)
    return current is not None and str(current.digest) == digest
