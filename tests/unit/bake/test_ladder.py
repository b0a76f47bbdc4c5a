"""Which cache references a build reads and writes: one for each branch and pull request, none for two of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.bake.ladder import MAIN, Kind, Ladder, Names, Rung, Scope, Standing, explained, ladder
from orchestrator.reference import parse

REF = "ghcr.io/acme/app-cache:app-cu130-amd64"
PR = Scope(kind=Kind.PULL_REQUEST, name="12")


def test_main_reads_and_writes_the_plain_reference() -> None:
    rung = Rung(ref=REF, whose="main")
    assert ladder(Names(ref=REF), Standing()) == Ladder(read=(rung,), write=(rung,))


def test_a_pull_request_reads_its_own_then_its_base_then_main_and_writes_into_a_repository_of_its_own() -> None:
    release = Scope(kind=Kind.BRANCH, name="release/1.2")
    found = ladder(Names(ref=REF, more=("x/y:z", REF)), Standing(own=PR, below=(release, MAIN)))
    own = "ghcr.io/acme/app-cache-pr:app-cu130-amd64-pr-12"
    assert [rung.ref for rung in found.read][0::2] == [own, REF]
    assert found.read[1].ref.startswith(f"{REF}-branch-release-1.2-")
    assert found.read[1].whose == "branch release/1.2"
    assert found.read[3:] == (Rung(ref="x/y:z", whose="cache.read"),)
    assert [rung.ref for rung in found.write] == [own]


def test_the_repository_of_pull_requests_can_be_named() -> None:
    names = Names(ref=REF, pull_request="other.example/prs:app")
    assert names.of(PR) == "other.example/prs:app-pr-12"
    assert names.of(MAIN) == REF


def test_a_reference_without_a_tag_gets_one_and_a_scope_is_no_reference() -> None:
    assert Names(ref="127.0.0.1:5000/cache").of(Scope(kind=Kind.BRANCH, name="x")) == "127.0.0.1:5000/cache:branch-x"
    assert Names(ref="127.0.0.1:5000/cache").of(PR) == "127.0.0.1:5000/cache-pr:pr-12"
    assert Names(ref="app", tagged=False).of(PR) == "app-pr-pr-12"


@given(st.sets(st.text(min_size=1, max_size=150), min_size=2, max_size=2), st.sampled_from(list(Kind)[1:4]))
def test_two_names_never_share_a_valid_reference(two: set[str], kind: Kind) -> None:
    names = Names(ref=REF)
    refs = {names.of(Scope(kind=kind, name=name)) for name in two}
    assert len(refs) == 2
    for ref in refs:
        assert str(parse(ref)) == ref


def test_what_is_not_done_is_said() -> None:
    standing = Standing(own=PR, below=(MAIN,), unwritten="pull request 12 comes from a fork")
    lines = list(explained(ladder(Names(ref=REF), standing), standing))
    assert lines[1] == f"read  {REF}    main"
    assert lines[2] == "write nothing: pull request 12 comes from a fork"
    nothing = Standing(unread="--cache off", unwritten="--cache off")
    assert ladder(Names(ref=REF), nothing) == Ladder()


def test_each_commit_may_have_a_reference_besides() -> None:
    commit = Scope(kind=Kind.COMMIT, name="0123456789abcdef0123")
    found = ladder(Names(ref=REF), Standing(also=(commit,)))
    assert [rung.ref for rung in found.write] == [REF, f"{REF}-commit-0123456789ab"]
