"""The newest PTX ISA that each CUDA release writes, and that a driver of that release compiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.cuda.toolkit import Toolkit

_NEWEST = {
    (11, 8): (7, 8),
    (12, 0): (8, 0),
    (12, 1): (8, 1),
    (12, 2): (8, 2),
    (12, 3): (8, 3),
    (12, 4): (8, 4),
    (12, 5): (8, 5),
    (12, 6): (8, 5),
    (12, 8): (8, 7),
    (12, 9): (8, 8),
    (13, 0): (9, 0),
    (13, 1): (9, 1),
    (13, 2): (9, 2),
    (13, 3): (9, 3),
    (13, 4): (9, 4),
    (13, 5): (9, 5),
}


def newest_ptx(toolkit: Toolkit) -> tuple[int, int]:
    """(9, 0) of CUDA 13.0."""
    return _NEWEST[(toolkit.major, toolkit.minor)]
