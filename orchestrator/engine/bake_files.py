"""Names the bake files that `docker buildx bake` reads where none is named, in the order in which it merges them.

A run names them with `-f`, because its own questions come in a file too, and bake reads nothing by itself beside one
that is named. Measured with buildx 0.29: all that are there are merged, a later one wins, one that is empty is skipped,
and override files of Compose are not among them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NAMES = (
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
    "docker-bake.json",
    "docker-bake.hcl",
    "docker-bake.override.json",
    "docker-bake.override.hcl",
)


def read_by_itself(root: Path) -> tuple[str, ...]:
    """Return the bake files that bake reads in a directory: those of BUILDX_BAKE_FILE, else all of `NAMES` there.

    Args:
        root: The directory.
    """
    if named := os.environ.get("BUILDX_BAKE_FILE"):
        separator = os.environ.get("BUILDX_BAKE_PATH_SEPARATOR") or os.pathsep
        return tuple(filter(None, named.split(separator)))
    return tuple(name for name in NAMES if (root / name).exists())


def overrides(root: Path, file: str) -> tuple[str, ...]:
    """Return the override files that bake merges into a bake file that it reads by itself.

    Args:
        root: The directory that bake runs in.
        file: The bake file, relative to it.
    """
    return tuple(name for name in NAMES if file in NAMES and ".override." in name and (root / name).exists())
