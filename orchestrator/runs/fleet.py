"""The builders of a run: their slots, who is down and why, and when one that is down is asked again.

Which builder a variant goes to is decided by `placement`. A builder is down from the moment that a build on it is lost
or it does not answer; it is asked again after five seconds, then ever more seldom, and takes variants again once it
answers. Does not depend on how a builder is asked, nor on what is built.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from msgspec import Struct, field

from orchestrator.durations import duration
from orchestrator.errors import FailureClass, InterruptedRunError, OrchestrateError
from orchestrator.process import Stop, carried, stoppable
from orchestrator.runs.placement import choose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_POLL_S = 0.25
_END_S = 5.0  # for a question to end


class NoBuilderError(OrchestrateError, failure=FailureClass.NETWORK):
    """No builder of the run takes a variant: none can, or none has answered for long enough."""


def shown(name: str, endpoint: str) -> str:
    """Return a builder as it is shown: `NAME at ENDPOINT`, without an endpoint its name."""
    return f"{name} at {endpoint}" if endpoint else name


def _answers() -> str:
    return ""


class Member(Struct, frozen=True, kw_only=True):
    """One builder of a run.

    Attributes:
        name: buildx's name of it.
        slots: How many variants it builds at once.
        endpoint: Where it is, as it is shown; "" for the engine of this machine.
        here: Whether its layers are on the disk of this machine's engine.
        look: Why its endpoint takes no connection, "" if it does or nobody can tell; takes milliseconds as a rule.
        ask: Why it does not answer, "" if it does.
    """

    name: str
    slots: int = 1
    endpoint: str = ""
    here: bool = True
    look: Callable[[], str] = _answers
    ask: Callable[[], str] = _answers

    def __str__(self) -> str:
        return shown(self.name, self.endpoint)


class Patience(Struct, frozen=True, kw_only=True):
    """How long a fleet waits for what.

    Attributes:
        first_s: Seconds until a builder that went down is asked again.
        longest_s: The longest time between two questions.
        gives_up_s: Seconds after which a variant fails whose builders are all down.
    """

    first_s: float = 5.0
    longest_s: float = 60.0
    gives_up_s: float = 90.0


class Lost(Struct, kw_only=True):
    """One time that a builder was taken out.

    Attributes:
        builder: The builder.
        reason: Why.
        back: Whether it answered again later.
    """

    builder: Member
    reason: str
    back: bool = False

    def __str__(self) -> str:
        end = "it answered again later" if self.back else "it has not answered since"
        return f"builder {self.builder} was taken out: {self.reason}; {end}"


class _Down(Struct, kw_only=True):
    lost: Lost
    since: float
    pause_s: float
    next: float


class Seat(Struct, frozen=True, kw_only=True):
    """A slot of a builder, taken for one attempt of a variant."""

    variant: str
    builder: Member


class Fleet(Struct, kw_only=True):
    """The builders of a run.

    Attributes:
        members: The builders.
        orders: Variant -> its builders, the preferred one first; one that is not named takes every builder in order.
        patience: How long it waits for what.
        lost: Each time that a builder was taken out, in order.
        changed: Held while slots and health are read or written, and notified when they change.
    """

    members: Sequence[Member]
    orders: Mapping[str, Sequence[str]] = field(default_factory=dict)
    patience: Patience = field(default_factory=Patience)
    lost: list[Lost] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    _by_name: dict[str, Member] = field(default_factory=dict)
    _free: dict[str, int] = field(default_factory=dict)
    _down: dict[str, _Down] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Every slot is free."""
        self._by_name = {member.name: member for member in self.members}
        self._free = {member.name: max(1, member.slots) for member in self.members}

    @property
    def several(self) -> bool:
        """Whether there is another builder to go to."""
        return len(self.members) > 1

    def order(self, variant: str) -> Sequence[str]:
        """Return the builders of a variant."""
        return self.orders.get(variant, tuple(self._by_name))

    def seat(self, waiting: Sequence[str]) -> Seat | None:
        """Take a slot for the first variant that one fits; `changed` is held by the caller.

        Args:
            waiting: Variants in their order.
        """
        free = {name for name, count in self._free.items() if count > 0 and name not in self._down}
        found = choose([self.order(variant) for variant in waiting], free) if free else None
        if found is None:
            return None
        position, name = found
        self._free[name] -= 1
        return Seat(variant=waiting[position], builder=self._by_name[name])

    def settle(self, seat: Seat) -> str:
        """Look at the endpoint of a seat before an attempt; return why it is not to be used, "" if it is.

        The builder is taken out then, and the slot given back: no attempt is spent on a port that nobody listens at.
        """
        reason = seat.builder.look() if self.several else ""
        if reason:
            self.take_out(seat.builder, reason)
            self.leave(seat)
        return reason

    def take(self, variant: str, *, stop: Stop, tell: Callable[[str], None]) -> Seat:
        """Wait for a slot for a further attempt of a variant.

        Args:
            variant: The variant.
            stop: Ends the waiting.
            tell: Hears of builders that are taken out.

        Raises:
            NoBuilderError: None takes it.
            InterruptedRunError: A stop was asked for.
        """
        while not stop.is_set():
            with self.changed:
                seat = self.seat([variant])
                if seat is None:
                    self.require(variant)
                    self.changed.wait(_POLL_S)
                    continue
            if reason := self.settle(seat):
                tell(f"builder {seat.builder} is taken out: {reason}")
            else:
                return seat
        raise InterruptedRunError("stopped")

    def require(self, variant: str) -> None:
        """Require that a variant may still get a builder; `changed` is held by the caller.

        Raises:
            NoBuilderError: None takes it, or all that do are down for longer than it waits.
        """
        order = self.order(variant)
        if not order:
            raise NoBuilderError(
                f"{variant}: no builder of the matrix takes it",
                hint="add its platform to a builder of the matrix",
            )
        down = [self._down[name] for name in order if name in self._down]
        newest = max((one.since for one in down), default=0.0)
        if len(down) == len(order) and time.monotonic() - newest >= self.patience.gives_up_s:
            reasons = "; ".join(f"{one.lost.builder}: {one.lost.reason}" for one in down)
            raise NoBuilderError(f"no builder has answered for {duration(time.monotonic() - newest)}: {reasons}")

    def leave(self, seat: Seat) -> None:
        """Give a slot back."""
        with self.changed:
            self._free[seat.builder.name] += 1
            self.changed.notify_all()

    def take_out(self, builder: Member, reason: str) -> None:
        """Note that a builder is down: it gets no variant until it answers again."""
        now = time.monotonic()
        with self.changed:
            if builder.name not in self._down:
                lost = Lost(builder=builder, reason=reason)
                self.lost.append(lost)
                first = self.patience.first_s
                self._down[builder.name] = _Down(lost=lost, since=now, pause_s=first, next=now + first)
            self.changed.notify_all()

    @contextlib.contextmanager
    def watched(self, stop: Stop) -> Iterator[None]:
        """Within it, builders that are down are asked again from time to time.

        Args:
            stop: Once it is set, nothing more is asked.
        """
        if not self.several:
            yield
            return
        over = Stop()
        with stoppable(over):
            watcher = threading.Thread(target=carried(self._watch), args=(over, stop), name="fleet", daemon=True)
            watcher.start()
        try:
            yield
        finally:  # a question that is being asked ends with the run, or its process would outlive this one
            over.immediate = True
            over.set()
            watcher.join(_END_S)

    def _watch(self, over: Stop, stop: Stop) -> None:
        with contextlib.suppress(InterruptedRunError):
            while not over.wait(_POLL_S) and not stop.is_set():
                with self.changed:
                    due = [one for one in self._down.values() if time.monotonic() >= one.next]
                for one in due:
                    self._ask(one)

    def _ask(self, down: _Down) -> None:
        try:
            reason = down.lost.builder.look() or down.lost.builder.ask()
        except OrchestrateError as error:
            reason = error.message
        with self.changed:
            if reason:
                down.pause_s = min(2 * down.pause_s, self.patience.longest_s)
                down.next = time.monotonic() + down.pause_s
                return
            down.lost.back = True
            self._down.pop(down.lost.builder.name, None)
            self.changed.notify_all()
