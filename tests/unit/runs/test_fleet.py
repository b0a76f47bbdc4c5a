"""Several builders in one run: who gets what, who is taken out, and what is told."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from orchestrator.bake.events import StepKind
from orchestrator.bake.process import BakeResult
from orchestrator.bake.watch import Overrun
from orchestrator.engine.history import Silence
from orchestrator.errors import FailureClass, InterruptedRunError
from orchestrator.process import Stop
from orchestrator.runs.fleet import Fleet, Member, NoBuilderError, Patience
from orchestrator.runs.job import Job
from orchestrator.runs.outcome import Outcome, Status
from orchestrator.runs.retry import RetryPolicy
from orchestrator.runs.scheduler import Memory, build_all
from orchestrator.runs.wishes import Limits
from tests.unit.runs.support import Bakes, Heard, built, command, failed, failure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SOON = RetryPolicy(initial=0.001, maximum=0.001, jitter=0)
QUICK = Patience(first_s=0.05, longest_s=0.1, gives_up_s=0.4)
EOF_ = "failed to receive status: rpc error: code = Unavailable desc = error reading from server: EOF"


def fleet(*members: Member, orders: Mapping[str, tuple[str, ...]] | None = None, patience: Patience = QUICK) -> Fleet:
    return Fleet(members=members, orders=orders or {}, patience=patience)


def build(jobs: str, builders: Fleet, bakes: dict[str, Bakes], parallel: int = 4, **settings: Any) -> list[Outcome]:
    """Build variants named by letters; each builder has bakes of its own."""

    def at(variant: str) -> Callable[[str], Job]:
        return lambda name: bakes[name].of(Job(id=variant, prepare=lambda: command(variant)))

    def unplaced() -> Any:
        raise AssertionError("prepared without a builder")

    return build_all(
        [Job(id=variant, prepare=unplaced, at=at(variant)) for variant in jobs],
        reporter=settings.pop("reporter", Heard()), stop=settings.pop("stop", Stop()),
        limits=Limits(parallel=parallel, terminate_after_s=0.2, grace_s=0.3), retry=SOON,
        memory=Memory(fleet=builders), **settings,
    )  # fmt: skip


def slowly(seconds: float = 0.05) -> Callable[[Stop], BakeResult]:
    def bake(_: Stop) -> BakeResult:
        time.sleep(seconds)
        return built("x")

    return bake


def test_slots_bound_each_builder() -> None:
    bakes = {name: Bakes(results={one: [slowly()] for one in "abcdef"}) for name in ("x", "y")}
    outcomes = build("abcdef", fleet(Member(name="x", slots=2), Member(name="y")), bakes)
    assert {one.status for one in outcomes} == {Status.BUILT}
    assert (bakes["x"].most_at_once, bakes["y"].most_at_once) == (2, 1)
    assert {one.id for one in outcomes if one.builder == "x"} == set(bakes["x"].asked)


def test_one_that_waits_for_its_only_builder_holds_up_nobody() -> None:
    orders = {"a": ("x",), "b": ("x",), "c": ("y",), "d": ("y",)}
    bakes = {name: Bakes(results={one: [slowly(0.2)] for one in "ab"}) for name in ("x", "y")}
    began = time.monotonic()
    outcomes = build("abcd", fleet(Member(name="x"), Member(name="y"), orders=orders), bakes, parallel=2)
    assert {one.builder for one in outcomes[:2]} == {"x"}
    assert {one.builder for one in outcomes[2:]} == {"y"}
    assert time.monotonic() - began < 5
    assert bakes["y"].asked == ["c", "d"]


def test_a_lost_connection_moves_the_variant_and_is_told() -> None:
    heard = Heard()
    x = Member(name="x", endpoint="tcp://x:1")
    bakes = {"x": Bakes(results={"a": [failed(EOF_, kind=StepKind.CLIENT)]}), "y": Bakes()}
    builders = fleet(x, Member(name="y"), orders={"a": ("x", "y")})
    (outcome,) = build("a", builders, bakes, reporter=heard)
    assert (outcome.status, outcome.builder, outcome.attempts) == (Status.BUILT, "y", 2)
    assert outcome.notes == (f"attempt 1: builder x at tcp://x:1 is lost: {EOF_}",)
    assert str(builders.lost[0]).startswith(f"builder x at tcp://x:1 was taken out: {EOF_}; it ")
    assert any(word[0] == "waiting" and "builder x at tcp://x:1 is lost" in str(word) for word in heard.said)


def test_a_stalled_builder_is_left() -> None:
    overrun = Overrun(failure=FailureClass.STALLED, message="no output for 3s", again=True)
    stalled = BakeResult(returncode=-15, failure=failure("context canceled", kind=StepKind.RUN), overrun=overrun)
    bakes = {"x": Bakes(results={"a": [stalled]}), "y": Bakes(silent=[Silence(why="not asked")])}
    builders = fleet(Member(name="x"), Member(name="y"), orders={"a": ("x", "y")})
    (outcome,) = build("a", builders, bakes)
    assert (outcome.status, outcome.builder, outcome.attempts) == (Status.BUILT, "y", 2)
    assert bakes["y"].asked == ["a"]


@pytest.mark.parametrize(
    ("words", "kind"),
    [("exit code: 137", StepKind.RUN), ("context canceled", StepKind.RUN), ("i/o timeout", StepKind.METADATA)],
)
@pytest.mark.parametrize("away", [True, False])
def test_a_failure_that_the_builder_may_be_to_blame_for_asks_it(words: str, kind: StepKind, away: bool) -> None:
    x = Member(name="x", ask=lambda: "connection refused" if away else "")
    bakes = {"x": Bakes(results={"a": [failed(words, kind=kind)] * 3}), "y": Bakes()}
    builders = fleet(x, Member(name="y"), orders={"a": ("x", "y")}, patience=Patience())
    (outcome,) = build("a", builders, bakes)
    assert (outcome.builder == "y") is away
    assert bool(builders.lost) is away
    assert (outcome.attempts == 1) is (kind is StepKind.RUN and not away)  # a RUN is not repeated on a living builder


def test_a_run_that_failed_asks_nobody() -> None:
    def asked() -> str:
        raise AssertionError("asked")

    bakes = {"x": Bakes(results={"a": [failed("exit code: 1", kind=StepKind.RUN)]}), "y": Bakes()}
    builders = fleet(Member(name="x", ask=asked), Member(name="y"), orders={"a": ("x", "y")})
    (outcome,) = build("a", builders, bakes)
    assert (outcome.status, outcome.builder, outcome.attempts) == (Status.FAILED, "x", 1)
    assert outcome.error is not None
    assert outcome.error.failure is FailureClass.RUN


def test_a_further_attempt_leaves_out_a_builder_whose_endpoint_is_dead() -> None:
    heard = Heard()
    y = Member(name="y", endpoint="tcp://y:1", look=lambda: "nothing listens there")
    bakes = {name: Bakes() for name in "xyz"}
    bakes["x"].results["a"] = [failed(EOF_, kind=StepKind.CLIENT)]
    builders = fleet(Member(name="x"), y, Member(name="z"), orders={"a": ("x", "y", "z")})
    (outcome,) = build("a", builders, bakes, reporter=heard)
    assert (outcome.builder, outcome.attempts, bakes["y"].asked) == ("z", 2, [])
    assert [one.reason for one in builders.lost] == [EOF_, "nothing listens there"]


def test_those_that_wait_keep_their_order() -> None:
    x = Member(name="x", look=lambda: "nothing listens there")
    builders = fleet(x, Member(name="y"), orders=dict.fromkeys("abc", ("x", "y")))
    bakes = {"x": Bakes(), "y": Bakes(results={one: [slowly()] for one in "abc"})}
    build("abc", builders, bakes, parallel=1)
    assert bakes["y"].asked == ["a", "b", "c"]


def test_an_endpoint_that_is_dead_costs_no_attempt() -> None:
    x = Member(name="x", endpoint="tcp://x:1", look=lambda: "nothing listens there")
    builders = fleet(x, Member(name="y", slots=2), orders=dict.fromkeys("ab", ("x", "y")))
    outcomes = build("ab", builders, {"x": Bakes(), "y": Bakes()})
    assert [(one.builder, one.attempts) for one in outcomes] == [("y", 1)] * 2
    note = "builder x at tcp://x:1 was down before this variant began: nothing listens there"
    assert any(one.notes == (note,) for one in outcomes)


def test_a_builder_comes_back() -> None:
    down = ["refused", "refused"]
    x = Member(name="x", ask=lambda: down.pop() if down else "")
    builders = fleet(x, Member(name="y"), orders={"a": ("x",)}, patience=replace(QUICK, gives_up_s=60))
    builders.take_out(x, "it was gone")
    (outcome,) = build("a", builders, {"x": Bakes(), "y": Bakes()})
    assert (outcome.status, outcome.builder) == (Status.BUILT, "x")
    assert str(builders.lost[0]) == "builder x was taken out: it was gone; it answered again later"


def test_patience_ends() -> None:
    x = Member(name="x", endpoint="tcp://x:1", ask=lambda: "refused")
    builders = fleet(x, Member(name="y"), orders={"a": ("x",), "b": ("y",), "c": ()})
    builders.take_out(x, "nothing listens there")
    a, b, c = build("abc", builders, {"x": Bakes(), "y": Bakes()})
    assert (a.status, b.status, c.status) == (Status.FAILED, Status.BUILT, Status.FAILED)
    assert a.error is not None
    assert a.error.failure is FailureClass.NETWORK
    assert a.error.message.endswith("x at tcp://x:1: nothing listens there")
    assert a.error.message.startswith("no builder has answered for ")
    assert c.error is not None
    assert "no builder of the matrix takes it" in c.error.message


def test_the_last_attempt_names_its_builder() -> None:
    bakes = {name: Bakes(results={"a": [failed(EOF_, kind=StepKind.CLIENT)] * 3}) for name in "xyz"}
    (outcome,) = build("a", fleet(*(Member(name=name, endpoint=f"tcp://{name}:1") for name in "xyz")), bakes)
    assert outcome.error is not None
    assert (outcome.status, outcome.attempts, outcome.error.failure) == (Status.FAILED, 3, FailureClass.NETWORK)
    assert outcome.error.message.startswith("builder z at tcp://z:1 is lost: ")


def test_a_stop_ends_those_that_wait_for_a_builder() -> None:
    stop = Stop()
    x = Member(name="x", ask=lambda: "refused")
    builders = fleet(x, Member(name="y"), orders={"a": ("x",)}, patience=Patience())
    builders.take_out(x, "gone")
    threading.Timer(0.2, stop.set).start()
    (outcome,) = build("a", builders, {"x": Bakes(), "y": Bakes()}, stop=stop)
    assert outcome.status is Status.CANCELLED
    with pytest.raises(InterruptedRunError):
        builders.take("a", stop=stop, tell=print)


def test_alone_a_builder_is_never_taken_out() -> None:
    x = Member(name="x", look=lambda: "nothing listens there")
    bakes = {"x": Bakes(results={"a": [failed(EOF_, kind=StepKind.CLIENT), built("a")]})}
    builders = fleet(x)
    (outcome,) = build("a", builders, bakes)
    assert (outcome.status, outcome.builder, outcome.attempts, builders.lost) == (Status.BUILT, "x", 2, [])


def test_a_slot_is_given_back_whatever_happens() -> None:
    builders = fleet(Member(name="x"), Member(name="y"))
    bakes = {name: Bakes(results={"a": [failed("exit code: 1", kind=StepKind.RUN)]}) for name in "xy"}
    build("ab", builders, bakes)
    with builders.changed:
        seats = [builders.seat(["q"]) for _ in range(3)]
    assert [seat.builder.name if seat else None for seat in seats] == ["x", "y", None]
    with builders.changed, pytest.raises(NoBuilderError):
        fleet(Member(name="x"), orders={"q": ()}).require("q")
