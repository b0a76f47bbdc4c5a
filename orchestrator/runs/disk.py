"""Is there room for the run: free space where the engine keeps its layers, beside what the variants took last time.

It knows bytes and file systems; it must not know who asks.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from orchestrator.engine.client import PRUNE
from orchestrator.errors import EnvironmentLacksError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HOPELESS = 2 << 30  # bytes; less than this does not even hold a CUDA base image


def free_bytes(path: Path) -> int | None:
    """Free bytes of the file system that holds `path` (or its nearest parent that exists); None if unknown."""
    for place in (path, *path.parents):
        try:
            return shutil.disk_usage(place).free
        except OSError:
            continue
    return None


def check_disk(path: Path, peaks: Sequence[int], *, parallel: int, free: int | None = None) -> tuple[str, ...]:
    """Compare free space with what the variants needed last time.

    Args:
        path: Where the engine keeps layers (`docker info`'s DockerRootDir), or any directory beside it.
        peaks: Bytes that each variant needed in its last run, 0 where unknown.
        parallel: How many run at once.
        free: Free bytes; measured if not given.

    Returns:
        Warnings, one line each; none if there is room, or if nothing is known.

    Raises:
        EnvironmentLacksError: Less than HOPELESS is free.
    """
    room = free_bytes(path) if free is None else free
    if room is None:
        return ()
    if room < HOPELESS:
        raise EnvironmentLacksError(
            f"only {human(room)} free where the engine keeps its layers ({path}), {human(HOPELESS)} is the least",
            hint=f"`docker buildx du` shows what fills it, `{PRUNE}` frees it",
        )
    needed = sum(sorted(peaks, reverse=True)[: max(1, parallel)])
    if needed > room:
        many = f"the {parallel} largest variants" if parallel > 1 else "the largest variant"
        return (f"{human(room)} free where the engine keeps its layers ({path}), but {many} took {human(needed)}",)
    return ()


def human(size: int) -> str:
    """A size as people read it: `1.2 GiB`."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
