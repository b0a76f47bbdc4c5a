"""Preflight of vLLM 0.20.0's unmodified tree: every argument of the eight images arrives, with no network at all."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

import pytest

from orchestrator.bake import preflight
from orchestrator.bake.file import Extras, Output
from orchestrator.bake.preflight import Arrival, NotArrivedError
from orchestrator.engine.buildx import BakeCall
from orchestrator.matrix import expand, load
from orchestrator.matrix.layers import CommandLine
from orchestrator.runs import jobs
from orchestrator.runs.preflight import injected
from tests.support.artifacts import download
from tests.support.engine import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orchestrator.matrix.variants import Variant

pytestmark = pytest.mark.download

# What vLLM's Dockerfile calls its base images: nothing of the kind can be reached here.
BASES = ("BUILD_BASE_IMAGE", "FINAL_BASE_IMAGE", "CUDA_VERSION", "UBUNTU_VERSION")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("vllm")
    (root / "docker").mkdir()
    with tarfile.open(download("vllm==0.20.0", sdist=True)) as archive:
        for name in ("docker/Dockerfile", "docker/docker-bake.hcl"):
            stream = archive.extractfile(f"vllm-0.20.0/{name}")
            assert stream is not None
            (root / name).write_bytes(stream.read())
    (root / "matrix.yaml").write_bytes((ROOT / "examples/vllm/matrix.yaml").read_bytes())
    return root


def arrivals(root: Path, args: Mapping[str, str]) -> dict[str, tuple[Variant, Arrival]]:
    """Variant and what its target consumes, for all eight."""
    plan = expand.plan(load.load(root / "matrix.yaml"), given=CommandLine(args=args), fact=lambda _name: "0" * 40)
    bake = BakeCall(docker=("docker",), files=("docker/docker-bake.hcl",), root=root)
    files = jobs.bake_files(plan, bake, output=Output(push=True))
    return {variant.id: (variant, preflight.arrival(bake, files[variant.id])) for variant in plan.variants}


def judge(variant: Variant, found: Arrival) -> None:
    preflight.check(found, injected(variant, Extras()), variant=variant.id)


def test_every_argument_of_the_eight_images_arrives(tree: Path, engine: str) -> None:
    found = arrivals(tree, {})
    assert len(found) == 8
    for name, (variant, arrival) in found.items():
        assert arrival.checked, (name, arrival.why_not)
        assert arrival.consumed is not None
        judge(variant, arrival)
        # among what is consumed are the base images, and what the matrix leaves to the Dockerfile
        assert set(BASES) <= set(arrival.consumed), name
        assert arrival.consumed["torch_cuda_arch_list"] == " ".join(map(str, variant.archs.effective))
        assert "RUN_WHEEL_CHECK" in arrival.consumed
        assert "FLASHINFER_AOT_COMPILE" not in arrival.consumed
    bases = {name: arrival.consumed["BUILD_BASE_IMAGE"] for name, (_, arrival) in found.items() if arrival.consumed}
    assert bases["openai-ubuntu2404-cu130-arm64"] == "nvidia/cuda:13.0.2-devel-ubuntu24.04"
    assert bases["openai-cu129-amd64"] == "nvidia/cuda:12.9.1-devel-ubuntu22.04"


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("TORCH_CUDA_ARCH_LIST", "did you mean torch_cuda_arch_list?"),
        ("FLASHINFER_AOT_COMPILE", "did you mean FLASHINFER_VERSION?"),
    ],
)
def test_an_argument_that_no_stage_consumes_is_refused(tree: Path, engine: str, name: str, nearest: str) -> None:
    variant, arrival = arrivals(tree, {name: "9.0"})["openai-cu130-arm64"]
    with pytest.raises(NotArrivedError) as caught:
        judge(variant, arrival)
    (problem,) = caught.value.problems
    assert problem.what == f"openai-cu130-arm64: target openai does not consume {name}"
    assert problem.hint == nearest
