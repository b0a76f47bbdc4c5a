"""Which cache references can go: only those that are known to be needed by nobody."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from orchestrator.bake.ladder import Kind, Names, Scope
from orchestrator.cache.prune import Doomed, Known, Removed, decide, freed, pull_requests, recorded, remove
from orchestrator.cache.repository import Held, Reach, held
from orchestrator.errors import NetworkError
from orchestrator.reference import Digest, Tag
from tests.support.publishing import images
from tests.unit.publish.support import World

if TYPE_CHECKING:
    from orchestrator.registry.manifests import Descriptor

NOW = datetime(2026, 11, 26, tzinfo=UTC)
A, B = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"


def holding(tags: dict[str, str], *, whole: bool = True, created: str = "") -> Held:
    digests = {digest for digest in tags.values() if digest}
    return Held(
        tags=tags, reach={d: Reach(manifests=(d,), sizes={d: 10}, whole=whole, created=created) for d in digests}
    )


def known(*, branches: frozenset[str] | None = frozenset(), older: timedelta | None = None) -> Known:
    return Known(bases=frozenset({"app"}), branches=branches, closed=frozenset({"12"}), older=older, now=NOW)


def gone(found: Held, what: Known, records: frozenset[str] = frozenset()) -> dict[str, str]:
    return {one.tag: one.shared for one in decide(found, what, records=records).doomed}


def test_a_digest_that_another_tag_or_a_record_needs_stays() -> None:
    assert gone(holding({"app": A, "app-pr-12": A}), known()) == {"app-pr-12": "another tag reaches its manifest"}
    assert gone(holding({"app": A, "app-pr-12": B}), known()) == {"app-pr-12": ""}
    assert gone(holding({"app-pr-12": B}), known(), recorded([f"torn {B}"])) == {
        "app-pr-12": "a record names it, or an index with it"
    }
    found = holding({"app": A, "app-pr-12": B})
    assert freed(found, decide(found, known(), records=()).doomed) == 10


def test_what_is_not_known_stays() -> None:
    names = {"app": A, "other-pr-12": B, "app-pr-13": B, "app-x": B, "latest": B, f"sha256-{'b' * 64}": B}
    assert gone(holding(names), known()) == {}
    assert gone(holding({"app-branch-x": B}), known(branches=None)) == {}
    assert gone(holding({"app-pr-12": ""}), known()) == {}
    assert list(gone(holding({"app": "", "app-pr-12": B}), known()).values()) == [
        "not every tag that stays could be read"
    ]


def test_branches_that_exist_stay_also_where_their_name_was_cut_or_changed() -> None:
    for name in ("x", "feature/y", "z" * 200):
        tag = Names(ref="c:app").of(Scope(kind=Kind.BRANCH, name=name)).partition(":")[2]
        assert gone(holding({"app": A, tag: B}), known(branches=frozenset({name}))) == {}
        assert list(gone(holding({"app": A, tag: B}), known(branches=frozenset({"main"})))) == [tag]


def test_an_age_that_is_not_known_is_none() -> None:
    old, month = "2026-01-01T00:00:00.000000001Z", timedelta(days=30)
    for created, goes in ((old, True), ("2026-11-25T00:00:00Z", False), ("", False), ("yesterday", False)):
        found = holding({"app": A, "app-tag-v1": B}, created=created)
        assert bool(gone(found, known(older=month))) is goes, created


def test_an_export_that_was_superseded_goes_unless_something_needs_it() -> None:
    found = holding({"app": A})
    found = Held(tags=found.tags, reach={**found.reach, B: Reach(manifests=(B,), sizes={B: 10})})
    verdict = decide(found, replace(known(), exports=frozenset({A, B})), records=())
    assert [(one.tag, one.digest) for one in verdict.doomed] == [("", B)]
    assert freed(found, verdict.doomed) == 10
    assert decide(found, replace(known(), exports=frozenset({B})), records={B}).doomed == ()
    assert decide(found, known(), records=()).doomed == ()  # nobody knows whose it is
    blind = Held(tags={"app": A, "x": ""}, reach=found.reach)
    assert decide(blind, replace(known(), exports=frozenset({B})), records=()).doomed == ()


def test_the_numbers_of_pull_requests_are_read_from_tags() -> None:
    found = holding({"app": A, "app-pr-12": A, "app-branch-pr-13": A, "other-pr-14": A, "app-pr-x": A})
    assert pull_requests(found, {"app"}) == {"12"}


def test_what_another_tag_or_a_record_needs_of_an_index_stays() -> None:
    index, shared, noted, own = (f"sha256:{sign * 64}" for sign in "cdef")
    found = Held(
        tags={"app": A, "app-pr-12": index},
        reach={
            A: Reach(manifests=(A, shared), sizes={A: 1, shared: 2}, whole=True, created=""),
            index: Reach(
                manifests=(index, shared, noted, own), sizes={index: 4, shared: 2, own: 8}, whole=True, created=""
            ),
        },
    )
    verdict = decide(found, known(), records={noted})
    (one,) = verdict.doomed
    assert (one.tag, one.children) == ("app-pr-12", (own,))
    assert freed(found, verdict.doomed) == 12


def test_what_a_recorded_manifest_reaches_stays() -> None:
    index = Reach(manifests=(A, B), sizes={}, whole=True)
    tags = {"app-pr-12": B}
    found = Held(tags=tags, reach={**holding(tags).reach, A: index})
    assert gone(found, known(), recorded([A])) == {"app-pr-12": "a record names it, or an index with it"}
    assert gone(found, known()) == {"app-pr-12": ""}
    hidden = Held(tags=tags, reach={**found.reach, A: replace(index, manifests=(A,), whole=False)})
    assert gone(hidden, known(), recorded([A])) == {"app-pr-12": "not every tag that stays could be read"}


class Repository:
    """Removes from a store in memory, as a registry does that deletes every tag of a manifest with it."""

    def __init__(self) -> None:
        world = World("one.example.org")
        self.client = world.client()
        self.store = world.stores[world.repositories[0]]
        self.deleted: list[str] = []

    def image(self, salt: str, *tags: str) -> str:
        (image,) = images(self.client, "linux/amd64", salt=salt)
        for tag in tags:
            self.tag(tag, str(image.digest))
        return str(image.digest)

    def tag(self, tag: str, digest: str) -> None:
        self.client.put_manifest(self.client.manifest(Digest(digest)), Tag(tag))

    def delete(self, digest: Digest) -> bool:
        self.deleted.append(str(digest))
        del self.store.manifests[digest]
        for tag in [tag for tag, named in self.store.tags.items() if named == digest]:
            del self.store.tags[tag]
        return True

    def remove(self, before: Held, *doomed: Doomed) -> Removed:
        return remove(self.client, doomed, before, delete=self.delete)

    @property
    def tags(self) -> set[str]:
        return {str(tag) for tag in self.store.tags}


@pytest.fixture
def repository() -> Repository:
    return Repository()


def test_a_manifest_goes_with_every_tag_of_it_and_what_it_alone_reaches(repository: Repository) -> None:
    one, child = repository.image("a", "app-pr-12", "app-pr-13"), repository.image("c")
    stays = repository.image("b", "app")
    before = held(repository.client, [child])
    doomed = [Doomed(tag=f"app-pr-{n}", digest=one, why="w", children=(child,)) for n in (12, 13)]
    assert repository.remove(before, *doomed) == Removed(done=tuple(doomed), failed=())
    assert repository.deleted == [one, child]
    assert repository.tags == {"app"}
    assert {str(digest) for digest in repository.store.manifests} >= {stays}


def test_a_tag_alone_goes_where_its_manifest_stays(repository: Repository) -> None:
    one = repository.image("a", "app", "app-pr-12")
    doomed = Doomed(tag="app-pr-12", digest=one, why="w", shared="another tag")
    assert repository.remove(held(repository.client), doomed) == Removed(done=(doomed,), failed=())
    assert repository.tags == {"app"}
    assert one not in repository.deleted


def test_what_was_moved_since_the_decision_stays(repository: Repository) -> None:
    one, two, free = (
        repository.image("a", "app-pr-12", "app-pr-13"),
        repository.image("b", "app"),
        repository.image("c"),
    )
    before = held(repository.client, [free])
    repository.tag("app-pr-12", two)
    repository.tag("new", one)
    repository.tag("newer", free)
    doomed = [
        Doomed(tag="app-pr-12", digest=one, why="w"),
        Doomed(tag="app-pr-13", digest=one, why="w", children=(two,)),
        Doomed(tag="", digest=free, why="w"),
        Doomed(tag="gone", digest=two, why="w"),
    ]
    assert repository.remove(before, *doomed) == Removed(
        done=(Doomed(tag="app-pr-13", digest=one, why="w", shared="a tag was moved to its manifest meanwhile"),),
        failed=(
            "app-pr-12: stays, it was moved meanwhile",
            f"{free}: stays, a tag reaches it again",
            "gone: stays, it was moved meanwhile",
        ),
    )
    assert repository.tags == {"app", "app-pr-12", "new", "newer"}
    assert not {one, two, free} & set(repository.deleted)


def test_a_child_that_a_tag_reaches_again_stays(repository: Repository) -> None:
    one, child = repository.image("a", "app-pr-12"), repository.image("c")
    before = held(repository.client, [child])
    repository.tag("new", child)
    repository.remove(before, Doomed(tag="app-pr-12", digest=one, why="w", children=(child,)))
    assert repository.deleted == [one]


def test_what_a_registry_refuses_is_told_and_the_rest_goes(repository: Repository) -> None:
    one, two, free = repository.image("a", "app-pr-12"), repository.image("b", "app-pr-13"), repository.image("c")
    before = held(repository.client, [free])

    def refuse(digest: Digest) -> bool:
        if str(digest) != two:
            raise NetworkError("denied")
        return repository.delete(digest)

    doomed = [
        Doomed(tag="app-pr-12", digest=one, why="w"), Doomed(tag="", digest=free, why="w"),
        Doomed(tag="app-pr-13", digest=two, why="w"),
    ]  # fmt: skip
    found = remove(repository.client, doomed, before, delete=refuse)
    assert found == Removed(done=(doomed[2],), failed=("app-pr-12: denied", f"{free}: denied"))


@pytest.mark.parametrize(("others", "questions"), [(0, 3 + 3 + 2 + 1), (97, 3 + 3 + 1), (197, 3 + 3)])
def test_every_tag_is_asked_for_before_each_manifest_goes_unless_there_are_many(
    repository: Repository, others: int, questions: int
) -> None:
    asked: list[str] = []
    head = repository.client.head
    names = [f"app-pr-{number}" for number in range(3)]
    doomed = [Doomed(tag=name, digest=repository.image(name, name), why="w") for name in names]
    before = held(repository.client)

    def counted(selector: Tag | Digest) -> Descriptor | None:
        asked.append(str(selector))
        return head(selector)

    repository.client.head = counted  # type: ignore[method-assign]
    more = {f"t{number}": doomed[0].digest for number in range(others)}
    assert repository.remove(replace(before, tags={**before.tags, **more}), *doomed).failed == ()
    assert len(asked) == questions  # each tag by itself, and every tag that is left


def test_a_branch_with_a_longer_base_is_of_that_base() -> None:
    both = replace(known(branches=frozenset({"x"})), bases=frozenset({"app", "app-branch"}))
    tag = Names(ref="c:app-branch").of(Scope(kind=Kind.BRANCH, name="x")).partition(":")[2]
    assert gone(holding({"app": A, tag: B}), both) == {}
    assert [one.why for one in decide(holding({"app": A, "app-branch-y": B}), known(), records=()).doomed] == [
        "no branch has this reference: y"
    ]
    old = decide(
        holding({"app-commit-1": B}, created="2026-11-24T00:00:00"), known(older=timedelta(days=1)), records=()
    )
    assert [one.why for one in old.doomed] == ["2 days old"]
    assert decide(holding({"app-pr-12": B}), known(), records=()).doomed[0].why == "pull request 12 is closed"
    exact = holding({"app-commit-1": B}, created="2026-11-25T00:00:00Z")
    assert decide(exact, known(older=timedelta(days=1)), records=()).doomed == ()
