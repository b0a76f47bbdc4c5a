"""Speed of `orchestrate check` on vLLM's tree, beside what buildx itself needs to evaluate the bake file.

    python -m benchmarks.check [RUNS]

Prints the best of RUNS (default 10) of each: the best, because everything else a machine does only adds.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.drift.check import check
from orchestrator.drift.find import find
from orchestrator.matrix.load import load
from tests.support.artifacts import download, extract_all

if TYPE_CHECKING:
    from collections.abc import Callable

COMMAND = str(Path(sys.executable).parent / "orchestrate")
MATRIX = Path(__file__).parents[1] / "tests/e2e/vllm/matrix-0.20.0.yaml"


def best(runs: int, work: Callable[[], object]) -> float:
    """Seconds of the fastest of some runs."""
    times = []
    for _ in range(runs):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return min(times)


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(download("vllm==0.20.0", sdist=True)) as archive:
            extract_all(archive, Path(folder))
        tree = Path(folder, "vllm-0.20.0")
        shutil.copy(MATRIX, tree / "matrix.yaml")
        matrix = load(tree / "matrix.yaml")
        names = check(matrix).files

        def buildx() -> None:
            argv = ["docker", "buildx", "bake", "-f", "docker/docker-bake.hcl", "--print"]
            subprocess.run(argv, cwd=tree, check=True, capture_output=True)
            for name in names:
                (tree / name).read_bytes()

        def command() -> None:
            done = subprocess.run([COMMAND, "check"], cwd=tree, capture_output=True, check=False)
            assert done.returncode == 3, done.stderr

        theirs, ours = best(runs, buildx), best(runs, command)
        start = best(runs, lambda: subprocess.run([COMMAND, "schema"], cwd=tree, capture_output=True, check=True))
        inside = best(runs, lambda: check(load(tree / "matrix.yaml")))
        found = best(3, lambda: find(tree))
    rows = [
        ("docker buildx bake --print and reading the files", theirs, ""),
        (f"reading the matrix and checking {len(matrix.spec.claims)} claims", inside, "goal: under 1.5x"),
        ("the whole command", ours, ""),
        ("  of which Python and click start", start, ""),
        ("check --find on the whole tree", found, "goal: under 5 s"),
    ]
    for name, seconds, goal in rows:
        print(f"{name:<50} {seconds:6.3f} s {seconds / theirs:6.2f}x  {goal}".rstrip())


if __name__ == "__main__":
    main()
