"""Shell text as operators and words; blanks, comments, lines that go on and the bodies of here-documents are no words.

A reader of scripts, not a shell: any text can be read.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING, Protocol, TypeVar

from msgspec import Struct

from orchestrator.dockerfile.words import read_word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_OPERATOR = re.compile(r"&&|\|\||;;|\|&|[;|&()\n]")
_HEREDOC = re.compile(r"<<-?(?!<)[ \t]*")
_REDIRECTION = re.compile(r"(?:<<<|<>|>>|[<>])(?!\()&?[-|]?[ \t]*|[<>]")
_NO_WORD = frozenset("&|;()\n \t\r\ufeff#\\<>")
"""What an operator, a blank, a comment or a line that goes on begins with; a word may begin with a backslash."""
_SKIPPED = re.compile(r"[ \t\r\ufeff]+|#[^\n]*|\\\r?\n")


class Operator(Struct, frozen=True, kw_only=True):
    """An operator of the shell.

    Attributes:
        text: `&&`, `|`, `;`, a line end, …; of a redirection `<` or `>`, of a here-document `<<`, of a process
            substitution `<(`.
        document: The body of a here-document, or what stands in a process substitution.
        expanded: Whether the shell expands that body, as no part of the name behind `<<` is quoted.
    """

    text: str
    document: str = ""
    expanded: bool = False


_OPERATORS = {text: Operator(text=text) for text in ("&&", "||", ";;", "|&", *";|&()\n")}


class _Ending(Protocol):
    @property
    def end(self) -> int: ...


_Read = TypeVar("_Read", bound=_Ending)


def scan(text: str, read: Callable[[str, int], _Read]) -> Iterator[Operator | _Read]:
    """The operators and words of shell text.

    Args:
        text: The text. A here-document that never ends is read on as commands.
        read: Reads the word that begins at an offset. The target of `<` and `>` is a word like any other, the name of a
            here-document is none.
    """
    bodies = _Bodies(text)
    at = 0
    line_end = -1  # of the line that opened a here-document last
    behind = 0  # the end of the last line of its here-documents
    while at < len(text):
        if text[at] not in _NO_WORD:  # most of a script
            word = read(text, at)
            if not (text.startswith(("<", ">"), word.end) and text[at : word.end].isdecimal()):  # else a redirection's
                yield word
            at = max(word.end, at + 1)
        elif skipped := _SKIPPED.match(text, at):  # words are read whole, so a # here begins a comment
            at = skipped.end()
        elif operator := _OPERATOR.match(text, at):
            yield _OPERATORS[operator[0]]
            at = max(operator.end(), behind) if operator[0] == "\n" else operator.end()
        elif (opened := _HEREDOC.match(text, at)) and (name := read_word(text, opened.end())).text:
            at = name.end
            if line_end < at:
                found = text.find("\n", at)
                line_end = len(text) if found < 0 else found
            body, behind = bodies.read(max(behind, line_end) + 1, name.text)
            yield Operator(text="<<", document=body, expanded=text[name.start : name.end] == name.text)
        elif text.startswith(("<(", ">("), at):
            end = _closed(text, at + 1)
            yield Operator(text="<(", document=text[at + 2 : end - 1])
            at = end
        elif redirection := _REDIRECTION.match(text, at):
            yield Operator(text=redirection[0][0])
            at = redirection.end()
        else:
            word = read(text, at)
            yield word
            at = max(word.end, at + 1)


def _closed(text: str, start: int) -> int:
    """The offset after the `)` that belongs to the `(` at an offset, or the end of the text."""
    inside = read_word(f"${text[start:]}", 0).variables
    return start + inside[0].end - 1 if inside else len(text)


class _Bodies:
    """The bodies of here-documents; the lines that can end one are found in one pass, as none of many may be closed."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._ends: dict[str, list[tuple[int, int]]] | None = None

    def read(self, start: int, name: str) -> tuple[str, int]:
        """The body that starts at an offset, and the end of its last line; "" and the line before for none."""
        if self._ends is None:
            self._ends = {}
            for line in re.finditer(r"[^\n]+", self._text):
                self._ends.setdefault(line[0].strip(" \t\r"), []).append(line.span())
        ends = self._ends.get(name, [])
        index = bisect_right(ends, (start, -1))
        return (self._text[start : ends[index][0]], ends[index][1]) if index < len(ends) else ("", start - 1)
