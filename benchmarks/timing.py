"""Seconds of things, for the benchmarks: the best of some runs, because everything else a machine does only adds."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

COMMAND = str(Path(sys.executable).parent / "orchestrate")


def run(directory: Path, *words: str, code: int = 0) -> None:
    """Run a command in a directory; its output is thrown away, an exit code other than the expected one is not.

    Bytecode is written and read, whatever the environment says: without it every run compiles the program anew.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(words, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != code:
        raise SystemExit(f"{' '.join(words)}\n{done.stdout}{done.stderr}")


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one run."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def best(runs: int, *works: Callable[[], object]) -> Sequence[float]:
    """Seconds of each one's fastest run. They take turns, so that a slow minute of the machine hits all of them."""
    times = [[seconds(work) for work in works] for _ in range(runs)]
    return [min(column) for column in zip(*times, strict=True)]


def row(what: str, ours: float, theirs: float, against: str, goal: str) -> None:
    """One line of the result."""
    print(f"{what:<58} {ours:7.3f} s   {against:<40} {theirs:7.3f} s   {ours / theirs:5.2f}x  (goal {goal})")
