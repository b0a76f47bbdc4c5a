"""vLLM 0.20.0's release: eight stand-in images, and the four multi-platform tags that its pipeline makes by hand."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.matrix import expand, load
from orchestrator.matrix.layers import CommandLine
from orchestrator.reference import Tag, parse, repository
from orchestrator.registry.client import Registry
from orchestrator.runs.planned import planned
from tests.support.artifacts import download
from tests.support.engine import ROOT, call
from tests.support.publishing import StandIn, push
from tests.support.toolchain import installed

if TYPE_CHECKING:
    from tests.support.engine import MakeRegistry

pytestmark = pytest.mark.download

COMMAND = Path(sys.executable).parent / "orchestrate"
NAME = "q9t5s3a7/vllm-release-repo"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the images are built from, with our matrix in its root, and a commit, which their tags carry."""
    root = tmp_path_factory.mktemp("vllm")
    with tarfile.open(download("vllm==0.20.0", sdist=True)) as archive:
        for member in archive:
            name = member.name.partition("/")[2]
            stream = archive.extractfile(member) if member.isfile() and name.startswith("docker/") else None
            if stream is not None:
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_bytes(stream.read())
    (root / "matrix.yaml").write_bytes((ROOT / "examples/vllm/matrix.yaml").read_bytes())
    (root / ".gitignore").write_text(".orchestrate\n")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "v0.20.0"]):
        call("git", "-C", root, "-c", "user.name=t", "-c", "user.email=t@example.org", *words)
    return root


def test_the_four_tags_of_the_release(tree: Path, throwaway_registry: MakeRegistry) -> None:
    image = f"{throwaway_registry().address}/{NAME}"
    commit = call("git", "-C", tree, "rev-parse", "HEAD").stdout.strip()
    plan = expand.plan(load.load(tree / "matrix.yaml"), given=CommandLine(image=image))
    keys = planned(plan, tell=print).inputs
    assert len(plan.variants) == 8

    def orchestrate(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(COMMAND), "publish", "--from-registry", "--image", image, *words],
            cwd=tree, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    with Registry(repository(image)) as client:
        for variant in plan.variants[:-1]:
            stand_in = StandIn(
                variant=variant.id,
                platform=variant.platform,
                key=keys[variant.id].key,
                revision=commit,
                salt=variant.id,
            )
            push(client, stand_in, tag=str(parse(variant.tags[0].text).tag))
        done = orchestrate()  # the last one is still built: its family waits, the other three go
        assert done.returncode == 1, done.stderr
        last = plan.variants[-1]
        assert f"{last.platform} is missing: {last.id}: {last.tags[0].text} was not found" in done.stdout
        stand_in = StandIn(variant=last.id, platform=last.platform, key=keys[last.id].key, revision=commit)
        push(client, stand_in, tag=str(parse(last.tags[0].text).tag))
        done = orchestrate("--dry-run", "--format", "json")
        assert done.returncode == 0, done.stderr
        plan_of_moves = json.loads(done.stdout)
        assert len(plan_of_moves["moves"]) == 1
        assert len(plan_of_moves["settled"]) == 3
        done = orchestrate()
        assert done.returncode == 0, done.stderr
        # names and platforms as the pipeline's `docker manifest create` makes them
        tags = {str(tag) for tag in client.tags()} - {"orchestrate-publish"}
        suffixes = ("", "-cu129", "-ubuntu2404", "-cu129-ubuntu2404")
        own = {f"{commit}-{machine}{suffix}" for machine in ("x86_64", "aarch64") for suffix in suffixes}
        assert tags == own | {f"{commit}{suffix}" for suffix in suffixes}
        for suffix in suffixes:
            index = json.loads(
                call(
                    installed("skopeo", "skopeo"),
                    "inspect",
                    "--raw",
                    "--tls-verify=false",
                    f"docker://{image}:{commit}{suffix}",
                ).stdout
            )
            images = [one for one in index["manifests"] if one["platform"]["os"] != "unknown"]
            assert [f"{one['platform']['os']}/{one['platform']['architecture']}" for one in images] == [
                "linux/amd64", "linux/arm64",
            ]  # fmt: skip
            for one, machine in zip(images, ("x86_64", "aarch64"), strict=True):
                named = client.manifest(Tag(f"{commit}-{machine}{suffix}"))
                assert one["digest"] == named.content["manifests"][0]["digest"]
