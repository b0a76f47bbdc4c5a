"""From a plan to what may move: families, what was built, reasons to refuse, the moves, and how all of it is shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from orchestrator.cache.keys import Inputs
from orchestrator.errors import EnvironmentLacksError, UsageError
from orchestrator.matrix import git
from orchestrator.publish import candidates as found_by
from orchestrator.publish.candidates import Candidates
from orchestrator.publish.check import Checked, Checker
from orchestrator.publish.family import Family, families
from orchestrator.publish.intent import Intent, intent
from orchestrator.publish.moves import Ending, Window
from orchestrator.publish.record import Rank, State, begin
from orchestrator.publish.run import Result
from orchestrator.reference import Digest, Tag
from orchestrator.registry.manifests import OCI_INDEX
from orchestrator.runs import proof
from orchestrator.runs.planned import Planned
from orchestrator.ui import publish_view
from tests.support.publishing import StandIn, push
from tests.unit.matrix.support import planned
from tests.unit.publish.support import World

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.matrix.variants import Plan

MATRIX = """\
version: 1
image: one.example.org/acme/app
bake: {files: bake.hcl, targets: [app]}
arch_lists: {all: 8.0 9.0}
cuda:
  "12.9": {version: 12.9.1}
  "13.0": {version: 13.0.2}
platforms: {linux/amd64: {}, linux/arm64: {}}
variants:
  arch_list: all
  tags: ["{image}:{variant.id}"]
exclude:
  - {when: {cuda: "12.9", platform: linux/arm64}, why: no such machine}
publish:
  tags: ["{image}:v1-{cuda}"]
  floating: ["{image}:nightly-{cuda}", "{image}:latest-{cuda}"]
"""
KEY = Inputs().key
OLD, NEW = "a" * 40, "b" * 40
AMD, ARM, EARLIER = "app-cu130-amd64", "app-cu130-arm64", "app-cu129-amd64"


def plan_of(more: str = "", text: str = MATRIX) -> Plan:
    return planned(text + more)


class Place:
    """A registry with the images of a release, and what publish knows of them."""

    def __init__(self, more: str = "") -> None:
        self.world = World("one.example.org")
        self.plan = plan_of(more)
        self.digests: dict[str, dict[Digest, str]] = {}
        self.reasons: dict[str, str] = {}
        self.commit = ""
        self.look_only = False
        self.unknown = ""

    def push(self, name: str, platform: str, **more: Any) -> Digest:
        """Push the image of a variant, under its tag, and name it as what was built."""
        image = StandIn(**{"variant": name, "platform": platform, "key": KEY, **more})
        digest = push(self.world.client(), image, tag=name)
        self.digests.setdefault(name, {})[digest] = "the journal"
        return digest

    def both(self, **more: Any) -> tuple[Digest, Digest]:
        return self.push(AMD, "linux/amd64", **more), self.push(ARM, "linux/arm64", **more)

    @property
    def family(self) -> Family:
        """Of CUDA 13.0."""
        (found,) = families(self.plan, {AMD})
        return found

    def check(self, family: Family | None = None) -> Checked:
        inputs = {one.id: Inputs(unknown=self.unknown) for one in self.plan.variants}
        checker = Checker(
            plan=self.plan, planned=Planned(inputs=inputs, bundles={}), clients=self.world.clients(),
            candidates=Candidates(origin="the journal", digests=self.digests, reasons=self.reasons),
            commit=self.commit, look_only=self.look_only,
        )  # fmt: skip
        return checker.check(family or self.family)

    def refused(self) -> tuple[str, str]:
        """The one reason to refuse, and its hint."""
        found = self.check()
        assert found.index is None
        (problem,) = found.problems
        return problem.what, problem.hint

    def intent(self, root: Path, *, allow_older: bool = False) -> Intent:
        return intent(self.world.clients(), [self.check()], root, allow_older=allow_older)


# -- families ----------------------------------------------------------------------------------------------------------


def test_a_family_is_whole_whatever_is_selected() -> None:
    first, second = families(plan_of(), {AMD, EARLIER})
    assert (first.name, [*first.members], [*first.dropped]) == ("app-cu129", ["linux/amd64"], ["linux/arm64"])
    assert (second.name, [*second.members], [*second.dropped]) == ("app-cu130", ["linux/amd64", "linux/arm64"], [])
    assert [one.name for one in families(plan_of(), {ARM})] == ["app-cu130"]
    assert families(plan_of(), ()) == ()
    assert [str(one) for one in second.repositories] == ["one.example.org/acme/app"]


def test_tags_have_their_ranks_and_places() -> None:
    text = MATRIX.replace("publish:\n", "publish:\n  immutable: true\n")
    (family,) = families(plan_of("  to: [two.example.org/app, three.example.org/app]\n", text), {AMD})
    found = [(str(one.repository), str(one.tag), one.rank, one.immutable) for one in family.wishes]
    places = ("two.example.org/app", "three.example.org/app")
    assert found == [
        *((place, "v1-13.0", Rank.VERSION, True) for place in places),
        *((place, "nightly-13.0", Rank.FLOATING, False) for place in places),
        *((place, "latest-13.0", Rank.LATEST, False) for place in places),
    ]
    assert [str(one) for one in family.repositories] == list(places)


def test_an_axis_is_in_the_name_of_a_family() -> None:
    text = MATRIX.replace("variants:\n", 'axes: {python: {"3.12": {}, "3.13": {}}}\nvariants:\n')
    text = text.replace("-{cuda}", "-{cuda}-{python}")
    found = families(plan_of("", text), [one.id for one in plan_of("", text).variants])
    assert [one.name for one in found] == [
        f"app-cu{cuda}-python{python}" for cuda in ("129", "130") for python in ("3.12", "3.13")
    ]


def test_without_tags_there_is_nothing_to_publish() -> None:
    plan = planned(MATRIX.partition("publish:")[0])
    with pytest.raises(UsageError, match=r"^matrix.yaml: publish.tags was not found: there is no tag to move") as error:
        families(plan, {AMD})
    assert error.value.hint.startswith("add publish: {tags: ")


# -- what was built ----------------------------------------------------------------------------------------------------


def test_reports_of_several_machines_are_one(tmp_path: Path) -> None:
    one, two = Digest(f"sha256:{'1' * 64}"), Digest(f"sha256:{'2' * 64}")
    rows = (
        [{"id": "a", "status": "built", "digest": str(one)}, {"id": "b", "status": "failed", "digest": None}],
        [{"id": "a", "status": "skipped", "digest": str(two)}, {"id": "b", "status": "built", "digest": str(one)},
         {"id": "c", "status": "cancelled"}, {"id": "a", "status": "failed"}],
    )  # fmt: skip
    paths = [tmp_path / f"{number}.json" for number in (1, 2)]
    for path, content in zip(paths, rows, strict=True):
        path.write_text(json.dumps({"schema": 1, "variants": content}))
    found = found_by.from_reports(paths)
    assert found.origin == "the reports"
    assert found.digests == {"a": {one: str(paths[0]), two: str(paths[1])}, "b": {one: str(paths[1])}}
    assert found.reasons == {"c": f"{paths[1]} says cancelled"}


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"schema": 2, "variants": []}', '{"schema": 1}', '{"schema": 1, "variants": {}}',
     '{"schema": 1, "variants": [1]}', "[" * 100_000],
)  # fmt: skip
def test_what_is_no_report_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=f"^--report {path}: the build report is invalid: expected schema 1") as error:
        found_by.from_reports([path])
    assert error.value.hint == "`orchestrate build --push --report FILE` writes one"


def test_a_report_that_is_not_there_and_one_with_an_invalid_digest(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentLacksError, match=r"none.json: the report cannot be read: No such file"):
        found_by.from_reports([tmp_path / "none.json"])
    path = tmp_path / "r.json"
    path.write_text(json.dumps({"schema": 1, "variants": [{"id": "a", "status": "built", "digest": "sha256:x"}]}))
    with pytest.raises(UsageError, match=r"r.json: digest 'sha256:x' is invalid"):
        found_by.from_reports([path])


def test_the_variants_own_tags_say_what_was_built() -> None:
    place = Place()
    digest = place.push(AMD, "linux/amd64")
    found = found_by.from_registry(place.plan, place.plan.variants, place.world.clients())
    assert found.origin == "the registry"
    assert found.digests == {AMD: {digest: "the registry"}}
    assert found.reasons == {name: f"one.example.org/acme/app:{name} was not found" for name in (EARLIER, ARM)}
    bare = planned(MATRIX.replace('["{image}:{variant.id}"]', "[]"))
    found = found_by.from_registry(bare, bare.variants, place.world.clients())
    assert (found.digests, {*found.reasons.values()}) == ({}, {"it has no tag to find it by"})


# -- reasons to refuse -------------------------------------------------------------------------------------------------


def test_what_was_pushed_from_these_inputs_is_published() -> None:
    place = Place()
    digests = place.both(revision=NEW)
    found = place.check()
    assert (found.problems, found.notes, found.revision) == ((), (), NEW)
    assert [one.digest for one in found.images.values()] == [*digests]
    assert found.index is not None
    platforms = [one["platform"]["architecture"] for one in found.index.content["manifests"]]
    assert platforms == ["amd64", "unknown", "arm64", "unknown"]
    assert (found.index.content["schemaVersion"], found.index.content["mediaType"]) == (2, OCI_INDEX)
    assert found.index.content["annotations"] == {"org.opencontainers.image.revision": NEW}


def test_what_was_not_built_is_missing() -> None:
    place = Place()
    place.push(AMD, "linux/amd64")
    hint = f"orchestrate build --push --variant {ARM}"
    assert place.refused() == (f"linux/arm64 is missing: {ARM}: not found in the journal", hint)
    place.reasons[ARM] = "this machine has not built it"
    assert place.refused() == (f"linux/arm64 is missing: {ARM}: this machine has not built it", hint)


def test_two_images_of_one_variant_are_refused() -> None:
    place = Place()
    first, _ = place.both()
    second = place.push(AMD, "linux/amd64", salt="other")
    place.digests[AMD][second] = "b.json"
    expected = f"{AMD}: two images do not match: {first} (the journal), {second} (b.json)"
    assert place.refused() == (expected, "keep the report of one of them")


def test_an_image_that_is_gone_is_named() -> None:
    place = Place()
    digest, _ = place.both()
    del place.world.stores[place.world.repositories[0]].manifests[digest]
    what, hint = place.refused()
    home = "one.example.org/acme/app"
    assert what == f"{AMD}: {digest} was not found in {home}: it was deleted, or never pushed there"
    assert hint == f"orchestrate build --push --variant {AMD}"


@pytest.mark.parametrize(
    ("image", "what"),
    [
        ({"platform": "linux/arm64"}, "the platform does not match: expected linux/amd64, found linux/arm64"),
        ({"key": ""}, "carries no content key: orchestrate build did not push it"),
        ({"variant": "other"}, f"is another variant: expected {AMD}, found other"),
        ({"variant": ""}, f"is another variant: expected {AMD}, found none"),
        ({"key": f"sha256:{'7' * 64}"}, f"was built from other inputs: expected key {KEY[:19]}, found key"),
    ],
)
def test_an_image_that_the_plan_does_not_mean_is_refused(image: dict[str, str], what: str) -> None:
    place = Place()
    place.push(ARM, "linux/arm64")
    wanted: dict[str, Any] = {"variant": AMD, "platform": "linux/amd64", "key": KEY, **image}
    digest = push(place.world.client(), StandIn(**wanted))
    place.digests[AMD] = {digest: "the journal"}
    found, hint = place.refused()
    assert found.startswith(f"{AMD}: {digest} {what.removesuffix(' found key')}")
    assert "found key" not in what or found.endswith("found sha256:777777777777")
    assert hint == f"orchestrate build --push --variant {AMD}"


def test_inputs_that_cannot_be_compared_are_a_note() -> None:
    place = Place()
    place.both()
    place.unknown = "its context is remote"
    found = place.check()
    assert found.index is not None
    assert found.notes == tuple(
        f"{name}: its content key was not compared: its context is remote" for name in (AMD, ARM)
    )


def test_platforms_that_the_plan_does_not_have() -> None:
    place = Place("  require_platforms: [linux/amd64, linux/arm64]\n")
    place.push(EARLIER, "linux/amd64")
    digest = Digest(f"sha256:{'3' * 64}")
    place.digests["app-cu129-arm64"] = {digest: "b.json"}
    (family,) = families(place.plan, {EARLIER})
    found = place.check(family)
    assert found.index is None
    hint = "remove it from the reports, or the row from exclude"
    excluded = "linux/arm64 is missing: publish.require_platforms names it, and app-cu129-arm64 is excluded: no such"
    assert [str(one) for one in found.problems] == [
        f"{excluded} machine",
        f"app-cu129-arm64: b.json names {digest} for linux/arm64, which the plan leaves out: no such machine; {hint}",
    ]
    assert [str(one) for one in place.check(replace(family, dropped={})).problems] == [
        "linux/arm64 is missing: publish.require_platforms names it, and the plan does not have it"
    ]


def test_images_of_different_commits() -> None:
    place = Place("  same_commit: true\n")
    place.commit = NEW
    place.push(AMD, "linux/amd64", revision=NEW)
    place.push(ARM, "linux/arm64", revision=OLD)
    what, hint = place.refused()
    assert what == f"{ARM}: the commit does not match: expected {NEW}, found {OLD} (publish.same_commit)"
    assert hint == f"orchestrate build --push --variant {ARM}"
    lenient = Place()
    lenient.push(AMD, "linux/amd64", revision=NEW)
    lenient.push(ARM, "linux/arm64")
    found = lenient.check()
    assert found.index is not None
    assert found.notes == (f"app-cu130: its images name different commits: {AMD} {NEW[:12]}, {ARM} none",)
    assert found.revision == ""


def test_without_a_checkout_the_first_commit_is_the_one() -> None:
    place = Place("  same_commit: true\n")
    place.push(AMD, "linux/amd64", revision=NEW)
    place.push(ARM, "linux/arm64")
    what, _ = place.refused()
    assert what == f"{ARM}: the commit does not match: expected {NEW}, found none (publish.same_commit)"


def test_what_is_proven_is_not_verified_again() -> None:
    place = Place("  verified: true\n")
    place.both()
    place.look_only = True
    found = place.check()
    assert found.index is not None
    note = "is not verified yet; publish verifies it before its tags move"
    assert found.notes == (f"{AMD}: {note}", f"{ARM}: {note}")
    for variant in place.family.members.values():
        promised = proof.promise(variant, place.plan.matrix.spec.verify)
        proof.prove(place.world.client(), found.images[variant.id].image, promised)
    assert place.check().notes == ()
    place.look_only = False
    assert place.check().problems == ()


def test_what_cannot_be_verified_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place("  verified: true\n")
    place.both()
    asked: list[tuple[str, object]] = []

    def unreachable(source: str, archs: object, *_: object, **more: object) -> object:
        asked.append((source, more["platform"]))
        raise EnvironmentLacksError("no space left")

    monkeypatch.setattr("orchestrator.publish.check.verify_image", unreachable)
    found = place.check()
    assert found.index is None
    first, second = found.problems
    image = found.images[AMD]
    assert first.what == f"{AMD}: {image.digest} is not verified: no space left"
    assert first.hint == f"orchestrate verify one.example.org/acme/app@{image.image.digest}"
    assert second.what.startswith(f"{ARM}: ")
    assert asked[0] == (f"docker://one.example.org/acme/app@{image.image.digest}", "linux/amd64")


# -- moves -------------------------------------------------------------------------------------------------------------


def name_tag(place: Place, tag: str, *, revision: str = "", salt: str = "old") -> Digest:
    return push(
        place.world.client(), StandIn(variant="x", platform="linux/amd64", revision=revision, salt=salt), tag=tag
    )


def test_tags_move_and_those_that_name_it_stay(tmp_path: Path) -> None:
    place = Place()
    place.both()
    index = place.check().index
    assert index is not None
    place.world.client().put_manifest(index, Tag("v1-13.0"))
    found = place.intent(tmp_path)
    assert found.settled == ("one.example.org/acme/app:v1-13.0",)
    assert [(str(one.tag), one.rank, one.old, one.new) for one in found.moves] == [
        ("nightly-13.0", Rank.FLOATING, None, index.digest), ("latest-13.0", Rank.LATEST, None, index.digest),
    ]  # fmt: skip
    assert found.families[0].problems == ()
    assert [[one.digest for one in held] for held in found.held.values()] == [[index.digest]]


def test_an_immutable_tag_does_not_move(tmp_path: Path) -> None:
    place = Place("  immutable: true\n")
    place.both()
    old = name_tag(place, "v1-13.0")
    found = place.intent(tmp_path, allow_older=True)
    (problem,) = found.families[0].problems
    index = place.check().index
    assert index is not None
    name = "one.example.org/acme/app:v1-13.0"
    assert problem.what == f"{name} is immutable and does not match: expected {index.digest}, found {old}"
    assert problem.hint == "publish under another version, or remove publish.immutable"
    assert (found.moves, found.settled, found.families[0].index) == ((), (), None)


@pytest.mark.parametrize(
    ("older", "tag", "said"),
    [
        (True, "nightly-13.0", ""),
        (False, "nightly-13.0", f"is newer: it names commit {OLD}, which is not an ancestor of {NEW}"),
        (False, "v1-13.0", f"is newer: it names commit {OLD}, which is not an ancestor of {NEW}"),
        (None, "nightly-13.0", f"may be newer: expected an ancestor of {NEW}, found {OLD}"),
        (None, "v1-13.0", ""),
    ],
)
def test_a_tag_does_not_go_back_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, older: bool | None, tag: str, said: str
) -> None:
    asked: list[tuple[object, ...]] = []

    def is_ancestor(*given: object) -> bool | None:
        asked.append(given)
        return older

    monkeypatch.setattr(git, "is_ancestor", is_ancestor)
    place = Place()
    place.both(revision=NEW)
    old = name_tag(place, tag, revision=OLD)
    found = place.intent(tmp_path)
    assert asked == [(tmp_path, OLD, NEW)]
    assert [one.what for one in found.families[0].problems] == (
        [f"one.example.org/acme/app:{tag} {said}"] if said else []
    )
    assert all("--allow-older" in one.hint for one in found.families[0].problems)
    if said:
        assert found.moves == ()
    allowed = place.intent(tmp_path, allow_older=True)
    assert [one.old for one in allowed.moves if str(one.tag) == tag] == [old]
    assert len(asked) == 1
    (held,) = allowed.held.values()
    assert [one.digest for one in held] == [allowed.moves[0].new, old]


# -- what is shown -----------------------------------------------------------------------------------------------------


def result_of(place: Place, tmp_path: Path) -> Result:
    found = place.intent(tmp_path)
    return Result(families=found.families, moves=found.moves, settled=found.settled)


def test_a_dry_run_shows_what_would_move(tmp_path: Path) -> None:
    place = Place()
    amd, arm = place.both(revision=NEW)
    result = result_of(place, tmp_path)
    index = result.families[0].index
    assert index is not None
    home = "one.example.org/acme/app"
    assert list(publish_view.lines(result, dry_run=True)) == [
        f"app-cu130  linux/amd64, linux/arm64  {index.digest}",
        "version tags: would move", f"  {home}:v1-13.0  new tag -> {index.digest}",
        "floating tags: would move", f"  {home}:nightly-13.0  new tag -> {index.digest}",
        "latest tags: would move", f"  {home}:latest-13.0  new tag -> {index.digest}",
    ]  # fmt: skip
    shown = publish_view.as_json(result)
    move = {"rank": "version", "immutable": False, "old": None, "new": str(index.digest), "moved": False}
    assert shown["moves"][0] == {"tag": f"{home}:v1-13.0", **move}
    assert shown["families"] == [
        {
            "name": "app-cu130", "digest": str(index.digest), "revision": NEW, "problems": [], "notes": [],
            "platforms": {
                "linux/amd64": {"variant": AMD, "digest": str(amd)},
                "linux/arm64": {"variant": ARM, "digest": str(arm)},
            },
        }
    ]  # fmt: skip
    assert {name: shown[name] for name in ("schema", "state", "record", "windows", "failures", "pending")} == {
        "schema": 1, "state": None, "record": None, "windows": [], "failures": [], "pending": [],
    }  # fmt: skip
    assert result.code == 0


def test_a_family_that_is_refused_is_shown_with_its_hint(tmp_path: Path) -> None:
    place = Place()
    place.unknown = "its context is remote"
    place.push(AMD, "linux/amd64")
    result = result_of(place, tmp_path)
    assert list(publish_view.lines(result, dry_run=False)) == [
        "app-cu130  is not published",
        f"  linux/arm64 is missing: {ARM}: not found in the journal",
        f"    hint: orchestrate build --push --variant {ARM}",
        f"  note: {AMD}: its content key was not compared: its context is remote",
    ]
    (family,) = publish_view.as_json(result)["families"]
    assert (family["digest"], family["revision"], [*family["platforms"]]) == (None, None, ["linux/amd64"])
    assert [one["hint"] for one in family["problems"]] == [f"orchestrate build --push --variant {ARM}"]
    assert result.code == 1


def test_how_the_moves_ended_is_shown(tmp_path: Path) -> None:
    place = Place()
    place.both()
    meant = place.intent(tmp_path)
    record = begin(meant.moves)
    moved = replace(record, state=State.INCOMPLETE, moves=(replace(meant.moves[0], moved=True), *meant.moves[1:]))
    window = Window(rank=Rank.VERSION, tags=1, seconds=0.12345)
    ending = Ending(record=moved, windows=(window,), failures=("v1: status 403",), remarks=("v0: stays",))
    result = Result(
        families=meant.families, ending=ending, settled=("a:1", "a:2"), recovered=(ending,), pending=(record,)
    )
    incomplete = f"publish {record.id}  incomplete: immutable tags have moved, the floating ones have not"
    assert list(publish_view.lines(result, dry_run=False))[:2] == [
        incomplete, f"publish {record.id}  was interrupted: the next publish continues it first",
    ]  # fmt: skip
    assert list(publish_view.lines(result, dry_run=False))[3:] == [
        "2 tags name it already: a:1, a:2",
        "version: 1 tag, 0.123 s between the first and the last",
        "failed: v1: status 403", "note: v0: stays", incomplete,
        "  names the new digest: one.example.org/acme/app:v1-13.0",
    ]  # fmt: skip
    shown = publish_view.as_json(result)
    assert (shown["state"], shown["record"]) == ("incomplete", record.id)
    assert shown["windows"] == [{"rank": "version", "tags": 1, "seconds": 0.1235}]
    assert (shown["failures"], shown["remarks"]) == (["v1: status 403"], ["v0: stays"])
    assert shown["recovered"] == [{"record": record.id, "state": "incomplete"}]
    assert shown["pending"] == [record.id]
    assert [one["moved"] for one in shown["moves"]] == [True, False, False]
    assert result.code == 6
    assert replace(result, ending=replace(ending, record=replace(record, state=State.COMPLETE))).code == 0


def test_nothing_to_move_and_one_tag_that_is_settled() -> None:
    settled = Result(settled=("a:1",))
    assert list(publish_view.lines(settled, dry_run=False)) == ["1 tag names it already: a:1", "nothing to move"]
    complete = Ending(record=replace(begin([]), state=State.COMPLETE))
    assert list(publish_view.lines(Result(ending=complete), dry_run=False)) == [
        f"publish {complete.record.id}  complete: every tag names the new digest"
    ]
