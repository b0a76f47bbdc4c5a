"""The words of a shell script: assignments, arrays, operators; comments and here-documents are left out.

A reader of scripts, not a shell: any text has words.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator.dockerfile.spans import Style
from orchestrator.dockerfile.words import SHELL_STOP, Word, read_word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.dockerfile.words import Variable

_ASSIGNMENT = re.compile(
    r"(?P<flag>--build-arg=|-D)?(?P<name>[A-Za-z_]\w*)(?(flag)(?::[A-Z]+)?)(?P<add>\+?)=", re.ASCII
)
_BLANKS = re.compile(r"[ \t\r\ufeff]+")
_HEREDOC = re.compile(r"<<-?[ \t]*([\"'\\]?)([A-Za-z_]\w*)\1?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """A word of a command; `name` where it is spelled NAME=value, and `word` is then the value alone."""

    word: Word
    name: str = ""
    flag: str = ""  # --build-arg= or -D, written with it in one word
    adds: bool = False  # NAME+=value
    array: bool = False  # NAME=(…)
    start: int


def tokens(text: str) -> Iterator[Token | str]:
    """Words, and operators as strings; comments, continuations and here-documents are skipped."""
    pos = 0
    heredocs: list[str] = []
    bodies = _Heredocs(text)
    while (pos := _blanks_end(text, pos)) < len(text):
        char = text[pos]
        if char == "\n":
            yield "\n"
            pos += 1
            for word in heredocs:
                pos = bodies.after(pos, word)
            heredocs.clear()
        elif char == "\\" and text[pos + 1 : pos + 3].startswith(("\n", "\r\n")):
            pos = text.index("\n", pos) + 1
        elif char == "#":
            end = text.find("\n", pos)
            pos = len(text) if end < 0 else end
        elif char in SHELL_STOP:
            opened = _HEREDOC.match(text, pos)
            if opened and not text.startswith("<<<", pos):
                heredocs.append(opened[2])
                pos = opened.end()
            elif char in "<>" or (char == "&" and text[pos - 1 : pos] in {"<", ">"}):
                pos += 1  # a redirection separates words, not commands
            else:
                operator = next((both for both in (";;", "&&", "||") if text.startswith(both, pos)), char)
                yield operator
                pos += len(operator)
        else:
            token = _token(text, pos)
            yield token
            pos = max(token.word.end, pos + 1)


def _blanks_end(text: str, pos: int) -> int:
    blanks = _BLANKS.match(text, pos)
    return blanks.end() if blanks else pos


def _token(text: str, pos: int) -> Token:
    named = _ASSIGNMENT.match(text, pos)
    if named is None or (named["flag"] and named["add"]):
        return Token(word=read_word(text, pos), start=pos)
    array = text.startswith("(", named.end())
    word = _array(text, named.end()) if array else read_word(text, named.end())
    adds = bool(named["add"])
    return Token(word=word, name=named["name"], flag=named["flag"] or "", adds=adds, array=array, start=pos)


def _array(text: str, start: int) -> Word:
    """The words of `(…)` as one word, joined by blanks."""
    words: list[Word] = []
    pos = start + 1
    while pos < len(text) and text[pos] != ")":
        if text[pos] == "#":
            end = text.find("\n", pos)
            pos = len(text) if end < 0 else end
        elif text[pos] in SHELL_STOP:
            pos += 1
        else:
            words.append(read_word(text, pos))
            pos = max(words[-1].end, pos + 1)
    parts: list[str | Variable] = []
    for word in words:
        parts += [" ", *word.parts] if parts else word.parts
    end = min(pos + 1, len(text))
    return Word(
        start=start,
        end=end,
        text=" ".join(word.text for word in words),
        parts=tuple(parts),
        inner_start=start,
        inner_end=end,
        style=Style.RAW,
    )


class _Heredocs:
    """The lines that can end a here-document, found in one pass: a script may open many and close none."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._ends: dict[str, list[int]] | None = None

    def after(self, pos: int, word: str) -> int:
        """The offset after a here-document's last line; where it never ends, the offset it began at."""
        if self._ends is None:
            self._ends = {}
            for line in re.finditer(r"[^\n]+", self._text):
                self._ends.setdefault(line[0].strip(" \t\r"), []).append(line.end())
        ends = self._ends.get(word, [])
        index = bisect_right(ends, pos)
        return ends[index] if index < len(ends) else pos


def split(text: str, token: Token) -> Token | None:
    """The token of a word that is quoted as a whole, `"NAME=value"`, as name and value."""
    word = token.word
    named = _ASSIGNMENT.match(text, word.inner_start, word.inner_end)
    if named is None or named["add"] or named["flag"] or word.inner_start == word.start:
        return None
    prefix = named[0]
    length = len(prefix)
    kept: list[str | Variable] = []
    for part in word.parts:
        if isinstance(part, str):
            kept.append(part[length:])
            length = max(length - len(part), 0)
        else:
            kept.append(part)
    value = replace(word, text=word.text[len(prefix) :], parts=tuple(kept), inner_start=named.end())
    return replace(token, word=value, name=named["name"])
