"""What a user should know of an attempt beside its result: a cache that was not used, a log clipped, memory, disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from orchestrator.bake.events import StepKind
from orchestrator.cache import compile_statistics
from orchestrator.engine.machine import prune_command
from orchestrator.runs.resources import killed

if TYPE_CHECKING:
    from orchestrator.bake.process import BakeResult
    from orchestrator.cache.compile_statistics import CompileStatistics
    from orchestrator.runs.job import Job

CLIPPED = (
    "BuildKit clipped a step's output (the limit is the builder's): create the builder with "
    "--driver-opt env.BUILDKIT_STEP_LOG_MAX_SIZE=-1 --driver-opt env.BUILDKIT_STEP_LOG_MAX_SPEED=-1"
)
KILLED = "a compiler was killed, usually for lack of memory (exit code 137): lower max_jobs or --jobs"
STEP_DISK = f"the step's output says that no space is left: free some with `{prune_command()}`"


def remarks(result: BakeResult, job: Job, compiled: CompileStatistics | None, *, adapted: str) -> tuple[str, ...]:
    """Return the notes of an attempt.

    Args:
        result: What bake gave.
        job: The variant.
        compiled: What its compile cache did.
        adapted: That it ran with fewer compile jobs, as it is told; "" where it did not.
    """
    return (*_of_bake(result), *_of_memory(result, job, adapted), *_of_compiler(result, job, compiled))


def _of_bake(result: BakeResult) -> tuple[str, ...]:
    notes = [*result.cache_problems]
    if result.clipped:
        notes.append(CLIPPED)
    failure = result.failure
    if failure is not None:
        notes.extend(f"tag moved: {reference} was pushed before the build ended" for reference in result.pushed)
    full = any("no space left on device" in line.lower() for line in result.last_lines)
    if full and failure is not None and failure.kind is StepKind.RUN:
        notes.append(STEP_DISK)
    return tuple(notes)


def _of_memory(result: BakeResult, job: Job, adapted: str) -> tuple[str, ...]:
    """That it was adapted, or that it was killed and what would fit."""
    notes = (adapted,) if adapted else ()
    if result.failure is None or not killed(result.failure, result.last_lines):
        return notes
    compiling = job.compiling
    if compiling is None:
        return (*notes, KILLED)
    return (*notes, replace(compiling, jobs=compiling.half).told() if adapted else compiling.told())


def _of_compiler(result: BakeResult, job: Job, compiled: CompileStatistics | None) -> tuple[str, ...]:
    if compiled is not None:
        return compile_statistics.notes(compiled)
    if not job.compile_cache or result.failure is not None:
        return ()
    return (compile_statistics.LAYER if result.steps.cached else compile_statistics.SILENT,)
