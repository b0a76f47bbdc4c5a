"""What the archives inside one layer may cost to open."""

from __future__ import annotations

from orchestrator.errors import VerificationError

MAX_UNPACKED = 4 << 30
"""Bytes that the archives of one layer may unpack to, and those inside them."""
MAX_ENTRIES = 200_000
"""Entries of the archives of one layer."""
MAX_KEPT = 100_000
"""Files with device code in the archives of one layer that are kept; flashinfer-cubin 0.6.13 holds 15,970."""


class BeyondError(VerificationError):
    """The archives of a layer cost more than they may."""


class Budget:
    """What the archives of one layer may still cost.

    Attributes:
        left: Bytes to unpack.
        entries: Entries to look at.
        kept: Files with device code to keep.
    """

    __slots__ = ("entries", "kept", "left")

    def __init__(self) -> None:
        self.left = MAX_UNPACKED
        self.entries = MAX_ENTRIES
        self.kept = MAX_KEPT

    def enter(self) -> None:
        """Count an entry.

        Raises:
            BeyondError: There are too many.
        """
        self.entries -= 1
        if self.entries < 0:
            raise BeyondError(f"the archives of this layer have over {MAX_ENTRIES} entries")

    def take(self, count: int) -> None:
        """Count unpacked bytes.

        Raises:
            BeyondError: There are too many.
        """
        self.left -= count
        if self.left < 0:
            raise BeyondError(f"the archives of this layer unpack to over {MAX_UNPACKED} bytes")

    def keep(self) -> None:
        """Count a file with device code.

        Raises:
            BeyondError: There are too many.
        """
        self.kept -= 1
        if self.kept < 0:
            raise BeyondError(f"the archives of this layer hold over {MAX_KEPT} files with device code")
