"""examples/vllm on vLLM 0.20.0's own, unmodified tree: the plan beside the release pipeline that vLLM really ran.

What is expected is read from the source distribution's .buildkite/release-pipeline.yaml: eight copied `docker build`
lines.
"""

from __future__ import annotations

import itertools
import json
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.artifacts import download
from tests.support.engine import ROOT, call

pytestmark = pytest.mark.download

COMMAND = Path(sys.executable).parent / "orchestrate"
KEPT = ("docker/", ".buildkite/release-pipeline.yaml", "tools/flashinfer-build.sh")


def orchestrate(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(COMMAND), *words], cwd=root, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL
    )


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """vLLM's tree with our matrix in its root, and a commit, which its tags carry."""
    root = tmp_path_factory.mktemp("vllm")
    with tarfile.open(download("vllm==0.20.0", sdist=True)) as archive:
        for member in archive:
            name = member.name.partition("/")[2]
            if member.isfile() and name.startswith(KEPT):
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                stream = archive.extractfile(member)
                assert stream is not None
                (root / name).write_bytes(stream.read())
    shutil.copy(ROOT / "examples/vllm/matrix.yaml", root)
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "v0.20.0"]):
        call("git", "-C", root, "-c", "user.name=t", "-c", "user.email=t@example.org", *words)
    return root


def released(root: Path) -> dict[str, dict[str, Any]]:
    """Tag -> target and build arguments of each CUDA image in vLLM's release pipeline."""
    pipeline = yaml.safe_load((root / ".buildkite/release-pipeline.yaml").read_text())
    lines = [
        line
        for group in pipeline["steps"]
        for step in group.get("steps", [])
        for line in step.get("commands", [])
        if "docker build " in line and "--target vllm-openai" in line and "-f docker/Dockerfile ." in line
    ]
    found: dict[str, dict[str, Any]] = {}
    for line in lines:
        text = line
        for name, value in pipeline["env"].items():
            text = text.replace(f"${{{name}}}", value)
        # the machine that a step runs on gives its tag: $(uname -m)
        machine = "aarch64" if "AARCH64" in line else "x86_64"
        words = shlex.split(text.replace("$(uname -m)", machine))
        options = list(itertools.pairwise(words))
        args = dict(value.split("=", 1) for option, value in options if option == "--build-arg")
        (tag,) = [value for option, value in options if option == "--tag"]
        (target,) = [value for option, value in options if option == "--target"]
        found[tag] = {"args": args, "target": target, "machine": machine}
    return found


def test_the_plan_is_the_release_pipeline(tree: Path) -> None:
    commit = call("git", "-C", tree, "rev-parse", "HEAD").stdout.strip()
    expected = {tag.replace("$BUILDKITE_COMMIT", commit): image for tag, image in released(tree).items()}
    assert len(expected) == 8
    done = orchestrate(tree, "plan", "--format", "json")
    assert done.returncode == 0, done.stderr
    variants = json.loads(done.stdout)["variants"]
    assert {tag for variant in variants for tag in variant["tags"]} == set(expected)
    for variant in variants:
        (tag,) = variant["tags"]
        assert variant["args"] == expected[tag]["args"]
        assert variant["platform"] == {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}[expected[tag]["machine"]]
        assert variant["args"]["torch_cuda_arch_list"] == " ".join(variant["archs"]["effective"])
        assert variant["archs"]["dropped"] == []
        assert variant["index_tags"] == [re.sub(r"-(x86_64|aarch64)", "", tag)]


def test_every_bake_file_resolves_to_the_stage_and_arguments_of_the_pipeline(tree: Path, engine: str) -> None:
    expected = {tag.rpartition("-release-repo:")[2].partition("-")[2]: image for tag, image in released(tree).items()}
    done = orchestrate(tree, "plan", "--format", "bake")
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    names = sorted(name for name in content["target"])
    assert len(names) == 8
    (tree / "variants.json").write_text(done.stdout)
    printed = subprocess.run(
        ["docker", "buildx", "bake", "-f", "docker/docker-bake.hcl", "-f", "variants.json", "--print", *names],
        cwd=tree, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    targets = json.loads(printed.stdout)["target"]
    for name in names:
        (tag,) = targets[name]["tags"]
        image = expected[tag.rpartition("-release-repo:")[2].partition("-")[2]]
        assert targets[name]["target"] == image["target"] == "vllm-openai"
        # the bake file of the project adds what the pipeline leaves to the Dockerfile, with the same value
        assert targets[name]["args"] == {**image["args"], "nvcc_threads": "8"}
    assert "ARG nvcc_threads=8" in (tree / "docker/Dockerfile").read_text()


def test_an_argument_that_no_stage_declares_is_named_before_any_build(tree: Path, engine: str) -> None:
    # vLLM 0.19.1 passed this one to six of its images, and nothing said that it went nowhere
    done = orchestrate(tree, "build", "--arg", "FLASHINFER_AOT_COMPILE=true")
    assert done.returncode == 2, done.stdout + done.stderr
    said = done.stdout + done.stderr
    assert said.count("target openai does not consume FLASHINFER_AOT_COMPILE") == 4
    assert said.count("target openai-ubuntu2404 does not consume FLASHINFER_AOT_COMPILE") == 4
    assert "Traceback" not in said
