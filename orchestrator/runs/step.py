"""Makes the job of one variant: from its bake file to its command, and what follows a success."""

from __future__ import annotations

import contextlib
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from orchestrator import files
from orchestrator.bake import privileges
from orchestrator.bake.exports import SafeBake
from orchestrator.bake.file import BakeFile, Extras, Output, repositories, with_key
from orchestrator.bake.log import LogFile
from orchestrator.bake.process import BakeCommand
from orchestrator.bake.watch import Bounds
from orchestrator.cache.compile_statistics import MARK
from orchestrator.cache.exported import NAME, Exported
from orchestrator.cache.keys import Inputs, inputs
from orchestrator.cache.sent import renamed
from orchestrator.errors import EnvironmentLacksError, InterruptedRunError, OrchestrateError
from orchestrator.runs.archive import archived
from orchestrator.runs.blame import blamed
from orchestrator.runs.explained import explained
from orchestrator.runs.freshness import Freshness
from orchestrator.runs.job import Job
from orchestrator.runs.outcome import Outcome, Status
from orchestrator.runs.resources import VARIABLE, compile_jobs
from orchestrator.runs.sure import MOVING, SureBake
from orchestrator.runs.wanted import wanted
from orchestrator.state import STATE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol

    from orchestrator.cache.contents import Contents
    from orchestrator.cache.records import Records
    from orchestrator.engine.builders import Builder
    from orchestrator.engine.buildx import BakeCall
    from orchestrator.matrix.variants import Variant
    from orchestrator.process import Stop
    from orchestrator.runs.journal import Journal
    from orchestrator.runs.preflight import Checked
    from orchestrator.runs.reporter import Reporter
    from orchestrator.runs.resources import CompileJobs
    from orchestrator.runs.resume import Resume, Wanted
    from orchestrator.runs.sites import Site
    from orchestrator.runs.sure import Rereading

    class Hook(Protocol):
        """What looks at a variant that was built (`orchestrator.runs.after_build.AfterBuild`)."""

        def __call__(self, variant: Variant, outcome: Outcome, *, stop: Stop, reporter: Reporter) -> Outcome:
            """Return the outcome as it is, or failed."""

        def promised(self, variant: Variant) -> str:
            """Return the digest of what its image is verified for, "" where it is not verified."""


class Context(Struct, frozen=True, kw_only=True):
    """What the jobs of a run share.

    Attributes:
        call: How buildx is called.
        builder: The builder that builds them; None where it was not asked.
        name: Name of this run; its logs and bake files are in a directory of that name.
        output: Where results go.
        extras: What other features add, by variant id.
        hook: Looks at a variant that was built (verification, tags); None for nothing.
        verify: Whether it verifies.
        report: File that the run writes besides; it is no input.
        allowed: Privileges of the command line.
        resume: Decides which variants need no build; None builds all.
        freshness: Tells which results are too old.
        journal: What earlier runs built, to say what changed since; None for no word on that.
        at_once: How many variants run beside each other.
        memory: Bytes that the builder has, 0 where unknown.
        sites: The builders of the run by name, where several share it; they take the place of what is said here.
        bounds: How long a step may take, and how long a builder may say nothing.
        revision: The commit that the images name, with `-dirty` where files were changed; "" where there is none.
    """

    call: BakeCall
    builder: Builder | None = None
    name: str
    output: Output = field(default_factory=Output)
    extras: Mapping[str, Extras] = field(default_factory=dict)
    hook: Hook | None = None
    verify: bool = False
    report: Path | None = None
    allowed: privileges.Allowed = field(default_factory=privileges.Allowed)
    resume: Resume | None = None
    freshness: Freshness = field(default_factory=Freshness)
    journal: Journal | None = None
    bounds: Bounds = field(default_factory=Bounds)
    at_once: int = 1
    memory: int = 0
    sites: Mapping[str, Site] = field(default_factory=dict)
    revision: str = ""

    def on(self, name: str) -> Context:
        """Return what the jobs share on the builder of that name."""
        site = self.sites[name]
        return replace(
            self, call=site.call(self.call), builder=site.builder, extras=site.extras, memory=site.memory,
            at_once=site.at_once,
        )  # fmt: skip


class Step(Struct, kw_only=True):
    """One variant's way from its bake file to its command, and what follows."""

    context: Context
    file: BakeFile
    variant: Variant
    checked: Checked
    image: str
    records: Records
    directory: Path
    asked: tuple[privileges.Ask, ...]
    wanted: Wanted | None = None
    found: Inputs | None = None
    rereading: Rereading | None = None
    source: BakeFile | None = None
    drawn: Callable[[Step, str], Step] | None = None
    suffix: str = ""

    @property
    def log(self) -> Path:
        """The variant's log file."""
        return self.directory / f"{self.variant.id}.log"

    @property
    def extras(self) -> Extras:
        """What other features add to the variant."""
        return self.context.extras.get(self.variant.id) or Extras()

    def job(self, contents: Contents) -> Job:
        """Read what goes into the variant, and return its job."""
        self.take(inputs(self.file, self.variant, self.context.call.root, contents))
        return self.as_job()

    def take(self, found: Inputs) -> None:
        """Let these be what goes into the variant."""
        context = self.context
        self.found = found
        asked = wanted(
            self.variant, found, image=self.image, output=context.output, freshness=context.freshness,
            records=self.records,
        )  # fmt: skip
        promised = context.hook.promised(self.variant) if context.hook is not None else ""
        self.wanted = replace(asked, promised=promised)

    def at(self, name: str) -> Job:
        """The job on the builder of that name."""
        return (self.drawn(self, name) if self.drawn is not None else self).as_job()

    def as_job(self) -> Job:
        """The job as it stands."""
        output, resume = self.context.output, self.context.resume
        return Job(
            id=self.variant.id,
            prepare=self.prepare,
            after=self.after,
            then="verifying" if self.context.verify else "",
            discard=self.discard,
            references=self.references,
            blame=lambda error: blamed(error, self.variant.args),
            decide=partial(resume.decide, self.wanted) if resume is not None and self.wanted is not None else None,
            key=self.found.key if self.found is not None else "",
            tags=tuple(tag.text for tag in self.variant.tags) if output.push or output.load else (),
            log=self.log,
            pushes=repositories(self.image, self.variant) if output.push and not output.hold else {},
            compile_cache=self.variant.compile_cache,
            compiling=self.compiling,
            smaller=self.smaller if self.compiling is not None and self.compiling.given else None,
            at=self.at if self.drawn is not None else None,
        )

    @property
    def compiling(self) -> CompileJobs | None:
        """How many compile jobs the variant runs."""
        return compile_jobs(self.variant, self.extras, at_once=self.context.at_once, memory=self.context.memory)

    def smaller(self) -> SureBake:
        """The command with half of the compile jobs."""
        compiling = self.compiling
        return self._sure({VARIABLE: str(compiling.half if compiling is not None else 1)})

    def prepare(self) -> SureBake:
        """What preflight found, then the command; what is wrong is written into the log.

        Raises:
            NotArrivedError: An injected argument is not consumed.
            MatrixError: The Dockerfile cannot be read.
            EnvironmentLacksError: The builder cannot build the platform, or a file of the run cannot be written.
        """
        try:
            if self.checked.error is not None:
                raise self.checked.error
            return self._sure({})
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise EnvironmentLacksError(f"{where}cannot be written: {error.strerror}") from error
        except InterruptedRunError:
            raise
        except OrchestrateError as error:
            with contextlib.suppress(OSError), LogFile(self.log) as log:
                log.note(f"=== {self.variant.id}: preflight failed", str(error))
            raise

    def _sure(self, more: Mapping[str, str]) -> SureBake:
        return SureBake(bake=self.command(more), keyed=_Keyed(step=self, more=more))

    def command(self, more: Mapping[str, str]) -> SafeBake:
        """The command for what goes in; with more variables."""
        call = self.context.call
        path = self.directory / f"{self.variant.id}{self.suffix}.json"
        if self.file.cache.swap is not None:
            # A local cache that cannot be written fails no build: bake says so, and is repeated without it.
            with contextlib.suppress(OSError):
                Path(self.file.cache.swap[1]).parent.mkdir(parents=True, exist_ok=True)
        # buildx checks nothing with rawjson; should a later one check, what is this program's own is named as well
        own = self.extras
        allow = privileges.options(self.asked, reads=own.contexts.values(), writes=self.context.output.directory)
        files.make_private(self.directory)
        file = self.file
        if self.found is not None:
            file = with_key(file, self.found.key, self.context.output)
            if self.found.restored:
                file = renamed(file, call.root, self.directory, self.found.restored)
        path.unlink(missing_ok=True)  # of other inputs
        command = BakeCommand(
            id=self.variant.id,
            argv=replace(call, files=(str(path),)).argv(*allow),
            bake_json=file.text,
            target=self.file.target,
            cwd=call.root,
            log=self.log,
            metadata=self.directory / f"{self.variant.id}.metadata.json",
            env={**own.env, **more},
            mark=MARK if self.variant.compile_cache else "",
            bounds=self.context.bounds,
            call=call,
            file=path,
        )
        command.restore()
        return SafeBake(command=command, writes=bool(self.file.cache.write))

    def after(self, outcome: Outcome, /, *, stop: Stop, reporter: Reporter) -> Outcome:
        """What follows a success: archive and local cache take their places, the hook looks at the image."""
        if self.found is not None:
            outcome = replace(outcome, key=self.found.key)
        outcome = archived(replace(outcome, output=self.file.definition["output"][0]), output=self.context.output)
        journal = self.context.journal
        if journal is not None and self.found is not None:
            outcome = explained(outcome, self.found, journal, self.records)
        with contextlib.suppress(OSError):  # an export that is not remembered stays in the registry
            Exported(self.context.call.root / STATE / NAME).add(self.file.cache.write, outcome.metadata)
        if self.file.cache.swap is not None:
            new, final = map(Path, self.file.cache.swap)
            if self.context.call.root / STATE in new.parents:  # buildx writes it for everybody
                with contextlib.suppress(OSError):
                    files.close_tree(new)
                    new.parent.chmod(0o700)
            files.swap(new, final)
        outcome = replace(outcome, notes=(*outcome.notes, *self.checked.notes))
        hook = self.context.hook
        if hook is not None:
            outcome = hook(self.variant, outcome, stop=stop, reporter=reporter)
        return self._remembered(outcome)

    def _remembered(self, outcome: Outcome) -> Outcome:
        """With --changed, what was built and verified is found under its key by later runs."""
        resume = self.context.resume
        if outcome.status is not Status.BUILT or resume is None or self.wanted is None or not outcome.digest:
            return outcome
        problem = resume.remember(self.wanted, outcome.digest)
        return replace(outcome, notes=(*outcome.notes, problem)) if problem else outcome

    def discard(self) -> None:
        """Remove what a bake that failed wrote of its archive."""
        part = self.context.output.part(self.variant.id)
        if part is not None:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    def references(self, digest: str | None) -> tuple[str, ...]:
        """What to pull or run: pushed images with their digest, loaded ones by their tags, which no registry has."""
        output = self.context.output
        tags = tuple(tag.text for tag in self.variant.tags)
        if output.load:
            return tags
        names = tags or repositories(self.image, self.variant)
        return tuple(f"{name}@{digest}" for name in names) if output.push and digest else ()


class _Keyed(Struct, kw_only=True):
    """The inputs of a step, for its bake."""

    step: Step
    more: Mapping[str, str]
    moving: bool = False

    @property
    def found(self) -> Inputs:
        return self.step.found or Inputs(unknown="they were not read")

    def read(self, *, age_s: float = 0.0) -> Inputs:
        step, moment = self.step, time.monotonic() - age_s
        if step.rereading is None:
            return self.found
        return step.rereading.since(
            moment, partial(inputs, step.source or step.file, step.variant, step.context.call.root)
        )

    def keyed_as(self, found: Inputs | None) -> SafeBake:
        self.moving = found is None
        self.step.take(found or replace(self.found, unknown=MOVING))
        return self.step.command(self.more)
