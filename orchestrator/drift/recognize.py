"""Recognizes arch lists and CUDA versions by their names and values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cuda.arch import parse_list
from orchestrator.cuda.dialects import parse_cmake
from orchestrator.cuda.toolkit import first_toolkit
from orchestrator.cuda_image import cuda_image

if TYPE_CHECKING:
    from collections.abc import Sequence

ARCH_ARGS = frozenset({"torch_cuda_arch_list", "cuda_arch_list", "cuda_architectures", "cmake_cuda_architectures"})
"""Names, in lowercase letters, of variables that hold an arch list whatever its length."""

_ARCH = re.compile(r"\d{1,2}\.\d[af]?(?:\+PTX)?")
_LIST_NAME = re.compile(r"arch", re.IGNORECASE)
_CUDA_NAME = re.compile(
    r"(?:[a-z0-9]+[_.-])*cuda(?:[_.-]?(?:compiler|version|ver|toolkit|release|tag|image))*s?", re.IGNORECASE
)
_TAG_NAME = re.compile(r"(?:[a-z0-9]+[_.-])*cuda\w*[_.-]?tag", re.IGNORECASE)
_TAG = re.compile(r"(1[0-9]\.\d{1,2}(?:\.\d)?)-[a-z][\w.-]*")
_CUDA_VALUE = re.compile(r"1[0-9]\.\d{1,2}(?:\.\d)?")
_TAG_VARIABLE = re.compile(r":\$\{?(\w+)", re.ASCII)


def tag_variables(image: str) -> list[str]:
    """The variables that tags in the text of an image begin with: nvidia/cuda:${CUDA_VERSION}-devel."""
    return _TAG_VARIABLE.findall(image)


def cuda_version(name: str, value: str) -> str:
    """The CUDA version that a value is by its name, or that an image of CUDA has in its tag; "" for none."""
    image = cuda_image(value)
    if image is not None:
        return image.version
    tag = _TAG.fullmatch(value) if _TAG_NAME.fullmatch(name) else None
    if tag is not None:
        return tag[1]
    return value if _CUDA_NAME.fullmatch(name) and _CUDA_VALUE.fullmatch(value) else ""


def version_of_tag(tag: str) -> str:
    """The CUDA version that a tag begins with; "" for none."""
    version = _CUDA_VALUE.match(tag)
    return version[0] if version else ""


def minor(version: str) -> str:
    """The release of a version: 13.0 of 13.0.2."""
    return ".".join(version.split(".")[:2])


def list_dialect(name: str, value: str, file: str) -> str:
    """The dialect of a value that is an arch list, "" if it is not one."""
    if name.lower() in {"cmake_cuda_architectures", "cuda_architectures"}:
        try:
            parse_cmake(value)
        except ValueError:
            return ""
        return "cmake"
    try:
        archs = parse_list(value)
    except ValueError:
        return "cmake" if _LIST_NAME.search(name) and _is_cmake(value) else ""
    if any(first_toolkit(arch.plain()) is None for arch in archs):
        return ""  # versions of something else
    if len(archs) < (1 if name.lower() in ARCH_ARGS else 2 if _LIST_NAME.search(name) else 3):
        return ""
    family = any(arch.suffix == "f" for arch in archs)
    named = re.match(r"(?:fi|flashinfer)_", name, re.IGNORECASE) or "flashinfer" in Path(file).name.lower()
    return "flashinfer" if family or (named and not any(arch.ptx for arch in archs)) else "torch"


def is_arch_list(name: str, items: Sequence[str]) -> bool:
    """Whether the members of a list are architectures, one each, and its name says so."""
    return _LIST_NAME.search(name) is not None and all(_ARCH.fullmatch(item) for item in items)


def _is_cmake(value: str) -> bool:
    """Whether a value is a list of several architectures as CMake writes them."""
    try:
        return ";" in value and bool(parse_cmake(value))
    except ValueError:
        return False
