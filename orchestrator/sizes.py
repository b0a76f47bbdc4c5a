"""Sizes in bytes as text, in the units of the tools beside us.

Memory and disks are counted in powers of 1024 (`docker info`, `free -h`), files and images in powers of 1000
(`docker images`, registries).
"""

from __future__ import annotations

GIB = 1024**3

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB")
_DECIMAL = ("B", "kB", "MB", "GB", "TB")


def binary_text(count: int) -> str:
    """Bytes of memory or of a disk: `23.5 GiB`, `20 GiB`."""
    value, unit = _scaled(count, 1024)
    return f"{value:.1f}".removesuffix(".0") + f" {_BINARY[unit]}"


def size_text(count: int) -> str:
    """Bytes of a file or an image: `92.6 MB`, `5.44 GB`."""
    value, unit = _scaled(count, 1000)
    digits = (0, 1, 1, 2, 2)[unit]
    return f"{value:.{digits}f} {_DECIMAL[unit]}"


def _scaled(count: int, base: int) -> tuple[float, int]:
    """The value in the largest unit that keeps it at 1 or above, and the unit's index."""
    value = float(count)
    unit = 0
    while round(value, 1) >= base and unit < len(_BINARY) - 1:
        value /= base
        unit += 1
    return value, unit
