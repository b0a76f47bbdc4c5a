"""The review catch of vllm-project/vllm#39233 on vLLM's own trees: the step that brings the headers goes away."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.support.artifacts import download, extract_all

pytestmark = pytest.mark.download

COMMAND = str(Path(sys.executable).parent / "orchestrate")
STEPS = {
    "0.19.1": (r"RUN python3 <<.*?\nPYEOF\n", "", "0.6.6"),
    "0.20.0": (r" \\\n    && flashinfer download-cubin", "", "0.6.8.post1"),
    "0.33.0": (r"\nRUN [^\n]*\\\n[^\n]*flashinfer download-kernels\n", "\n", "0.7.2.post1"),
}
"""How each release brings them, and the FlashInfer that it installs."""
MATRIX = """\
version: 1
image: example.test/vllm
bake: {files: [docker/docker-bake.hcl], targets: [openai]}
arch_lists: {all: "9.0"}
cuda: {"13.0": {version: 13.0.2}}
platforms: {linux/amd64: {}}
variants: {arch_list: all, tags: ["{image}:{variant.id}"]}
claims: []
"""
LOST = "and no step that brings its headers: it downloads them on the user's machine"


def check(tree: Path) -> str:
    done = subprocess.run(
        [COMMAND, "check", "-C", str(tree)], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
    )
    assert done.returncode in {0, 3}, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("version", STEPS)
def test_a_step_that_goes_away_is_noticed(version: str, tmp_path: Path) -> None:
    with tarfile.open(download(f"vllm=={version}", sdist=True)) as archive:
        extract_all(archive, tmp_path)
    tree = tmp_path / f"vllm-{version}"
    dockerfile = tree / "docker" / "Dockerfile"
    kept = dockerfile.read_text()
    pattern, left, flashinfer = STEPS[version]
    removed, count = re.subn(pattern, left, kept, flags=re.DOTALL)
    assert count == 1
    assert len(kept) - len(removed) < 700
    said = {}
    for section in ("", f"headers: {{version: {flashinfer}}}\n"):
        (tree / "matrix.yaml").write_text(MATRIX + section)
        for name, text in (("kept", kept), ("removed", removed)):
            dockerfile.write_text(text)
            said[bool(section), name] = check(tree)
    assert LOST not in said[False, "kept"]
    assert LOST in said[False, "removed"]
    taken, nothing = (
        "are downloaded by this step and not taken from",
        "nothing in vllm-openai takes the FlashInfer headers",
    )
    assert taken in said[True, "kept"]
    assert nothing not in said[True, "kept"]
    assert nothing in said[True, "removed"]
    assert taken not in said[True, "removed"]
