"""Whether a registry says that an image was verified: for this image and this promise alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.labels import PROMISE
from orchestrator.registry.manifests import read
from orchestrator.registry.referrers import artifact, attach, upload_parts
from orchestrator.runs import proof
from tests.support.publishing import images
from tests.unit.publish.support import World

if TYPE_CHECKING:
    from orchestrator.registry.manifests import Descriptor

PROMISED = f"sha256:{'1' * 64}"


@pytest.fixture
def world() -> World:
    return World("one.example.org")


def two(world: World) -> tuple[Descriptor, Descriptor]:
    """Two images of the registry."""
    one, other = images(world.client(), "linux/amd64", "linux/arm64", salt="a")
    return world.client().manifest(one.digest).descriptor, world.client().manifest(other.digest).descriptor


def test_an_image_is_verified_for_what_was_said_and_nothing_else(world: World) -> None:
    client = world.client()
    one, other = two(world)
    assert not proof.proven(client, one, PROMISED)
    proof.prove(client, one, PROMISED)
    assert proof.proven(client, one, PROMISED)
    assert not proof.proven(client, one, f"sha256:{'2' * 64}")
    assert not proof.proven(client, other, PROMISED)


@pytest.mark.parametrize("change", ["kind", "subject", "annotations"])
def test_another_artifact_says_nothing(world: World, change: str) -> None:
    client = world.client()
    one, other = two(world)
    kind = "application/vnd.example.signature" if change == "kind" else proof.KIND
    said = artifact(kind, annotations={PROMISE: PROMISED}, subject=one)
    upload_parts(client)
    attach(client, said)
    assert proof.proven(client, one, PROMISED) is (change != "kind")
    content: dict[str, Any] = dict(said.content)
    content["subject"] = (
        {**content["subject"], "digest": str(other.digest)} if change == "subject" else content["subject"]
    )
    if change == "annotations":
        content["annotations"] = [PROMISED]
    forged = read(json.dumps(content).encode(), said.media_type)
    store = world.stores[world.repositories[0]]
    store.manifests[said.digest] = forged  # what the list of referrers names
    assert not proof.proven(client, one, PROMISED)
