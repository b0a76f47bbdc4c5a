"""Ends a bake that hangs: a step that takes too long, and a builder that has gone silent.

A long compile prints nothing for an hour, and so does a connection whose other end is gone (buildx has no keepalive:
docker/buildx#3967; measured with 0.29: it waits for ever). A second connection tells one from the other, because it
asks for this very build: `buildx inspect` says "running" of a builder although the build's own connection is dead.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.bake.events import Notice, StepDone, StepFailed, StepKind, StepStarted, from_client
from orchestrator.bake.progress import Progress
from orchestrator.durations import duration
from orchestrator.engine import history, machine
from orchestrator.errors import FailureClass
from orchestrator.process import unread

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

    from orchestrator.bake.events import Event
    from orchestrator.engine.buildx import BakeCall

_CATCH_UP_S = 5.0  # what the record is ahead by may still be on its way
_LEAST_ANSWER_S = 3.0  # to start buildx and connect, on a machine that has a processor for it


class Bounds(Struct, frozen=True, kw_only=True):
    """How long a bake may take for one step, and for saying nothing.

    Attributes:
        step_s: Seconds for one step; None for no limit.
        silence_s: Seconds without any event, after which the builder is asked for the build; None asks never.
    """

    step_s: float | None = None
    silence_s: float | None = None

    def answer_s(self, busy: float) -> float:
        """Return the seconds that a builder has for an answer: as long as it may be silent, with two bounds.

        Args:
            busy: How many times slower than an idle machine this one is (`machine.busy`).
        """
        if self.silence_s is None:
            return history.ANSWER_S
        return min(history.ANSWER_S, max(_LEAST_ANSWER_S * busy, self.silence_s))


class Overrun(Struct, frozen=True, kw_only=True):
    """Why a bake was ended though nobody asked.

    Attributes:
        failure: STALLED for a builder that went silent, LIMIT for a step that took too long.
        message: The reason, in one line.
        step: The step that ran.
        again: Whether another attempt may help.
        build: The build that may go on at the builder, by its record's name; "" where none is known.
    """

    failure: FailureClass
    message: str
    step: str = ""
    again: bool = False
    build: str = ""


class Answer(Struct, frozen=True, kw_only=True):
    """What a look at the builder's record gave.

    Attributes:
        alive: Whether the build goes on there, None where nothing tells.
        why: Why it does not, or why nothing tells.
        late: Whether the builder was waited for in vain.
        build: The name of the build's record, "" where it has none.
    """

    alive: bool | None = None
    why: str = ""
    late: bool = False
    build: str = ""


def ask(call: BakeCall, target: str, progress: Progress, *, since: float, bounds: Bounds) -> Answer:
    """Ask the builder whether it still runs a build, and whether what it has of it has arrived here.

    Args:
        call: How buildx is called.
        target: The bake target.
        progress: What has arrived.
        since: When the build was started, in seconds of the wall clock.
        bounds: How long the builder has for each answer.

    Raises:
        InterruptedRunError: A stop was asked for.
    """
    timeout = bounds.answer_s(machine.busy())
    ref = history.reference(target, root=call.root, since=since)
    if not ref:
        return _unless_silent(call, "the build has not started on the builder", timeout)
    return replace(_answer(call, ref, progress, timeout), build=ref)


def _answer(call: BakeCall, ref: str, progress: Progress, timeout: float) -> Answer:
    """What the record of a build says."""
    found = history.record(call, ref, timeout=timeout)
    if found.missing:
        return Answer(alive=False, why="the builder does not know the build any more")
    if found.silent:
        return Answer(alive=False, why=found.problem, late=True)
    if found.problem:  # a buildx without `history logs`, or a builder that refuses connections
        return _unless_silent(call, found.problem, timeout)
    if found.ended:
        return Answer(alive=False, why="the build ended on the builder, and its result did not arrive")
    there = Progress()
    for line in found.lines:
        for _ in there.feed(line):
            pass
    if progress.behind(there):
        return Answer(alive=False, why="the build still runs on the builder, and its output does not arrive")
    return Answer(alive=True)


def _unless_silent(call: BakeCall, why: str, timeout: float) -> Answer:
    """That nothing tells, and why; or that the builder does not even answer."""
    silence = history.silent(call, timeout=timeout)
    return Answer(why=why) if silence is None else Answer(alive=False, why=silence.why, late=silence.late)


def _again_in(answer: Answer, limit: float, busy: float) -> float:
    """Seconds until the builder is asked once more."""
    if answer.late:  # it has had its wait
        return 0.0
    if answer.alive is None:  # buildx itself waits as long for a builder
        return max(limit, history.ANSWER_S)
    # Not bounded by the limit: what a builder sent may wait for its turn here, in buildx, however short that is.
    return min(history.ANSWER_S, _CATCH_UP_S * busy)


class _Running(Struct):
    name: str
    kind: StepKind
    since: float


class Watch:
    """Follows one bake and says when it must end.

    Args:
        bounds: How long is too long.
        ask: Asks the builder for the build.
        tell: Hears that a build is quiet.

    Attributes:
        pipe: Where the build is heard; what lies in it was not read yet.
    """

    def __init__(self, bounds: Bounds, *, ask: Callable[[], Answer], tell: Callable[[Notice], None]) -> None:
        self._bounds = bounds
        self._ask = ask
        self._tell = tell
        self._running: dict[int, _Running] = {}
        self._heard = time.monotonic()
        self._asked = self._heard
        self._doubt = ""
        self.pipe: IO[bytes] | None = None

    def arrived(self) -> None:
        """Something came from the builder."""
        self._heard = self._asked = time.monotonic()
        self._doubt = ""

    def event(self, event: Event) -> None:
        """Follow the steps that run."""
        match event:
            case StepStarted(number=number, name=name, kind=kind):
                self._running[number] = _Running(name=name, kind=kind, since=time.monotonic())
            case StepDone(number=number) | StepFailed(number=number):
                self._running.pop(number, None)
            case _:
                pass

    def look(self) -> Overrun | None:
        """Why the bake must end now; None while it may go on.

        Raises:
            InterruptedRunError: A stop was asked for while the builder was asked.
        """
        return self._slow() or self._silent()

    def _slow(self) -> Overrun | None:
        limit = self._bounds.step_s
        if limit is None:
            return None
        for step in self._running.values():
            if time.monotonic() - step.since > limit:
                return Overrun(
                    failure=FailureClass.LIMIT,
                    message=f"the step took longer than {duration(limit)} (limits.step)",
                    step=step.name,
                    again=step.kind not in (StepKind.RUN, StepKind.FILE),
                )
        return None

    def _silent(self) -> Overrun | None:
        limit = self._bounds.silence_s
        if limit is None or time.monotonic() - self._asked <= limit or unread(self.pipe):
            return None
        answer = self._ask()
        if not answer.alive and unread(self.pipe):
            # It came while the builder was asked: the record knows no more than what is read next.
            return None
        if answer.alive and self._running and all(from_client(step.name) for step in self._running.values()):
            # The builder waits for files that this very connection brings: that it is alive says nothing.
            why = "the builder waits for files of this machine, which do not arrive"
            answer = Answer(alive=False, why=why, build=answer.build)
        quiet = duration(time.monotonic() - self._heard)
        self._asked = time.monotonic()
        if answer.alive:
            self._doubt = ""
            self._tell(Notice(text=f"no output for {quiet}: the builder still runs {self._step or 'the build'}"))
            return None
        if not self._doubt:
            # Once more before it is ended: what arrives late, or a builder that is busy, costs no build.
            self._doubt = answer.why
            self._asked += _again_in(answer, limit, machine.busy()) - limit
            return None
        return Overrun(
            failure=FailureClass.STALLED,
            message=f"no output for {quiet} (limits.silence): {answer.why}",
            step=self._step,
            again=True,
            build=answer.build,
        )

    @property
    def _step(self) -> str:
        return min(self._running.values(), key=lambda step: step.since).name if self._running else ""
