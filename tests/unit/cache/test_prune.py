"""Which cache references can go: only those that are known to be needed by nobody."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from orchestrator.bake.ladder import Kind, Names, Scope
from orchestrator.cache.prune import Known, decide, freed, pull_requests, recorded
from orchestrator.cache.repository import Held, Reach

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
