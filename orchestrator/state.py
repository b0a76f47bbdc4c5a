"""The state directory of a project, beside its matrix: what it is called, and that it is the project's own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orchestrator.errors import EnvironmentLacksError

if TYPE_CHECKING:
    from pathlib import Path

STATE = ".orchestrate"
"""Directory beside matrix.yaml for logs, bake files, the journal and what preflight learned; ignored by git."""


def require_own(root: Path) -> Path:
    """Return the state directory, which need not exist.

    A checkout is untrusted: a link in it must not make a build write, or tidy up, somewhere else.

    Args:
        root: The directory of the matrix.

    Raises:
        EnvironmentLacksError: It, or something in it, is a symbolic link that leads out of the project.
    """
    state, home = root / STATE, os.path.realpath(root)
    try:
        found = [state, *(state / name for name in os.listdir(state))] if os.path.lexists(state) else []  # noqa: PTH208 - names alone
    except OSError:  # whoever writes into it says what is wrong
        found = [state]
    for path in found:
        place = os.path.realpath(path)
        if path.is_symlink() and os.path.commonpath([home, place]) != home:
            raise EnvironmentLacksError(
                f"{path}: the state directory is invalid: expected no link out of the project, found one to {place}",
                hint=f"remove it: rm {path}",
            )
    return state
