"""Speed of `orchestrate check` on vLLM's tree, beside what any check must do: evaluate the bake file, read the files.

python -m benchmarks.check [RUNS]
"""

from __future__ import annotations

import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

from benchmarks.timing import COMMAND, best, row, run, seconds
from orchestrator.drift.check import check
from orchestrator.drift.find import find
from orchestrator.matrix.load import load
from tests.support.artifacts import download, extract_all

MATRIX = Path(__file__).parents[1] / "tests/e2e/vllm/matrix-0.20.0.yaml"
AGAINST = "bake --print and reading the files"


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(download("vllm==0.20.0", sdist=True)) as archive:
            extract_all(archive, Path(folder))
        tree = Path(folder, "vllm-0.20.0")
        shutil.copy(MATRIX, tree / "matrix.yaml")
        matrix = load(tree / "matrix.yaml")
        names = check(matrix).files

        def theirs() -> None:
            run(tree, "docker", "buildx", "bake", "-f", "docker/docker-bake.hcl", "--print")
            for name in names:
                (tree / name).read_bytes()

        def ours() -> None:
            run(tree, COMMAND, "check", code=3)

        ours()  # writes the bytecode, as an installation does
        command, inside, least = best(runs, ours, lambda: check(load(tree / "matrix.yaml")), theirs)
        whole = seconds(lambda: find(tree))
    row(f"orchestrate check, {len(matrix.spec.claims)} claims on vLLM's tree", command, least, AGAINST, "1.5x")
    row("  of which the claims, in a process that runs already", inside, least, AGAINST, "1.0x")
    row("check --find on the whole tree", whole, least, AGAINST, "under 5 s")


if __name__ == "__main__":
    main()
