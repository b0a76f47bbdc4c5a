"""Fields of lock files, each with its type checked."""

from __future__ import annotations

import re
from typing import Any

_HEX64 = re.compile(r"[0-9a-f]{64}")


def text_of(item: Any, name: str) -> str:
    """Return a field that holds a text.

    Raises:
        KeyError, TypeError: It is missing, or something else.
    """
    value = item[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is not text")
    return value


def count_of(item: Any, name: str) -> int:
    """Return a field that holds a number of things.

    Raises:
        KeyError, TypeError, ValueError: It is missing, or something else.
    """
    value = item[name]
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{name} is not a count")
    return value


def sha256_of(item: Any, name: str = "sha256") -> str:
    """Return a field that holds a sha256, as bare hex.

    Raises:
        KeyError, TypeError, ValueError: It is missing, or something else.
    """
    value = text_of(item, name)
    if not _HEX64.fullmatch(value):
        raise ValueError(f"{name} is not 64 hex digits")
    return value
