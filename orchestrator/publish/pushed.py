"""Reads a pushed variant from its registry: which image it holds, for which platform, built from which inputs.

What a registry says is untrusted: the platform, the labels and the commit are taken from the configuration, which the
digest covers, and of descriptors only known fields are kept.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orchestrator.image.sources.base import configured
from orchestrator.labels import VARIANT
from orchestrator.registry.errors import DamagedAnswerError
from orchestrator.registry.manifests import ATTESTATION, descriptor_of
from orchestrator.runs.resume import key_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.reference import Digest
    from orchestrator.registry.client import Registry
    from orchestrator.registry.manifests import Descriptor, Manifest

REVISION = "org.opencontainers.image.revision"
_SUBJECT = "vnd.docker.reference.digest"
_PLATFORM = ("architecture", "os", "variant", "os.version")


class Pushed(Struct, frozen=True, kw_only=True):
    """A variant in a registry.

    Attributes:
        digest: Of what was pushed: a manifest, or an index with attestations.
        image: The image's own manifest.
        entries: The descriptors that an index of several platforms takes over, the image first.
        platform: "linux/arm64", as its configuration says.
        variant: Id of the variant that it says it is, "" where it does not.
        key: The content key that it carries, "" for none.
        revision: The commit that it says it was built from, "" for none.
        size: Bytes of its layers.
    """

    digest: Digest
    image: Descriptor
    entries: tuple[Mapping[str, Any], ...]
    platform: str
    variant: str
    key: str
    revision: str
    size: int


def pushed(client: Registry, digest: Digest) -> Pushed:
    """Read what was pushed under a digest.

    Raises:
        NotFoundError: The registry does not have it.
        DamagedAnswerError: It is not one image with its attestations.
        NetworkError: The registry denies access or does not answer.
    """
    top = client.manifest(digest)
    if not top.index:
        return _pushed(client, top, top, {})
    entries = [one for one in top.content["manifests"] if isinstance(one, dict)]
    images = [one for one in entries if not _annotation(one, ATTESTATION)]
    if len(images) != 1:
        raise DamagedAnswerError(
            f"{client.repository}@{digest}: the index of a variant is invalid: expected one image, found {len(images)}"
        )
    (image,) = images
    found = descriptor_of(image, str(digest))
    attestations = [one for one in entries if _annotation(one, _SUBJECT) == str(found.digest)]
    return _pushed(client, top, client.manifest(found.digest), image, *attestations)


def _pushed(
    client: Registry, top: Manifest, image: Manifest, entry: Mapping[str, Any], *attestations: Mapping[str, Any]
) -> Pushed:
    where = f"{client.repository}@{image.digest}"
    if image.index:
        raise DamagedAnswerError(f"{where}: expected an image, found an index")
    try:
        config = json.loads(client.blob(descriptor_of(image.content.get("config"), where).digest))
        said = configured(config)
        size = sum(int(one["size"]) for one in image.content["layers"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedAnswerError(f"{where}: the configuration of the image is invalid: {str(error)[:200]}") from error
    platform = {name: str(config[name]) for name in _PLATFORM if config.get(name)}
    own = {**image.descriptor.to_json(), "platform": platform, **_annotations(entry)}
    riders = [
        {
            **descriptor_of(one, where).to_json(),
            "platform": {"architecture": "unknown", "os": "unknown"},
            **_annotations(one),
        }
        for one in attestations
    ]
    return Pushed(
        digest=top.digest,
        image=image.descriptor,
        entries=(own, *riders),
        platform=str(said["platform"]),
        variant=said["labels"].get(VARIANT, ""),
        key=key_of(top) or key_of(image),
        revision=said["labels"].get(REVISION, ""),
        size=size,
    )


def _annotation(entry: Mapping[str, Any], name: str) -> str:
    notes = entry.get("annotations")
    return str(notes.get(name) or "") if isinstance(notes, dict) else ""


def _annotations(entry: Mapping[str, Any]) -> dict[str, Any]:
    notes = entry.get("annotations")
    kept = {name: text for name, text in notes.items() if isinstance(text, str)} if isinstance(notes, dict) else {}
    return {"annotations": kept} if kept else {}
