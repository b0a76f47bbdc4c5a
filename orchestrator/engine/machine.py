"""Judges the machine of the engine once, for `doctor` and for builds: disk, memory, processors."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from orchestrator.sizes import GIB, binary_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.engine.info import EngineInfo

Status = Literal["ok", "warn", "fail"]

# Large CUDA translation units (CUTLASS, FlashAttention) take 2 to 4 GB each in nvcc and its tools; one job a core has
# killed machines of 32 GB (vllm-project/vllm#8448, #1782; ai-dynamo/nixl#2123 advises 2 to 3 jobs).
MEMORY_OF_A_JOB = 2 * GIB
MEMORY_OF_A_LARGE_JOB = 4 * GIB

LITTLE_DISK = 20 * GIB
"""Less free than this is a warning: the layers and the build cache of one CUDA image take as much."""

LEAST_DISK = 2 * GIB
"""With less free than this no build starts: it does not hold a CUDA base image."""

_CONTAINERD = Path("/var/lib/containerd")
_PRUNE = "docker buildx prune --filter type!=exec.cachemount"  # ccache is expensive to fill again


class Check(Struct, frozen=True, kw_only=True):
    """One finding.

    Attributes:
        name: What was looked at, one word or two.
        status: ok, warn (works, with a limit that the detail names) or fail (a build cannot work).
        detail: What was found, one line.
        hint: What to do, "" where nothing is to be done.
    """

    name: str
    status: Status
    detail: str
    hint: str = ""


def engine_disk(info: EngineInfo) -> Path | None:
    """Return the directory of the engine whose disk fills first, None where it is on another machine.

    With the containerd image store and the system's own containerd, layers are in /var/lib/containerd.
    """
    if info.host_name != platform.node() or not info.root:
        return None
    places = [Path(info.root), *([_CONTAINERD] if info.containerd_store and _CONTAINERD.exists() else [])]
    free = {place: found for place in places if (found := free_bytes(place)) is not None}
    return min(free, key=lambda place: free[place], default=None)


def free_bytes(path: Path | None) -> int | None:
    """Return the free bytes of the disk that holds a path, or its nearest parent that exists; None if unknown."""
    for place in (path, *path.parents) if path is not None else ():
        try:
            return shutil.disk_usage(place).free
        except OSError:
            continue
    return None


def check_disk(free: int | None, peaks: Sequence[int] = (), *, parallel: int = 1) -> Check:
    """Judge the free bytes of the engine's disk, beside what the variants took in earlier runs (the journal's peaks).

    Args:
        free: Free bytes; None where the engine is on another machine.
        peaks: Bytes that each variant took in its hungriest run, 0 where unknown. Where all are known, they decide on
            the warning instead of `LITTLE_DISK`.
        parallel: How many variants run at once.

    Returns:
        fail below `LEAST_DISK`; warn where the largest variants took more than is free, or below `LITTLE_DISK`.
    """
    if free is None:
        return Check(name="disk", status="ok", detail="not checked: the engine's disk is not this machine's")
    detail = f"{binary_text(free)} free where the engine keeps its layers"
    needed = sum(sorted(peaks, reverse=True)[: max(1, parallel)])
    hint = f"`{prune_command(needed)}` removes what no next build needs; without a matrix, `{_PRUNE}`"
    if free < LEAST_DISK:
        return Check(
            name="disk", status="fail", detail=f"{detail}: expected at least {binary_text(LEAST_DISK)}", hint=hint
        )
    if needed > free:
        many = f"the {parallel} largest variants" if parallel > 1 else "the largest variant"
        return Check(name="disk", status="warn", detail=f"{detail}, but {many} took {binary_text(needed)}", hint=hint)
    if free < LITTLE_DISK and not (peaks and all(peaks)):
        return Check(
            name="disk",
            status="warn",
            detail=f"{detail}; one CUDA image may take {binary_text(LITTLE_DISK)}",
            hint=hint,
        )
    return Check(name="disk", status="ok", detail=detail)


def prune_command(needed: int = 0) -> str:
    """Return the command that frees the engine's disk for a build and keeps cache mounts.

    Args:
        needed: Bytes that the build takes; it frees `LITTLE_DISK` at least.
    """
    return f"orchestrate cache prune --min-free {-(-max(needed, LITTLE_DISK) // GIB)}GiB --yes"


def busy() -> float:
    """Return how many processes wait for each processor of this machine, 1 at least and where it is not known.

    A process that is started or woken gets its turn so many times later than on an idle machine.
    """
    try:
        average, *_, ready, _ = Path("/proc/loadavg").read_text().split()
        return max(1.0, max(float(average), float(ready.partition("/")[0])) / (os.cpu_count() or 1))
    except (OSError, ValueError):
        return 1.0


def check_memory(memory: int, jobs: int | None) -> Check:
    """Judge memory against parallel compile jobs.

    Args:
        memory: Bytes; 0 for an engine that does not say.
        jobs: Compile jobs in all (nvcc processes times their threads), None if unknown.
    """
    if not memory:
        return Check(name="memory", status="ok", detail="not checked: the engine does not say")
    comfortable = max(1, memory // MEMORY_OF_A_LARGE_JOB)
    if jobs is None:
        return Check(
            name="memory", status="ok", detail=f"{binary_text(memory)}, enough for {_jobs(comfortable, 'large')}"
        )
    need = (
        f"{_jobs(jobs)} may take {binary_text(jobs * MEMORY_OF_A_JOB)} to {binary_text(jobs * MEMORY_OF_A_LARGE_JOB)}"
    )
    if jobs * MEMORY_OF_A_JOB <= memory:
        return Check(name="memory", status="ok", detail=f"{binary_text(memory)}; {need}")
    return Check(
        name="memory",
        status="warn",
        detail=f"{binary_text(memory)}; {need}: the kernel may kill compilers",
        hint=f"lower max_jobs or --jobs until their product is about {comfortable}",
    )


def check_processors(processors: int, jobs: int | None) -> Check:
    """Judge processors against parallel compile jobs: more jobs than processors take memory and save no time.

    Args:
        processors: Of the engine; 0 for one that does not say.
        jobs: Compile jobs in all, None if unknown.
    """
    if not processors:
        return Check(name="processors", status="ok", detail="not checked: the engine does not say")
    if jobs is None or jobs <= processors:
        return Check(name="processors", status="ok", detail=str(processors))
    return Check(
        name="processors",
        status="warn",
        detail=f"{processors} for {_jobs(jobs)}: more jobs than processors take memory and save no time",
        hint=f"lower max_jobs or --jobs until their product is about {processors}",
    )


def _jobs(count: int, size: str = "") -> str:
    return f"{count} {size + ' ' if size else ''}compile job{'s' if count != 1 else ''}"
