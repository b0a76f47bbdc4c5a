"""Speed of `orchestrate build` beside the same `docker buildx bake` commands typed by hand, on the engine at hand.

    python -m benchmarks.build [RUNS]

Two projects: eight variants (as many as the shipped matrix has) that share a stage and wait, so that only the overlap
counts; and the example's two CUDA releases with their real compilers, which compete for the cores. Between the rows
stands the profile of the cached build of one variant: when it starts which process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.timing import best, row
from tests.support.base import write_rootfs
from tests.support.starts import lines, profile
from tests.support.toolchain import FULL, axpy

if TYPE_CHECKING:
    from collections.abc import Callable

COMMAND = str(Path(sys.executable).parent / "orchestrate")

WAITING = """\
FROM scratch AS shared
ADD rootfs.tar /
RUN sleep 3
FROM shared
ARG torch_cuda_arch_list
ARG CUDA_VERSION
ARG TARGET
RUN sleep 3
"""
BAKE = 'target "waiting" {\n  context = "."\n}\ntarget "other" {\n  inherits = ["waiting"]\n}\n'
MATRIX = """\
version: 1
image: 127.0.0.1:5000/waiting
bake: {files: [docker-bake.hcl], targets: [waiting, other]}
arch_lists: {all: 8.0 9.0}
cuda: {"12.4": {version: 12.4.1}, "12.6": {version: 12.6.3}, "12.9": {version: 12.9.1}, "13.0": {version: 13.0.2}}
platforms: {linux/amd64: {}}
variants:
  arch_list: all
  args: {CUDA_VERSION: "{cuda.version}", torch_cuda_arch_list: "{archs.torch}", TARGET: "{target}"}
  tags: ["{image}:{variant.id}"]
cache: {backend: "off"}
"""


def orchestrate(root: Path, *words: str) -> str:
    """Run our command; its standard output. A build may read what the commands by hand may."""
    if words[0] == "build":
        words = (*words, "--allow", f"fs.read={root.parents[1]}")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run([COMMAND, *words], cwd=root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"orchestrate {' '.join(words)}\n{done.stdout}{done.stderr}")
    return done.stdout


def write_variants(root: Path) -> None:
    """What `plan --format bake` prints, for the commands by hand."""
    (root / "variants.json").write_text(orchestrate(root, "plan", "--format", "bake"))


def by_hand(root: Path, *, at_once: bool) -> None:
    """One bake command for each variant of variants.json."""
    argv = ["docker", "buildx", "bake", "-f", "variants.json", "--progress", "plain"]
    argv += ["--allow", f"fs.read={root.parents[1]}"]
    children = []
    for name in json.loads((root / "variants.json").read_text())["target"]:
        child = subprocess.Popen(
            [*argv, name], cwd=root, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        children.append(child)
        if not at_once:
            child.wait()
    if any(child.wait() for child in children):
        raise SystemExit("a command by hand failed")


def warm(root: Path, jobs: int, runs: int) -> tuple[float, float]:
    """Seconds of our build and of the commands at once, with every step cached."""
    orchestrate(root, "build", "--jobs", str(jobs))
    write_variants(root)
    ours, theirs = best(
        runs, lambda: orchestrate(root, "build", "--jobs", str(jobs)), lambda: by_hand(root, at_once=True)
    )
    return ours, theirs


def sequence(root: Path, name: str) -> None:
    """What a careful person types for one variant: resolve it, outline it, bake it."""
    files = ["docker", "buildx", "bake", "-f", "variants.json", "--allow", f"fs.read={root.parents[1]}"]
    for more in (["--print", name], ["--call=outline", name], ["--progress", "plain", name]):
        by_itself(root, [*files, *more])


def by_itself(root: Path, argv: list[str]) -> None:
    """Run one command by hand."""
    done = subprocess.run(argv, cwd=root, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(argv)} failed")


def one_cached(root: Path, name: str, runs: int) -> tuple[float, float, float]:
    """Seconds of our build of one variant with every step cached, of the sequence by hand, and of bake alone."""
    words = ("build", "--variant", name)
    orchestrate(root, *words)
    write_variants(root)
    bake = ["docker", "buildx", "bake", "-f", "variants.json", "--allow", f"fs.read={root.parents[1]}", name]
    ours, theirs = best(runs, lambda: orchestrate(root, *words), lambda: sequence(root, name))
    _, only = best(runs, lambda: orchestrate(root, *words), lambda: by_itself(root, bake))
    return ours, theirs, only


def show_profile(root: Path, name: str) -> None:
    """Print when a cached build of one variant starts what."""
    found = profile(root, "build", "--variant", name, "--allow", f"fs.read={root.parents[1]}")
    print("\n".join([f"profile of orchestrate build --variant {name}, every step cached:", *lines(found)]))


def cold(root: Path, jobs: int, dockerfile: Path, line: str) -> tuple[float, float]:
    """Seconds of our build and of the commands one after another; `line` and all after it change before each."""
    text = dockerfile.read_text()

    def anew(work: Callable[[], object]) -> None:
        dockerfile.write_text(text.replace(line, f"{line} # {uuid.uuid4()}", 1))
        work()

    ours, theirs = best(
        2,
        lambda: anew(lambda: orchestrate(root, "build", "--jobs", str(jobs))),
        lambda: anew(lambda: by_hand(root, at_once=False)),
    )
    return ours, theirs


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as folder:
        waiting = Path(folder, "examples", "waiting")
        write_rootfs(waiting)
        for name, text in (("Dockerfile", WAITING), ("docker-bake.hcl", BAKE), ("matrix.yaml", MATRIX)):
            (waiting / name).write_text(text)
        ours, theirs, only = one_cached(waiting, "waiting-cu130-amd64", runs)
        row("cached: one variant", ours, theirs, "--print, outline and bake by hand", "1.3x")
        row("cached: one variant", ours, only, "bake alone", "-")
        show_profile(waiting, "waiting-cu130-amd64")
        ours, theirs = warm(waiting, 8, runs)
        row("warm: eight variants, every step cached", ours, theirs, "the commands at once", "1.10x")
        ours, theirs = cold(waiting, 8, waiting / "Dockerfile", "RUN sleep 3")
        row("cold: eight variants that wait, one shared stage", ours, theirs, "the commands one by one", "0.7x")

        project = axpy(Path(folder), *FULL)
        build = project.root / "setup.py"
        build.write_text(
            build.read_text().replace('("sccache", "ccache")', "()")
        )  # a warm ccache would be no cold build
        row("warm: examples/axpy, both releases", *warm(project.root, 2, runs), "the two commands at once", "1.10x")
        times = cold(project.root, 2, project.dockerfile, "# Sourced by every step")
        row(
            f"cold: examples/axpy, real nvcc's on {os.cpu_count()} cores", *times, "the two commands one by one", "0.7x"
        )


if __name__ == "__main__":
    main()
