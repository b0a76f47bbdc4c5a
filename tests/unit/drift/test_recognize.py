"""Which names and values are arch lists and CUDA versions."""

from __future__ import annotations

import pytest

from orchestrator.drift.locator import Locator
from orchestrator.drift.recognize import (
    ARCH_ARGS,
    cuda_version,
    is_arch_list,
    list_dialect,
    minor,
    tag_variables,
    version_of_tag,
)
from orchestrator.drift.sights import Kind, Subject, normal


@pytest.mark.parametrize(
    ("name", "value", "version"),
    [
        ("CUDA_VERSION", "12.4.1", "12.4.1"), ("cuda", "12.4", "12.4"), ("cudas", "12.4", "12.4"),
        ("matrix.cuda-ver", "13.0", "13.0"), ("CUDA_TOOLKIT_VERSION", "13.0", "13.0"),
        ("cuda_compiler", "13.0", "13.0"),
        ("CUDA_RELEASE", "13.0", "13.0"), ("ANY", "r/a:1-cuda12.8-dev", "12.8"),
        ("cuda_image", "13.0", "13.0"), ("cuda_tag", "13.0", "13.0"),
        ("CUDA_TAG", "12.4.1-devel", "12.4.1"), ("MY_CUDA_IMAGE_TAG", "12.4.1-devel-x", "12.4.1"),
        ("CUDA_VERSION", "12.4.1-devel", ""), ("CUDA_TAG", "12.4.1-1", ""), ("CUDA_VERSION", "9.2", ""),
        ("CUDA_VERSION", "12", ""), ("CUDNN_VERSION", "12.4", ""), ("CUDA_ARCHS", "12.0", ""), ("VERSION", "12.4", ""),
    ],
)  # fmt: skip
def test_a_version_is_known_by_its_name(name: str, value: str, version: str) -> None:
    assert cuda_version(name, value) == version


@pytest.mark.parametrize(
    ("name", "value", "file", "dialect"),
    [
        *((name, "9.0", "", "torch") for name in ("TORCH_CUDA_ARCH_LIST", "cuda_arch_list")),
        *((name, "90", "", "cmake") for name in ("CMAKE_CUDA_ARCHITECTURES", "CUDA_ARCHITECTURES")),
        ("CUDA_ARCHITECTURES", "nonsense", "", ""),
        ("MY_ARCHS", "9.0", "", ""), ("MY_ARCHS", "8.0 9.0", "", "torch"), ("ANY", "8.0 9.0", "", ""),
        ("ANY", "8.0 9.0 10.0", "", "torch"), ("ANY", "1.0 2.0 3.1", "", ""), ("ANY", "80;90", "", ""),
        ("MY_ARCHS", "80;90", "", "cmake"), ("MY_ARCHS", "80", "", ""), ("MY_ARCHS", "a;b", "", ""),
        ("MY_ARCHS", "9.0a 10.0f", "", "flashinfer"), ("FI_ARCHS", "8.0 9.0", "", "flashinfer"),
        ("flashinfer_archs", "8.0 9.0", "", "flashinfer"), ("FI_ARCHS", "8.0 9.0+PTX", "", "torch"),
        ("MY_FI_ARCHS", "8.0 9.0", "", "torch"), ("MY_ARCHS", "8.0 9.0", "x/build-FlashInfer.sh", "flashinfer"),
        ("MY_ARCHS", "8.0 9.0", "flashinfer/x.sh", "torch"),
    ],
)  # fmt: skip
def test_the_dialect_of_a_list(name: str, value: str, file: str, dialect: str) -> None:
    assert list_dialect(name, value, file) == dialect


def test_small_readings() -> None:
    assert {name.upper() for name in ARCH_ARGS} == {
        "TORCH_CUDA_ARCH_LIST", "CUDA_ARCH_LIST", "CUDA_ARCHITECTURES", "CMAKE_CUDA_ARCHITECTURES",
    }  # fmt: skip
    assert tag_variables("nvidia/cuda:${A}-x:$B and $C") == ["A", "B"]
    assert [version_of_tag(text) for text in ("12.4.1-devel", "13.0", "x12.4", "")] == ["12.4.1", "13.0", "", ""]
    assert [minor(text) for text in ("13.0.2", "13.0", "13")] == ["13.0", "13.0", "13"]
    assert is_arch_list("archs", ["8.0", "9.0a", "12.0+PTX"])
    assert not is_arch_list("archs", ["8.0", "x"])
    assert not is_arch_list("list", ["8.0", "9.0"])
    assert [str(Subject(kind=Kind.CUDA, name="13.0")), str(Subject(kind=Kind.ARCH_LIST))] == ["CUDA 13.0", "arch list"]
    assert [normal(text) for text in ("8.0;9.0 ; 10.0", " 8.0  9.0 ")] == ["8.0 9.0 10.0", "8.0  9.0"]
    at = Locator(file="f", target="t", arg="A", pointer=("a", "b=c"))
    assert (at.is_dockerfile_arg, at.in_bake_file) == (False, True)
    assert list(at.keys().items()) == [("file", "f"), ("target", "t"), ("arg", "A"), ("pointer", "/a/b=c")]
    assert Locator(file="f", variable="V").in_bake_file
    assert Locator(file="f", arg="A").is_dockerfile_arg
    assert not Locator(file="f", name="A").in_bake_file
