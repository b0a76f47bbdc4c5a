"""Real kernels, built by the installed command into images, and verified by it: the example with real nvcc."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.toolchain import Axpy, axpy

pytestmark = pytest.mark.download

COMMAND = Path(sys.executable).parent / "orchestrate"
NEW = "8.0 9.0 11.0"
FORGETFUL = """
def forgetful(source: str, options: list[str]) -> list[str]:
    pairs = zip(options[::2], options[1::2])
    return [word for pair in pairs for word in pair if source != "reduce.cu" or "110" not in pair[1]]


def toolkit()"""


def orchestrate(root: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *map(str, words)], cwd=root, capture_output=True, text=True, timeout=400, stdin=subprocess.DEVNULL,
        env={**os.environ, "XDG_CACHE_HOME": str(root / ".cache")},
    )  # fmt: skip


def built(project: Axpy, image: str, archs: str) -> str:
    """Push a build and give its reference by digest."""
    report = project.root / "report.json"
    words = ("--cuda", "13.0", "--image", image, "--archs", archs, "--push", "--report", report)
    done = orchestrate(project.root, "build", "--allow", "fs.read=../../docker", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    (variant,) = json.loads(report.read_text())["variants"]
    return f"docker://{image}@{variant['digest']}"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Axpy:
    return axpy(tmp_path_factory.mktemp("project"), "13.0")


def test_the_old_list_fails_and_the_new_one_passes(project: Axpy, tmp_image: str, registry: object) -> None:
    old = built(project, tmp_image, "8.0 9.0")
    own = orchestrate(project.root, "verify", old)
    assert own.returncode == 0, own.stderr
    assert "promised: 8.0 9.0  (from the image's labels)" in own.stdout

    failed = orchestrate(project.root, "verify", old, "--archs", NEW)
    assert failed.returncode == 4
    assert re.search(r"axpy/libaxpy\.so: 11\.0 \(Jetson Thor.*is not served", failed.stderr)
    assert "2 x 80 90" in failed.stdout

    new = built(project, tmp_image, NEW)
    passed = orchestrate(project.root, "verify", new, "--variant", "axpy-cu130-amd64", "--format", "json")
    assert passed.returncode == 4, "the matrix promises more than this build was asked for"
    value = json.loads(passed.stdout)
    assert value["promise"]["from"] == "variant axpy-cu130-amd64"
    assert orchestrate(project.root, "verify", new, "--archs", NEW).returncode == 0
    assert orchestrate(project.root, "verify", new, "--device", "thor").returncode == 0

    changed = orchestrate(project.root, "verify", "--compare", old, new, "--format", "json")
    (library,) = [one for one in json.loads(changed.stdout)["libraries"] if one["path"].endswith("libaxpy.so")]
    assert (library["gained"], library["lost"], library["containers"]) == (["110"], [], {"110": [0, 2]})


def test_one_source_file_without_the_new_architecture_is_caught(
    tmp_path: Path, tmp_image: str, registry: object
) -> None:
    """Half of the translation units serve 11.0: no threshold would say so, and on a Jetson one kernel in two dies."""
    project = axpy(tmp_path, "13.0")
    setup = project.root / "setup.py"
    text = setup.read_text()
    every = "*architectures]"
    assert every in text
    setup.write_text(text.replace(every, "*forgetful(source, architectures)]").replace("\ndef toolkit()", FORGETFUL, 1))
    image = built(project, tmp_image, NEW)
    done = orchestrate(project.root, "verify", image)
    assert done.returncode == 4, done.stdout
    assert "1 of 2 translation units holds nothing for it, while all of them serve 8.0 9.0" in done.stderr
    assert orchestrate(project.root, "verify", image, "--device", "thor").returncode == 4
    assert orchestrate(project.root, "verify", image, "--device", "H100").returncode == 0
