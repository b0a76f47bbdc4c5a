"""Tells whether the result of an earlier run is still there, for `--resume`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from orchestrator.engine import beyond
from orchestrator.errors import InterruptedRunError, OrchestrateError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def pushed(repositories: Iterable[str], digest: str | None) -> bool:
    """Return whether every repository holds the digest; False as well where a registry does not say.

    Raises:
        InterruptedRunError: A stop was asked for.
    """
    return digest is not None and all(_held(f"{repository}@{digest}") for repository in repositories)


def _held(reference: str) -> bool:
    from orchestrator.reference import parse
    from orchestrator.registry.client import Registry

    try:
        found = parse(reference)
        with Registry(found.repository) as registry:
            return found.digest is not None and registry.head(found.digest) is not None
    except InterruptedRunError:
        raise
    except OrchestrateError:
        return False


def loaded(tags: Iterable[str], digest: str | None) -> bool:
    """Return whether the engine has an image under every tag, and the one that was loaded where it tells the digest.

    Raises:
        InterruptedRunError: A stop was asked for.
    """
    names = list(tags)
    if not names:
        return False
    done = beyond.inspect_images(names)
    try:
        images = json.loads(done.stdout) if done.ok else []
        # The containerd image store names the manifest that was loaded; the classic one only its own image id.
        digests = [(image.get("Descriptor") or {}).get("digest", digest) for image in images]
    except (ValueError, AttributeError, TypeError):
        return False
    return len(digests) == len(names) and all(found == digest for found in digests)


def archived(path: Path, size: int) -> bool:
    """Return whether an archive is there with the size that it was written with."""
    try:
        return size > 0 and path.is_file() and path.stat().st_size == size
    except OSError:
        return False
