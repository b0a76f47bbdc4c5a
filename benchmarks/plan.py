"""Speed of `orchestrate plan`: the whole process beside buildx's own evaluation of one target, and how it grows.

python -m benchmarks.plan [RUNS]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks.timing import COMMAND, best, row, run, seconds

ROOT = Path(__file__).resolve().parents[1]


def matrix(variants: int) -> str:
    """A matrix of so many variants: two CUDA releases, two platforms, the rest along an axis."""
    text = (ROOT / "matrix.yaml").read_text()
    axis = "".join(f'    "{number}": {{}}\n' for number in range(variants // 8))
    text = text.replace("\nvariants:\n", f"\naxes:\n  number:\n{axis}\nvariants:\n", 1)
    text = text.replace("{git.sha}-", "{git.sha}-n{number}-").replace("{git.sha}{cuda", "{git.sha}-n{number}{cuda")
    return text[: text.index("\nclaims:")]


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    buildx = ("docker", "buildx", "bake", "-f", "docker/docker-bake.hcl", "--print", "openai")
    run(ROOT, COMMAND, "plan")  # writes the bytecode, as an installation does
    ours, theirs = best(runs, lambda: run(ROOT, COMMAND, "plan"), lambda: run(ROOT, *buildx))
    against = "docker buildx bake --print, one target"
    row("orchestrate plan, the shipped matrix (8 variants)", ours, theirs, against, "1.2x")
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        run(here, "git", "init", "-q")
        who = ("-c", "user.name=b", "-c", "user.email=b@example.org")
        run(here, "git", *who, "commit", "-q", "--allow-empty", "-m", "b")
        times = {}
        for count in (1_000, 10_000):
            (here / "matrix.yaml").write_text(matrix(count))
            (here / "docker").mkdir(exist_ok=True)
            times[count] = min(seconds(lambda: run(here, COMMAND, "plan", "--format", "json")) for _ in range(3))
    row("plan --format json of 10,000 variants", times[10_000], times[1_000], "of 1,000", "10x and under 3 s")


if __name__ == "__main__":
    main()
