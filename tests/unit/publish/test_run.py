"""A whole publish of a plan between registries in memory: dry run, moves, a second run, a fault, the way back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from orchestrator.cache.keys import Inputs
from orchestrator.errors import NetworkError, UsageError
from orchestrator.matrix import git
from orchestrator.publish import bases, run
from orchestrator.publish.moves import Patience
from orchestrator.publish.record import State
from orchestrator.publish.run import Wishes
from orchestrator.reference import Digest, Tag
from orchestrator.registry.errors import DamagedAnswerError
from orchestrator.runs.planned import Planned
from tests.support.publishing import StandIn, push
from tests.unit.publish.test_check import AMD, ARM, EARLIER, KEY, NEW, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from orchestrator.matrix.variants import Plan
    from orchestrator.publish.run import Result

HOME = "one.example.org/acme/app"


class Published:
    """A place whose plan is published, and what was said meanwhile."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, more: str = "") -> None:
        self.place = Place(more)
        self.root = root
        self.said: list[str] = []
        inputs = {one.id: Inputs() for one in self.place.plan.variants}
        monkeypatch.setattr(run, "planned", lambda *_, **__: Planned(inputs=inputs, bundles={}))
        monkeypatch.setattr(git, "revision", lambda _: NEW)
        monkeypatch.setattr(git, "is_ancestor", lambda *_: True)
        monkeypatch.chdir(root)

    def __call__(self, *, dry_run: bool = False, reports: tuple[Path, ...] = ()) -> Result:
        wishes = Wishes(
            chosen={AMD},
            from_registry=not reports,
            reports=reports,
            dry_run=dry_run,
            patience=Patience(rounds=2, pause_s=0),
        )
        self.said.clear()
        return run.publish(self.place.plan, wishes, tell=self.said.append, clients=self.place.world.clients())

    @property
    def named(self) -> dict[str, Digest | None]:
        tags = ("v1-13.0", "nightly-13.0", "latest-13.0")
        return {tag: digest for (_, tag), digest in self.place.world.named(tags).items()}

    def rollback(self, named: str) -> State:
        self.said.clear()
        ending = run.rollback(named, tell=self.said.append, root=self.root, clients=self.place.world.clients())
        return ending.record.state


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Published:
    return Published(tmp_path, monkeypatch)


def test_a_dry_run_moves_nothing(published: Published) -> None:
    published.place.both(revision=NEW)
    result = published(dry_run=True)
    assert (result.code, result.ending, len(result.moves)) == (0, None, 3)
    assert set(published.named.values()) == {None}
    assert published.said == []


def test_tags_move_and_a_second_run_moves_none(published: Published) -> None:
    published.place.both(revision=NEW)
    result = published()
    (family,) = result.families
    assert family.index is not None
    assert (result.code, result.recovered, result.pending, result.notes) == (0, (), (), ())
    assert result.ending is not None
    assert result.ending.record.state is State.COMPLETE
    assert set(published.named.values()) == {family.index.digest}
    assert published.said == ["staged 1 index; moving 3 tags"]
    again = published()
    assert (again.code, again.moves, again.ending, len(again.settled)) == (0, (), None, 3)
    assert published.said == []


def test_what_is_missing_costs_its_family_alone(published: Published) -> None:
    published.place.push(AMD, "linux/amd64")
    result = published()
    assert (result.code, result.moves, result.ending) == (1, (), None)
    (problem,) = result.families[0].problems
    assert problem.what == f"linux/arm64 is missing: {ARM}: {HOME}:{ARM} was not found"


def test_reports_name_what_is_published(published: Published, tmp_path: Path) -> None:
    amd, arm = published.place.both(revision=NEW)
    report = tmp_path / "report.json"
    rows = [{"id": name, "status": "built", "digest": str(one)} for name, one in ((AMD, amd), (ARM, arm))]
    report.write_text(json.dumps({"schema": 1, "variants": rows}))
    assert published(reports=(report,)).code == 0
    assert published.said == ["staged 1 index; moving 3 tags"]


def test_the_journal_of_this_machine_is_asked_first(published: Published) -> None:
    published.place.both(revision=NEW)
    wishes = Wishes(chosen={AMD}, patience=Patience(rounds=1, pause_s=0))
    result = run.publish(
        published.place.plan, wishes, tell=published.said.append, clients=published.place.world.clients()
    )
    assert [one.what for one in result.families[0].problems] == [
        f"{platform} is missing: {name}: this machine has not built it; try --report FILE or --from-registry"
        for platform, name in (("linux/amd64", AMD), ("linux/arm64", ARM))
    ]


def test_a_publish_that_was_killed_is_ended_by_the_next(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    published.place.both(revision=NEW)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr("orchestrator.publish.transaction.Mover.forward", killed)
        with pytest.raises(KeyboardInterrupt):
            published()
    assert set(published.named.values()) == {None}
    dry = published(dry_run=True)
    assert [one.state for one in dry.pending] == [State.MOVING]
    assert dry.recovered == ()
    result = published()
    assert [one.record.id for one in result.recovered] == [dry.pending[0].id]
    assert published.said[0].startswith(f"publish {dry.pending[0].id} was interrupted: ")
    assert None not in published.named.values()


def test_tags_go_back(published: Published, tmp_path: Path) -> None:
    published.place.both(revision=NEW)
    published()
    first = published.named
    for name, platform in ((AMD, "linux/amd64"), (ARM, "linux/arm64")):
        published.place.push(name, platform, revision=NEW, salt="next")
    result = published()
    assert result.ending is not None
    assert not set(first.values()) & set(published.named.values())
    record = result.ending.record
    assert published.rollback(HOME) is State.ROLLED_BACK
    assert published.said == [f"publish {record.id} of {record.started}, complete: 3 tags"]
    assert published.named == first
    for wrong in (f"{tmp_path}/none.json", "two words", "one.example.org/acme/app@x"):
        with pytest.raises(UsageError, match=r"^--rollback .*: the record was not found") as error:
            published.rollback(wrong)
        assert error.value.hint == "the files are in .orchestrate/publish"


# -- bases -------------------------------------------------------------------------------------------------------------


def bases_of(
    monkeypatch: pytest.MonkeyPatch, plan: Plan, named: Mapping[str, Inputs], said: Callable[[str], None] = print
) -> bases.Found:
    inputs = {one.id: named.get(one.id, Inputs()) for one in plan.variants}
    monkeypatch.setattr(bases, "planned", lambda *_, **__: Planned(inputs=inputs, bundles={}))
    return bases.find(plan, tell=said)


def test_bases_are_found_with_their_variants_and_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place()
    pinned = f"{HOME}@sha256:{'1' * 64}"
    found = bases_of(
        monkeypatch, place.plan,
        {
            AMD: Inputs(bases=(f"{HOME}:base",), pinned=(pinned, "other@sha256:" + "2" * 64)),
            ARM: Inputs(bases=(f"{HOME}:base",)),
            EARLIER: Inputs(unknown="a context is remote"),
        },
    )  # fmt: skip
    assert {name: [one.id for one in users] for name, users in found.bases.items()} == {f"{HOME}:base": [AMD, ARM]}
    assert found.own == (f"{HOME}:base", pinned)
    assert found.unknown == {EARLIER: "a context is remote"}
    amd = push(place.world.client(), StandIn(variant="x", platform="linux/amd64", key=KEY, attested=False), tag="base")
    (locked,) = bases.lock(found, place.world.clients())
    assert (locked.name, locked.digest, locked.variants) == (f"{HOME}:base", amd, (AMD, ARM))
    assert locked.platforms == {"linux/amd64": amd}
    index = push(place.world.client(), StandIn(variant="x", platform="linux/arm64", key=KEY), tag="base")
    (again,) = bases.lock(found, place.world.clients())
    assert again.digest == index
    assert [*again.platforms] == ["linux/arm64"]
    assert [(one.name, one.what, one.variants) for one in bases.compare([locked], [again])] == [
        (f"{HOME}:base", f"moved from {amd} (locked {locked.locked}) to {index}", (AMD, ARM))
    ]


def test_a_lock_is_compared_with_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place()
    push(place.world.client(), StandIn(variant="x", platform="linux/amd64", key=KEY), tag="base")
    both = bases_of(
        monkeypatch, place.plan, {AMD: Inputs(bases=(f"{HOME}:base",)), ARM: Inputs(bases=(f"{HOME}:base",))}
    )
    one = bases_of(monkeypatch, place.plan, {AMD: Inputs(bases=(f"{HOME}:base",))})
    clients = place.world.clients
    assert bases.compare(bases.lock(both, clients()), bases.lock(both, clients())) == []
    assert bases.compare(bases.lock(both, clients()), bases.lock(one, clients())) == []
    (more,) = bases.compare(bases.lock(one, clients()), bases.lock(both, clients()))
    assert (more.what, more.variants) == ("is not locked for every variant", (ARM,))
    (new,) = bases.compare([], bases.lock(one, clients()))
    assert (new.what, new.variants) == ("is not locked", (AMD,))
    (gone,) = bases.compare(bases.lock(one, clients()), [])
    assert (gone.name, gone.what, gone.variants) == (f"{HOME}:base", "is locked, and no variant starts from it", ())


def test_a_base_that_is_missing_or_damaged_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place()
    found = bases_of(monkeypatch, place.plan, {AMD: Inputs(bases=(HOME,))})
    with pytest.raises(NetworkError, match="latest was not found"):
        bases.lock(found, place.world.clients())
    digest = push(place.world.client(), StandIn(variant="x", platform="linux/amd64", attested=False), tag="latest")
    store = place.world.stores[place.world.repositories[0]]
    config = Digest(store.manifests[digest].content["config"]["digest"])
    assert store.tags[Tag("latest")] == digest
    for bad in (b"[", b"[]", b"1"):
        store.blobs[config] = bad
        with pytest.raises(DamagedAnswerError, match="the configuration is invalid"):
            bases.lock(found, place.world.clients())
