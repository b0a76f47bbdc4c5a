"""Conditions of CMake's `if` that compare the version of the CUDA compiler; anything else is unknown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.cuda.toolkit import Toolkit

_COMPARISONS = {
    "VERSION_GREATER_EQUAL": lambda here, there: here >= there,
    "VERSION_GREATER": lambda here, there: here > there,
    "VERSION_LESS_EQUAL": lambda here, there: here <= there,
    "VERSION_LESS": lambda here, there: here < there,
    "VERSION_EQUAL": lambda here, there: here == there,
}
_COMPILER = frozenset({"CMAKE_CUDA_COMPILER_VERSION", "${CMAKE_CUDA_COMPILER_VERSION}"})


class _Truth(Struct, frozen=True, kw_only=True):
    """The value of a part of a condition that stood in parentheses, None if unknown."""

    value: bool | None


def met(words: Sequence[str], cuda: Toolkit) -> bool | None:
    """Return whether a condition holds, None if it depends on what only a configure run knows."""
    groups: list[list[str | _Truth]] = [[]]  # a stack instead of calls: a file may nest parentheses without bound
    for word in words:
        if word == "(":
            groups.append([])
        elif word == ")" and len(groups) > 1:
            inner = _any(groups.pop(), cuda)
            groups[-1].append(_Truth(value=inner))
        else:
            groups[-1].append(word)
    return _any(groups[0], cuda) if len(groups) == 1 else None


def _any(items: list[str | _Truth], cuda: Toolkit) -> bool | None:
    """Return the value of a condition without parentheses: NOT binds before AND, AND before OR."""
    values = [_all(part, cuda) for part in _split(items, "OR")]
    return True if True in values else None if None in values else False


def _all(items: list[str | _Truth], cuda: Toolkit) -> bool | None:
    values = [_one(part, cuda) for part in _split(items, "AND")]
    return False if False in values else None if None in values else True


def _split(items: list[str | _Truth], operator: str) -> list[list[str | _Truth]]:
    parts: list[list[str | _Truth]] = [[]]
    for item in items:
        if item == operator:
            parts.append([])
        else:
            parts[-1].append(item)
    return parts


def _one(items: list[str | _Truth], cuda: Toolkit) -> bool | None:
    """Return the value of a condition without AND and OR."""
    negations = 0
    while negations < len(items) and items[negations] == "NOT":
        negations += 1
    value = _compared(items[negations:], cuda)
    return value if value is None or negations % 2 == 0 else not value


def _compared(items: list[str | _Truth], cuda: Toolkit) -> bool | None:
    """Return the value of a comparison with the version of the CUDA compiler, None for anything else."""
    match items:
        case [_Truth(value=value)]:
            return value
        case ["DEFINED", "CMAKE_CUDA_COMPILER_VERSION"]:
            return True
        case [str(left), str(operator), str(right)] if left in _COMPILER and operator in _COMPARISONS:
            numbers = re.match(r"(\d+)(?:\.(\d+))?", right)
            if numbers:
                there = (int(numbers[1]), int(numbers[2] or 0))
                return bool(_COMPARISONS[operator]((cuda.major, cuda.minor), there))
        case _:
            pass
    return None
