"""A tag is removed, and nothing else: what it named stays, and so does the tag where a registry cannot delete."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import NetworkError
from orchestrator.reference import Tag
from orchestrator.registry.removal import remove_tag
from tests.support.publishing import StandIn, push
from tests.unit.publish.support import World

if TYPE_CHECKING:
    from orchestrator.reference import Digest


@pytest.fixture
def world() -> World:
    return World("one.example.org")


def test_the_manifest_and_its_other_tags_stay(world: World) -> None:
    client, store = world.client(), world.stores[world.repositories[0]]
    digest = push(client, StandIn(variant="app", platform="linux/amd64"), tag="v1")
    store.tags[Tag("v2")] = digest
    before = dict(store.manifests)

    def delete(one: Digest) -> bool:
        del store.manifests[one]
        store.tags = {tag: named for tag, named in store.tags.items() if named != one}
        return True

    remove_tag(client, Tag("v1"), delete=delete)
    assert store.tags == {Tag("v2"): digest}
    assert store.manifests == before


def test_a_registry_that_cannot_delete_is_left_as_it_was(world: World) -> None:
    client, store = world.client(), world.stores[world.repositories[0]]
    digest = push(client, StandIn(variant="app", platform="linux/amd64"), tag="v1")

    def delete(_: Digest) -> bool:
        raise NetworkError("status 405")

    with pytest.raises(NetworkError):
        remove_tag(client, Tag("v1"), delete=delete)
    assert store.tags == {Tag("v1"): digest}


def test_a_tag_that_is_not_there_costs_nothing(world: World) -> None:
    client, store = world.client(), world.stores[world.repositories[0]]
    asked: list[Digest] = []

    def delete(one: Digest) -> bool:
        asked.append(one)
        return True

    remove_tag(client, Tag("none"), delete=delete)
    assert (asked, store.manifests) == ([], {})
