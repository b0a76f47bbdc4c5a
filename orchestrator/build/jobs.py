"""From a plan to the jobs of the scheduler: bake files rendered and resolved, preflight as each job's first step.

It is where matrix, bake, cache and what other features add come together; running them is scheduler.py's.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.bake import preflight
from orchestrator.bake.arrived import Outlines
from orchestrator.bake.file import BakeFile, Extras, Output, render
from orchestrator.bake.preflight import Bake
from orchestrator.bake.process import BakeCommand
from orchestrator.build.report import VariantInfo
from orchestrator.build.variant import Job
from orchestrator.errors import OrchestrateError
from orchestrator.matrix import git

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from orchestrator.build.outcome import Outcome
    from orchestrator.matrix.variants import Plan, Variant

    After = Callable[[Variant, Outcome], Outcome]

STATE = ".orchestrate"
"""Directory beside matrix.yaml for logs, bake files, the journal and what preflight learned."""

_ENVIRONMENT = {
    "BUILDX_METADATA_PROVENANCE": "max",  # the base-image digests that were really used
    "BUILDX_METADATA_WARNINGS": "1",
}
_MOST_FILES = 200_000


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
    """

    docker: tuple[str, ...]
    run: str
    builder: str = ""
    output: Output = field(default_factory=Output)
    extras: Mapping[str, Extras] | None = None
    after: After | None = None


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
    """
    root = plan.matrix.root.absolute()
    state = root / STATE
    run = state / "runs" / options.run
    run.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        (state / ".gitignore").write_text("*\n", encoding="utf-8")
    bake = Bake(docker=options.docker, files=tuple(plan.matrix.spec.bake.files), root=root, builder=options.builder)
    revision = _revision(plan)
    extras = options.extras or {}
    files = {
        variant.id: render(plan, variant, output=options.output, extras=extras.get(variant.id), revision=revision)
        for variant in plan.variants
    }
    targets = preflight.resolve(bake, list(files.values()))
    outlines = Outlines(state / "outlines.json")
    prints = _Fingerprints(root)
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

    bake: Bake
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
        """Preflight, then the command. Raises NotArrivedError where an injected argument is not consumed."""
        found = preflight.arrival(self.bake, self.file, self.target, self.outlines)
        injected = {name: value.text for name, value in self.variant.args.items()} | dict(self.extras.args)
        places = {name: value.origin.place for name, value in self.variant.args.items()}
        preflight.check(found, variant=self.variant.id, target=self.variant.target, injected=injected, places=places)
        self.not_checked = "" if found.checked else found.why_not
        path = self.directory / f"{self.variant.id}.json"
        path.write_text(self.file.text, encoding="utf-8")
        reads, writes = preflight.local_paths(self.bake.root, self.target)
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

    def key(self, prints: _Fingerprints) -> str:
        """Stands for everything that goes into the variant; "" where a remote context cannot be seen."""
        contexts = [str(self.target.get("context") or "."), *(self.target.get("contexts") or {}).values()]
        parts = [prints.of(context) for context in contexts]
        if not all(parts):
            return ""
        return hashlib.sha256("\n".join([self.file.text, *parts]).encode()).hexdigest()


def _swap(new: Path, final: Path) -> None:
    """Put a freshly written local cache in the place of the old one; a failing swap keeps the old one."""
    if not new.is_dir():
        return
    old = final.with_name(f"{final.name}.old")
    with contextlib.suppress(OSError):
        shutil.rmtree(old, ignore_errors=True)
        if final.exists():
            final.rename(old)
        new.rename(final)
        shutil.rmtree(old, ignore_errors=True)


def _revision(plan: Plan) -> str:
    try:
        return git.fact("git.sha", plan.matrix.root)
    except OrchestrateError:
        return ""


class _Fingerprints:
    """Digests of build contexts by name, size and time of every file; each directory is walked once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[str, str] = {}

    def of(self, context: str) -> str:
        """The fingerprint of a context: "" for one that is remote or too large to walk."""
        if context.startswith(("docker-image://", "target:", "oci-layout://")):
            return context  # named by what it is; a tag that moved is the registry's business
        if "://" in context or context.startswith("git@"):
            return ""
        path = (self._root / context).resolve()
        if str(path) not in self._known:
            self._known[str(path)] = _walk(path)
        return self._known[str(path)]


def _walk(top: Path) -> str:
    digest = hashlib.sha256()
    count = 0
    for directory, names, files in os.walk(top):
        names[:] = sorted(name for name in names if name not in {".git", STATE, ".venv", "__pycache__"})
        for path, stat in _stats(directory, sorted(files)):
            count += 1
            if count > _MOST_FILES:
                return ""
            digest.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_mode}\n".encode(errors="replace"))
    return digest.hexdigest()


def _stats(directory: str, files: Sequence[str]) -> Iterator[tuple[str, os.stat_result]]:
    for name in files:
        path = f"{directory}/{name}"
        with contextlib.suppress(OSError):
            yield path, os.lstat(path)
