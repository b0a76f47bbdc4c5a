"""Which caches an air-gapped build leaves out: those on another machine, and no others."""

from __future__ import annotations

import pytest

from orchestrator.matrix import expand
from orchestrator.runs.air_gap import isolated
from tests.unit.matrix.support import SMALL, parse


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
