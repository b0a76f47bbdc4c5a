"""Single moves: what stops them, what goes back, and what stays and says why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from orchestrator.errors import OrchestrateError, VerificationError
from orchestrator.publish import kept, recovery
from orchestrator.publish import stage as staging
from orchestrator.publish.kept import Keeper
from orchestrator.publish.moves import MovedMeanwhileError, Mover, Patience
from orchestrator.publish.record import Rank, State, begin
from orchestrator.reference import Tag
from orchestrator.registry.copy import copy_image
from orchestrator.registry.referrers import artifact, attach, upload_parts
from tests.support.publishing import Wanted, images, publish
from tests.unit.publish.support import LIE, Memory, World

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.reference import Digest
    from orchestrator.registry.clients import Clients
    from orchestrator.registry.manifests import Manifest

PATIENCE = Patience(rounds=2, pause_s=0)
TAGS = {"v1": Rank.VERSION, "nightly": Rank.FLOATING, "latest": Rank.LATEST}


@pytest.fixture
def world() -> World:
    return World("one.example.org", "two.example.org")


def wanted(world: World, salt: str, *, immutable: bool = False) -> Wanted:
    found = images(world.client(), "linux/amd64", "linux/arm64", salt=salt)
    return Wanted(images=found, repositories=world.repositories, tags=TAGS, immutable=immutable)


def stage(clients: Clients, one: Wanted) -> None:
    """What a publish does before its record."""
    staging.stage(clients, one.index, one.sources, one.repositories)


def published(world: World, one: Wanted, root: Path) -> State | None:
    with world.clients() as clients:
        ending = publish(clients, one, root, patience=PATIENCE)
    return ending.record.state if ending is not None else None


def test_the_same_again_moves_nothing(world: World, tmp_path: Path) -> None:
    one = wanted(world, "a")
    assert published(world, one, tmp_path) is State.COMPLETE
    assert published(world, one, tmp_path) is None


def test_what_is_attached_is_read_back_where_it_was_copied(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one = wanted(world, "a")
    source, target = world.client(), world.client(1)
    image = one.images[0].image
    signature = artifact("application/example", b"signed", annotations={}, subject=image)
    upload_parts(source, b"signed")
    attach(source, signature)
    copy_image(source, target, image.digest)
    assert [entry.digest for entry in target.referrers(image.digest)] == [signature.digest]

    note = artifact("application/example", b"lost", annotations={}, subject=image)
    upload_parts(source, b"lost")
    attach(source, note)
    put = Memory.put_manifest

    def forgetful(client: Memory, manifest: Manifest, selector: Tag | Digest) -> bool:
        return manifest.digest == note.digest or put(client, manifest, selector)

    monkeypatch.setattr(Memory, "put_manifest", forgetful)
    with pytest.raises(VerificationError, match=f"two.example.org/acme/app: {note.digest} was not found after it was"):
        copy_image(source, target, image.digest)


def test_a_tag_that_somebody_else_moves_turns_back_and_stays(world: World, tmp_path: Path) -> None:
    first, second, other = wanted(world, "a"), wanted(world, "b"), wanted(world, "c")
    published(world, first, tmp_path)
    with world.clients() as clients:
        moves, _ = second.moves(clients)
        published(world, replace(other, tags={"latest": Rank.LATEST}, repositories=world.repositories[:1]), tmp_path)
        stage(clients, second)
        mover = Mover(clients=clients, patience=PATIENCE)
        with pytest.raises(MovedMeanwhileError, match=r"one\.example\.org/acme/app:latest: the digest does not match"):
            mover.require_unmoved(begin(moves))
        ending = mover.forward(begin(moves))
    assert ending.record.state is State.ROLLED_BACK
    assert ending.failures[0].startswith("one.example.org/acme/app:latest: the digest does not match: expected sha256:")
    named = world.named(TAGS)
    assert named[0, "latest"] == other.index.digest
    assert {digest for key, digest in named.items() if key != (0, "latest")} == {first.index.digest}
    assert any("was moved by somebody else" in line for line in ending.remarks)


def test_immutable_tags_stay_and_floating_ones_go_back(world: World, tmp_path: Path) -> None:
    first, second = wanted(world, "a"), wanted(world, "b", immutable=True)
    published(world, replace(first, tags={"nightly": Rank.FLOATING, "latest": Rank.LATEST}), tmp_path)
    published(world, second, tmp_path)
    with world.clients() as clients:
        found = kept.pull(clients.of(world.repositories[0]))
        assert found is not None
        mover = Mover(clients=clients, patience=PATIENCE)
        assert mover.back(found).record.state is State.INCOMPLETE
        ending = recovery.roll_back(Keeper(clients, tmp_path), mover, found)
    assert ending.record.state is State.ROLLED_BACK  # as asked for: no later publish moves them forward again
    named = world.named(TAGS)
    assert named[0, "v1"] == named[1, "v1"] == second.index.digest
    assert {named[place, tag] for place in (0, 1) for tag in ("nightly", "latest")} == {first.index.digest}
    assert published(world, first, tmp_path) is State.COMPLETE


def test_a_record_moves_tags_of_its_own_repository_alone(world: World, tmp_path: Path) -> None:
    """Who can write to one registry writes a record there that names another one."""
    first, second = wanted(world, "a"), wanted(world, "b")
    published(world, first, tmp_path)
    with world.clients() as clients:
        moves, held = second.moves(clients)
        stage(clients, second)
        forged = begin(moves)
        own = replace(forged, moves=tuple(move for move in moves if move.repository == world.repositories[0]))
        keeper = Keeper(clients, None)
        keeper.save(own, held)  # the tag and its place
        keeper._push(forged, world.repositories[0], held)  # what no publish does: one registry of two
        clients.of(world.repositories[0]).put_manifest(second.index, Tag("v1"))  # begun, as it seems
        mover = Mover(clients=clients, patience=PATIENCE)
        (found,) = recovery.unfinished(clients, mover, world.repositories)
        assert found.foreign == (world.repositories[1],)
        recovery.finish(keeper, mover, found)
    named = world.named(TAGS)
    assert {named[0, tag] for tag in TAGS} == {second.index.digest}
    assert {named[1, tag] for tag in TAGS} == {first.index.digest}


def test_records_of_one_publish_that_differ_are_refused(world: World, tmp_path: Path) -> None:
    published(world, wanted(world, "a"), tmp_path)
    with world.clients() as clients:
        second = wanted(world, "b")
        stage(clients, second)
        moves, held = second.moves(clients)
        one = begin(moves)
        keeper = Keeper(clients, None)
        keeper.save(one, held)
        keeper._push(replace(one, moves=one.moves[1:]), world.repositories[0], held)  # a forged one
        mover = Mover(clients=clients, patience=PATIENCE)
        with pytest.raises(VerificationError, match=f"the records of publish {one.id} do not match between"):
            recovery.unfinished(clients, mover, world.repositories)


def test_files_of_this_machine_are_settled_by_what_the_tags_name(world: World, tmp_path: Path) -> None:
    first = wanted(world, "a")
    with world.clients() as clients:
        moves, _ = first.moves(clients)
        keeper, mover = Keeper(clients, tmp_path), Mover(clients=clients, patience=PATIENCE)
        for tags, state in (((), State.ROLLED_BACK), (("v1",), State.INCOMPLETE), (tuple(TAGS), State.COMPLETE)):
            for repository in world.repositories:
                for tag in tags:
                    world.stores[repository].manifests[first.index.digest] = first.index
                    world.stores[repository].tags[Tag(tag)] = first.index.digest
            keeper.save_file(begin(moves))
            assert [one.state for one in recovery.settle_files(keeper, mover, world.repositories)] == [state]
        keeper.save_file(begin(moves))
        assert list(recovery.settle_files(keeper, mover, world.repositories[:1])) == []


def test_a_version_tag_stays_with_an_immutable_one_that_has_moved(world: World, tmp_path: Path) -> None:
    first, second = wanted(world, "a"), wanted(world, "b")
    published(world, first, tmp_path)
    published(world, replace(second, tags={**TAGS, "v1.2": Rank.VERSION}), tmp_path)
    with world.clients() as clients:
        found = kept.pull(clients.of(world.repositories[0]))
        assert found is not None
        moves = tuple(replace(move, immutable=str(move.tag) == "v1.2") for move in found.moves)
        ending = Mover(clients=clients, patience=PATIENCE).back(replace(found, moves=moves))
    assert ending.record.state is State.INCOMPLETE
    named = world.named(TAGS)
    assert named[0, "v1"] == named[1, "v1"] == second.index.digest
    assert named[0, "latest"] == named[1, "nightly"] == first.index.digest
    assert "one.example.org/acme/app:v1: stays, because an immutable tag has moved" in ending.remarks


def test_a_record_that_a_registry_did_not_take_is_noticed() -> None:
    """It says that it took it, and did not: nothing may move then."""
    world = World("one.example.org")
    one = wanted(world, "a")
    noticed = 0
    for at in range(1, 12):
        world.arm()
        with world.clients() as clients:
            stage(clients, one)
            moves, held = one.moves(clients)
        record = begin(moves)
        world.arm(at, LIE)
        with world.clients() as clients:
            try:
                Keeper(clients, None).save(record, held)
            except OrchestrateError:
                noticed += 1
            else:
                assert kept.pull(world.client()) == record, at
    assert noticed >= 2


def test_a_tag_that_is_not_put_back_is_named_and_leaves_the_publish_open(world: World, tmp_path: Path) -> None:
    first, second = wanted(world, "a"), wanted(world, "b")
    published(world, first, tmp_path)
    published(world, second, tmp_path)
    with world.clients() as clients:
        found = kept.pull(clients.of(world.repositories[0]))
        assert found is not None
        for store in world.stores.values():
            del store.manifests[first.index.digest]
        ending = Mover(clients=clients, patience=PATIENCE).back(found)
    assert ending.record.state is State.MOVING
    said = [line for line in ending.remarks if ": was not put back: " in line]
    names = sorted(move.name for move in found.moves if move.rank is Rank.LATEST)  # what goes back first
    assert sorted(line.partition(": was")[0] for line in said) == names
