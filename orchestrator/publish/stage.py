"""Stages an index: everything that it reaches is in every repository, by digest, before any tag moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import VerificationError
from orchestrator.registry.clients import Clients, every
from orchestrator.registry.copy import copy_image
from orchestrator.registry.manifests import descriptor_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.reference import Digest, Repository
    from orchestrator.registry.manifests import Manifest


def stage(
    clients: Clients, index: Manifest, sources: Mapping[Digest, Repository], targets: Sequence[Repository]
) -> None:
    """Bring an index, its images, their attestations and signatures into repositories, and read them back.

    Args:
        clients: The registries.
        index: What `compose` made.
        sources: Digest of each child -> where it is.
        targets: Where it goes.

    Raises:
        NetworkError, DamagedAnswerError: A registry denies access, refuses, does not answer, or answers falsely.
        VerificationError: A registry took a manifest and does not have it.
    """
    children = [descriptor_of(one, str(index.digest)).digest for one in index.content["manifests"]]
    copies = [(digest, target) for target in targets for digest in children]
    every(lambda one: copy_image(clients.of(sources[one[0]]), clients.of(one[1]), one[0]), copies)
    every(lambda target: clients.of(target).put_manifest(index, index.digest), list(targets))
    wanted = [(digest, target) for target in targets for digest in (index.digest, *children)]
    found = every(lambda one: clients.of(one[1]).head(one[0]), wanted)
    for (digest, target), there in zip(wanted, found, strict=True):
        if there is None:
            raise VerificationError(f"{target}: {digest} was not found after it was staged there")
