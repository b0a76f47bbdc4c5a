"""Locks base images: asks the registries what each base of the plan names, and says what moved since it was locked."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.image.sources.base import configured, platform_text
from orchestrator.reference import InvalidReferenceError, Tag, parse, repository
from orchestrator.registry.clients import Clients, every
from orchestrator.registry.errors import DamagedAnswerError
from orchestrator.registry.manifests import descriptor_of
from orchestrator.runs.base_lock import LockedBase
from orchestrator.runs.planned import planned

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orchestrator.matrix.variants import Plan, Variant
    from orchestrator.reference import Digest
    from orchestrator.registry.client import Registry
    from orchestrator.registry.manifests import Manifest


class Found(Struct, frozen=True, kw_only=True):
    """The bases of a plan.

    Attributes:
        bases: Name -> variants that start from it.
        own: Names of bases that are images of this project itself, with or without a digest.
        unknown: Variant id -> why its bases are not known.
    """

    bases: Mapping[str, tuple[Variant, ...]]
    own: tuple[str, ...]
    unknown: Mapping[str, str]


def find(plan: Plan, *, tell: Callable[[str], None]) -> Found:
    """Return the base images without a digest of a plan, as its Dockerfiles name them.

    Raises:
        MatrixError, EnvironmentLacksError: As for `planned`.
    """
    inputs = planned(plan, tell=tell, locked=False).inputs
    bases: dict[str, list[Variant]] = {}
    pinned: dict[str, None] = {}
    for variant in plan.variants:
        pinned |= dict.fromkeys(inputs[variant.id].pinned)
        for name in inputs[variant.id].bases:
            bases.setdefault(name, []).append(variant)
    published = {plan.image, *(value.text for variant in plan.variants for value in variant.index_repositories)}
    published |= {str(parse(value.text).repository) for variant in plan.variants for value in variant.index_tags}
    ours = {str(repository(text)) for text in published}
    return Found(
        bases={name: tuple(users) for name, users in bases.items()},
        own=tuple(name for name in (*bases, *pinned) if _repository(name) in ours),
        unknown={id_: one.unknown for id_, one in inputs.items() if one.unknown},
    )


def lock(found: Found, clients: Clients) -> tuple[LockedBase, ...]:
    """Ask the registries what each base names now.

    Raises:
        NetworkError, DamagedAnswerError: A registry denies access or does not answer; an image is damaged.
        InvalidReferenceError: A base is not a valid reference.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")

    def one(item: tuple[str, Sequence[Variant]]) -> LockedBase:
        name, users = item
        reference = parse(name)
        client = clients.of(reference.repository)
        manifest = client.manifest(reference.tag or Tag("latest"))
        held = _platforms(client, manifest)
        needed = dict.fromkeys(variant.platform for variant in users)
        return LockedBase(
            name=name,
            digest=manifest.digest,
            locked=now,
            platforms={platform: held[platform] for platform in needed if platform in held},
            variants=tuple(variant.id for variant in users),
        )

    return tuple(every(one, list(found.bases.items())))


class Moved(Struct, frozen=True, kw_only=True):
    """A difference between the lock and what there is.

    Attributes:
        name: The base.
        what: What is different, in words.
        variants: Who is affected.
    """

    name: str
    what: str
    variants: tuple[str, ...]


def compare(locked: Sequence[LockedBase], now: Sequence[LockedBase]) -> list[Moved]:
    """Return what moved upstream since the lock was written, and bases that it misses or that no variant uses."""
    before, after = {one.name: one for one in locked}, {one.name: one for one in now}
    moved = []
    for name, one in after.items():
        old = before.get(name)
        if old is None:
            moved.append(Moved(name=name, what="is not locked", variants=one.variants))
        elif old.digest != one.digest:
            what = f"moved from {old.digest} (locked {old.locked}) to {one.digest}"
            moved.append(Moved(name=name, what=what, variants=one.variants))
        elif missing := tuple(id_ for id_ in one.variants if id_ not in old.variants):
            moved.append(Moved(name=name, what="is not locked for every variant", variants=missing))
    gone = [one for name, one in before.items() if name not in after]
    return moved + [Moved(name=one.name, what="is locked, and no variant starts from it", variants=()) for one in gone]


def _repository(name: str) -> str:
    try:
        return str(parse(name).repository)
    except InvalidReferenceError:
        return ""


def _platforms(client: Registry, manifest: Manifest) -> dict[str, Digest]:
    """Platform -> digest of the images of a base."""
    where = f"{client.repository}@{manifest.digest}"
    if not manifest.index:
        config = descriptor_of(manifest.content.get("config"), where)
        try:
            return {configured(json.loads(client.blob(config.digest)))["platform"]: manifest.digest}
        except (ValueError, AttributeError, TypeError, RecursionError) as error:
            raise DamagedAnswerError(f"{where}: the configuration is invalid: {str(error)[:200]}") from error
    found: dict[str, Digest] = {}
    for one in manifest.content["manifests"]:
        platform = one.get("platform") if isinstance(one, dict) else None
        if isinstance(platform, dict):
            parts = [str(platform.get(name) or "") for name in ("os", "architecture", "variant")]
            found.setdefault(platform_text(*parts), descriptor_of(one, where).digest)
    return found
