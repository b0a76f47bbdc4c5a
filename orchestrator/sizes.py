"""Sizes in bytes, and counts, as text, in the units of the tools beside us.

Memory and disks are counted in powers of 1024 (`docker info`, `free -h`), files and images in powers of 1000
(`docker images`, registries).
"""

from __future__ import annotations

import re

GIB = 1024**3

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB")
_DECIMAL = ("B", "kB", "MB", "GB", "TB")
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*([kKMGT]?)(i?)B?")


class InvalidSizeError(ValueError):
    """A text is no size."""


def parse_size(text: str) -> int:
    """Return the bytes of a size such as `60GB`, `1.5 GiB`, `512M` or `4096`; without an `i` a unit counts by 1000.

    Raises:
        InvalidSizeError: It is no size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidSizeError(f"the size is invalid: expected a number and kB, MB, GB or TB, as in 60GB, found {text}")
    power = "kMGT".find(match[2].replace("K", "k")) + 1 if match[2] else 0
    return round(float(match[1]) * float((1024 if match[3] else 1000) ** power))


def size_problem(name: str, text: str) -> str:
    """Return why the value of a key is no size, "" if it is one."""
    try:
        parse_size(text)
    except InvalidSizeError as error:
        return f"{name}: {error}"
    return ""


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


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: 1 claim, 2 claims."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
