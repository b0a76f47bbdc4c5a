"""What the tests of this room share: commands, results and reporters without any process."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from orchestrator.bake.events import StepKind, Steps
from orchestrator.bake.process import BakeCommand, BakeResult
from orchestrator.bake.progress import Failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.bake.events import Event
    from orchestrator.engine.history import Silence
    from orchestrator.process import Stop
    from orchestrator.runs.job import Job
    from orchestrator.runs.outcome import Outcome

DIGEST = "sha256:" + "a" * 64


def command(variant: str, folder: Path = Path("/dev/null/nowhere")) -> BakeCommand:  # nothing can be written there
    return BakeCommand(
        id=variant,
        argv=("docker", "buildx", "bake"),
        bake_json="{}",
        target=variant,
        cwd=folder,
        log=folder / f"{variant}.log",
        metadata=folder / f"{variant}.json",
    )


def failure(message: str, *, kind: StepKind = StepKind.METADATA, step: str = "step", client: str = "") -> Failure:
    return Failure(step=step, kind=kind, message=message, returncode=1, client=client)


def built(variant: str) -> BakeResult:
    steps = Steps(total=3, cached=1, done=3)
    return BakeResult(returncode=0, failure=None, steps=steps, metadata={variant: {"containerimage.digest": DIGEST}})


def failed(message: str, *, kind: StepKind = StepKind.METADATA) -> BakeResult:
    return BakeResult(returncode=1, failure=failure(message, kind=kind), last_lines=("last words",))


@dataclass(frozen=True)
class FakeBake:
    """A bake that gives what `Bakes` says instead of starting a process."""

    command: BakeCommand
    bakes: Bakes

    @property
    def target(self) -> str:
        return self.command.target

    @property
    def log(self) -> Path:
        return self.command.log

    def silent(self) -> Silence | None:
        return self.bakes.silent.pop(0) if self.bakes.silent else None

    def run(
        self,
        *,
        on_event: Callable[[Event], None],  # noqa: ARG002 - the shape of a bake
        stop: Stop,
        terminate_after: float,  # noqa: ARG002 - the shape of a bake
    ) -> BakeResult:
        return self.bakes.give(self.command.id, stop)


@dataclass
class Bakes:
    """Gives each variant's results in turn, and remembers what was asked."""

    results: dict[str, list[BakeResult | Callable[[Stop], BakeResult]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    silent: list[Silence] = field(default_factory=list)
    most_at_once: int = 0
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, job: Job) -> Job:
        """The job with a bake of ours in the place of its command."""

        def prepare() -> FakeBake:
            command = job.prepare()
            assert isinstance(command, BakeCommand)
            return FakeBake(command=command, bakes=self)

        return replace(job, prepare=prepare)

    def give(self, variant: str, stop: Stop) -> BakeResult:
        with self._lock:
            self.asked.append(variant)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            results = self.results.get(variant)
            result = results.pop(0) if results else built(variant)
        try:
            return result if isinstance(result, BakeResult) else result(stop)
        finally:
            with self._lock:
                self._now -= 1


class Heard:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.said: list[tuple[Any, ...]] = []

    def started(self, variant: str) -> None:
        self.said.append(("started", variant))

    def attempt(self, variant: str, number: int, of: int) -> None:
        self.said.append(("attempt", variant, number, of))

    def event(self, variant: str, event: Event) -> None:
        self.said.append(("event", variant, event))

    def waiting(self, variant: str, number: int, of: int, seconds: float, reason: str) -> None:
        self.said.append(("waiting", variant, number, of, seconds > 0, reason))

    def finished(self, outcome: Outcome) -> None:
        self.said.append(("finished", outcome.id, outcome.status))


class Silent:
    """A reporter that shows nothing."""

    def started(self, variant: str) -> None:
        """See Reporter."""

    def attempt(self, variant: str, number: int, of: int) -> None:
        """See Reporter."""

    def event(self, variant: str, event: Event) -> None:
        """See Reporter."""

    def waiting(self, variant: str, number: int, of: int, seconds: float, reason: str) -> None:
        """See Reporter."""

    def finished(self, outcome: Outcome) -> None:
        """See Reporter."""
