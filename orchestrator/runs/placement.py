"""Decides which builder a variant is built on: plain functions of names and numbers, which ask nobody."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


def preferred(variant: str, slots: Mapping[str, int], *, last: str = "") -> tuple[str, ...]:
    """Return the builders of a variant, the one that most likely has its cache first.

    The builder that built it last leads; the others follow by a weighted rendezvous hash of the variant's id, so that
    machines without a journal agree, and a builder that is added or removed moves its own share alone.

    Args:
        variant: The variant.
        slots: Each builder that can build it -> how many variants it builds at once.
        last: The builder that built it last, "" where nobody knows.
    """
    by_hash = sorted(slots, key=lambda name: (-_score(variant, name, slots[name]), name))
    return tuple(sorted(by_hash, key=lambda name: name != last))


def _score(variant: str, builder: str, weight: int) -> float:
    digest = hashlib.sha256(f"{builder}\0{variant}".encode()).digest()
    share = (int.from_bytes(digest[:8], "big") + 1) / (2**64 + 2)
    return -weight / math.log(share)


def choose(waiting: Sequence[Sequence[str]], free: Collection[str]) -> tuple[int, str] | None:
    """Choose the variant that starts next, and its builder.

    Args:
        waiting: For each variant that waits, in their order, its builders as `preferred` sorts them.
        free: Builders with a free slot.

    Returns:
        Position of a variant and name of its builder: the first variant whose preferred builder is free, else the
        first that any free builder can build, for an idle builder serves nobody. None where nothing fits.
    """
    if not free:
        return None
    for position, builders in enumerate(waiting):
        if builders and builders[0] in free:
            return position, builders[0]
    for position, builders in enumerate(waiting):
        for name in builders:
            if name in free:
                return position, name
    return None
