"""What the ONBUILD instructions of base images declare, as far as it is known without a registry.

BuildKit runs them in the stage that is FROM the image, so an ARG among them consumes an argument that no Dockerfile of
the repository declares. NVIDIA's images of CUDA and Docker's official images have none; of others the engine knows
those that it holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.dockerfile.stages import assignments
from orchestrator.drift.recognize import CUDA_PATH, is_cuda
from orchestrator.reference import DOCKER_HUB, InvalidReferenceError, repository

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.drift.declared import Targets
    from orchestrator.drift.evaluate import Buildx

_IMAGE = "docker-image://"
_OF_NVIDIA = "nvcr.io"
_OFFICIAL = "library/"


def unknown_bases(targets: Targets, target: str, values: Mapping[str, str]) -> list[str]:
    """The images that a target, or one that it links to, is FROM, and whose ONBUILD nothing here says.

    Args:
        targets: The targets of the bake files.
        target: The target.
        values: The arguments that it is built with, as far as they are known.
    """
    found: dict[str, None] = {}
    for name in targets.linked(target):
        contexts = {key.lower(): str(value) for key, value in targets.contexts(name).items()}
        for base in targets.bases(name, values):
            image = contexts.get(base.lower(), base)
            if image.startswith(_IMAGE) or base.lower() not in contexts:
                image = image.removeprefix(_IMAGE)
                found |= {} if _has_none(image) else {image: None}
            elif image.startswith("oci-layout://"):
                found[image] = None
    return list(found)


def declared_by(image: str, asked: Buildx | None) -> frozenset[str] | None:
    """The arguments that the ONBUILD instructions of an image declare, None where the engine does not hold it."""
    lines = None if asked is None else asked.onbuild(image)
    if lines is None:
        return None
    words = [line.split(None, 1) for line in lines]
    named = [rest for keyword, rest in (one for one in words if len(one) == 2) if keyword.upper() == "ARG"]
    return frozenset(name for text in named for name, _ in assignments(text))


def _has_none(image: str) -> bool:
    """Whether an image is known to have no ONBUILD: `scratch`, NVIDIA's, and Docker's official ones but :onbuild."""
    name, _, tag = image.partition("@")[0].rpartition(":")
    if not name or "/" in tag:
        name, tag = image.partition("@")[0], ""
    try:
        found = repository(name)
    except InvalidReferenceError:  # a variable in it has no value here
        return False
    if found.host == DOCKER_HUB:
        return found.path == CUDA_PATH or (found.path.startswith(_OFFICIAL) and "onbuild" not in tag)
    return found.host == _OF_NVIDIA and is_cuda(name)
