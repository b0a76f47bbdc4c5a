"""`orchestrate cache prune` with a real registry: nothing goes that a tag, an index or a record needs."""

from __future__ import annotations

import hashlib
import json
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.cache import prune
from orchestrator.cache.repository import held
from orchestrator.reference import Digest, Tag, repository
from orchestrator.registry.client import Registry as Client
from orchestrator.registry.manifests import OCI_INDEX, OCI_MANIFEST, Manifest, read
from orchestrator.sizes import size_text
from tests.support.engine import call, remove_images
from tests.support.github import Hub, github
from tests.support.project import write_project
from tests.support.toolchain import installed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.engine import MakeRegistry, Registry
    from tests.support.project import Project

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


TARGETS = [f"t{number}" for number in range(5)]


def stored(folder: Path) -> int:
    """Bytes of every blob and manifest that a registry keeps."""
    return sum(path.stat().st_size for path in folder.glob("data/docker/registry/v2/blobs/**/data"))


@pytest.mark.download
def test_thirty_references_indexes_signatures_and_a_journal(throwaway_registry: MakeRegistry, tmp_path: Path) -> None:
    registry, folder = throwaway_registry(), tmp_path / "registry-0"
    image = registry.repository("app")
    project = write_project(tmp_path, image, **{name: f"RUN echo {name}" for name in TARGETS})
    matrix, ref = project.root / "matrix.yaml", '"{image}:cache-{variant.id}"'
    section = f"cache: {{backend: registry, ref: {ref}, pull_request_ref: {ref}}}"
    matrix.write_text(matrix.read_text().replace('cache: {backend: "off"}', section))
    try:
        prune_thirty(project, image, registry, folder)
    finally:
        remove_images(image)


def prune_thirty(project: Project, image: str, registry: Registry, folder: Path) -> None:
    assert project.build("--push").returncode == 0
    ids = [f"{name}-cu130-amd64" for name in TARGETS]
    dockerfile = project.root / "Dockerfile"
    first = {id_: registry.digest("app", f"cache-{id_}") for id_ in ids}
    dockerfile.write_text(dockerfile.read_text().replace("RUN echo", "RUN echo again"))
    assert project.build("--push").returncode == 0  # supersedes the first five exports
    journal = project.root / ".orchestrate/journal.jsonl"
    given: dict[str, str] = {}
    stays: set[str] = set()
    with Client(repository(image)) as client:
        for number, id_ in enumerate(ids):
            main = client.manifest(Tag(f"cache-{id_}"))
            shared, recorded = manifest(client, f"shared {number}"), manifest(client, f"recorded {number}")
            contents = {1: main, 2: manifest(client, f"own {number}"), 3: shared, 4: shared, 5: recorded}
            for pull, content in contents.items():
                client.put_manifest(content, Tag(f"cache-{id_}-pr-{pull}"))
            with journal.open("a") as stream:
                stream.write(f'\n{{"foreign": "{recorded.digest}"}}\n')
            index = client.manifest(Tag(f"{TARGETS[number]}-amd64"))
            assert len(index.content["manifests"]) == 2, "an image and its attestation"
            signature = str(index.digest).replace(":", "-")
            client.put_manifest(manifest(client, f"signature {number}"), Tag(signature))
            stays |= {f"cache-{id_}", f"cache-{id_}-pr-4", f"{TARGETS[number]}-amd64", signature}
            given[f"cache-{id_}-pr-5"] = str(recorded.digest)
        kept = {tag: registry.digest("app", tag) for tag in stays}
        references = [tag for tag in map(str, client.tags()) if tag.startswith("cache-")]
        assert len(references) == 30

    before = stored(folder)
    with github(Hub(pulls={"1": "closed", "2": "closed", "3": "closed", "4": "open", "5": "closed"})) as hub:
        env = {"GITHUB_API_URL": hub.url, "GITHUB_TOKEN": hub.token, "GITHUB_REPOSITORY": "acme/app"}
        dry = project.run("cache", "prune", env=env)
        assert dry.returncode == 0, dry.stderr
        assert "20 tags stay, 20 and 5 superseded exports can go" in dry.stdout
        assert stored(folder) == before
        done = project.run("cache", "prune", "--yes", env=env)
    assert (done.returncode, done.stderr.count("warning")) == (0, 0), done.stderr
    assert {*registry.tags("app")} == stays
    assert [registry.digest("app", digest) for digest in first.values()] == [""] * 5

    program = shutil.which("docker-registry") or shutil.which("registry")
    call(str(program), "garbage-collect", folder / "config.yml")
    assert f"{size_text(before - stored(folder))} for the registry's garbage collection" in done.stdout

    installed("skopeo", "skopeo")
    for number, (tag, digest) in enumerate(kept.items()):  # with a client that is not ours
        source = f"docker://{image}@{digest}"
        assert registry.digest("app", tag) == digest
        if tag.endswith("-amd64") and not tag.startswith("cache-"):
            words = ("copy", "--quiet", "--all", "--preserve-digests", "--src-tls-verify=false")
            call("skopeo", *words, f"docker://{image}:{tag}", f"dir:{folder}/pulled-{number}")
        found = json.loads(call("skopeo", "inspect", "--raw", "--tls-verify=false", source).stdout)
        for layer in found.get("layers", []):
            registry.blob("app", layer["digest"])
    for digest in given.values():  # what the journal names
        found = json.loads(
            call("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{image}@{digest}").stdout
        )
        registry.blob("app", found["layers"][0]["digest"])


def index_of(client: Client, *children: Manifest) -> Manifest:
    for child in children:
        client.put_manifest(child, child.digest)
    entries = [child.descriptor.to_json() for child in children]
    return read(json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode(), OCI_INDEX)


def test_what_a_tag_reaches_in_the_moment_of_a_deletion_stays(registry: Registry, tmp_image: str) -> None:
    with Client(repository(tmp_image)) as client:
        main, moved, child, alone = (manifest(client, name) for name in ("main", "moved", "child", "alone"))
        given = {
            "app": main, "release": main, "app-pr-1": manifest(client, "first"), "app-pr-2": moved,
            "app-pr-3": index_of(client, child, alone), "app-pr-4": manifest(client, "fourth"),
        }  # fmt: skip
        for name, content in given.items():
            client.put_manifest(content, Tag(name))
        found = held(client)
        known = prune.Known(bases=frozenset({"app"}), closed=frozenset("1234"), now=datetime.now(UTC))
        doomed = sorted(prune.decide(found, known, records=()).doomed, key=lambda one: one.tag)
        assert [(one.tag, one.shared, len(one.children)) for one in doomed] == [
            ("app-pr-1", "", 0), ("app-pr-2", "", 0), ("app-pr-3", "", 2), ("app-pr-4", "", 0)
        ]  # fmt: skip
        deleted: list[Digest] = []

        def delete(digest: Digest) -> bool:
            """Delete; with the first one other people push."""
            if not deleted:
                client.put_manifest(moved, Tag("release"))
                client.put_manifest(index_of(client, child, main), Tag("new"))
                client.put_manifest(main, Tag("app-pr-4"))
            deleted.append(digest)
            return client.delete(digest)

        removed = prune.remove(client, doomed, found, delete=delete)
        assert removed.failed == ("app-pr-4: stays, it was moved meanwhile",)
        assert {one.tag: bool(one.shared) for one in removed.done} == {
            "app-pr-1": False, "app-pr-2": True, "app-pr-3": False
        }  # fmt: skip
        assert {str(tag) for tag in client.tags()} == {"app", "release", "new", "app-pr-4"}
        for digest in (moved.digest, child.digest, main.digest):
            assert client.manifest(digest).digest == digest
        for digest in (given["app-pr-1"].digest, given["app-pr-3"].digest, alone.digest):
            assert client.head(digest) is None


def test_what_a_recorded_index_needs_stays(registry: Registry, tmp_image: str, tmp_path: Path) -> None:
    project = write_project(tmp_path, tmp_image, app="RUN true")
    matrix = project.root / "matrix.yaml"
    matrix.write_text(matrix.read_text().replace('cache: {backend: "off"}', "cache: {backend: registry}"))
    state = project.root / ".orchestrate"
    state.mkdir()
    with Client(repository(f"{tmp_image}-cache")) as client:
        child = manifest(client, "child")
        index = index_of(client, child, manifest(client, "attestation"))
        client.put_manifest(index, index.digest)
        client.put_manifest(child, Tag(f"{ID}-pr-12"))
        (state / "journal.jsonl").write_text(f'{{"digest": "{index.digest}"}}\n')
        done = project.run("cache", "prune", "--closed-pr", "12", "--yes")
        assert done.returncode == 0, done.stderr
        assert "the tag alone: a record names it, or an index with it" in done.stdout
        assert [*client.tags()] == []
        assert client.manifest(child.digest).raw == child.raw
