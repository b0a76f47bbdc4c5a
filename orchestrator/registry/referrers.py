"""Attaches a manifest to the one that its `subject` names, so that clients find it (signatures, provenance, notes).

Source: OCI distribution specification 1.1, "Pushing Manifests with Subject": where a registry does not answer with
`OCI-Subject`, the client keeps the list of referrers itself, in an index under the tag `sha256-…`.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from orchestrator.registry.client import fallback_tag
from orchestrator.registry.errors import DamagedAnswerError, NotFoundError
from orchestrator.registry.manifests import OCI_INDEX, OCI_MANIFEST, Manifest, descriptor_of, digest_of, read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.registry.client import Registry
    from orchestrator.registry.manifests import Descriptor

EMPTY = b"{}"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"


def attach(registry: Registry, manifest: Manifest) -> None:
    """Store a manifest that has a `subject`, and see to it that it is listed.

    Raises:
        NetworkError: The registry denies access, refuses or does not answer.
        DamagedAnswerError: The list of referrers, or the subject, is invalid.
    """
    subject = descriptor_of(manifest.content.get("subject"), str(manifest.digest))
    if registry.put_manifest(manifest, manifest.digest):
        return
    tag = fallback_tag(subject.digest)
    try:
        found = registry.manifest(tag)
    except NotFoundError:
        entries: list[Any] = []
    else:
        if not found.index:
            raise DamagedAnswerError(f"{registry.repository}:{tag}: expected an index of referrers")
        entries = list(found.content["manifests"])
    if any(isinstance(one, dict) and one.get("digest") == str(manifest.digest) for one in entries):
        return
    entry = {**manifest.descriptor.to_json(), "artifactType": _type(manifest)}
    if notes := manifest.content.get("annotations"):
        entry["annotations"] = notes
    content = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*entries, entry]}
    registry.put_manifest(read(json.dumps(content).encode(), OCI_INDEX), tag)


def artifact(
    kind: str, data: bytes = EMPTY, *, annotations: Mapping[str, str], subject: Descriptor | None = None
) -> Manifest:
    """Make the manifest of an artifact with one blob, `data`, which is uploaded with `upload_parts`.

    Args:
        kind: Its artifact type, a media type; that of the blob as well.
        data: The blob.
        annotations: Of the manifest.
        subject: What it is attached to.
    """
    config = {"mediaType": EMPTY_TYPE, "digest": str(digest_of(EMPTY)), "size": len(EMPTY)}
    layer = {"mediaType": kind, "digest": str(digest_of(data)), "size": len(data)} if data != EMPTY else config
    content: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": kind,
        "config": config,
        "layers": [layer],
        "annotations": dict(annotations),
    }
    if subject is not None:
        content["subject"] = subject.to_json()
    return read(json.dumps(content, sort_keys=True).encode(), OCI_MANIFEST)


def upload_parts(registry: Registry, *parts: bytes) -> None:
    """Store the blobs of an artifact, and the empty configuration that each of them names.

    Raises:
        NetworkError: The registry denies access, refuses or does not answer.
    """
    for data in dict.fromkeys((EMPTY, *parts)):
        digest = digest_of(data)
        registry.require_blob(digest, partial(registry.upload, digest, len(data), partial(list, (data,))))


def _type(manifest: Manifest) -> str:
    """The artifact type as lists of referrers give it: the manifest's, else that of its configuration."""
    config = manifest.content.get("config")
    known = manifest.content.get("artifactType")
    return str(known or (config.get("mediaType") if isinstance(config, dict) else "") or "")
