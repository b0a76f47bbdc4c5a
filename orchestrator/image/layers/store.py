"""Keeps the scans of layers under the digest of the layer, so that a second image that shares layers costs nothing.

A layer's bytes never change under its digest, so an entry never expires; a new scanner version has new keys.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from orchestrator.files import PRIVATE, write_whole
from orchestrator.image.layers.merge import SCANNER, LayerScan

_PLACES = 16  # files with the bytes of one layer that are remembered
_DIGEST = re.compile(r"sha(?:256|512):[0-9a-f]{64,128}")


def default_directory() -> Path:
    """Where scans are kept: `orchestrate/layers` below $XDG_CACHE_HOME, else below ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "orchestrate" / "layers"


class LayerStore:
    """A directory of scans.

    Args:
        directory: Created when first written to; None keeps nothing.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory

    def get(self, digest: str, *, deep: bool = False) -> LayerScan | None:
        """The scan of a layer, None when it is not kept (or not readable, which is the same).

        Args:
            digest: Of the layer as stored, `sha256:…`; "" for none.
            deep: Whether kernel names were read.
        """
        path = self._path(digest, deep=deep)
        if path is None:
            return None
        try:
            return LayerScan.from_json(json.loads(path.read_bytes()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None

    def has(self, digest: str, *, deep: bool = False) -> bool:
        """Whether the scan of a layer is kept and readable."""
        return self.get(digest, deep=deep) is not None

    def put(self, digest: str, scan: LayerScan, *, deep: bool = False) -> None:
        """Keep a scan; a directory that cannot be written to keeps nothing, which is not an error."""
        path = self._path(digest, deep=deep)
        if path is not None:
            _write(path, scan.to_json())

    def is_checked(self, digest: str, place: str) -> bool:
        """Whether the bytes at a place were found to have a digest.

        Args:
            digest: Of the layer.
            place: As `recheck.place_of` names it.
        """
        return place in self._places(digest)

    def put_checked(self, digest: str, place: str) -> None:
        """Keep that the bytes at a place have a digest."""
        path = self._path(digest, deep=False)
        if path is not None and place:
            _write(_places_of(path), [*self._places(digest), place][-_PLACES:])

    def _places(self, digest: str) -> list[str]:
        path = self._path(digest, deep=False)
        try:
            found = [] if path is None else json.loads(_places_of(path).read_bytes())
        except (OSError, ValueError, RecursionError):
            return []
        return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []

    def image(self, key: str) -> Any:
        """What `put_image` kept under this key, None when nothing is kept (or readable)."""
        path = self._image_path(key)
        try:
            return None if path is None else json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return None

    def put_image(self, key: str, value: Any) -> None:
        """Keep what is known of an image before its layers are read.

        Args:
            key: The image's own id and what was asked of it.
            value: For JSON.
        """
        path = self._image_path(key)
        if path is not None:
            _write(path, value)

    def _image_path(self, key: str) -> Path | None:
        if self._directory is None:
            return None
        return self._directory / f"image-{hashlib.sha256(key.encode()).hexdigest()}-v{SCANNER}.json"

    def _path(self, digest: str, *, deep: bool) -> Path | None:
        if self._directory is None or not _DIGEST.fullmatch(digest):
            return None
        return self._directory / f"{digest.replace(':', '-')}-v{SCANNER}{'-deep' if deep else ''}.json"


def _places_of(path: Path) -> Path:
    return path.with_suffix(".places.json")


def _write(path: Path, value: Any) -> None:
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(value, separators=(",", ":")), mode=PRIVATE)
