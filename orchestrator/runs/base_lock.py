"""Base images by digest: reads and writes the lock, and gives builds the digests that it names.

A build gets each locked base as a named context, `NAME=docker-image://NAME@sha256:…`, which BuildKit takes in the place
of what `FROM NAME` names today. The Dockerfile stays as it is; the digest is part of the content key.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from orchestrator import files
from orchestrator.bake.file import Extras
from orchestrator.errors import EnvironmentLacksError, MatrixError
from orchestrator.labels import BASES
from orchestrator.reference import Digest, InvalidReferenceError, parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from orchestrator.matrix.variants import Plan

LOCK = "bases.lock.json"
"""The file, beside matrix.yaml."""

SCHEMA = 1


class LockedBase(Struct, frozen=True, kw_only=True):
    """A base image.

    Attributes:
        name: As the Dockerfile names it: `nvidia/cuda:13.0.2-devel-ubuntu22.04`.
        digest: What the name meant when it was locked; an index where there are several platforms.
        locked: When, ISO 8601 in UTC.
        platforms: Platform -> digest of its image, of the platforms that the variants need.
        variants: Ids of the variants that start from it.
    """

    name: str
    digest: Digest
    locked: str
    platforms: Mapping[str, Digest]
    variants: tuple[str, ...]


def read(root: Path) -> tuple[LockedBase, ...] | None:
    """Return what the lock of a project names, None where there is no lock.

    Raises:
        MatrixError: The lock is invalid.
        EnvironmentLacksError: It cannot be read.
    """
    path = root / LOCK
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EnvironmentLacksError(f"{path}: the lock cannot be read: {error.strerror}") from error
    try:
        content: Any = json.loads(data)
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema {content['schema']!r}"[:60])  # noqa: TRY301  # one way out of here
        return tuple(_base(str(name), row) for name, row in content["bases"].items())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, InvalidReferenceError) as error:
        raise MatrixError(
            f"{path}: the lock of the base images is invalid: expected schema {SCHEMA}, found {str(error)[:200]}",
            hint="orchestrate lock bases",
        ) from error


def _base(name: str, row: Any) -> LockedBase:
    parse(name)
    return LockedBase(
        name=name,
        digest=Digest(str(row["digest"])),
        locked=str(row["locked"]),
        platforms={str(platform): Digest(str(digest)) for platform, digest in row["platforms"].items()},
        variants=tuple(map(str, row["variants"])),
    )


def write(root: Path, bases: tuple[LockedBase, ...]) -> None:
    """Write the lock whole.

    Raises:
        EnvironmentLacksError: It cannot be written.
    """
    content = {
        "schema": SCHEMA,
        "bases": {
            one.name: {
                "digest": str(one.digest),
                "locked": one.locked,
                "platforms": {platform: str(digest) for platform, digest in one.platforms.items()},
                "variants": list(one.variants),
            }
            for one in bases
        },
    }
    try:
        files.write_whole(root / LOCK, json.dumps(content, indent=2) + "\n")
    except OSError as error:
        raise EnvironmentLacksError(f"{root / LOCK}: the lock cannot be written: {error.strerror}") from error


def with_bases(plan: Plan, extras: Mapping[str, Extras]) -> dict[str, Extras]:
    """Return the extras of each variant with the digests of its base images; without a lock they stay as they are.

    Raises:
        MatrixError, EnvironmentLacksError: As for `read`.
    """
    found = dict(extras)
    for base in read(plan.matrix.root) or ():
        for variant in plan.variants:
            if variant.id in base.variants and base.name not in variant.contexts:
                pinned = f"{base.name}@{base.digest}"
                before = found.get(variant.id, Extras())
                named = f"{before.labels[BASES]} {pinned}" if BASES in before.labels else pinned
                found[variant.id] = replace(
                    before,
                    contexts={**before.contexts, base.name: f"docker-image://{pinned}"},
                    labels={**before.labels, BASES: named},
                )
    return found


def names(extras: Extras) -> tuple[str, ...]:
    """Return the bases that the lock gives to a variant."""
    return tuple(pinned.rpartition("@")[0] for pinned in extras.labels.get(BASES, "").split())


def unlocked(root: Path, bases: Sequence[str]) -> str:
    """Return a note on the bases of a variant that the lock of a project does not name, "" without a lock.

    Args:
        root: The project.
        bases: Images without a digest that the variant starts from, with the lock.
    """
    if not bases or not (root / LOCK).exists():
        return ""
    return f"not locked, as {LOCK} does not name it: {', '.join(bases)} (orchestrate lock bases)"
