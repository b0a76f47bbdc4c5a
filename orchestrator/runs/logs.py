"""Finds the logs of runs, and follows those that are still written."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.runs.alone import HOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_POLL_S = 0.2
_CHUNK = 1 << 16
_TAIL = 8192  # bytes read for the last line


class Log(Struct, frozen=True, kw_only=True):
    """The log of one variant in one run."""

    variant: str
    path: Path

    @property
    def last(self) -> str:
        """Its last line that is not empty."""
        with contextlib.suppress(OSError), self.path.open("rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - _TAIL))
            lines = [line for line in stream.read().decode(errors="replace").splitlines() if line.strip()]
            return lines[-1] if lines else ""
        return ""


def newest(state: Path, variants: Sequence[str]) -> list[Log]:
    """Return the newest log of each variant that has one, in the order of the variants; of all runs that are kept.

    Args:
        state: The state directory.
        variants: Ids.
    """
    found: dict[str, Path] = {}
    with contextlib.suppress(OSError):
        runs = sorted((path for path in (state / "runs").iterdir() if path.is_dir()), reverse=True)
        for run in runs:
            for variant in variants:
                path = run / f"{variant}.log"
                if variant not in found and path.is_file():
                    found[variant] = path
    return [Log(variant=variant, path=found[variant]) for variant in variants if variant in found]


def alive(log: Log) -> bool:
    """Whether the run of a log still goes on: it holds the directory, and its own is named after its process."""
    run = log.path.parent
    _, _, number = run.name.rpartition("-")
    if not (run.parent.parent / HOLDER).exists():
        return False
    try:
        os.kill(int(number), 0)
    except (ValueError, OverflowError, ProcessLookupError):  # a directory of another's name
        return False
    except PermissionError:
        return True
    return True


def follow(log: Log, *, on: bool) -> Iterator[str]:
    """Yield the lines of a log, without line ends.

    Args:
        log: The log.
        on: Whether to wait for more while its run goes on.

    Raises:
        OSError: It cannot be read.
    """
    pending = b""
    with log.path.open("rb") as stream:
        while True:
            ended = not on or not alive(log)  # asked before the last look: what it wrote at its end is read
            while chunk := stream.read(_CHUNK):
                *lines, pending = (pending + chunk).split(b"\n")
                yield from (line.decode(errors="replace") for line in lines)
            if ended:
                break
            time.sleep(_POLL_S)
    if pending:
        yield pending.decode(errors="replace")
