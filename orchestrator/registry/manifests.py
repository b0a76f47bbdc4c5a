"""Manifests and indexes as a registry stores them: their media types, and values that keep the raw bytes.

A manifest's digest is the digest of its bytes, so the bytes are kept as they arrived; serializing the parsed content
again gives another digest. Source: OCI image specification 1.1, OCI distribution specification 1.1.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orchestrator.reference import Digest, InvalidReferenceError
from orchestrator.registry.errors import DamagedAnswerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"

INDEXES = frozenset({OCI_INDEX, DOCKER_LIST})
"""Media types of manifests that name other manifests."""

ATTESTATION = "vnd.docker.reference.type"
"""The annotation of a descriptor that is no image: it describes one (BuildKit's attestations)."""

ACCEPT = f"{OCI_INDEX}, {OCI_MANIFEST}, {DOCKER_LIST}, {DOCKER_MANIFEST}"
"""The Accept header of every request for a manifest."""

MAX_MANIFEST = 4 << 20
"""Bytes of a manifest; registries refuse larger ones (OCI distribution specification, "Pushing Manifests")."""


class Descriptor(Struct, frozen=True, kw_only=True):
    """What names a manifest or blob: media type, digest and size in bytes."""

    media_type: str
    digest: Digest
    size: int

    def to_json(self) -> dict[str, Any]:
        """The descriptor as indexes and manifests hold it."""
        return {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}


class Manifest(Struct, frozen=True, kw_only=True):
    """A manifest or an index; `read` makes one.

    Attributes:
        raw: Its bytes, as stored.
        media_type: As the registry names it.
        digest: Of `raw`.
        content: `raw`, parsed.
    """

    raw: bytes
    media_type: str
    digest: Digest
    content: Mapping[str, Any]

    @property
    def index(self) -> bool:
        """Whether it names other manifests, one for each platform."""
        return self.media_type in INDEXES

    @property
    def descriptor(self) -> Descriptor:
        """What names it in an index."""
        return Descriptor(media_type=self.media_type, digest=self.digest, size=len(self.raw))


def read(raw: bytes, media_type: str = "", *, expected: Digest | None = None) -> Manifest:
    """A manifest from its bytes.

    Args:
        raw: The bytes, as they arrived.
        media_type: As announced; "" takes the one that the manifest itself names.
        expected: The digest that it must have.

    Raises:
        DamagedAnswerError: Another digest, no JSON object, or a content that contradicts its media type. A document
            with both `manifests` and `layers` is refused: two clients read two images from it (CVE-2021-41190).
    """
    digest = digest_of(raw, expected)
    if expected is not None and digest != expected:
        raise DamagedAnswerError(f"manifest: the digest does not match: expected {expected}, found {digest}")
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise DamagedAnswerError(f"manifest {digest}: the content is invalid: expected JSON") from error
    if not isinstance(content, dict):
        raise DamagedAnswerError(f"manifest {digest}: the content is invalid: expected a JSON object")
    announced = media_type.partition(";")[0].strip().lower()
    named = content.get("mediaType")
    if announced not in (*INDEXES, OCI_MANIFEST, DOCKER_MANIFEST):  # absent, or a server's application/json
        announced = named if isinstance(named, str) else OCI_INDEX if "manifests" in content else OCI_MANIFEST
    if named not in (None, announced):
        what = f"expected {announced}, found {str(named)[:100]!r}"
        raise DamagedAnswerError(f"manifest {digest}: the media type does not match: {what}")
    if "manifests" in content and ("layers" in content or "config" in content):
        raise DamagedAnswerError(f"manifest {digest}: the content is invalid: expected manifests or layers, found both")
    if (announced in INDEXES) != ("manifests" in content):
        field_name = "manifests" if announced in INDEXES else "layers"
        raise DamagedAnswerError(f"manifest {digest}: {field_name} was not found, which {announced[:100]} must have")
    return Manifest(raw=raw, media_type=announced, digest=digest, content=content)


def described(manifest: Manifest, *names: str) -> Iterator[Descriptor]:
    """The descriptors that a manifest holds.

    Args:
        manifest: A manifest or an index.
        names: Keys of a descriptor or of a list of them; by default `manifests`.

    Raises:
        DamagedAnswerError: One is invalid.
    """
    for name in names or ("manifests",):
        entries: Any = manifest.content.get(name)
        if entries is None:
            continue
        for one in entries if isinstance(entries, list) else [entries]:
            yield descriptor_of(one, str(manifest.digest))


def descriptor_of(value: Any, where: str) -> Descriptor:
    """A descriptor from JSON.

    Raises:
        DamagedAnswerError: It is invalid.
    """
    try:
        media_type, digest, size = str(value["mediaType"]), Digest(str(value["digest"])), int(value["size"])
    except (KeyError, TypeError, ValueError, InvalidReferenceError) as error:
        raise DamagedAnswerError(f"manifest {where}: a descriptor is invalid: {str(error)[:200]}") from error
    if size < 0:
        raise DamagedAnswerError(f"manifest {where}: the size of {digest} is invalid: found {size}")
    return Descriptor(media_type=media_type, digest=digest, size=size)


def digest_of(data: bytes, like: Digest | None = None) -> Digest:
    """The digest of bytes, by the algorithm of `like` (default: sha256)."""
    algorithm = str(like).partition(":")[0] if like else "sha256"
    return Digest(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")
