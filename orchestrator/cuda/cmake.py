"""The kernel families of a CMakeLists.txt of vLLM's kind: each call of `cuda_archs_loose_intersection` with its list.

It follows `if` blocks that compare the CUDA compiler's version; a condition on anything else counts as met, because a
preview that shows a kernel too many does less harm than one that hides it. What a list becomes is `cuda.filters`'s.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.cuda.arch import Arch, ArchSyntaxError, parse_list

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.cuda.toolkit import Toolkit

_COMMAND = re.compile(r"(?P<comment>#[^\n]*)|(?P<name>[A-Za-z_]\w*)[ \t]*\(")
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|\#[^\n]*|[()]|[^\s()"#]+')
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
        name: The variable that takes its result: MARLIN_FP8_ARCHS.
        archs: The list that the kernel asks for.
        line: 1-based line of the call.
    """

    name: str
    archs: tuple[Arch, ...]
    line: int


@dataclass(kw_only=True, slots=True)
class _Block:
    """An `if` that is open: whether its branch at hand may run, and whether one before it surely did."""

    live: bool | None
    settled: bool


def kernel_families(text: str, cuda: Toolkit) -> list[Family]:
    """The kernel families that a CUDA release meets, in the order of the file.

    Args:
        text: CMakeLists.txt.
        cuda: The toolkit of the build.
    """
    families = []
    blocks: list[_Block] = []
    for name, words, start in _commands(text):
        match name.lower():
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
                    families.append(Family(name=words[0], archs=archs, line=text.count("\n", 0, start) + 1))
            case _:
                pass
    return families


def _listed(words: list[str]) -> tuple[Arch, ...]:
    """The kernel's own list; empty where it is no literal (the first call filters by a variable)."""
    if len(words) != 3 or "$" in words[1]:
        return ()
    try:
        return parse_list(words[1])
    except ArchSyntaxError:
        return ()


def _commands(text: str) -> Iterator[tuple[str, list[str], int]]:
    """Every command with its arguments, quotes taken off, and the offset it begins at."""
    pos = 0
    while (command := _COMMAND.search(text, pos)) is not None:
        pos = command.end()
        if command["comment"]:
            continue
        words: list[str] = []
        depth = 1
        while depth and (word := _WORD.search(text, pos)) is not None:
            pos = word.end()
            depth += (word[0] == "(") - (word[0] == ")")
            if depth and not word[0].startswith("#"):
                words.append(word[0].strip('"'))
        yield command["name"], words, command.start()


def _met(words: list[str], cuda: Toolkit) -> bool | None:
    """Whether a condition holds; None where it asks for something that only a configure run knows."""
    if "OR" in words:
        at = words.index("OR")
        left, right = _met(words[:at], cuda), _met(words[at + 1 :], cuda)
        return True if left or right else None if None in (left, right) else False
    if "AND" in words:
        at = words.index("AND")
        left, right = _met(words[:at], cuda), _met(words[at + 1 :], cuda)
        return False if False in (left, right) else None if None in (left, right) else True
    if words[:1] == ["NOT"]:
        inner = _met(words[1:], cuda)
        return None if inner is None else not inner
    if words[:1] == ["DEFINED"] and words[1:] == ["CMAKE_CUDA_COMPILER_VERSION"]:
        return True
    if len(words) == 3 and words[0] in _COMPILER and words[1] in _COMPARISONS:
        numbers = re.match(r"(\d+)(?:\.(\d+))?", words[2])
        if numbers:
            there = (int(numbers[1]), int(numbers[2] or 0))
            return bool(_COMPARISONS[words[1]]((cuda.major, cuda.minor), there))
    return None
