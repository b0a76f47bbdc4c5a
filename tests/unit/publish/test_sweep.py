"""Requests of a publish meet faults, and are the last ones of killed runs: never half, and a second run ends it.

`ORCHESTRATE_PUBLISH_SWEEP=all` tries every fault at every request (4,000 runs); by default the faults take turns.
"""

from __future__ import annotations

import itertools
import os
import random
from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import OrchestrateError
from orchestrator.publish.moves import Patience
from orchestrator.publish.record import Rank, State
from tests.support.generated import QUICK, stride
from tests.support.publishing import Wanted, images, publish, recover
from tests.unit.publish.support import FAULTS, KILL, KILL_AFTER, LIE, KilledError, World

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orchestrator.publish.moves import Ending
    from orchestrator.reference import Digest

STRIDE = 1 if os.environ.get("ORCHESTRATE_PUBLISH_SWEEP") == "all" else stride(17)
PATIENCE = Patience(rounds=3, pause_s=0)
HOSTS = ("one.example.org", "two.example.org")
Named = dict[tuple[int, str], "Digest | None"]


def tags_of(number: int, *, versions: int = 1, floating: int = 1) -> dict[str, Rank]:
    """Version tags of this release alone, one that every release moves, floating ones, and latest."""
    return {
        **{f"v{number}-{one}": Rank.VERSION for one in range(versions)},
        "v1": Rank.VERSION,
        **{f"nightly-{one}": Rank.FLOATING for one in range(floating)},
        f"new-{number}": Rank.FLOATING,
        "latest": Rank.LATEST,
    }


def release(world: World, number: int, *, immutable: bool, **counts: int) -> Wanted:
    tags = tags_of(number, **counts)
    if immutable:  # a tag that every release moves is none
        del tags["v1"]
    found = images(world.client(), "linux/amd64", "linux/arm64", salt=str(number))
    return Wanted(images=found, repositories=world.repositories, tags=tags, immutable=immutable)


def once(world: World, wanted: Wanted, root: Path) -> Ending | None:
    with world.clients() as clients:
        return publish(clients, wanted, root, patience=PATIENCE)


def never_ahead(named: Mapping[tuple[int, str], Digest | None], wanted: Wanted) -> None:
    new = wanted.index.digest
    at = {rank: [digest == new for key, digest in named.items() if wanted.tags[key[1]] is rank] for rank in Rank}
    assert not any(at[Rank.FLOATING]) or all(at[Rank.VERSION]), named
    assert not any(at[Rank.LATEST]) or (all(at[Rank.FLOATING]) and all(at[Rank.VERSION])), named


def ended(world: World, wanted: Wanted, before: Named, root: Path) -> str:
    """What a second run makes of it: everything at one end, and a third publishes."""
    world.arm()
    with world.clients() as clients:
        endings = recover(clients, world.repositories, root, patience=PATIENCE)
    named = world.named(wanted.tags)
    never_ahead(named, wanted)
    new = wanted.index.digest
    complete = set(named.values()) == {new}
    if not complete:
        moved = {key for key, digest in named.items() if digest != before[key]}
        assert all(before[key] is None and named[key] == new for key in moved), (before, named)
    assert {one.record.state for one in endings} <= {State.COMPLETE, State.ROLLED_BACK}
    ending = once(world, wanted, root)
    assert ending is None or ending.record.state is State.COMPLETE
    assert set(world.named(wanted.tags).values()) == {new}
    return "complete" if complete else "rolled back"


def trial(world: World, wanted: Wanted, root: Path, *, at: int, fault: str, lasting: bool, other: bool) -> str:
    before = world.named(wanted.tags)
    world.arm(at, fault, lasting=lasting)
    state: State | None = None
    try:
        ending = once(world, wanted, root)
        state = ending.record.state if ending is not None else State.COMPLETE
    except (OrchestrateError, KilledError):
        pass
    named = world.named(wanted.tags)
    never_ahead(named, wanted)
    if state is State.COMPLETE:
        assert set(named.values()) == {wanted.index.digest}
    if state is State.ROLLED_BACK:
        assert all(named[key] in (before[key], wanted.index.digest) for key in named)
        assert all(named[key] == before[key] for key in named if before[key] is not None and named[key] != before[key])
    return ended(world, wanted, before, root.with_name(f"{root.name}-other") if other else root)


# A registry that goes on lying about what its tags name is nobody's to handle.
KINDS = (
    [(fault, lasting) for fault in FAULTS for lasting in (False, True)]
    + [(LIE, False)]
    + [
        (KILL, False),
        (KILL_AFTER, False),
    ]
)


@pytest.mark.parametrize(("fault", "lasting"), KINDS)
@pytest.mark.parametrize("immutable", [False, True])
def test_every_request(fault: str, lasting: bool, immutable: bool, tmp_path: Path) -> None:
    world = World(*HOSTS)
    numbers = itertools.count()
    first = release(world, next(numbers), immutable=immutable)
    world.arm()
    assert once(world, first, tmp_path / "first") is not None
    requests = world.network.count
    ends: dict[str, int] = {}
    for at in range(1 + KINDS.index((fault, lasting)) % STRIDE, requests + 1, STRIDE):
        number = next(numbers)
        wanted = release(world, number, immutable=immutable)
        end = trial(world, wanted, tmp_path / f"{number}", at=at, fault=fault, lasting=lasting, other=bool(number % 2))
        ends[end] = ends.get(end, 0) + 1
    print(f"{requests} requests, {fault}{' for good' if lasting else ''}: {ends}")
    assert requests > 60
    assert sum(ends.values()) >= requests // STRIDE
    if fault in (KILL, KILL_AFTER) and not QUICK:
        assert len(ends) == 2


def test_forty_tags(tmp_path: Path) -> None:
    world = World(*HOSTS)
    chance = random.Random(14)
    first = release(world, 0, immutable=False, versions=10, floating=6)
    world.arm()
    once(world, first, tmp_path / "first")
    requests = world.network.count
    for number in range(1, 9 if STRIDE > 1 else 61):
        wanted = release(world, number, immutable=bool(number % 2), versions=10, floating=6)
        fault, lasting = chance.choice(KINDS)
        trial(
            world, wanted, tmp_path / f"{number}", at=chance.randint(1, requests), fault=fault, lasting=lasting,
            other=bool(number % 4 < 2),
        )  # fmt: skip
