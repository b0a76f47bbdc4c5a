"""What goes so that caches fit a budget, and which records of a builder the next build may take."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cache.budget import Budget, Directory, choose
from orchestrator.cache.needed import needed
from orchestrator.engine.build_cache import CacheRecord, RecordType

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def record(name: str, *, age: int = 1, size: int = 10, description: str = "", **fields: Any) -> CacheRecord:
    when = NOW - timedelta(hours=age)
    kind = fields.pop("type", RecordType.LAYER)
    return CacheRecord(id=name, type=kind, description=description, size=size, created=when, used=when, **fields)


def gone(records: list[CacheRecord], budget: Budget, *, spared: set[str] | None = None) -> list[str]:
    return [one.id for one in choose(records, [], budget, needed=spared or set()).records]


def test_the_longest_unused_goes_first_and_no_more_than_that() -> None:
    records = [record("new", age=1), record("old", age=9), record("older", age=10)]
    assert gone(records, Budget(keep=25)) == ["older"]
    assert gone(records, Budget(keep=20)) == ["older"]
    assert gone(records, Budget(keep=19)) == ["older", "old"]
    assert gone(records, Budget(keep=30)) == []
    assert gone(records, Budget(min_free=15, free=0)) == ["older", "old"]
    assert gone(records, Budget(min_free=15, free=20)) == []
    more = choose(records, [], Budget(keep=25), needed=set())
    assert (more.freed, more.missing) == (10, 0)  # five bytes more than the budget asks for


def test_a_parent_goes_after_its_children_and_stays_below_one_that_stays() -> None:
    records = [record("base", age=9), record("a", age=5, parents=("base",)), record("b", age=3, parents=("base",))]
    assert gone(records, Budget(keep=0)) == ["a", "b", "base"]
    assert gone(records, Budget(keep=0), spared={"b"}) == ["a"]


@pytest.mark.parametrize("fields", [{"type": RecordType.MOUNT}, {"in_use": True}])
def test_mounts_and_what_is_used_stay(fields: dict[str, Any]) -> None:
    choice = choose([record("x", **fields)], [], Budget(keep=0), needed=set())
    assert (choice.records, choice.missing, choice.held) == ((), 10, 10)


def test_bytes_that_an_image_shares_free_no_disk() -> None:
    records = [record("shared", age=9, shared=True), record("own")]
    assert gone(records, Budget(min_free=10, free=0)) == ["shared", "own"]
    assert gone(records, Budget(keep=10)) == ["shared"]


def test_directories_go_by_age_among_the_records() -> None:
    old = Directory(path=Path("old"), size=10, used=NOW - timedelta(days=9), needed=False)
    own = Directory(path=Path("own"), size=10, used=NOW - timedelta(days=99), needed=True)
    elsewhere = Directory(path=Path("away"), size=10, used=NOW - timedelta(days=10), needed=False, same_disk=False)
    choice = choose([record("x")], [old, own, elsewhere], Budget(keep=30), needed=set())
    assert ([one.path.name for one in choice.directories], choice.records) == (["away"], ())
    choice = choose([record("x")], [old, own, elsewhere], Budget(min_free=10, free=0), needed=set())
    assert [one.path.name for one in choice.directories] == ["away", "old"]


@pytest.mark.parametrize(
    ("step", "description", "fits"),
    [
        ("RUN make $JOBS all", "mount / from exec /bin/sh -c make $JOBS all", True),
        ("RUN --mount=type=cache,target=/c --network=none make", "mount / from exec /bin/sh -c make", True),
        ("RUN make", "mount /x from exec /bin/bash -o pipefail -c make", True),
        ("RUN make", "mount / from exec /bin/sh -c make all", False),
        ("RUN make", "mount / from exec /bin/sh -c cmake", False),
        ('RUN ["make", "all"]', "mount / from exec make all", True),
        ("RUN <<EOF\nmake all\nEOF", "mount / from exec /bin/sh -c make all\n", True),
        ("COPY --from=x ${DIR}/a /b", "[app 2/9] COPY --from=x /usr/a /b", True),
        ("COPY a /b", "[app 2/9] COPY c /b", False),
        ("WORKDIR /src", "[2/9] WORKDIR /src", True),
        ("ENV A=b", "[2/9] ENV A=b", False),
    ],
)
def test_a_record_is_known_by_its_step(step: str, description: str, fits: bool) -> None:
    assert needed([record("x", description=description)], {step: 1}, []) == ({"x"} if fits else set())


def test_the_newest_of_a_step_are_needed_with_what_they_lie_on() -> None:
    made = "mount / from exec /bin/sh -c make"
    records = [
        record("base", description="pulled from docker.io/library/debian:12@sha256:1"),
        record("other", description="pulled from docker.io/library/debian-slim:12@sha256:1"),
        record("below", description="[internal] x"),
        record("new", age=1, description=made, parents=("below",)),
        record("middle", age=2, description=made),
        record("old", age=3, description=made),
    ]
    assert needed(records, {"RUN make": 2}, ["debian:12"]) == {"new", "below", "middle", "base"}
