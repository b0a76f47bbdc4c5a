"""Records: what is written is read back, and nothing invalid of a registry gets in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from orchestrator.cache.repository import held
from orchestrator.errors import EnvironmentLacksError
from orchestrator.publish import kept
from orchestrator.publish.kept import Keeper
from orchestrator.publish.record import Move, Rank, Record, RecordError, State, begin, read, write
from orchestrator.reference import Digest, Repository, Tag
from orchestrator.registry.clients import Clients
from tests.support.publishing import images
from tests.unit.publish.support import World

if TYPE_CHECKING:
    from pathlib import Path

A, B = Digest(f"sha256:{'a' * 64}"), Digest(f"sha256:{'b' * 64}")
REPOSITORY = Repository(host="ghcr.io", path="acme/app")


def move(tag: str = "v1", **fields: Any) -> Move:
    given = {"rank": Rank.VERSION, "immutable": False, "old": A, "new": B, **fields}
    return Move(repository=REPOSITORY, tag=Tag(tag), **given)


def record() -> Record:
    return begin([move(), move("latest", rank=Rank.LATEST, old=None, moved=True), move("v2", immutable=True)])


def test_what_is_written_is_read_back() -> None:
    for state in State:
        one = replace(record(), state=state)
        assert read(write(one), "here") == one


def test_two_records_have_two_names() -> None:
    assert record().id != record().id


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), 2),
        (("id",), "../../etc/passwd"),
        (("id",), 7),
        (("started",), "yesterday"),
        (("state",), "done"),
        (("moves",), None),
        (("moves", 0, "repository"), "acme//app"),
        (("moves", 0, "repository"), None),
        (("moves", 0, "tag"), "a/b"),
        (("moves", 0, "rank"), "first"),
        (("moves", 0, "immutable"), "no"),
        (("moves", 0, "old"), "sha256:1"),
        (("moves", 0, "new"), None),
        (("moves", 1, "tag"), "v1"),
    ],
)
def test_an_invalid_one_is_refused(path: tuple[Any, ...], value: object) -> None:
    content = json.loads(write(record()))
    place = content
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with pytest.raises(RecordError, match="here: the record of a publish is invalid: expected schema 1, found"):
        read(json.dumps(content).encode(), "here")


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"[" * 100_000, b'{"schema": 1}'])
def test_what_is_no_record_is_refused(data: bytes) -> None:
    with pytest.raises(RecordError):
        read(data, "here")


def test_the_registry_keeps_the_record_and_what_it_names(tmp_path: Path) -> None:
    world = World("one.example.org")
    (old, new) = images(world.client(), "linux/amd64", "linux/arm64")
    client = world.client()
    held = {world.repositories[0]: [client.manifest(old.digest).descriptor, client.manifest(new.digest).descriptor]}
    one = begin([replace(move(), repository=world.repositories[0], old=old.digest, new=new.digest)])
    with world.clients() as clients:
        keeper = Keeper(clients, tmp_path)
        keeper.save(one, held)
        assert kept.pull(client) == one
        assert list(keeper.pending_files()) == [one]
        done = replace(one, state=State.COMPLETE)
        keeper.save(done)
        assert kept.pull(client) == done
        assert list(keeper.pending_files()) == []
        names = {entry["digest"] for entry in client.manifest(kept.TAG).content["manifests"]}
        assert {str(old.digest), str(new.digest)} <= names
        # an old image that somebody deleted keeps nobody from writing the record
        del world.stores[world.repositories[0]].manifests[old.digest]
        keeper.save(done)
        names = {entry["digest"] for entry in client.manifest(kept.TAG).content["manifests"]}
        assert str(old.digest) not in names


def test_prune_keeps_what_a_record_names() -> None:
    """The old image has no tag any more, and the record may bring it back."""
    world = World("one.example.org")
    client = world.client()
    old, new = images(client, "linux/amd64", "linux/arm64")
    place = world.repositories[0]
    with world.clients() as clients:
        one = begin([replace(move(), repository=place, old=old.digest, new=new.digest)])
        descriptors = [client.manifest(digest).descriptor for digest in (old.digest, new.digest)]
        Keeper(clients, None).save(one, {place: descriptors})
    found = held(client)
    reached = found.reach[found.tags[str(kept.TAG)]].manifests
    assert {str(old.digest), str(new.digest), str(old.image.digest)} <= set(reached)


def test_a_tag_that_names_something_else_is_no_record() -> None:
    world = World("one.example.org")
    client = world.client()
    (image,) = images(client, "linux/amd64")
    assert kept.pull(client) is None
    for digest in (image.digest, image.image.digest):
        client.put_manifest(client.manifest(digest), kept.TAG)
        with pytest.raises(RecordError, match="the record"):
            kept.pull(client)


def test_files_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentLacksError, match="the record cannot be read: No such file"):
        kept.read_file(tmp_path / "none.json")
    (tmp_path / ".orchestrate").write_text("a file")
    with pytest.raises(EnvironmentLacksError, match="the record cannot be written: File exists"):
        Keeper(Clients(), tmp_path).save_file(record())
    Keeper(Clients(), None).save_file(record())


@pytest.mark.parametrize("name", [".orchestrate", ".orchestrate/publish"])
def test_records_are_not_written_through_a_link_out_of_the_project(tmp_path: Path, name: str) -> None:
    root, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (root / name).parent.mkdir(parents=True)
    (root / name).symlink_to(elsewhere)
    with pytest.raises(EnvironmentLacksError, match="expected no link out of the project"):
        Keeper(Clients(), root)
