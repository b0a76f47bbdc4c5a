"""`orchestrate cache prune` with a real registry: nothing goes that a tag, an index or a record needs."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from orchestrator.reference import Digest, Tag, repository
from orchestrator.registry.client import Registry as Client
from orchestrator.registry.manifests import OCI_INDEX, OCI_MANIFEST, Manifest, read
from tests.support.project import write_project

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.engine import Registry

ID = "app-cu130-amd64"
LONG = "x" * 150


def blob(client: Client, data: bytes) -> dict[str, Any]:
    digest = Digest(f"sha256:{hashlib.sha256(data).hexdigest()}")
    client.upload(digest, len(data), lambda: [data])
    return {"mediaType": "application/octet-stream", "digest": str(digest), "size": len(data)}


def manifest(client: Client, seed: str) -> Manifest:
    content = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": blob(client, json.dumps(seed).encode()),
               "layers": [blob(client, (seed * 100).encode())]}  # fmt: skip
    return read(json.dumps(content).encode(), OCI_MANIFEST)


def test_only_what_nobody_needs_goes(registry: Registry, tmp_image: str, tmp_path: Path) -> None:
    project = write_project(tmp_path, tmp_image, app="RUN true")
    matrix = project.root / "matrix.yaml"
    matrix.write_text(matrix.read_text().replace('cache: {backend: "off"}', "cache: {backend: registry}"))
    state = project.root / ".orchestrate"
    state.mkdir()
    with Client(repository(f"{tmp_image}-cache")) as client:
        main, journal = manifest(client, "main"), manifest(client, "journal")
        (state / "journal.jsonl").write_text(f'{{"torn": "{journal.digest}')
        children = [manifest(client, name) for name in ("amd64", "attestation")]
        for child in children:
            client.put_manifest(child, child.digest)
        entries = [child.descriptor.to_json() for child in children]
        index = read(json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode(), OCI_INDEX)
        signature = Tag(str(index.digest).replace(":", "-"))
        given = {
            ID: main, f"{ID}-pr-12": main, f"{ID}-pr-13": manifest(client, "pr13"), f"{ID}-pr-14": journal,
            f"{ID}-pr-15": children[0], "release": index, str(signature): manifest(client, "signature"),
            f"{ID}-pr-16": manifest(client, "pr16"), "other-pr-12": manifest(client, "other"),
        }  # fmt: skip
        for name, content in given.items():
            client.put_manifest(content, Tag(name))
        closed = [word for number in (12, 14, 15, 16) for word in ("--closed-pr", str(number))]

        dry = project.run("cache", "prune", *closed)
        assert dry.returncode == 0, dry.stderr
        assert "4 can go" in dry.stdout
        assert {str(tag) for tag in client.tags()} == set(given)

        done = project.run("cache", "prune", *closed, "--yes")
        assert done.returncode == 0, done.stderr
        stay = {ID, f"{ID}-pr-13", "release", str(signature), "other-pr-12"}
        assert {str(tag) for tag in client.tags()} == stay
        for name in stay:
            assert client.manifest(Tag(name)).digest == given[name].digest
        for kept in (journal, *children):
            assert client.manifest(kept.digest).raw == kept.raw
        assert client.head(given[f"{ID}-pr-16"].digest) is None
