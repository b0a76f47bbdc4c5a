"""What the tests of `publish` share: stand-in images in a registry, and one transaction over their tags.

A stand-in is a real image as buildx pushes one with an attestation (index, image manifest, provenance), and its layer
has a few bytes: publishing moves digests and looks at no layer.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from orchestrator.labels import ARCHS, KEY, VARIANT
from orchestrator.publish import recovery
from orchestrator.publish.compose import compose
from orchestrator.publish.kept import Keeper
from orchestrator.publish.moves import Ending, Mover, Patience
from orchestrator.publish.pushed import REVISION, Pushed, pushed
from orchestrator.publish.record import Move, Rank
from orchestrator.publish.transaction import Staged, Transaction
from orchestrator.reference import Digest, Repository, Tag
from orchestrator.registry.errors import NotFoundError
from orchestrator.registry.manifests import OCI_INDEX, OCI_MANIFEST, Manifest, digest_of, read

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from orchestrator.registry.client import Registry
    from orchestrator.registry.clients import Clients
    from orchestrator.registry.manifests import Descriptor

KEY_OF_NOTHING = f"sha256:{'0' * 64}"


class StandIn(Struct, frozen=True, kw_only=True):
    """An image to push.

    Attributes:
        variant: Its label.
        platform: "linux/arm64".
        key: Its content key, "" for none.
        revision: Its commit, "" for none.
        labels: Further labels.
        salt: Makes it another image.
        attested: Whether an index with provenance stands around it.
    """

    variant: str
    platform: str
    key: str = KEY_OF_NOTHING
    revision: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    salt: str = ""
    attested: bool = True


def blob(client: Registry, data: bytes, media_type: str) -> dict[str, Any]:
    """Store a blob; its descriptor."""
    digest = digest_of(data)
    if not client.has_blob(digest):
        client.upload(digest, len(data), lambda: [data])
    return {"mediaType": media_type, "digest": str(digest), "size": len(data)}


def push(client: Registry, image: StandIn, *, tag: str = "") -> Digest:
    """Push a stand-in; its digest."""
    system, machine = image.platform.split("/")[:2]
    labels = {VARIANT: image.variant, ARCHS: "9.0", **image.labels}
    labels |= {REVISION: image.revision} if image.revision else {}
    config = {"os": system, "architecture": machine, "config": {"Labels": labels}, "salt": image.salt}
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": blob(client, json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
        "layers": [
            blob(client, f"layer {image.variant} {image.salt}".encode(), "application/vnd.oci.image.layer.v1.tar")
        ],
    }
    notes = {KEY: image.key} if image.key else {}
    if notes:
        manifest["annotations"] = notes
    own = read(json.dumps(manifest).encode())
    client.put_manifest(own, own.digest)
    top = _attested(client, own, notes, image.platform) if image.attested else own
    client.put_manifest(top, Tag(tag) if tag else top.digest)
    return top.digest


def _attested(client: Registry, own: Manifest, notes: Mapping[str, str], platform: str) -> Manifest:
    system, machine = platform.split("/")[:2]
    statement = json.dumps({"predicateType": "https://slsa.dev/provenance/v0.2", "of": str(own.digest)}).encode()
    rider = read(
        json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": blob(
                    client, b'{"architecture":"unknown","os":"unknown"}', "application/vnd.oci.image.config.v1+json"
                ),
                "layers": [blob(client, statement, "application/vnd.in-toto+json")],
            }
        ).encode()
    )
    client.put_manifest(rider, rider.digest)
    marks = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": str(own.digest)}
    entries = [
        {**own.descriptor.to_json(), "platform": {"os": system, "architecture": machine}, "annotations": dict(notes)},
        {**rider.descriptor.to_json(), "platform": {"os": "unknown", "architecture": "unknown"}, "annotations": marks},
    ]
    return read(json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode())


class Wanted(Struct, frozen=True, kw_only=True):
    """A transaction: which tags of which repositories move to one index.

    Attributes:
        images: What the index holds, in the first repository.
        repositories: Where the tags are.
        tags: Tag -> rank.
        immutable: Whether version tags are.
    """

    images: tuple[Pushed, ...]
    repositories: tuple[Repository, ...]
    tags: Mapping[str, Rank]
    immutable: bool = False

    @property
    def index(self) -> Manifest:
        """The index that the tags are to name."""
        return compose(self.images)

    @property
    def sources(self) -> dict[Digest, Repository]:
        """Digest of each child -> where it is."""
        return {Digest(str(entry["digest"])): self.repositories[0] for one in self.images for entry in one.entries}

    def moves(self, clients: Clients) -> tuple[list[Move], dict[Repository, list[Descriptor]]]:
        """The moves from what the tags name now, and what the record keeps."""
        moves: list[Move] = []
        held: dict[Repository, list[Descriptor]] = {}
        for repository in self.repositories:
            kept = held[repository] = [self.index.descriptor]
            for name, rank in self.tags.items():
                try:
                    old = clients.of(repository).manifest(Tag(name))
                except NotFoundError:
                    old = None
                if old is not None and old.digest == self.index.digest:
                    continue
                if old is not None and old.descriptor not in kept:
                    kept.append(old.descriptor)
                move = Move(
                    repository=repository, tag=Tag(name), rank=rank, old=old.digest if old else None,
                    immutable=self.immutable and rank is Rank.VERSION, new=self.index.digest,
                )  # fmt: skip
                moves.append(move)
        return moves, held


def images(client: Registry, *platforms: str, salt: str = "") -> tuple[Pushed, ...]:
    """Push a stand-in for each platform."""
    digests = [push(client, StandIn(variant=f"app-{one}", platform=one, salt=salt)) for one in platforms]
    return tuple(pushed(client, digest) for digest in digests)


def publish(clients: Clients, wanted: Wanted, root: Path, *, patience: Patience) -> Ending | None:
    """What `orchestrate publish` does once it has checked everything; None where nothing moves."""
    keeper = Keeper(clients, root)
    recover(clients, wanted.repositories, root, patience=patience)
    transaction = Transaction(clients=clients, keeper=keeper, patience=patience)
    moves, held = wanted.moves(clients)
    if not moves:
        return None
    transaction.stage([Staged(index=wanted.index, sources=wanted.sources, targets=wanted.repositories)])
    return transaction.move(moves, {wanted.index.digest: wanted.index}, held)


def recover(clients: Clients, repositories: Sequence[Repository], root: Path, *, patience: Patience) -> list[Ending]:
    """End what an earlier run left, as `orchestrate publish` does first."""
    mover = Mover(clients=clients, patience=patience)
    keeper = Keeper(clients, root)
    found = recovery.unfinished(clients, mover, repositories)
    endings = [recovery.finish(keeper, mover, one) for one in found]
    list(recovery.settle_files(keeper, mover, repositories))
    return endings
