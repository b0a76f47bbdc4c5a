"""The layer cache of a variant, from the section of its matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.bake.cached import cache_ladder, cache_policy
from orchestrator.bake.imports import CacheSource, SourceState, source
from orchestrator.bake.ladder import Kind, Ladder, Rung, Scope, Standing
from orchestrator.matrix import expand, load
from tests.unit.matrix.support import SMALL

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.matrix.variants import Plan

PULL = Standing(own=Scope(kind=Kind.PULL_REQUEST, name="1"))


def planned(root: Path, section: str) -> Plan:
    return expand.plan(load.parse((SMALL + section).encode(), path=root / "matrix.yaml", shown="matrix.yaml"))


def test_the_local_directory_is_absolute(tmp_path: Path) -> None:
    policy = cache_policy(planned(tmp_path, "cache: {backend: local, dir: kept, mode: min}\n"))
    assert (policy.backend, policy.mode, policy.directory) == ("local", "min", f"{tmp_path}/kept")


def test_an_inline_cache_is_in_the_image_and_reads_what_the_matrix_adds(tmp_path: Path) -> None:
    plan = planned(tmp_path, "cache: {backend: inline, read: ['r/more:x']}\n")
    (variant, *_) = plan.variants
    more, image = (Rung(ref="r/more:x", whose="cache.read"),), (Rung(ref="", whose="the image itself"),)
    assert cache_ladder(plan, variant, Standing()) == Ladder(read=more, write=image)
    assert cache_ladder(plan, variant, Standing(unread="why")) == Ladder(read=(), write=image)
    assert cache_ladder(plan, variant, Standing(unwritten="why")) == Ladder(read=more, write=())


def test_references_of_a_registry_have_tags_and_names_of_a_directory_have_none(tmp_path: Path) -> None:
    plan = planned(tmp_path, "cache: {backend: registry, ref: 'r.test/c', pull_request_ref: 'r.test/p'}\n")
    (variant, *_) = plan.variants
    assert [one.ref for one in cache_ladder(plan, variant, PULL).write] == ["r.test/p:pr-1"]
    plan = planned(tmp_path, "cache: {backend: gha, ref: 'scope'}\n")
    (variant, *_) = plan.variants
    assert [one.ref for one in cache_ladder(plan, variant, Standing()).write] == ["scope"]
    assert ":" not in cache_ladder(plan, variant, PULL).write[0].ref


@pytest.mark.parametrize(
    ("ref", "error", "state"),
    [
        ("r/a:b", "", SourceState.FOUND),
        ("r/a:b", "r/a:b: not found", SourceState.EMPTY),
        ("r/a:b", "not found, or denied", SourceState.UNREADABLE),
        ("gha:1", "", SourceState.ASKED),
        ("s3:1", "", SourceState.ASKED),
        ("azblob:1", "", SourceState.ASKED),
        ("gha:1", "unavailable", SourceState.UNREADABLE),
    ],
)
def test_what_became_of_a_reference(ref: str, error: str, state: SourceState) -> None:
    assert source(f"importing cache manifest from {ref}", error) == CacheSource(ref=ref, state=state)
