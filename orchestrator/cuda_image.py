"""Which image is one of CUDA, and the CUDA version in its tag."""

from __future__ import annotations

import re

from msgspec import Struct

from orchestrator.reference import InvalidReferenceError, repository

CUDA_PATH = "nvidia/cuda"
"""The repository of NVIDIA's images of CUDA, without its registry."""

_CUDA_IMAGE = re.compile(r"(?:nvidia/cuda:|-builder:cuda|-cuda)(?P<version>1[0-9]\.\d{1,2}(?:\.\d)?)(?![\d.])")
_CONTEXT = "docker-image://"


class CudaImage(Struct, frozen=True, kw_only=True):
    """An image with a CUDA version in its tag.

    Attributes:
        before: The text before the version.
        version: The version.
        after: The text behind it.
        official: Whether the text is NVIDIA's image of CUDA, of whatever registry, and nothing stands before it.
    """

    before: str
    version: str
    after: str
    official: bool


def cuda_image(text: str) -> CudaImage | None:
    """The image with a CUDA version in its tag that a text holds, None for none."""
    found = _CUDA_IMAGE.search(text)
    if found is None:
        return None
    before, after = text[: found.start("version")], text[found.end() :]
    official = before.endswith(":") and is_cuda(before.removeprefix(_CONTEXT).removesuffix(":"))
    return CudaImage(before=before, version=found["version"], after=after, official=official)


def is_cuda(name: str) -> bool:
    """Whether the name of a repository is that of NVIDIA's image of CUDA, or of a mirror of it."""
    try:
        path = repository(name).path
    except InvalidReferenceError:
        return False
    return path == CUDA_PATH or path.endswith(f"/{CUDA_PATH}")
