"""What a repository reaches: prune keeps all of it, so nothing that belongs to a tag may be left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.cache import repository
from orchestrator.reference import Tag
from orchestrator.registry.client import fallback_tag
from orchestrator.registry.referrers import artifact, attach, upload_parts
from tests.support.publishing import images
from tests.unit.publish.support import World

if TYPE_CHECKING:
    from orchestrator.registry.client import Registry
    from orchestrator.registry.manifests import Manifest

KIND = "application/vnd.example.signature"


@pytest.fixture
def world() -> World:
    return World("one.example.org")


def signed(client: Registry) -> tuple[Manifest, Manifest]:
    """An image that a tag names, and what is attached to it."""
    (image,) = images(client, "linux/amd64", salt="a")
    manifest = client.manifest(image.digest)
    client.put_manifest(manifest, Tag("v1"))
    attached = artifact(KIND, annotations={"by": "me"}, subject=manifest.descriptor)
    upload_parts(client)
    attach(client, attached)
    return manifest, attached


def test_what_is_attached_to_an_image_is_reached_by_its_tag(world: World) -> None:
    client = world.client()
    manifest, attached = signed(client)
    held = repository.held(client)
    reach = held.reach[str(manifest.digest)]
    assert reach.manifests[0] == str(manifest.digest)
    assert str(attached.digest) in reach.manifests
    assert reach.whole
    assert reach.sizes[str(attached.digest)] == len(attached.raw)
    assert held.tags[str(fallback_tag(manifest.digest))]


def test_a_manifest_without_a_tag_is_read_where_it_is_asked_for(world: World) -> None:
    client = world.client()
    (image,) = images(client, "linux/amd64", salt="a")
    held = repository.held(client, [str(image.digest), f"sha256:{'0' * 64}", "no digest"])
    assert set(held.reach) == {str(image.digest)}
    assert held.tags == {}


def test_a_manifest_that_cannot_be_read_is_marked(world: World) -> None:
    client = world.client()
    manifest, attached = signed(client)
    del world.stores[world.repositories[0]].manifests[attached.digest]
    assert not repository.held(client).reach[str(manifest.digest)].whole


def test_what_tags_reach_since_then_is_told(world: World) -> None:
    client = world.client()
    manifest, attached = signed(client)
    (other,) = images(client, "linux/amd64", salt="b")
    held = repository.held(client)
    assert repository.later(client, held) == repository.Later()
    client.put_manifest(client.manifest(other.digest), Tag("v1"))
    client.put_manifest(manifest, Tag("new"))
    found = repository.later(client, held)
    assert {str(other.digest), str(manifest.digest), str(attached.digest)} <= found.manifests
    assert found.whole
    del world.stores[world.repositories[0]].manifests[attached.digest]
    assert not repository.later(client, held).whole


def test_a_recorded_manifest_that_cannot_be_read_hides_what_it_needs(world: World) -> None:
    client = world.client()
    manifest, attached = signed(client)
    del world.stores[world.repositories[0]].tags[Tag("v1")]
    del world.stores[world.repositories[0]].manifests[attached.digest]
    assert not repository.held(client, [str(manifest.digest)]).reach[str(manifest.digest)].whole
