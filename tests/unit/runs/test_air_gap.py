"""What an air-gapped build leaves out, and what of a plan comes from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.bake.file import BakeFile, Extras
from orchestrator.errors import EnvironmentLacksError
from orchestrator.matrix import expand, load
from orchestrator.runs.air_gap import Access, accesses, isolated, require_inputs
from tests.unit.matrix.support import SMALL, fact, parse

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.matrix.variants import Plan

AMD, ARM = "app-cu130-amd64", "app-cu130-arm64"


@pytest.mark.parametrize(
    ("cache", "registries", "reached"),
    [
        ('{backend: "off"}', [], True),
        ("{backend: local, dir: /var/cache/x}", [], True),
        ("{backend: gha}", ["r.example"], False),
        ('{backend: registry, ref: "r.example/app-cache:{variant.id}"}', ["r.example"], True),
        ('{backend: registry, ref: "r.example/app-cache:{variant.id}"}', ["other.example"], False),
        ('{backend: registry, ref: "r.example/app-cache:{variant.id}"}', [], False),
    ],
)
def test_a_cache_that_is_not_reached_is_neither_read_nor_written(
    cache: str, registries: list[str], reached: bool
) -> None:
    plan = expand.plan(parse(f"{SMALL}cache: {cache}\n"))
    found = isolated(plan, {}, registries)
    assert found.keys() == {one.id for one in plan.variants}
    for extras in found.values():
        assert extras.network == "none"
        assert (not extras.cache.unread) is reached
        assert (not extras.cache.unwritten) is reached


def with_dockerfile(root: Path, text: str, section: str = "") -> tuple[Plan, dict[str, BakeFile], dict[str, Extras]]:
    """A plan of two variants whose target is built from this Dockerfile, with extras that add nothing."""
    (root / "matrix.yaml").write_text(SMALL.replace("  linux/amd64:\n", "  linux/amd64:\n  linux/arm64:\n") + section)
    (root / "Dockerfile").write_text(text)
    plan = expand.plan(load.load(root / "matrix.yaml"), fact=fact)
    target = {"context": ".", "network": "none"}
    files = {one.id: BakeFile(target=one.id, members={one.id: target}) for one in plan.variants}
    return plan, files, {one.id: Extras() for one in plan.variants}


PULL = "docker pull debian:12 (online), docker save, docker load; or a named context oci-layout://…"


def test_everything_that_a_plan_takes_from_outside(tmp_path: Path) -> None:
    plan, files, _ = with_dockerfile(tmp_path, "FROM debian:12 AS a\nRUN apt-get update\nADD https://h/x /x\n")
    both = (AMD, ARM)
    assert accesses(plan, files) == (
        Access(kind="base image", name="debian:12", place="Dockerfile:1", cure=PULL, variants=both),
        Access(kind="network step", name="apt-get update", place="Dockerfile:2 (a)", variants=both,
               cure="a base image that has the packages, or a package mirror"),
        Access(kind="remote file", name="https://h/x", place="Dockerfile:3", variants=both,
               cure="give a named context a that holds it"),
    )  # fmt: skip
    other = {**files, ARM: BakeFile(target=ARM, members={ARM: {"context": "https://h/x.git", "dockerfile": "gone"}})}
    found = accesses(plan, other)
    assert [one.variants for one in found] == [(AMD,), (AMD,), (AMD,), (ARM,)]
    assert (found[-1].kind, found[-1].place) == ("Dockerfile", "gone")


def test_a_build_that_has_everything_is_only_told_of_doubts(tmp_path: Path) -> None:
    plan, files, extras = with_dockerfile(
        tmp_path, "FROM scratch AS a\nRUN apt-get update\nFROM a AS b\nRUN apt-get update\n"
    )
    told: list[str] = []
    require_inputs(plan, files, extras, [], told.append)
    (line,) = told
    assert line.startswith("Dockerfile:2 (a) and 1 more: apt-get update may need the network; a base ")
    assert line.endswith(f"image that has the packages, or a package mirror [{AMD}, {ARM}]")
    told.clear()
    plan, files, extras = with_dockerfile(tmp_path, "FROM scratch\nRUN make\n")
    require_inputs(plan, files, extras, [], told.append)
    assert told == []


def test_what_is_missing_is_one_error_with_every_cure(tmp_path: Path) -> None:
    plan, files, extras = with_dockerfile(tmp_path, "FROM scratch AS a\nADD https://h/x /x\n")
    with pytest.raises(EnvironmentLacksError) as caught:
        require_inputs(plan, files, extras, [])
    assert caught.value.message == "--air-gapped: 1 input is missing"
    assert caught.value.hint == "prepare them where there is a network; docs/air-gapped.md shows every step"
    assert [one.what for one in caught.value.problems] == [
        f"remote file https://h/x (Dockerfile:2): ADD fetches; give a named context a that holds it [{AMD}, {ARM}]"
    ]
    files[ARM] = BakeFile(target=ARM, members={ARM: {"context": "https://h/x.git", "dockerfile": "gone"}})
    with pytest.raises(EnvironmentLacksError) as caught:
        require_inputs(plan, files, extras, [])
    assert caught.value.message == "--air-gapped: 2 inputs are missing"
    assert caught.value.problems[0].what.endswith(f"[{AMD}]")
    assert caught.value.problems[1].what.startswith("Dockerfile: ")
    assert caught.value.problems[1].what.endswith(f"[{ARM}]")


def test_a_variant_that_carries_headers_needs_its_bundle(tmp_path: Path) -> None:
    section = "headers: {policy: optional, version: 0.6.13}\n"
    plan, files, extras = with_dockerfile(tmp_path, "FROM scratch\n", section)
    with pytest.raises(EnvironmentLacksError) as caught:
        require_inputs(plan, files, extras, [])
    assert [one.what for one in caught.value.problems] == [
        f"bundle FlashInfer headers (headers): no bundle; orchestrate headers import BUNDLE.tar.zst [{AMD}, {ARM}]"
    ]
    given = {one: Extras(args={"FLASHINFER_BUNDLE_DIGEST": "sha256:1"}) for one in extras}
    require_inputs(plan, files, given, [])


def test_a_step_that_installs_from_the_wheelhouse_is_no_doubt(tmp_path: Path) -> None:
    text = "FROM scratch\nRUN --mount=type=bind,from=wheelhouse,target=/w pip install x\n"
    section = 'wheels: {python: "3.12", requirements: [r.txt]}\n'
    (tmp_path / "r.txt").write_text("x\n")
    plan, files, extras = with_dockerfile(tmp_path, text, section)
    spec = plan.matrix.spec.wheels
    assert spec is not None
    target = {"context": ".", "network": "none", "contexts": {spec.context: "."}}
    files = {one: BakeFile(target=one, members={one: target}) for one in files}
    told: list[str] = []
    given = {one: Extras(args={spec.digest_arg: "sha256:1"}) for one in extras}
    require_inputs(plan, files, given, [], told.append)
    assert told == []
    require_inputs(plan, files, extras, [], told.append)
    assert [line.startswith("Dockerfile:2: pip install may need the network") for line in told] == [True]
    assert accesses(plan, files) == ()
