"""Reads what a repository of a registry holds: tags, manifests and what they reach.

What cannot be read is marked, never left out: `prune` keeps what it does not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orchestrator.errors import OrchestrateError
from orchestrator.reference import Digest, InvalidReferenceError
from orchestrator.registry.clients import each

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from orchestrator.registry.client import Registry
    from orchestrator.registry.manifests import Descriptor, Manifest

_CREATED = "buildkit/createdat"


class Reach(Struct, frozen=True, kw_only=True):
    """What a manifest reaches, itself among it.

    Attributes:
        manifests: Digests of manifests, children before nothing: the first is the manifest itself.
        sizes: Bytes of every manifest and blob, by digest.
        created: When its newest layer was made, ISO 8601; "" where it does not say.
        whole: Whether everything could be read.
    """

    manifests: tuple[str, ...]
    sizes: Mapping[str, int]
    created: str = ""
    whole: bool = True


class Held(Struct, frozen=True, kw_only=True):
    """What a repository holds.

    Attributes:
        tags: Tag -> digest that it names, "" where that could not be read.
        reach: Digest -> what it reaches; of digests without a tag as well, where they were asked for.
    """

    tags: Mapping[str, str]
    reach: Mapping[str, Reach]


def held(client: Registry, more: Iterable[str] = ()) -> Held:
    """Return what the tags of a repository reach, referrers of their manifests included.

    Args:
        client: The repository.
        more: Digests that no tag may name; one that is gone is left out.

    Raises:
        NetworkError, DamagedAnswerError: The list of tags cannot be read.
    """
    tags: dict[str, str] = {}
    reach: dict[str, Reach] = {}
    for tag in client.tags():
        try:
            manifest = client.manifest(tag)
        except OrchestrateError:
            tags[str(tag)] = ""
            continue
        digest = tags[str(tag)] = str(manifest.digest)
        if digest not in reach:
            reach[digest] = _reach(client, manifest)
    wanted = [Digest(one) for one in dict.fromkeys(more) if one not in reach and _is_digest(one)]
    for one, there in zip(wanted, each(_question(client, reach), wanted), strict=True):
        if there is not None:
            try:
                reach[str(one)] = _reach(client, client.manifest(one))
            except OrchestrateError:
                reach[str(one)] = Reach(manifests=(str(one),), sizes={}, whole=False)
    return Held(tags=tags, reach=reach)


def _question(client: Registry, known: Iterable[str]) -> Callable[[Digest], Descriptor | None]:
    """How to ask for a digest that may be a manifest, a layer, or of another repository.

    Distribution (2.8) answers 500 where a layer is asked for as a manifest, so layers are asked for first; a registry
    that takes manifests for blobs as well is asked for manifests alone.
    """
    sample = next((Digest(one) for one in known), None)
    if sample is not None and client.has_blob(sample):
        return client.head
    return lambda digest: None if client.has_blob(digest) else client.head(digest)


class Later(Struct, frozen=True, kw_only=True):
    """What tags reach now that they did not reach when a repository was read.

    Attributes:
        manifests: Their manifests and what those reach.
        whole: Whether everything could be read.
    """

    manifests: frozenset[str] = frozenset()
    whole: bool = True


def later(client: Registry, before: Held) -> Later:
    """Return what tags reach that were moved or made since a repository was read.

    Args:
        client: The repository.
        before: What it held.

    Raises:
        NetworkError, DamagedAnswerError: The list of tags cannot be read.
    """
    found: set[str] = set()
    whole = True
    tags = client.tags()
    for tag, there in zip(tags, each(client.head, tags), strict=True):
        if isinstance(there, OrchestrateError):
            whole = False
        elif there is not None and str(there.digest) != before.tags.get(str(tag)):
            try:
                reach = _reach(client, client.manifest(there.digest))
            except OrchestrateError:
                whole = False
                continue
            found.update(reach.manifests)
            whole = whole and reach.whole
    return Later(manifests=frozenset(found), whole=whole)


def _reach(client: Registry, top: Manifest) -> Reach:
    sizes: dict[str, int] = {}
    manifests: list[str] = []
    created: list[str] = []
    whole = True
    waiting = [top]
    while waiting:
        manifest = waiting.pop()
        digest = str(manifest.digest)
        if digest in manifests:
            continue
        manifests.append(digest)
        sizes[digest] = len(manifest.raw)
        for one in _described(manifest.content, "layers", "config"):
            sizes[one[0]] = one[1]
            created.append(one[2])
        children = [Digest(found) for found, size, _ in _described(manifest.content, "manifests") if _is_digest(found)]
        try:
            children += [one.digest for one in client.referrers(manifest.digest)]
        except OrchestrateError:
            whole = False
        for child in children:
            try:
                waiting.append(client.manifest(child))
            except OrchestrateError:
                try:  # a cache index names its layers like manifests
                    known = client.has_blob(child)
                except OrchestrateError:
                    known = False
                whole = whole and known
    sizes |= {found: size for found, size, _ in _described(top.content, "manifests") if found not in sizes}
    return Reach(manifests=tuple(manifests), sizes=sizes, created=max(created, default=""), whole=whole)


def _described(content: Mapping[str, Any], *names: str) -> list[tuple[str, int, str]]:
    """Digest, size and time of every descriptor that a manifest holds under these names."""
    found: list[tuple[str, int, str]] = []
    for name in names:
        value = content.get(name)
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict) and isinstance(one.get("digest"), str) and isinstance(one.get("size"), int):
                notes = one.get("annotations")
                at = notes.get(_CREATED) if isinstance(notes, dict) else None
                found.append((one["digest"], one["size"], at if isinstance(at, str) else ""))
    return found


def _is_digest(text: str) -> bool:
    try:
        Digest(text)
    except InvalidReferenceError:
        return False
    return True
