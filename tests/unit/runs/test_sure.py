"""An image has the key of the files that were sent, also where somebody edits them meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.bake.events import StepDone, StepKind, Steps, StepStarted
from orchestrator.bake.process import BakeResult
from orchestrator.cache.contents import Contents, Entry, Kind, Listing
from orchestrator.cache.keys import Inputs, Member
from orchestrator.cache.statcache import StatCache
from orchestrator.process import Stop
from orchestrator.runs.sure import MOVING, Rereading, SureBake
from tests.unit.runs.support import built, failed

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from orchestrator.bake.events import Event


def inputs(content: str) -> Inputs:
    listing = Listing(entries=(Entry("data", Kind.FILE, 0o644, content),))
    member = Member(
        args={}, settings={}, path="Dockerfile", contexts={"": f"sha256:{listing.digest}"},
        dockerfile=((1, "FROM scratch"), (2, "COPY data /")),
    )  # fmt: skip
    return Inputs(members={"": member}, listings={("", ""): listing})


CONTEXT = "[internal] load build context"


def sent(name: str = CONTEXT, kind: StepKind = StepKind.CONTEXT, *, number: int = 1) -> Event:
    return StepDone(number=number, name=name, kind=kind, seconds=0, cached=False, steps=Steps())


def begun(number: int) -> Event:
    return StepStarted(number=number, name=CONTEXT, kind=StepKind.CONTEXT, steps=Steps())


@dataclass
class World:
    """A variant whose file has one content after another: each reading takes the next, the last one stays."""

    contents: list[str]
    found: Inputs = field(default_factory=lambda: inputs("a"))
    moving: bool = False
    keys: list[str] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)
    events: list[Event] = field(default_factory=lambda: [sent()])
    result: BakeResult = field(default_factory=lambda: built("v"))

    def read(self, *, age_s: float = 0.0) -> Inputs:
        self.ages.append(age_s)
        return inputs(self.contents.pop(0) if len(self.contents) > 1 else self.contents[0])

    def keyed_as(self, found: Inputs | None) -> Any:
        self.moving = found is None
        self.found = found or Inputs(unknown=MOVING)
        return Bake(self, self.found.key)

    def run(self, stop: Stop | None = None) -> BakeResult:
        bake: Any = Bake(self, self.found.key)
        return SureBake(bake=bake, keyed=self).run(on_event=lambda _: None, stop=stop or Stop(), terminate_after=1)


@dataclass
class Bake:
    world: World
    key: str

    target = "v"
    log = Path("/dev/null/log")

    def run(self, *, on_event: Callable[[Any], None], stop: Stop, terminate_after: float) -> BakeResult:
        assert terminate_after == 1
        self.world.keys.append(self.key)
        for event in self.world.events:
            on_event(event)
        return (
            BakeResult(returncode=1, failure=failed("x").failure, stopped=True) if stop.is_set() else self.world.result
        )


A, B, C = (inputs(one).key for one in "abc")


def test_files_that_stay_are_sent_once() -> None:
    world = World(["a"])
    assert world.run().cache_problems == ()
    assert world.keys == [A]


def test_a_file_that_changed_before_the_bake_is_in_its_key() -> None:
    world = World(["b"])
    assert world.run().cache_problems == ()
    assert world.keys == [B]
    assert world.found.key == B


def test_a_bake_that_was_sent_another_file_is_begun_again() -> None:
    world = World(["a", "b"])
    assert world.run().cache_problems == ("data changed while it was sent: started again",)
    assert world.keys == [A, B]


DEFINITION = "[internal] load build definition from Dockerfile"
RUN = "[app 1/2] RUN make"


@pytest.mark.parametrize(
    ("events", "keys"),
    [
        ([sent(DEFINITION, StepKind.INTERNAL), sent(RUN, StepKind.RUN)], [A, B]),
        ([sent(DEFINITION, StepKind.INTERNAL)], [A]),
        ([sent(RUN, StepKind.RUN)], [A]),
        ([begun(1), begun(2), sent(number=1)], [A]),
        ([begun(1), begun(2), sent(RUN, StepKind.RUN, number=3), sent(number=1), sent(number=2)], [A, B]),
        ([sent(number=1), begun(2), sent(number=2)], [A, B]),
    ],
)
def test_inputs_are_read_when_nothing_is_being_sent(events: list[Event], keys: list[str]) -> None:
    world = World(["a", "b"], events=events)
    assert world.run().failure is None
    assert world.keys == keys


def test_only_the_reading_at_the_start_may_be_a_few_seconds_old() -> None:
    world = World(["a", "b"])
    world.run()
    assert world.ages[0] > 0
    assert set(world.ages[1:]) == {0.0}


def test_files_that_never_rest_get_no_key_and_that_is_told() -> None:
    world = World(["a", "b", "c", "d", "e"])
    assert world.run().cache_problems == (MOVING,)
    assert world.keys == [A, C, ""]
    assert world.run().failure is None
    assert world.keys[3] == inputs("e").key, "the next attempt has one again"


def test_a_failure_and_a_stop_are_reported_as_they_are() -> None:
    world = World(["a", "b"], result=failed("no space"))
    stop = Stop()
    stop.set()
    assert world.run(stop).stopped
    assert world.keys == [A]
    world = World(["a"], result=failed("no space"))
    assert world.run().failure == failed("no space").failure


def test_inputs_that_are_not_known_are_not_read_again() -> None:
    world = World([], found=Inputs(unknown="the context x is remote"))
    assert world.run().failure is None
    assert world.keys == [""]


def test_one_reading_serves_all_that_were_asked_for_before_it(tmp_path: Path) -> None:
    made: list[Contents] = []

    def make() -> Contents:
        made.append(Contents(root=tmp_path, cache=StatCache(tmp_path / "stat")))
        return made[-1]

    seen: list[Contents] = []

    def read(contents: Contents) -> Inputs:
        seen.append(contents)
        return inputs("a")

    first = make()
    rereading = Rereading(make, first)
    for moment in (0.0, 0.0, 1e18):
        rereading.since(moment, read)
    assert [made.index(one) for one in seen] == [0, 0, 1]
    rereading = Rereading(make)
    rereading.since(0.0, read)
    assert seen[-1] is made[-1]
    assert len(made) == 3
