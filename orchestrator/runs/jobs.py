"""From a plan to the jobs of the scheduler: bake files rendered and resolved, preflight as each job's first step.

It is where matrix, bake, cache and what other features add come together; running them is scheduler.py's.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.bake import preflight, privileges
from orchestrator.bake.arrived import Outlines
from orchestrator.bake.file import BakeFile, Extras, Output, render
from orchestrator.bake.process import BakeCommand
from orchestrator.engine import buildx
from orchestrator.engine.buildx import BakeCall
from orchestrator.errors import EnvironmentLacksError, InterruptedRunError, OrchestrateError
from orchestrator.matrix import git
from orchestrator.runs.fingerprints import STATE, Fingerprints
from orchestrator.runs.report import VariantInfo
from orchestrator.runs.variant import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.matrix.variants import Plan, Variant
    from orchestrator.runs.outcome import Outcome

    After = Callable[[Variant, Outcome], Outcome]

_ENVIRONMENT = {
    "BUILDX_METADATA_PROVENANCE": "max",  # the base-image digests that were really used
    "BUILDX_METADATA_WARNINGS": "1",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How the variants of a plan are built.

    Attributes:
        docker: The docker client's argv.
        builder: Builder name, "" for the current one.
        output: Where results go.
        extras: What other features add, by variant id.
        after: Looks at a variant that was built (verification, tags); None for nothing.
        run: Name of this run; its logs and bake files lie in a directory of that name.
        report: File that the run writes beside; it is no input.
    """

    docker: tuple[str, ...]
    run: str
    builder: str = ""
    output: Output = field(default_factory=Output)
    extras: Mapping[str, Extras] | None = None
    after: After | None = None
    report: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """The jobs of a run, and where it keeps its things.

    Attributes:
        jobs: One a variant, in the order of the plan.
        targets: Variant id -> the bake target as buildx resolves it.
        logs: Directory of the log files.
        state: The state directory.
    """

    jobs: tuple[Job, ...]
    targets: Mapping[str, Mapping[str, Any]]
    logs: Path
    state: Path


def prepare(plan: Plan, options: Options) -> Prepared:
    """Render and resolve every variant's bake file, and make its job.

    Raises:
        MatrixError: buildx refuses the project's bake files with ours.
        EnvironmentLacksError: The state directory cannot be written.
    """
    root = plan.matrix.root.absolute()
    state = root / STATE
    run = state / "runs" / options.run
    try:
        run.mkdir(parents=True, exist_ok=True)
        (state / ".gitignore").write_text("*\n", encoding="utf-8")
    except OSError as error:
        raise EnvironmentLacksError(
            f"{error.filename or state}: logs and bake files cannot be written: {error.strerror}",
            hint=f"{state} must be a directory that you may write to",
        ) from error
    bake = BakeCall(docker=options.docker, files=tuple(plan.matrix.spec.bake.files), root=root, builder=options.builder)
    revision = _revision(plan)
    extras = options.extras or {}
    files = {
        variant.id: render(plan, variant, output=options.output, extras=extras.get(variant.id), revision=revision)
        for variant in plan.variants
    }
    targets = buildx.resolve(bake, {id_: file.definition for id_, file in files.items()})
    outlines = Outlines(state / "outlines.json")
    written = (options.report, options.output.directory, root / plan.matrix.spec.cache.dir)
    prints = Fingerprints(root, ours=[path for path in written if path is not None])
    jobs = []
    for variant in plan.variants:
        step = _Step(
            bake=bake, file=files[variant.id], target=targets[variant.id], variant=variant, directory=run,
            outlines=outlines, extras=extras.get(variant.id) or Extras(), hook=options.after,
        )  # fmt: skip
        jobs.append(
            Job(
                id=variant.id,
                prepare=step.prepare,
                after=step.after,
                then="verifying" if options.after is not None else "",
                key=step.key(prints),
                tags=tuple(tag.text for tag in variant.tags) if options.output.push or options.output.load else (),
                log=step.log,
            )
        )
    return Prepared(jobs=tuple(jobs), targets=targets, logs=run, state=state)


def infos(plan: Plan) -> list[VariantInfo]:
    """What the build report says of each variant beside its outcome."""
    return [
        VariantInfo(
            id=variant.id,
            target=variant.target,
            cuda=variant.cuda,
            platform=variant.platform,
            requested=[str(arch) for arch in variant.archs.requested],
            effective=[str(arch) for arch in variant.archs.effective],
            dropped=[(str(item.arch), item.why) for item in variant.archs.dropped],
        )
        for variant in plan.variants
    ]


@dataclass(kw_only=True, slots=True)
class _Step:
    """One variant's way from its bake file to its command, and what follows a success."""

    bake: BakeCall
    file: BakeFile
    target: Mapping[str, Any]
    variant: Variant
    directory: Path
    outlines: Outlines
    extras: Extras
    hook: After | None
    not_checked: str = ""

    @property
    def log(self) -> Path:
        return self.directory / f"{self.variant.id}.log"

    def prepare(self) -> BakeCommand:
        """Preflight, then the command; what goes wrong is written into the log.

        Raises:
            NotArrivedError: An injected argument is not consumed.
            MatrixError: The Dockerfile cannot be read.
            EnvironmentLacksError: A file of the run cannot be written.
        """
        try:
            self._preflight()
            return self._command()
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise EnvironmentLacksError(f"{where}cannot be written: {error.strerror}") from error
        except InterruptedRunError:
            raise
        except OrchestrateError as error:
            with contextlib.suppress(OSError), self.log.open("a", encoding="utf-8", errors="replace") as log:
                log.write(f"=== {self.variant.id}: preflight failed\n{error}\n")
            raise

    def _preflight(self) -> None:
        found = preflight.arrival(self.bake, self.file, self.target, self.outlines)
        injected = {name: value.text for name, value in self.variant.args.items()} | dict(self.extras.args)
        places = {name: value.origin.place for name, value in self.variant.args.items()}
        preflight.check(found, variant=self.variant.id, target=self.variant.target, injected=injected, places=places)
        self.not_checked = "" if found.checked else found.why_not

    def _command(self) -> BakeCommand:
        path = self.directory / f"{self.variant.id}.json"
        path.write_text(self.file.text, encoding="utf-8")
        reads, writes = privileges.local_paths(self.bake.root, self.target)
        for directory in writes:
            Path(directory).mkdir(parents=True, exist_ok=True)
        allow = [word for place in reads for word in ("--allow", f"fs.read={place}")]
        allow += [word for place in writes for word in ("--allow", f"fs.write={place}")]
        return BakeCommand(
            id=self.variant.id,
            argv=self.bake.argv("-f", str(path), *allow),
            bake_json=self.file.text,
            target=self.file.target,
            cwd=self.bake.root,
            env=_ENVIRONMENT,
            log=self.log,
            metadata=self.directory / f"{self.variant.id}.metadata.json",
        )

    def after(self, outcome: Outcome) -> Outcome:
        """What follows a success: the local cache is swapped in, the feature hooks look at the image."""
        if self.file.cache.swap is not None:
            _swap(*map(Path, self.file.cache.swap))
        if self.not_checked:
            note = f"not checked whether the arguments arrive: {self.not_checked}"
            outcome = replace(outcome, notes=(*outcome.notes, note))
        return self.hook(self.variant, outcome) if self.hook is not None else outcome

    def key(self, prints: Fingerprints) -> str:
        """Stands for everything that goes into the variant; "" where a part of it cannot be seen."""
        contexts = [str(self.target.get("context") or "."), *(self.target.get("contexts") or {}).values()]
        parts = [prints.of(context) for context in contexts]
        try:
            text, _ = buildx.dockerfile(self.bake.root, self.target)  # it may lie outside of every context
        except OrchestrateError:
            text = None  # said by the preflight
        if text is None or not all(parts):
            return ""
        # As buildx resolves it: what is inherited from the project's bake files and the environment is in it.
        target = json.dumps(self.target, sort_keys=True)
        return hashlib.sha256("\0".join([self.file.text, target, text, *parts]).encode(errors="replace")).hexdigest()


def _swap(new: Path, final: Path) -> None:
    """Put a freshly written local cache in the place of the old one; a failing swap keeps the old one."""
    if not new.is_dir():
        return
    old = final.with_name(f"{final.name}.old")
    with contextlib.suppress(OSError):
        shutil.rmtree(old, ignore_errors=True)
        if final.exists():
            final.rename(old)
        try:
            new.rename(final)
        except OSError:
            old.rename(final)
        shutil.rmtree(old, ignore_errors=True)


def _revision(plan: Plan) -> str:
    try:
        return git.fact("git.sha", plan.matrix.root)
    except OrchestrateError:
        return ""
