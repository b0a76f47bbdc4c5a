"""What the commands that answer at once may import: the list is closed, and what is new must be worth its milliseconds.

Measured beside `docker buildx bake --print` (95 ms): pydantic cost 95 ms, rich 25, httpx 60, python-on-whales 250.
msgspec costs 5 ms, and defining 85 values as its structs instead of dataclasses saves 40.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.engine import call
from tests.support.starts import profile
from tests.unit.matrix.support import EXAMPLE

if TYPE_CHECKING:
    from pathlib import Path

# Of the standard library, what takes as long as a package: none of it is needed to read a file and to print a table.
SLOW = ("asyncio", "concurrent.futures", "email", "http", "importlib.metadata", "logging", "multiprocessing", "socket",
        "sqlite3", "ssl", "tarfile", "unittest", "urllib.request", "xml")  # fmt: skip
# What Debian (sitecustomize), an editable installation, the coverage of this suite and PyYAML's extension bring along.
ENVIRONMENT = (
    "__editable__",
    "_distutils_hack",
    "sitecustomize",
    "a1_coverage",
    "coverage",
    "_cython_",
    "cython_runtime",
    "_yaml",
)

PROGRAM = """
import json, os, sys
from orchestrator.cli.app import run
code = run(sys.argv[1:])
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""


def imported(root: Path, *words: str, **env: str) -> tuple[int, list[str], str]:
    """Exit code, modules and standard output of a command, run as a process of its own."""
    without = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_PROCESS_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], cwd=root, capture_output=True, text=True, timeout=60, check=True,
        env={**without, **env},
    )  # fmt: skip
    code, modules = json.loads(done.stderr.splitlines()[-1])
    return code, modules, done.stdout


def packages(modules: list[str]) -> set[str]:
    """The packages that are neither the standard library's nor the environment's."""
    tops = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names - {"__main__", "__mp_main__"}
    return {name for name in tops if not name.startswith(ENVIRONMENT)}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout whose matrix agrees with its one claimed file."""
    root = tmp_path_factory.mktemp("start")
    (root / "matrix.yaml").write_text(EXAMPLE)
    (root / "docker").mkdir()
    (root / "docker/Dockerfile").write_text("ARG CUDA_VERSION=13.0.2\nFROM scratch\n")
    (root / "docker/docker-bake.hcl").write_text('target "openai" {}\ntarget "openai-ubuntu2404" {}\n')
    for line in ("init -q", "add -A", "commit -q -m one"):
        call("git", "-C", root, "-c", "user.name=t", "-c", "user.email=t@example.org", *line.split())
    return root


READS_NOTHING = {"click", "msgspec", "orchestrator", "typing_extensions"}  # the last is what msgspec imports
READS_A_MATRIX = READS_NOTHING | {"yaml"}


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        (["plan"], READS_A_MATRIX),
        (["plan", "--format", "json"], READS_A_MATRIX),
        (["plan", "--format", "github", "--cuda", "13.0"], READS_A_MATRIX),
        (["plan", "--format", "bake"], READS_A_MATRIX),
        (["--help"], READS_NOTHING),
        (["--version"], READS_NOTHING),
        (["schema"], READS_NOTHING),
        *(([name, "--help"], READS_NOTHING) for name in
          ("plan", "build", "check", "init", "headers", "verify", "doctor", "schema")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_what_may_be_imported(project: Path, words: list[str], allowed: set[str]) -> None:
    code, modules, output = imported(project, *words)
    assert (code, bool(output)) == (0, True)
    assert packages(modules) == allowed
    assert [name for name in SLOW if name in modules] == []


@pytest.mark.parametrize("words", ["orchestrate pl", "orchestrate plan --for", "orchestrate check --"])
def test_what_completion_may_import(project: Path, words: str) -> None:
    count = len(words.split()) - 1
    code, modules, output = imported(
        project, _ORCHESTRATE_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(count)
    )
    assert (code, bool(output)) == (0, True)
    assert packages(modules) == READS_NOTHING
    assert [name for name in SLOW if name in modules] == []


def test_what_check_may_import(project: Path) -> None:
    """Whatever its claims find; the headers of the matrix need a lock, whose readers are imported then."""
    text = (project / "matrix.yaml").read_text()
    (project / "plain.yaml").write_text(text.replace("headers: {policy: optional, version: 0.6.13}\n", ""))
    code, modules, output = imported(project, "check", "--file", "plain.yaml")
    assert (code, "agree" in output) == (0, True)
    assert packages(modules) == READS_A_MATRIX
    assert [name for name in SLOW if name in modules] == []
    assert not [name for name in modules if name.startswith(("orchestrator.headers", "orchestrator.image"))]
    assert "orchestrator.process" not in modules  # neither git nor buildx is asked


BUILDS = """\
version: 1
image: registry.invalid/start
bake: {files: [docker-bake.hcl], targets: [app]}
arch_lists: {all: "9.0"}
cuda: {"13.0": {version: 13.0.2}}
platforms: {linux/amd64: {}}
variants: {arch_list: all, args: {ARCHS: "{archs.torch}"}, tags: ["{image}:{variant.id}"]}
cache: {backend: "off"}
"""


def write_built(root: Path) -> None:
    """A project of one variant that fetches nothing."""
    for name, text in (
        ("matrix.yaml", BUILDS),
        ("Dockerfile", "FROM scratch\nARG ARCHS\nLABEL archs=$ARCHS\n"),
        ("docker-bake.hcl", 'target "app" { context = "." }\n'),
    ):
        (root / name).write_text(text)


def test_what_a_build_may_import(engine: str, tmp_path: Path) -> None:
    """Nothing that speaks to registries, where nothing is pushed: every cached build waits for these modules."""
    write_built(tmp_path)
    code, modules, output = imported(tmp_path, "build")
    assert (code, "built" in output) == (0, True)
    assert packages(modules) == READS_A_MATRIX | {"filelock", "tenacity"}
    assert [name for name in ("asyncio", "email", "http", "ssl", "urllib.request") if name in modules] == []


QUESTIONS = ["buildx bake --print", "buildx inspect", "docker info", "git status"]


def test_what_a_build_starts(engine: str, tmp_path: Path) -> None:
    """Engine, builder, git and bake files are asked once each, and no second Python: half of a cached build's time."""
    write_built(tmp_path)
    first = [one.what for one in profile(tmp_path, "build").starts]
    assert sorted(first) == sorted([*QUESTIONS, "buildx bake --call=outline,format=json", "buildx bake", "sh"])
    again = [one.what for one in profile(tmp_path, "build").starts]
    assert sorted(again) == sorted([*QUESTIONS, "buildx bake", "sh"])  # its outline is known
    assert again[-2:] == ["buildx bake", "sh"]  # which ends the bake if this program is killed


def test_a_profile_is_of_a_run_that_went_well(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"matrix\.yaml"):
        profile(tmp_path, "plan")
