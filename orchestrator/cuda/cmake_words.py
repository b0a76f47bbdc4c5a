"""The commands of a CMake file with their arguments, each with its place; comments are left out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator

_COMMAND = re.compile(
    r"(?P<comment>#\[(?P<level>=*)\[.*?(?:\](?P=level)\]|\Z)|#[^\n]*)|(?P<name>[A-Za-z_]\w*)[ \t]*\(", re.DOTALL
)
_WORD = re.compile(
    r'"(?:[^"\\]|\\.)*"|#\[(?P<level>=*)\[.*?(?:\](?P=level)\]|\Z)|#[^\n]*|\[(?P<bracket>=*)\[.*?(?:\](?P=bracket)\]|\Z)'
    r'|[()]|(?:\\.|[^\s()"#\\])+',
    re.DOTALL,
)


class CmakeWord(Struct, frozen=True, kw_only=True):
    """One argument of a command.

    Attributes:
        text: The argument without its quotes.
        start: Offset of its first character, after the quote.
        end: Offset after its last one.
        quoted: Whether quotes stand around it.
    """

    text: str
    start: int
    end: int
    quoted: bool


class CmakeCommand(Struct, frozen=True, kw_only=True):
    """One command.

    Attributes:
        name: Its name, in lowercase letters.
        words: Its arguments, parentheses inside included.
        start: Offset of its name.
    """

    name: str
    words: tuple[CmakeWord, ...]
    start: int

    @property
    def texts(self) -> list[str]:
        """Its arguments as texts."""
        return [word.text for word in self.words]


def commands(text: str) -> Iterator[CmakeCommand]:
    """Every command of a CMake file, in order."""
    pos = 0
    while (command := _COMMAND.search(text, pos)) is not None:
        pos = command.end()
        if command["comment"]:
            continue
        words: list[CmakeWord] = []
        depth = 1
        while depth and (word := _WORD.search(text, pos)) is not None:
            pos = word.end()
            depth += (word[0] == "(") - (word[0] == ")")
            if depth and not word[0].startswith("#"):
                quoted = word[0].startswith('"')
                start, end = word.start() + quoted, word.end() - quoted
                words.append(CmakeWord(text=text[start:end], start=start, end=end, quoted=quoted))
        yield CmakeCommand(name=command["name"].lower(), words=tuple(words), start=command.start())
