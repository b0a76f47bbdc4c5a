"""Puts the layer cache that a build wrote into a directory in the place of the one before."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def swap(new: Path, final: Path) -> None:
    """Replace the old local cache by the new one; if that fails the old one stays."""
    if not new.is_dir():
        return
    old = final.with_name(f"{final.name}.old")
    with contextlib.suppress(OSError):
        shutil.rmtree(old, ignore_errors=True)
        if final.exists():
            final.rename(old)
        try:
            new.rename(final)
        except OSError:
            old.rename(final)
        shutil.rmtree(old, ignore_errors=True)
