"""Generated bake files on a real engine: what `--resume` takes for the same inputs, and the local cache's swap."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).parent / "orchestrate"
MATRIX = """\
version: 1
image: acme/app
bake: {files: docker/bake.hcl, targets: [app]}
arch_lists: {all: 8.0 9.0}
cuda: {"13.0": {version: 13.0.2}}
platforms: {linux/amd64: {}}
variants:
  arch_list: all
  args: {A: one}
  contexts: {extra: extra}
cache: {backend: "off"}
"""
BAKE = """\
variable "FROM_OUTSIDE" { default = "none" }
target "app" {
  context = "src"
  dockerfile = "../docker/Dockerfile"
  args = { THEIRS = "${FROM_OUTSIDE}" }
}
"""
DOCKERFILE = """\
FROM scratch
ARG A
ARG THEIRS
COPY . /src/
COPY --from=extra . /extra/
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in {
        "matrix.yaml": MATRIX,
        "docker/bake.hcl": BAKE,
        "docker/Dockerfile": DOCKERFILE,
        "src/main.cu": "// one\n",
        "extra/file": "one\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def build(root: Path, *words: str, **env: str) -> str:
    """The status of the only variant."""
    argv = [str(COMMAND), "build", "--format", "json", *words]
    done = subprocess.run(
        argv, cwd=root, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, env={**os.environ, **env}
    )
    assert done.returncode == 0, done.stderr + done.stdout
    (variant,) = json.loads(done.stdout)["variants"]
    return str(variant["status"])


def test_a_changed_input_and_nothing_else_is_built_again(project: Path) -> None:
    assert build(project, "--resume") == "built"
    assert build(project, "--resume") == "skipped"
    # what is no input
    (project / "notes.txt").write_text("outside of every context")
    (project / "docker" / "other").write_text("beside the Dockerfile, in no context")
    assert build(project, "--resume", "--report", "src/report.json") == "skipped"  # our own file, in the context
    (project / "src" / "report.json").unlink()
    assert build(project, "--resume", UNRELATED="1") == "skipped"
    assert build(project) == "built"  # who does not say --resume gets a build

    def change(name: str, old: str, new: str) -> None:
        path = project / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    for name, old, new in (
        ("src/main.cu", "one", "two"),
        ("extra/file", "one", "two"),
        ("docker/Dockerfile", "ARG A\n", "ARG A=default\n"),  # in no context
        ("docker/bake.hcl", '"none"', '"some"'),  # through what is inherited
        ("matrix.yaml", "A: one", "A: two"),
    ):
        change(name, old, new)
        assert build(project, "--resume") == "built", name
    assert build(project, "--resume") == "skipped"
    assert build(project, "--resume", FROM_OUTSIDE="environment") == "built"
    assert build(project, "--resume", "--arg", "A=three") == "built"
    (project / "src" / "main.cu").chmod(0o755)
    assert build(project, "--resume") == "built"
    (project / "src" / "new.cu").touch()
    assert build(project, "--resume") == "built"
    (project / "src" / "new.cu").unlink()
    # the state before is one that was built: nothing has to be done for it
    assert build(project, "--resume") == "skipped"


def blobs(cache: Path) -> set[str]:
    (entry,) = cache.iterdir()  # neither .new nor .old beside it
    return {path.name for path in (entry / "blobs" / "sha256").iterdir()}


def test_the_local_cache_is_replaced_and_does_not_grow(project: Path) -> None:
    matrix = MATRIX.replace('{backend: "off"}', "{backend: local, dir: cache}")
    (project / "matrix.yaml").write_text(matrix)
    cache = project / "cache"
    assert build(project) == "built"
    first = blobs(cache)
    assert first
    (cache / "acme-app-cache-app-cu130-amd64" / "left.behind").touch()
    assert build(project) == "built"
    assert blobs(cache) == first
    assert not (cache / "acme-app-cache-app-cu130-amd64" / "left.behind").exists()
    (project / "src" / "main.cu").write_bytes(os.urandom(2000))
    assert build(project) == "built"
    second = blobs(cache)
    assert second != first
    assert len(second) == len(first)  # the layers of before are gone
    index = json.loads((cache / "acme-app-cache-app-cu130-amd64" / "index.json").read_text())
    assert {manifest["digest"].removeprefix("sha256:") for manifest in index["manifests"]} <= second


def test_a_cache_outside_the_project_is_allowed_by_name(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (project / "matrix.yaml").write_text(MATRIX.replace('{backend: "off"}', f"{{backend: local, dir: {outside}}}"))
    assert build(project, "--allow", f"fs={outside}") == "built"
    assert blobs(outside)
    log = next((project / ".orchestrate" / "runs").glob("*/app-cu130-amd64.log")).read_text()
    assert f"--allow fs.write={outside}" in log
