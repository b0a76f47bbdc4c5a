"""What one variant brings to a run, and what the builds of a run share: values for `scheduler` and `variant`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct, field

from orchestrator.runs.together import Together

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from orchestrator.bake.events import Event
    from orchestrator.bake.process import BakeResult
    from orchestrator.engine.history import Silence
    from orchestrator.process import Stop
    from orchestrator.runs.breaker import Breaker
    from orchestrator.runs.fleet import Fleet
    from orchestrator.runs.halt import Halt
    from orchestrator.runs.journal import Journal
    from orchestrator.runs.outcome import ErrorInfo, Outcome
    from orchestrator.runs.reporter import Reporter
    from orchestrator.runs.resources import CompileJobs
    from orchestrator.runs.resume import Decision
    from orchestrator.runs.retry import RetryPolicy
    from orchestrator.runs.wishes import Limits

    class Bake(Protocol):
        """One bake, ready to run (`orchestrator.bake.process.BakeCommand`)."""

        @property
        def target(self) -> str:
            """The target to bake."""

        @property
        def log(self) -> Path:
            """Its log file."""

        def silent(self) -> Silence | None:
            """Why its builder does not answer, None if it does."""

        def run(self, *, on_event: Callable[[Event], None], stop: Stop, terminate_after: float) -> BakeResult:
            """Run it to its end."""

    class After(Protocol):
        """What follows a build that succeeded."""

        def __call__(self, outcome: Outcome, /, *, stop: Stop, reporter: Reporter) -> Outcome:
            """Return the outcome as it is, or failed."""


class Job(Struct, frozen=True, kw_only=True):
    """One variant to build.

    Attributes:
        id: The variant.
        prepare: Does the preflight and returns the bake. An OrchestrateError fails the variant alone.
        after: Looks at what was built and returns the outcome, as it is or failed (verification); None for nothing.
        then: What `after` does, as it is shown ("verifying"); "" if it takes no noticeable time.
        discard: Removes what a build that did not succeed leaves behind; None for nothing.
        references: What names the result with this digest, where it was put; None for nothing.
        blame: Says of a failure which values of the matrix the failed instruction uses; None says nothing.
        decide: Whether it is built at all, asked with the journal before it is started; None for always.
        key: Its content key; "" where that is not known.
        tags: References it will get, shown also if it never comes that far.
        log: Its log file, if known before `prepare`.
        compile_cache: Whether a compile cache was given to it.
        compiling: How many compile jobs it runs; None where nobody says.
        smaller: Returns the bake with half of them; None where that cannot be.
        pushes: Repository -> the references with a tag that bake itself pushes; empty where tags are set later.
        at: Returns this job for the builder of that name; None where all builders take it as it is.
    """

    id: str
    prepare: Callable[[], Bake]
    after: After | None = None
    then: str = ""
    discard: Callable[[], None] | None = None
    references: Callable[[str | None], tuple[str, ...]] | None = None
    blame: Callable[[ErrorInfo], tuple[str, ...]] | None = None
    decide: Callable[[Journal], Decision] | None = None
    key: str = ""
    tags: tuple[str, ...] = ()
    log: Path | None = None
    compile_cache: bool = False
    compiling: CompileJobs | None = None
    smaller: Callable[[], Bake] | None = None
    pushes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    at: Callable[[str], Job] | None = None


class Shared(Struct, frozen=True, kw_only=True):
    """What the builds of one run share.

    Attributes:
        limits: How a bake is stopped.
        retry: How often and how soon to try again.
        reporter: Hears of attempts and events; must not raise.
        halt: Ends the run.
        breaker: What the run knows of hosts that are down.
        fleet: The builders.
        together: Which steps run for several of them at once.
    """

    limits: Limits
    retry: RetryPolicy
    reporter: Reporter
    halt: Halt
    breaker: Breaker
    fleet: Fleet
    together: Together = field(default_factory=Together)
