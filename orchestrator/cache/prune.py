"""Decides which cache references of a registry can go, and removes them without touching anything else.

A tag goes only if it is known to be a cache reference of a branch that is gone, of a closed pull request, or of an age
that the user names. Its manifest goes with it only if no tag that stays reaches it and no record names it: main's warm
cache and that of a pull request are often one digest, and a registry deletes every tag of a digest that is deleted.
Where the manifest stays, the tag alone is removed: it is pointed at an empty manifest, and that is deleted.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from orchestrator.bake.ladder import Kind, Names, Scope
from orchestrator.errors import OrchestrateError
from orchestrator.labels import REMOVED
from orchestrator.reference import Digest, Tag, digests_in
from orchestrator.registry.manifests import OCI_MANIFEST, digest_of, read

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from orchestrator.cache.repository import Held
    from orchestrator.registry.client import Registry

_SCOPE = re.compile(r"-(?:(branch|tag|commit)-(.+)|pr-([0-9]+))")
_EMPTY = b"{}"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What is known about the references.

    Attributes:
        bases: The tags of the matrix' own references, which stay.
        branches: The branches that exist, None where unknown.
        closed: Numbers of pull requests that are closed.
        older: References of branches, tags, commits and pull requests that are older may go; None for no age.
        now: The time that ages are counted from.
    """

    bases: frozenset[str]
    branches: frozenset[str] | None = None
    closed: frozenset[str] = frozenset()
    older: timedelta | None = None
    now: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Doomed:
    """A tag that can go.

    Attributes:
        tag, digest: What it is, and names.
        why: The reason, as it is shown.
        shared: Why its manifest stays, "" where it goes too.
        children: Manifests that go with it.
    """

    tag: str
    digest: str
    why: str
    shared: str = ""
    children: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What of a repository can go.

    Attributes:
        doomed: The tags.
        kept: How many tags stay.
        freed: Bytes that nothing in the repository names afterwards; another one of the registry may still hold some.
    """

    doomed: tuple[Doomed, ...]
    kept: int
    freed: int


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
    blind = "" in stay or any(not found.reach[digest].whole for digest in stay if digest)
    doomed = []
    for tag, why in reasons.items():
        if not why:
            continue
        digest = found.tags[tag]
        shared = _shared(digest, reached, records, blind=blind)
        children = (
            ()
            if shared
            else tuple(one for one in found.reach[digest].manifests[1:] if one not in reached and one not in records)
        )
        doomed.append(Doomed(tag=tag, digest=digest, why=why, shared=shared, children=children))
    kept = {one for digest in stay if digest for one in found.reach[digest].sizes}
    kept |= {one for dead in doomed if dead.shared for one in found.reach[dead.digest].sizes}
    gone = {one: size for dead in doomed for one, size in found.reach[dead.digest].sizes.items() if one not in kept}
    freed = sum(gone.values())
    return Verdict(doomed=tuple(doomed), kept=len(reasons) - len(doomed), freed=freed)


def _shared(digest: str, reached: set[str], records: Collection[str], *, blind: bool) -> str:
    if digest in reached:
        return "another tag reaches its manifest"
    if digest in records:
        return "a record names its digest"
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
    """Return every digest in journals and records, also of lines that are torn or foreign."""
    return frozenset(one for text in texts for one in digests_in(text))


def remove(client: Registry, doomed: Sequence[Doomed]) -> list[str]:
    """Remove tags, and their manifests where nothing else needs them.

    Returns:
        One line for each that could not be removed; the others are.
    """
    failed = []
    for one in doomed:
        try:
            current = client.head(Tag(one.tag))
            if current is None or str(current.digest) != one.digest:
                failed.append(f"{one.tag}: stays, it was moved meanwhile")
                continue
            if one.shared:
                _remove_tag(client, Tag(one.tag))
                continue
            client.delete(Digest(one.digest))
            for child in one.children:
                client.delete(Digest(child))
        except OrchestrateError as error:
            failed.append(f"{one.tag}: {error}")
    return failed


def _remove_tag(client: Registry, tag: Tag) -> None:
    """Remove a tag alone: registries delete by digest, and every tag of it."""
    digest = digest_of(_EMPTY)
    if not client.has_blob(digest):
        client.upload(digest, len(_EMPTY), lambda: [_EMPTY])
    blob = {"mediaType": _EMPTY_TYPE, "digest": str(digest), "size": len(_EMPTY)}
    content = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": blob,
        "layers": [blob],
        # no other tag may name the same digest when it is deleted
        "annotations": {REMOVED: f"{tag} {uuid.uuid4().hex}"},
    }
    manifest = read(json.dumps(content).encode(), OCI_MANIFEST)
    client.put_manifest(manifest, tag)
    client.delete(manifest.digest)
