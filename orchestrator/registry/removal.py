"""Removes a tag from a repository, and nothing else."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from orchestrator.registry.referrers import artifact, upload_parts

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.reference import Digest, Tag
    from orchestrator.registry.client import Registry
    from orchestrator.registry.manifests import Manifest


def remove_tag(registry: Registry, tag: Tag, *, delete: Callable[[Digest], bool] | None = None) -> None:
    """Remove a tag; the manifest that it names, and other tags of it, stay.

    The tag is first moved to an empty manifest, which is then deleted by its digest: Debian's registry deletes no tags
    (distribution 2.8 answers 400), and a registry that deletes the manifest behind a tag takes every other tag of it
    along. Whether manifests can be deleted at all is found out with one that no tag names, so that a registry that
    refuses is left as it was.

    Args:
        registry: The repository.
        tag: The tag; one that does not exist is not an error.
        delete: Deletes a manifest where the registry itself cannot (`github.Packages.delete`).

    Raises:
        NetworkError: The registry denies access, cannot delete or does not answer.
        DamagedAnswerError: An answer of it is invalid.
    """
    if registry.head(tag) is None:
        return
    delete = delete or registry.delete
    upload_parts(registry)
    first, second = _empty_manifest(), _empty_manifest()
    registry.put_manifest(first, first.digest)
    delete(first.digest)
    registry.put_manifest(second, tag)
    delete(second.digest)


def _empty_manifest() -> Manifest:
    """A manifest without content, unlike every other one."""
    return artifact("application/vnd.orchestrate.removed", annotations={"nonce": uuid.uuid4().hex})
