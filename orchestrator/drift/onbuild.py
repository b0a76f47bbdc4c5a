"""What the ONBUILD instructions of base images declare, as far as it is known without a registry.

BuildKit runs them in the stage that is FROM the image, so an ARG among them consumes an argument that no Dockerfile of
the repository declares. NVIDIA's images of CUDA have none; of others the engine knows those that it holds. The names of
Docker's official images, which have none either, may be of an image that was built here: the engine is asked first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cuda_image import CUDA_PATH
from orchestrator.dockerfile.stages import assignments
from orchestrator.reference import DOCKER_HUB, InvalidReferenceError, repository

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.drift.declared import Targets
    from orchestrator.drift.evaluate import Buildx
    from orchestrator.reference import Repository

_IMAGE = "docker-image://"
_OF_NVIDIA = "nvcr.io"
_OFFICIAL = frozenset(
    {"almalinux", "alpine", "amazonlinux", "archlinux", "buildpack-deps", "busybox", "centos", "debian", "fedora",
     "gcc", "golang", "node", "oraclelinux", "photon", "python", "rockylinux", "rust", "ubuntu"}
)  # fmt: skip
"""Those of Docker's official images that images with device code are built from."""


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
    """The arguments that the ONBUILD instructions of an image declare, None where it is not known."""
    lines = None if asked is None else asked.onbuild(image)
    if lines is None:
        return frozenset() if _is_official(image) else None
    words = [line.split(None, 1) for line in lines]
    named = [rest for keyword, rest in (one for one in words if len(one) == 2) if keyword.upper() == "ARG"]
    return frozenset(name for text in named for name, _ in assignments(text))


def _has_none(image: str) -> bool:
    """Whether an image certainly has no ONBUILD: `scratch`, and NVIDIA's images of CUDA."""
    found, _ = _parts(image)
    if found is None or found.host not in {DOCKER_HUB, _OF_NVIDIA}:
        return False
    return found.path == CUDA_PATH or image == "scratch"


def _is_official(image: str) -> bool:
    """Whether an image is one of Docker's official ones by its name, and not one of their :onbuild."""
    found, tag = _parts(image)
    if found is None or found.host != DOCKER_HUB:
        return False
    return found.path.removeprefix("library/") in _OFFICIAL and "onbuild" not in tag


def _parts(image: str) -> tuple[Repository | None, str]:
    """The repository and the tag of an image; a variable in the tag may have no value here."""
    name, _, tag = image.partition("@")[0].rpartition(":")
    if not name or "/" in tag:
        name, tag = image.partition("@")[0], ""
    try:
        return repository(name), tag
    except InvalidReferenceError:
        return None, tag
