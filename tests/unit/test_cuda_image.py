"""Which images are of CUDA, and the version in their tag."""

from __future__ import annotations

import pytest

from orchestrator.cuda_image import CudaImage, cuda_image, is_cuda


@pytest.mark.parametrize(
    ("text", "before", "version", "after", "official"),
    [
        ("nvidia/cuda:12.4.1-devel", "nvidia/cuda:", "12.4.1", "-devel", True),
        ("docker-image://nvcr.io/nvidia/cuda:13.0", "docker-image://nvcr.io/nvidia/cuda:", "13.0", "", True),
        ("x=nvidia/cuda:12.4.1", "x=nvidia/cuda:", "12.4.1", "", False),
        ("r/manylinux-builder:cuda12.8", "r/manylinux-builder:cuda", "12.8", "", False),
        ("r/a:1-cuda12.8-dev", "r/a:1-cuda", "12.8", "-dev", False),
    ],
)
def test_an_image_has_its_version_in_the_tag(
    text: str, before: str, version: str, after: str, *, official: bool
) -> None:
    assert cuda_image(text) == CudaImage(before=before, version=version, after=after, official=official)


@pytest.mark.parametrize(
    "text", ["nvidia/cuda:9.2", "nvidia/cuda:12.4.1.5", "nvidia/cuda:12", "cuda12.8", "", "12.4.1"]
)
def test_what_is_no_image_of_cuda(text: str) -> None:
    assert cuda_image(text) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nvidia/cuda", True), ("docker.io/nvidia/cuda", True), ("r.lan:5000/mirror/nvidia/cuda", True),
        ("xnvidia/cuda", False), ("nvidia/cuda-x", False), ("r.lan/xnvidia/cuda", False), ("NVIDIA/CUDA", False),
        ("a b", False),
    ],
)  # fmt: skip
def test_nvidias_image_and_mirrors_of_it(name: str, *, expected: bool) -> None:
    assert is_cuda(name) is expected
