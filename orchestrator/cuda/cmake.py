"""Reads the kernel families of vLLM's CMakeLists.txt: each call of `cuda_archs_loose_intersection` with its list.

Follows `if` blocks that compare the version of the CUDA compiler. A condition on anything else counts as met: a preview
that shows a kernel too many does less harm than one that hides a kernel. `cuda.filters` computes what a list becomes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.cuda.arch import Arch, ArchSyntaxError, parse_list
from orchestrator.cuda.cmake_words import commands

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """One call of the filter.

    Attributes:
        name: The variable that the result is stored in: MARLIN_FP8_ARCHS.
        archs: The architectures that the kernels support.
        line: 1-based line of the call.
    """

    name: str
    archs: tuple[Arch, ...]
    line: int


@dataclass(kw_only=True, slots=True)
class _Block:
    """An open `if`.

    Attributes:
        live: Whether the current branch runs, None if unknown.
        settled: Whether a branch before it certainly runs.
    """

    live: bool | None
    settled: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _Truth:
    """The value of a part of a condition that stood in parentheses, None if unknown."""

    value: bool | None


def kernel_families(text: str, cuda: Toolkit) -> list[Family]:
    """Return the kernel families that are built for a CUDA release, in the order of the file.

    Args:
        text: The text of CMakeLists.txt.
        cuda: The toolkit of the build.
    """
    families = []
    blocks: list[_Block] = []
    for command in commands(text):
        words = command.texts
        match command.name:
            case "if":
                met = _met(words, cuda)
                blocks.append(_Block(live=met, settled=met is True))
            case "elseif" if blocks:
                met = _met(words, cuda)
                blocks[-1].live = False if blocks[-1].settled else met
                blocks[-1].settled = blocks[-1].settled or met is True
            case "else" if blocks:
                blocks[-1].live = not blocks[-1].settled
            case "endif" if blocks:
                blocks.pop()
            case "cuda_archs_loose_intersection":
                archs = _listed(words)
                if archs and all(block.live is not False for block in blocks):
                    families.append(Family(name=words[0], archs=archs, line=text.count("\n", 0, command.start) + 1))
            case _:
                pass
    return families


def _listed(words: list[str]) -> tuple[Arch, ...]:
    """Return the list of a call; empty if it is not a literal (the first call filters by a variable)."""
    if len(words) != 3 or "$" in words[1]:
        return ()
    try:
        return parse_list(words[1])
    except ArchSyntaxError:
        return ()


def _met(words: Sequence[str], cuda: Toolkit) -> bool | None:
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
