"""Values of a bake file that an override file beside it replaces: bake builds with the later one."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.drift.files import UnreadableError, read_text
from orchestrator.drift.readers import bake
from orchestrator.engine.bake_files import NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from orchestrator.drift.sights import Sight

_MERGED = tuple(name for name in NAMES if name.startswith("docker-bake"))
"""The bake files that bake merges by itself, a later one winning."""


class Replaced(Struct, frozen=True, kw_only=True):
    """A place whose value is not built with: the file `by` says another."""

    sight: Sight
    by: str


def replaced(root: Path, sights: Sequence[Sight]) -> list[Replaced]:
    """The places of bake files that a later bake file of their directory replaces.

    Args:
        root: The repository.
        sights: The places that were found.
    """
    later: dict[str, list[tuple[str, bake.BakeFile]]] = {}
    found = []
    for sight in sights:
        path = PurePosixPath(sight.file)
        if not sight.locator.in_bake_file or path.name not in _MERGED:
            continue
        if sight.file not in later:
            names = [path.with_name(name).as_posix() for name in _MERGED[_MERGED.index(path.name) + 1 :]]
            later[sight.file] = [(name, _defined(root, name)) for name in names if (root / name).is_file()]
        by = [name for name, defined in later[sight.file] if _says(defined, sight)]
        if by:
            found.append(Replaced(sight=sight, by=by[-1]))
    return found


def _defined(root: Path, name: str) -> bake.BakeFile:
    try:
        return bake.parse(read_text(root / name), json=name.endswith(".json"))
    except (ValueError, UnreadableError):  # told as skipped where it was looked through
        return bake.BakeFile(text="")


def _says(defined: bake.BakeFile, sight: Sight) -> bool:
    """Whether a bake file has the variable, or the argument of the target, of a place."""
    target = defined.targets.get(sight.locator.target)
    if sight.locator.variable:
        return sight.locator.variable in defined.variables
    return target is not None and sight.locator.arg in target.args
