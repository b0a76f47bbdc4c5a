"""Arch lists and CUDA versions in lines that no reader understands: prose, comments, tables, other languages.

They are told, so that nothing that a person finds by searching is missing; only a regex can claim one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.cuda.arch import parse_list
from orchestrator.cuda.dialects import parse_cmake
from orchestrator.cuda.toolkit import first_toolkit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.drift.files import File

_ITEM = r"\d{1,2}\.\d[af]?(?:\+PTX)?"
_LIST = re.compile(rf"""(?<![\w.+-]){_ITEM}(?:(?:[ ;]+|["']?,[ ]*["']?){_ITEM})+(?![\w.+-])""")
_CMAKE = re.compile(r"(?<![\w.-])\d{2,3}[af]?(?:-real|-virtual)?(?:;\d{2,3}[af]?(?:-real|-virtual)?)+(?![\w.])")
_ALONE = re.compile(rf"""(?i)(?:arch_?list|cuda_?arch)\w*["'`)}}]*[ ]*[=:|(]?[ ]*["'`(]*({_ITEM})(?![\w.])""")
_NUMBER = r"\d{2,3}[af]?(?:-real|-virtual)?"
_CMAKE_ALONE = re.compile(
    rf"""(?i)cuda_?arch\w*["')}}]*[ ]*[?:]?[=:]+[ ]*[\["'(]*({_NUMBER}(?:[ ,]+{_NUMBER})*)(?![\w.])"""
)
# PROPERTY CUDA_ARCHITECTURES 80 90
_CMAKE_WORDS = re.compile(rf"""(?i)cuda_?arch\w*["')}}]*[ ]+["']?({_NUMBER}(?:[ ;]+{_NUMBER})*)(?![\w.;-])""")
_GENERATE = r"-{1,2}gen(?:erate-)?code[ =][\"']?arch=\S+"
_PAIR = r"(?<![\w=])arch=compute_\d{2,3}[af]?,code=(?:\w+|\[[\w, ]+\])"  # in a list of Python: "-gencode", "arch=…"
_GENCODE = re.compile(rf"{_GENERATE}(?:\s+{_GENERATE})*|-arch[ =]sm_\d{{2,3}}[af]?|{_PAIR}")
_GPUS = re.compile(r"(?<![\w.])(?:sm|compute)_\d{2,3}[af]?(?:[,;: ]+(?:sm|compute)_\d{2,3}[af]?)+(?![\w.])")
_GPU = re.compile(r"(?:sm|compute)_\d{2,3}")
_VERSION = r"1[0-9]\.\d{1,2}(?:\.\d)?(?![\w.]*\d)"
_CUDA = re.compile(rf"(?i)cuda[^0-9\n]{{0,24}}?(?P<first>{_VERSION})(?P<more>(?:[\"']?,[ ]*(?:or )?[\"']?{_VERSION})*)")
_EACH = re.compile(_VERSION)
_TELLING = re.compile(r"\d\.\d|(?:sm|compute)_\d|\d[af]?(?:-real|-virtual)?;\d|(?i:arch).*\d")
_COMMENT = re.compile(r"^\s*(?:#|//|;|<!--|\.\. )|\s#\s")
_PAGES = frozenset({"text", "requirements"})


class Mention(Struct, frozen=True, kw_only=True):
    """A value in a line that no reader understands.

    Attributes:
        file: Path of its file below the root.
        line: 1-based line.
        value: The list or the version as the line spells it.
        cuda: Whether it is a CUDA version; else it is an arch list.
        prose: Whether it stands in a page or a comment, so that nothing reads it.
    """

    file: str
    line: int
    value: str
    cuda: bool
    prose: bool


def mentions(file: File, reader: str) -> Iterator[Mention]:
    """Every list and version of a file, a line at a time.

    Args:
        file: The file.
        reader: Its reader by its name.
    """
    for number, line in enumerate(file.text.split("\n"), 1):
        if not _TELLING.search(line):
            continue
        comment = _COMMENT.search(line)
        for start, value, cuda in _values(line):
            prose = reader in _PAGES or (comment is not None and comment.start() <= start)
            yield Mention(file=file.name, line=number, value=value, cuda=cuda, prose=prose)


def _values(line: str) -> Iterator[tuple[int, str, bool]]:
    """The values of a line: where each begins, the value, and whether it is a CUDA version."""
    taken: list[tuple[int, int]] = []

    def free(start: int, end: int) -> bool:
        if any(first <= start and end <= last for first, last in taken):
            return False
        taken.append((start, end))
        return True

    versions = [(at.start(), at[0]) for match in _CUDA.finditer(line) for at in _EACH.finditer(match[0])]
    for pattern in (_LIST, _CMAKE):
        for match in pattern.finditer(line):
            if _is_list(match[0]) and free(*match.span()):
                yield match.start(), match[0], False
    for pattern in (_ALONE, _CMAKE_ALONE, _CMAKE_WORDS, _GENCODE, _GPUS):
        for match in pattern.finditer(line):
            group = pattern.groups  # the value alone, or the whole of it
            if (_is_list(match[group]) or _GPU.search(match[group])) and free(*match.span(group)):
                yield match.start(group), match[group], False
    for start, value in versions:
        if free(start, start + len(value)) or value.startswith("1"):
            yield start, value, True


def _is_list(text: str) -> bool:
    """Whether every item is an architecture that some toolkit compiles, or compiled once."""
    try:
        archs = (
            parse_list(re.sub(r"[\"',; ]+", " ", text))
            if "." in text
            else parse_cmake(re.sub("[ ,]+", ";", text.replace("-virtual", "")))
        )
    except ValueError:
        return False
    return all(first_toolkit(arch.plain()) is not None or arch.major in {3, 5, 6} for arch in archs)
