"""Finds and removes what runs leave behind: in the state directory of a project, and in the stores of the user.

A checkout is untrusted: only names that this program writes are listed, no link is followed, and what leads out of the
project refuses everything (`state.require_own`).
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.cache.exported import NAME as EXPORTS
from orchestrator.cache.holdings import measured

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PUBLISH = "publish"
"""Directory of the records of publishes."""

_OURS = {
    "runs": "logs, bake files and reports of runs",
    "journal.jsonl": "what was built from what, for --resume, --status and the disk that variants need",
    "inputs": "what went into each variant, for cache explain",
    "outlines.json": "what preflight learned of Dockerfiles",
    "files.json": "digests of files that did not change",
    EXPORTS: "cache exports, to find those that were superseded",
    "cache": "the local layer cache",
    PUBLISH: "records of publishes",
}


class Leftover(Struct, frozen=True, kw_only=True):
    """A file or directory that can go.

    Attributes:
        path: Where it is.
        what: What it is, and what it is good for.
        size: Its bytes.
        kept: Why it is not removed, "" where it is.
    """

    path: Path
    what: str
    size: int
    kept: str = ""


def of_project(state: Path) -> Iterator[Leftover]:
    """Yield what the state directory holds that this program wrote.

    Args:
        state: The state directory, which need not exist.
    """
    for name, what in _OURS.items():
        path = state / name
        if not path.exists() and not path.is_symlink():
            continue
        pending = name == PUBLISH and not path.is_symlink() and any(one.is_file() for one in path.rglob("*"))
        kept = "publish completes an interrupted move with them; publish --rollback undoes one" if pending else ""
        yield Leftover(path=path, what=what, size=_size(path), kept=kept)


def of_user(stores: Mapping[str, Path]) -> Iterator[Leftover]:
    """Yield the stores of the user that are there, which all projects share.

    Args:
        stores: What it is -> where.
    """
    for what, path in stores.items():
        if path.is_dir() and not path.is_symlink():
            yield Leftover(path=path, what=f"{what}, shared by all projects", size=_size(path))


def remove(leftover: Leftover) -> None:
    """Remove a leftover; a link itself, and never what it leads to.

    Raises:
        OSError: It cannot be removed.
    """
    if leftover.path.is_dir() and not leftover.path.is_symlink():
        shutil.rmtree(leftover.path)
    else:
        leftover.path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return measured(path)[0]
