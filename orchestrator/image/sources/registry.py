"""An image in a registry, pulled by digest: each layer is streamed into its reader and stored nowhere else."""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Any

from orchestrator.image.layers.parallel import Layer
from orchestrator.image.sources.base import (
    BrokenImageError,
    Contents,
    choose,
    configured,
    require_image,
    require_platform,
)
from orchestrator.reference import Digest, InvalidReferenceError, Tag
from orchestrator.registry.client import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.reference import Reference

_MAX_DEPTH = 4  # an index may name another index, but not for ever


def open_image(reference: Reference, *, platform: str = "") -> tuple[Contents, Registry]:
    """The image in a registry, its layers not fetched yet.

    Args:
        reference: Of the image; without tag and digest `latest` is meant.
        platform: Which one of several, "linux/arm64".

    Returns:
        The image, and the connection that its layers come through; the caller closes it.

    Raises:
        UsageError: A platform must be chosen.
        NetworkError: The registry refuses or does not answer.
        VerificationError: The manifests contradict themselves, or have another digest.
    """
    registry = Registry(reference.repository)
    try:
        return _contents(registry, reference, platform), registry
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError, InvalidReferenceError) as error:
        registry.close()
        raise BrokenImageError(f"{reference}: its manifests are damaged: {str(error)[:200]!r}") from error
    except BaseException:
        registry.close()
        raise


def _contents(registry: Registry, reference: Reference, platform: str) -> Contents:
    name = str(reference)
    manifest = registry.manifest(reference.digest or reference.tag or Tag("latest"))
    for _ in range(_MAX_DEPTH):
        if not manifest.index:
            break
        chosen = choose(manifest.content["manifests"], platform, name)
        manifest = registry.manifest(Digest(str(chosen["digest"])))
    else:
        raise BrokenImageError(f"{name}: its index leads to no image")
    require_image(manifest.content, name)
    config: Any = json.loads(registry.blob(Digest(str(manifest.content["config"]["digest"]))))
    layers = []
    for one in manifest.content["layers"]:
        digest, size = Digest(str(one["digest"])), int(one["size"])
        if size < 0:
            raise BrokenImageError(f"{name}: the size of layer {digest} is invalid: found {size}")
        layers.append(Layer(digest=str(digest), size=size, feed=_feeder(registry, digest, size)))
    contents = Contents(name=name, digest=str(manifest.digest), layers=tuple(layers), **configured(config))
    require_platform(platform, contents.platform, name)
    return contents


def _feeder(registry: Registry, digest: Digest, size: int) -> Callable[[IO[bytes]], None]:
    return lambda sink: registry.stream(digest, size, sink)
