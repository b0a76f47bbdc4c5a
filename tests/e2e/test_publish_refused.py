"""`orchestrate publish` with the installed command: all that is refused, with its sentence."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from msgspec.structs import replace

from orchestrator.matrix import expand, load
from orchestrator.publish import kept
from orchestrator.publish.record import State
from orchestrator.reference import Tag
from orchestrator.registry.client import Registry as Client
from orchestrator.registry.clients import Clients
from orchestrator.runs import proof
from tests.support.engine import call
from tests.support.releases import AMD, ARM, pushed, report, stand_ins

if TYPE_CHECKING:
    from tests.support.releases import Release


def test_what_is_right_is_published_once(release: Release) -> None:
    revision = release.commit("two")
    digests = pushed(release, stand_ins(release, revision))
    one = report(release, {AMD: digests[AMD]}, "one.json")
    two = report(release, {ARM: digests[ARM]}, "two.json")
    said = release.run("--report", one, "--report", two)
    assert "complete" in said
    found = json.loads(release.run("--report", one, "--report", two, "--format", "json"))
    assert found["schema"] == 1
    assert found["moves"] == []
    assert len(found["settled"]) == 3


def test_each_wrong_digest_is_refused_with_its_sentence(release: Release) -> None:
    revision = release.commit("two")
    images = stand_ins(release, revision)
    good = pushed(release, images)
    never = f"sha256:{'a' * 64}"
    bad = pushed(
        release,
        {
            "other inputs": replace(images[ARM], key=f"sha256:{'b' * 64}"),
            "foreign": replace(images[ARM], key=""),
            "another variant": replace(images[ARM], variant="app-slim-cu130-arm64"),
        },
    )
    cases: list[tuple[dict[str, object], str]] = [
        ({AMD: good[AMD]}, f"linux/arm64 is missing: {ARM}: not found in the reports"),
        (
            {AMD: good[AMD], ARM: good[AMD]},
            f"{ARM}: {good[AMD]} the platform does not match: expected linux/arm64, found",
        ),
        ({AMD: good[AMD], ARM: never}, f"{ARM}: {never} was not found in {release.source}: it was deleted, or never"),
        ({AMD: good[AMD], ARM: bad["other inputs"]}, "was built from other inputs: expected key sha256:"),
        ({AMD: good[AMD], ARM: bad["foreign"]}, "carries no content key: orchestrate build did not push it"),
        (
            {AMD: good[AMD], ARM: bad["another variant"]},
            f"is another variant: expected {ARM}, found app-slim-cu130-arm64",
        ),
    ]
    for digests, sentence in cases:
        said = release.run("--report", report(release, digests), code=1)
        assert sentence in said, said
        assert "app-cu130  is not published" in said
    said = release.run(
        "--report", report(release, good, "one.json"), "--report", report(release, {AMD: never}, "two.json"), code=1
    )
    assert f"{AMD}: two images do not match: {good[AMD]} (" in said
    with Client(release.source) as client:
        assert client.tags() == ()


def test_an_image_for_a_platform_that_the_plan_leaves_out_is_refused(release: Release) -> None:
    matrix = release.project.root / "matrix.yaml"
    digests = pushed(release, stand_ins(release, release.commit("two")))
    text = matrix.read_text().replace("  require_platforms: [linux/amd64, linux/arm64]\n", "")
    matrix.write_text(f"{text}exclude:\n  - {{when: {{platform: linux/arm64}}, why: no machine}}\n")
    said = release.run("--report", report(release, digests), code=1)
    assert f"{ARM}: " in said
    assert f"names {digests[ARM]} for linux/arm64, which the plan leaves out: no machine" in said


def test_a_required_platform_that_is_excluded_is_missing(release: Release) -> None:
    matrix = release.project.root / "matrix.yaml"
    digests = pushed(release, stand_ins(release, release.commit("two")))
    matrix.write_text(f"{matrix.read_text()}exclude:\n  - {{when: {{platform: linux/arm64}}, why: no machine}}\n")
    said = release.run("--report", report(release, {AMD: digests[AMD]}), code=1)
    assert "linux/arm64 is missing: publish.require_platforms names it" in said


def test_commits_must_be_one_where_the_matrix_says_so(release: Release) -> None:
    revision = release.commit("two")
    images = stand_ins(release, revision)
    images[ARM] = replace(images[ARM], revision="f" * 40)
    named = report(release, pushed(release, images))
    said = release.run("--report", named, "--dry-run")
    assert f"its images name different commits: {AMD} {revision[:12]}, {ARM} ffffffffffff" in said
    matrix = release.project.root / "matrix.yaml"
    matrix.write_text(matrix.read_text().replace("  immutable: true", "  immutable: true\n  same_commit: true"))
    release.commit("three")
    images = {id_: replace(one, revision=images[id_].revision) for id_, one in stand_ins(release, "").items()}
    said = release.run("--report", report(release, pushed(release, images)), code=1)
    assert f"{ARM}: the commit does not match: expected " in said


def test_an_immutable_tag_is_not_moved_and_nothing_floats(release: Release) -> None:
    first = stand_ins(release, release.commit("two"))
    release.run("--report", report(release, pushed(release, first)))
    with Client(release.source) as client:
        before = {str(tag): client.head(tag) for tag in client.tags()}
    second = stand_ins(release, release.commit("three"))
    said = release.run("--report", report(release, pushed(release, second)), code=1)
    assert f"{release.source}:v1 is immutable and does not match: expected sha256:" in said
    with Client(release.source) as client:
        assert {str(tag): client.head(tag) for tag in client.tags()} == before


def test_a_floating_tag_does_not_go_back_in_time(release: Release) -> None:
    matrix = release.project.root / "matrix.yaml"
    matrix.write_text(matrix.read_text().replace("  immutable: true", ""))
    old = release.commit("two")
    new = release.commit("three")
    release.run("--report", report(release, pushed(release, stand_ins(release, new))))
    call("git", "-C", release.project.root, "checkout", "-q", old)
    named = report(release, pushed(release, stand_ins(release, old)))
    said = release.run("--report", named, code=1)
    assert f"{release.source}:nightly is newer: it names commit {new}, which is not an ancestor of {old}" in said
    assert "complete" in release.run("--report", named, "--allow-older")


def test_a_commit_that_is_not_known_here_needs_a_word(release: Release) -> None:
    matrix = release.project.root / "matrix.yaml"
    matrix.write_text(matrix.read_text().replace("  immutable: true", ""))
    revision = release.commit("two")
    images = stand_ins(release, revision)
    release.run(
        "--report",
        report(release, pushed(release, {id_: replace(one, revision="e" * 40) for id_, one in images.items()})),
    )
    said = release.run("--report", report(release, pushed(release, images)), code=1)
    assert f"nightly may be newer: expected an ancestor of {revision}, found {'e' * 40}" in said
    assert ":v1 may be newer" not in said


def test_what_is_not_verified_is_refused(release: Release) -> None:
    matrix = release.project.root / "matrix.yaml"
    matrix.write_text(matrix.read_text().replace("  immutable: true", "  verified: true"))
    digests = pushed(release, stand_ins(release, release.commit("two")))
    said = release.run("--report", report(release, digests), "--dry-run")
    assert f"{AMD}: is not verified yet; publish verifies it before its tags move" in said
    said = release.run("--report", report(release, digests), code=1)
    assert f"{AMD}: {digests[AMD]} is not verified: " in said
    # an artifact that says for which promise each was verified is enough
    plan = expand.plan(load.load(matrix))
    for variant in plan.variants:  # as `build --push --verify` does
        promised = proof.promise(variant, plan.matrix.spec.verify)
        assert proof.prove_pushed(str(release.source), str(digests[variant.id]), promised) == ""
    assert "complete" in release.run("--report", report(release, digests))


def test_records_that_are_damaged_stop_a_publish(release: Release) -> None:
    named = report(release, pushed(release, stand_ins(release, release.commit("two"))))
    release.run("--report", named)
    with Client(release.source) as client:
        client.put_manifest(client.manifest(Tag("v1")), Tag("orchestrate-publish"))
    said = release.run("--report", named, code=4)
    assert f"{release.source}:orchestrate-publish: the record was not found: expected an index that names a" in said


def test_a_wrong_report_is_told_before_an_open_publish_is_gone_on_with(release: Release) -> None:
    release.run("--report", report(release, pushed(release, stand_ins(release, release.commit("two")))))
    with Client(release.source) as client, Clients() as clients:
        done = kept.pull(client)
        assert done is not None
        kept.Keeper(clients, None).save(replace(done, state=State.MOVING))
        release.run("--report", str(release.project.root / "none.json"), code=5)
        found = kept.pull(client)
        assert found is not None
        assert found.state is State.MOVING


def test_nothing_that_was_built_by_itself(release: Release) -> None:
    release.commit("two")
    said = release.run(code=1)
    assert f"linux/amd64 is missing: {AMD}: this machine has not built it; try --report FILE or --from-registry" in said
    said = release.run("--from-registry", code=1)
    assert "was not found" in said
    said = release.run("--report", str(release.project.root / "matrix.yaml"), code=2)
    assert "the build report is invalid: expected schema 1 with variants" in said
    said = release.run("--rollback", str(release.source), code=2)
    assert "the record was not found: expected a file or a repository that holds one" in said
