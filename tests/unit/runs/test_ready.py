"""Where results of a run go, by what its builders can do, and what follows each success."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from orchestrator.bake.file import Extras, Output
from orchestrator.engine.builders import Builder, Node
from orchestrator.engine.doctor import Engine
from orchestrator.errors import EnvironmentLacksError, UsageError
from orchestrator.matrix.schema_builders import FleetBuilder
from orchestrator.runs import ready
from orchestrator.runs.sites import Site
from orchestrator.runs.wishes import Wishes
from tests.unit.matrix.support import SMALL, planned

if TYPE_CHECKING:
    from pathlib import Path

DOCKER = Builder(name="default", driver="docker", platforms=(), running=True)
FAR = Builder(
    name="far", driver="remote", platforms=(), running=True, nodes=(Node(name="n", endpoint="tcp://h:1", running=True),)
)
UNTAGGED = SMALL.replace('  tags: ["{image}:{variant.id}"]\n', "")


def crew(*builders: Builder) -> ready._Crew:
    sites = [Site(spec=FleetBuilder(), builder=one, extras={one.name: Extras()}) for one in builders]
    return ready._Crew(info=None, engine=Engine(info=None, builder=builders[0]), sites=sites, shared=len(sites) > 1)


def wishes(*, verify: bool = False, **output: Any) -> Wishes:
    return Wishes(output=Output(**output), verify=verify)


def test_an_image_that_is_loaded_has_a_name() -> None:
    ready.require_names(planned(SMALL))
    with pytest.raises(UsageError, match=r"^--load: variant app-cu130-amd64 has no tags") as caught:
        ready.require_names(planned(UNTAGGED))
    assert caught.value.hint.startswith("add tags to the variants of the matrix, or write archives with --output DIR")


def test_who_builds() -> None:
    both = crew(FAR, DOCKER)
    assert both.drivers == {"remote", "docker"}
    assert set(both.extras) == {"far"}
    assert both.local is DOCKER
    assert crew(FAR).local is FAR


@pytest.mark.parametrize(
    ("builder", "verify", "push", "hold", "digests"),
    [
        (DOCKER, False, True, "", False),
        (DOCKER, True, True, "tag", False),
        (DOCKER, True, False, "", False),
        (FAR, True, True, "digest", True),
        (FAR, False, True, "", True),
    ],
)
def test_what_is_verified_is_held_back_until_then(
    builder: Builder, verify: bool, push: bool, hold: str, digests: bool
) -> None:
    found = ready._output(wishes(verify=verify, push=push), "20261127T1", crew(builder))
    assert (found.hold, found.digests, found.push) == (hold, digests, push)
    assert re.fullmatch(r"20261127t1-[0-9a-f]{6}", found.run)
    assert found.run != ready._output(wishes(verify=verify, push=push), "20261127T1", crew(builder)).run


def test_one_builder_of_docker_decides_for_all() -> None:
    assert ready._output(wishes(push=True), "r", crew(FAR, DOCKER)).digests is False


def test_the_directory_of_archives_is_made(tmp_path: Path) -> None:
    place = tmp_path / "a/b"
    assert ready._output(wishes(directory=place), "r", crew(FAR)).directory == place
    assert place.is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentLacksError) as caught:
        ready._output(wishes(directory=tmp_path / "file"), "r", crew(FAR))
    assert caught.value.message == (f"--output {tmp_path}/file: is not a directory and cannot be made one: File exists")


def test_something_follows_a_success_where_it_is_verified_or_held() -> None:
    plan, untagged = planned(SMALL), planned(UNTAGGED)
    push = Output(push=True, digests=False, run="r")
    assert ready._hook(plan, wishes(), push, {}) is None
    assert ready._hook(untagged, wishes(), replace(push, digests=True), {}) is None
    for hook, verify in (
        (ready._hook(plan, wishes(verify=True), push, {}), True), (ready._hook(untagged, wishes(), push, {}), False),
    ):  # fmt: skip
        assert hook is not None
        assert (hook.verify, hook.output) == (verify, push)
