"""Says in the registry that an image was verified, and for which promise: an artifact attached to the image.

A user who may push images may attach one, so it is worth as much as the image itself: it saves a second verification,
and is no signature.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from msgspec import to_builtins

from orchestrator.errors import InterruptedRunError, OrchestrateError
from orchestrator.image.verdict.policy import from_spec
from orchestrator.labels import PROMISE
from orchestrator.reference import Digest, parse

if TYPE_CHECKING:
    from orchestrator.matrix.schema import VerifySpec
    from orchestrator.matrix.variants import Variant
    from orchestrator.registry.client import Registry
    from orchestrator.registry.manifests import Descriptor, Manifest

KIND = "application/vnd.orchestrate.verification.v1+json"
"""Artifact type of such a statement."""

_MOST = 64  # of the artifacts attached to one image are read


def promise(variant: Variant, spec: VerifySpec, bundle: str = "") -> str:
    """Return the digest of what a variant promises; another list, policy or bundle is another promise.

    Args:
        variant: The variant.
        spec: The section `verify` of the matrix.
        bundle: Digest of the FlashInfer bundle that it must hold, "" for none.
    """
    content = {
        "variant": variant.id,
        "archs": [str(arch) for arch in variant.archs.effective],
        "policy": to_builtins(from_spec(spec), order="deterministic", enc_hook=str),
        "bundle": bundle,
    }
    text = json.dumps(content, sort_keys=True, default=str)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def proven(client: Registry, image: Descriptor, promised: str) -> bool:
    """Return whether an artifact of the image says that it was verified for this promise.

    Raises:
        NetworkError, DamagedAnswerError: The registry denies access, does not answer, or answers falsely.
    """
    for one in client.referrers(image.digest)[:_MOST]:
        content = client.manifest(one.digest).content
        subject, notes = content.get("subject"), content.get("annotations")
        if not isinstance(subject, dict) or not isinstance(notes, dict) or content.get("artifactType") != KIND:
            continue
        if subject.get("digest") == str(image.digest) and notes.get(PROMISE) == promised:
            return True
    return False


def pushed_image(top: Manifest) -> Descriptor | None:
    """Return the image of what a build pushed: a manifest, or an index with attestations; None for an empty one."""
    from orchestrator.registry.manifests import described

    return next(described(top), None) if top.index else top.descriptor  # buildx names the image first


def prove_pushed(repository: str, digest: str, promised: str) -> str:
    """Attach the statement to the image of a variant that was just verified.

    Args:
        repository: Where it was pushed.
        digest: Of what was pushed: a manifest, or an index with attestations.
        promised: What it was verified for.

    Returns:
        Why it could not be attached, "" if it is: publish then verifies the image once more.

    Raises:
        InterruptedRunError: A stop was asked for.
    """
    from orchestrator.registry.client import Registry

    try:
        with Registry(parse(repository).repository) as client:
            image = pushed_image(client.manifest(Digest(digest)))
            if image is None:
                return f"{repository}: {digest} is an empty index, so nothing records that it was verified"
            prove(client, image, promised)
    except InterruptedRunError:
        raise
    except OrchestrateError as error:
        return f"{repository}: the registry could not record that it was verified: {error}"
    return ""


def prove(client: Registry, image: Descriptor, promised: str) -> None:
    """Attach the statement that an image was verified for a promise.

    Raises:
        NetworkError, DamagedAnswerError: The registry denies access, refuses, does not answer, or answers falsely.
    """
    from orchestrator.registry.referrers import artifact, attach, upload_parts

    upload_parts(client)
    attach(client, artifact(KIND, annotations={PROMISE: promised}, subject=image))
