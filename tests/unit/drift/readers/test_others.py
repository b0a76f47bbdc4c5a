from __future__ import annotations

import pytest

from orchestrator.cuda.cmake import read_kernels
from orchestrator.cuda.toolkit import toolkit_for
from orchestrator.dockerfile.spans import Source
from orchestrator.drift.readers import regex, requirements


@pytest.mark.parametrize(
    ("line", "package", "value", "editable"),
    [
        ("flashinfer-python==0.6.8.post1", "flashinfer-python", "0.6.8.post1", True),
        ("FlashInfer_Python == 0.6.8 ; python_version > '3'", "flashinfer-python", "0.6.8", True),
        ("torch[extra]===2.9.0  # pinned", "torch", "2.9.0", True),
        ("torch>=2.9,<3", "torch", ">=2.9,<3", False),
        ("torch", "torch", "", False),
    ],
)
def test_requirements(line: str, package: str, value: str, editable: bool) -> None:
    text = f"# {line}\r\nother==1\r\n{line}\r\n"
    (found,) = requirements.read(Source(text=text), package)
    assert found.value == value
    assert (found.via == "") is editable
    assert text[found.start : found.end] == value


def test_a_longer_name_is_another_package() -> None:
    assert requirements.read(Source(text="torchvision==1\n-r torch.txt\n"), "torch") == []


def test_regex() -> None:
    text = "CUDA 13.0 by default\nCUDA 12.9 by default\n"
    found = regex.read(text, r"^CUDA (\d+\.\d+)")
    assert [(place.value, text[place.start : place.end]) for place in found] == [("13.0", "13.0"), ("12.9", "12.9")]


@pytest.mark.parametrize("pattern", ["(", "no group", "(two)(groups)"])
def test_a_regex_has_one_group(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"regular expression|exactly one group"):
        regex.read("", pattern)


CMAKE = """\
# cuda_archs_loose_intersection(COMMENT "9.0" "${CUDA_ARCHS}")
cuda_archs_loose_intersection(CUDA_ARCHS
  "${CUDA_SUPPORTED_ARCHS}" "${CUDA_ARCHS}")
if(${CMAKE_CUDA_COMPILER_VERSION} VERSION_GREATER_EQUAL 13.0)
  cuda_archs_loose_intersection(NEW "10.0f;11.0f" "${CUDA_ARCHS}")
elseif(DEFINED CMAKE_CUDA_COMPILER_VERSION AND CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.8)
  cuda_archs_loose_intersection(MIDDLE "10.0a" "${CUDA_ARCHS}")
else()
  cuda_archs_loose_intersection(OLD "9.0a;" "${CUDA_ARCHS}")
endif()
if (NOT SOMETHING OR OTHER)
  cuda_archs_loose_intersection(PERHAPS
    "8.0+PTX" "${CUDA_ARCHS}")
endif()
"""


@pytest.mark.parametrize(
    ("cuda", "names"), [("13.0", ["NEW", "PERHAPS"]), ("12.9", ["MIDDLE", "PERHAPS"]), ("12.4", ["OLD", "PERHAPS"])]
)
def test_kernel_families(cuda: str, names: list[str]) -> None:
    families = read_kernels(CMAKE, toolkit_for(cuda)).families
    assert [family.name for family in families] == names
    assert [str(arch) for arch in families[-1].archs] == ["8.0+PTX"]
    assert CMAKE.splitlines()[families[-1].line - 1].strip() == "cuda_archs_loose_intersection(PERHAPS"
