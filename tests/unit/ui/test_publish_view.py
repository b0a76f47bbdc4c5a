"""A publish as lines, as JSON, and as what a workflow is told of it."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from orchestrator.errors import Problem
from orchestrator.publish.check import Checked
from orchestrator.publish.family import Family
from orchestrator.publish.moves import Ending, Window
from orchestrator.publish.pushed import Pushed
from orchestrator.publish.record import Move, Rank, State, begin
from orchestrator.publish.run import Result
from orchestrator.reference import Digest, Repository, Tag
from orchestrator.registry.manifests import Manifest, read
from orchestrator.ui import publish_view
from tests.unit.matrix.support import SMALL, planned

MOVE = Move(
    repository=Repository(host="ghcr.io", path="acme/app"), tag=Tag("v1"), rank=Rank.VERSION, immutable=False,
    old=None, new=Digest(f"sha256:{'a' * 64}"),
)  # fmt: skip
LATEST = replace(
    MOVE, tag=Tag("latest"), rank=Rank.LATEST, immutable=True, old=Digest(f"sha256:{'b' * 64}"), moved=True
)
RECORD = replace(begin([MOVE, LATEST]), id="P1")


def family(*problems: Problem) -> Checked:
    named = Family(name="app-cu130", members={}, dropped={}, required=(), wishes=())
    return Checked(family=named, problems=problems)


def test_each_problem_of_a_family_is_one_command() -> None:
    bad = family(Problem(what="one\n::set-output name=x::y", hint="build it"), Problem(what="100% wrong"))
    assert list(publish_view.commands(Result(families=(family(), bad)))) == [
        "::error title=app-cu130 is not published::one%0A: :set-output name=x::y; build it",
        "::error title=app-cu130 is not published::100%25 wrong",
    ]


@pytest.mark.parametrize(
    ("state", "failures", "told"),
    [
        (State.COMPLETE, (), False),
        (State.ROLLED_BACK, (), False),  # --rollback
        (State.ROLLED_BACK, ("v1: status 403",), True),
        (State.INCOMPLETE, ("v1: status 403",), True),
        (State.ROLLING_BACK, (), True),
    ],
)
def test_moves_that_did_not_end_as_meant_are_told(state: State, failures: tuple[str, ...], told: bool) -> None:
    ending = Ending(record=replace(begin([MOVE]), state=state), failures=failures, remarks=("v0: stays",))
    found = list(publish_view.commands(Result(ending=ending)))
    assert len(found) == told
    assert all(line.startswith(f"::error title=publish {ending.record.id}::") for line in found)
    assert all(text in line for line in found for text in (*failures, "v0: stays"))


def manifest(name: str) -> Manifest:
    return read(json.dumps({"mediaType": "application/vnd.oci.image.manifest.v1+json", "name": name}).encode())


def pushed(platform: str) -> Pushed:
    of = manifest(platform)
    return Pushed(
        digest=of.digest, image=of.descriptor, entries=(), platform=platform, variant="", key="", revision="", size=1
    )


def checked(*names: str, problems: tuple[Problem, ...] = (), notes: tuple[str, ...] = ()) -> Checked:
    """A family of the small matrix; `names` are the platforms whose images were found."""
    text = SMALL.replace("  linux/amd64:\n", "  linux/amd64:\n  linux/arm64:\n")
    members = {variant.platform: variant for variant in planned(text).variants}
    images = {members[name].id: pushed(name) for name in names}
    named = Family(name="app-cu130", members=members, dropped={}, required=(), wishes=())
    index = manifest("both") if len(names) == 2 else None
    return Checked(family=named, problems=problems, notes=notes, images=images, index=index, revision="c" * bool(names))


WHOLE = checked("linux/amd64", "linux/arm64", notes=("newer",))
REFUSED = checked("linux/arm64", problems=(Problem(what="amd64 was not built", hint="build it"), Problem(what="b")))
NEW, OLD = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"


@pytest.mark.parametrize("dry_run", [False, True])
def test_lines_say_families_moves_and_what_is_settled(dry_run: bool) -> None:
    result = Result(
        families=(WHOLE, REFUSED), moves=(LATEST, MOVE), settled=("ghcr.io/acme/app:v0",),
        recovered=(Ending(record=replace(RECORD, id="P0", state=State.ROLLED_BACK)),), pending=(RECORD,),
    )  # fmt: skip
    assert WHOLE.index is not None
    assert list(publish_view.lines(result, dry_run=dry_run)) == [
        "publish P0  rolled back: the tags name what they named before",
        "publish P1  was interrupted: the next publish continues it first",
        f"app-cu130  linux/amd64, linux/arm64  {WHOLE.index.digest}",
        "  note: newer",
        "app-cu130  is not published",
        "  amd64 was not built",
        "    hint: build it",
        "  b",
        f"version tags: {'would move' if dry_run else 'moves'}",
        f"  ghcr.io/acme/app:v1  new tag -> {NEW}",
        f"latest tags: {'would move' if dry_run else 'moves'}",
        f"  ghcr.io/acme/app:latest  {OLD} -> {NEW}, immutable",
        "1 tag names it already: ghcr.io/acme/app:v0",
    ]


def test_lines_where_nothing_moves() -> None:
    def lines(result: Result) -> list[str]:
        return list(publish_view.lines(result, dry_run=False))

    assert lines(Result()) == ["nothing to move"]
    assert lines(Result(settled=("a:1", "a:2"))) == ["2 tags name it already: a:1, a:2", "nothing to move"]
    assert "nothing to move" not in lines(Result(families=(REFUSED,)))
    assert lines(Result(families=(WHOLE,)))[-1] == "nothing to move"
    assert "nothing to move" not in lines(Result(moves=(MOVE,)))


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (State.COMPLETE, "complete: every tag names the new digest"),
        (State.ROLLED_BACK, "rolled back: the tags name what they named before"),
        (State.INCOMPLETE, "incomplete: immutable tags have moved, the floating ones have not"),
        (State.MOVING, "interrupted: the next publish continues it"),
        (State.ROLLING_BACK, "not rolled back yet: the next publish continues it"),
    ],
)
def test_the_end_says_how_long_what_failed_and_what_has_moved(state: State, said: str) -> None:
    ending = Ending(
        record=replace(RECORD, state=state), failures=("v1: status 403",), remarks=("v0: stays",),
        windows=(Window(rank=Rank.VERSION, tags=1, seconds=0.01239), Window(rank=Rank.LATEST, tags=2, seconds=2)),
    )  # fmt: skip
    assert list(publish_view.lines(Result(ending=ending), dry_run=False)) == [
        "version: 1 tag, 0.012 s between the first and the last",
        "latest: 2 tags, 2.000 s between the first and the last",
        "failed: v1: status 403",
        "note: v0: stays",
        f"publish P1  {said}",
        *(["  names the new digest: ghcr.io/acme/app:latest"] if state is not State.COMPLETE else []),
    ]


def test_json_of_a_publish_that_moved_nothing() -> None:
    found = publish_view.as_json(
        Result(families=(REFUSED, checked()), moves=(MOVE,), settled=("a:1",), pending=(RECORD,))
    )
    arm = REFUSED.family.members["linux/arm64"]
    assert json.loads(json.dumps(found)) == {
        "schema": 1, "state": None, "record": None,
        "families": [
            {
                "name": "app-cu130", "digest": None, "revision": "c",
                "platforms": {"linux/arm64": {"variant": arm.id, "digest": str(REFUSED.images[arm.id].digest)}},
                "problems": [{"what": "amd64 was not built", "hint": "build it"}, {"what": "b", "hint": ""}],
                "notes": [],
            },
            {"name": "app-cu130", "digest": None, "revision": None, "platforms": {}, "problems": [], "notes": []},
        ],
        "moves": [{"tag": "ghcr.io/acme/app:v1", "rank": "version", "immutable": False, "old": None, "new": NEW,
                   "moved": False}],
        "settled": ["a:1"], "windows": [], "failures": [], "remarks": [], "recovered": [], "pending": ["P1"],
    }  # fmt: skip


def test_json_of_a_publish_that_ended() -> None:
    ending = Ending(
        record=replace(RECORD, state=State.INCOMPLETE), failures=("f",), remarks=("r",),
        windows=(Window(rank=Rank.LATEST, tags=2, seconds=0.123456),),
    )  # fmt: skip
    before = Ending(record=replace(RECORD, id="P0", state=State.COMPLETE))
    found = publish_view.as_json(Result(families=(WHOLE,), ending=ending, recovered=(before,)))
    assert WHOLE.index is not None
    assert (found["state"], found["record"]) == ("incomplete", "P1")
    (row,) = found["families"]
    assert (row["digest"], row["notes"]) == (str(WHOLE.index.digest), ["newer"])
    assert found["moves"][1] == {
        "tag": "ghcr.io/acme/app:latest", "rank": "latest", "immutable": True, "old": OLD, "new": NEW, "moved": True,
    }  # fmt: skip
    assert found["windows"] == [{"rank": "latest", "tags": 2, "seconds": 0.1235}]
    assert (found["failures"], found["remarks"]) == (["f"], ["r"])
    assert found["recovered"] == [{"record": "P0", "state": "complete"}]
