"""Keeps records: a file in the state directory, and in every repository an index under one tag.

The index names the record's artifact and, beside it, every digest that the publish moves tags from and to: the old
images outlive the move, whatever a registry's garbage collection or `cache prune` thinks of manifests without a tag.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from orchestrator import files
from orchestrator.errors import EnvironmentLacksError
from orchestrator.publish import record as records
from orchestrator.publish.record import MAX_RECORD, Record, RecordError
from orchestrator.reference import Tag
from orchestrator.registry.clients import Clients, every
from orchestrator.registry.errors import NotFoundError
from orchestrator.registry.manifests import OCI_INDEX, descriptor_of, read
from orchestrator.registry.referrers import artifact, upload_parts
from orchestrator.state import require_own

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from orchestrator.reference import Digest, Repository
    from orchestrator.registry.client import Registry
    from orchestrator.registry.manifests import Descriptor, Manifest

TAG = Tag("orchestrate-publish")
"""The tag of the record in every repository; the last publish, or the one that is under way."""

KIND = "application/vnd.orchestrate.publish.v1+json"
"""Artifact type of a record."""


class Keeper:
    """Writes and reads the records of one publish.

    Args:
        clients: The registries.
        root: The directory of matrix.yaml; None keeps no file.

    Raises:
        EnvironmentLacksError: The state directory leads out of the project.
    """

    def __init__(self, clients: Clients, root: Path | None) -> None:
        self._clients = clients
        self._directory = require_own(root) / "publish" if root is not None else None

    def save(self, record: Record, held: Mapping[Repository, Sequence[Descriptor]] | None = None) -> None:
        """Write a record: to the disk, then to every repository.

        Args:
            record: The record.
            held: Repository -> what its index keeps besides; None keeps what the index there names already.

        Raises:
            EnvironmentLacksError: The file cannot be written.
            NetworkError, DamagedAnswerError: A registry does not take it; the others and the disk have it.
        """
        self.save_file(record)
        every(lambda repository: self._push(record, repository, held), record.repositories)

    def save_file(self, record: Record) -> None:
        """Write a record to the disk alone.

        Raises:
            EnvironmentLacksError: It cannot be written.
        """
        if self._directory is None:
            return
        path = self._directory / f"{record.id}.json"
        try:
            files.make_private(self._directory)
            files.write_whole(path, records.write(record), mode=files.PRIVATE)
        except OSError as error:
            raise EnvironmentLacksError(
                f"{error.filename or path}: the record cannot be written: {error.strerror}"
            ) from error

    def pending_files(self) -> Iterator[Record]:
        """Records of this machine that were not ended."""
        for path in sorted(self._directory.glob("*.json")) if self._directory is not None else ():
            record = read_file(path)
            if record.state is records.State.MOVING:
                yield record

    def _push(
        self, record: Record, repository: Repository, held: Mapping[Repository, Sequence[Descriptor]] | None
    ) -> None:
        client = self._clients.of(repository)
        data = records.write(record)
        manifest = artifact(KIND, data, annotations={"org.opencontainers.image.title": f"publish-{record.id}.json"})
        upload_parts(client, data)
        client.put_manifest(manifest, manifest.digest)
        kept = _kept(client) if held is None else {one.digest: one for one in held[repository]}
        if held is None:  # what was deleted since cannot be named again
            kept = {digest: one for digest, one in kept.items() if client.head(digest) is not None}
        entries = [{**manifest.descriptor.to_json(), "artifactType": KIND}]
        entries += [one.to_json() for digest, one in kept.items() if digest != manifest.digest]
        content = {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "artifactType": KIND,
            "manifests": entries,
            "annotations": {"org.opencontainers.image.description": f"publish {record.id}: {record.state.value}"},
        }
        index = read(json.dumps(content).encode(), OCI_INDEX)
        client.put_manifest(index, TAG)
        found = client.head(TAG)
        if found is None or found.digest != index.digest:
            what = f"expected {index.digest}, found {found.digest if found is not None else 'no such tag'}"
            raise RecordError(f"{repository}:{TAG}: the record was not read back: {what}")


def pull(client: Registry, tag: Tag = TAG) -> Record | None:
    """Return the record that a repository has, None where it has none.

    Raises:
        RecordError: It is invalid.
        NetworkError, DamagedAnswerError: It cannot be read.
    """
    try:
        index = client.manifest(tag)
    except NotFoundError:
        return None
    where = f"{client.repository}:{tag}"
    entry = next(iter(_entries(index, where)), None)
    if not isinstance(entry, dict) or entry.get("artifactType") != KIND:
        raise RecordError(f"{where}: the record was not found: expected an index that names a {KIND}")
    layers = client.manifest(descriptor_of(entry, where).digest).content.get("layers")
    if not isinstance(layers, list) or len(layers) != 1:
        raise RecordError(f"{where}: the artifact of the record is invalid: expected one layer")
    return records.read(client.blob(descriptor_of(layers[0], where).digest, limit=MAX_RECORD), where)


def read_file(path: Path) -> Record:
    """Return the record in a file.

    Raises:
        RecordError: It is invalid.
        EnvironmentLacksError: It cannot be read.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_RECORD + 1)
    except OSError as error:
        raise EnvironmentLacksError(f"{path}: the record cannot be read: {error.strerror}") from error
    return records.read(data, str(path))


def _kept(client: Registry) -> dict[Digest, Descriptor]:
    """What the index of the record names beside the record itself."""
    try:
        index = client.manifest(TAG)
    except NotFoundError:
        return {}
    where = f"{client.repository}:{TAG}"
    entries = [one for one in _entries(index, where) if not isinstance(one, dict) or one.get("artifactType") != KIND]
    found = [descriptor_of(one, where) for one in entries]
    return {one.digest: one for one in found}


def _entries(index: Manifest, where: str) -> list[Any]:
    entries = index.content.get("manifests")
    if not isinstance(entries, list):
        raise RecordError(f"{where}: the record is invalid: expected an index, found {index.media_type}")
    return entries
