"""What stands at one path of an image: asked of its layers, from the highest down.

Merging keeps only what every report needs; a question about a single directory is answered here.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from orchestrator.image.layers.links import parents

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from orchestrator.image.layers.merge import LayerScan


class Kind(Enum):
    """What a path is."""

    NOTHING = "nothing"
    FILE = "file"
    LINK = "link"
    DIRECTORY = "directory"


def kind(layers: Sequence[LayerScan], path: str) -> Kind:
    """What stands at a path; symlinks on the way are not followed.

    Args:
        layers: The lowest first.
        path: Normalised, without a leading slash; "" is the root.
    """
    if not path:
        return Kind.DIRECTORY
    for layer in reversed(layers):
        if path in layer.links:
            return Kind.LINK
        if path in layer.directories or path in layer.opaque:
            return Kind.DIRECTORY
        if any(path in names for names in _files(layer)):
            return Kind.FILE
        if any(name.startswith(f"{path}/") for name in _members(layer)):
            return Kind.DIRECTORY
        if path in layer.whiteouts or any(_hides(layer, folder) for folder in (*parents(path), "")):
            return Kind.NOTHING
    return Kind.NOTHING


def _files(layer: LayerScan) -> tuple[Iterable[str], ...]:
    return layer.plain, layer.code, layer.releases, layer.below


def _members(layer: LayerScan) -> Iterator[str]:
    for names in (*_files(layer), layer.links, layer.directories, layer.whiteouts):
        yield from names


def _hides(layer: LayerScan, folder: str) -> bool:
    """Whether a layer leaves nothing of what lower layers have in a directory."""
    gone = folder in layer.whiteouts or folder in layer.opaque or folder in layer.links
    return gone or any(folder in names for names in _files(layer))
