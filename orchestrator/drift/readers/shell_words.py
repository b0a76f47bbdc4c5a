"""The words of a shell script with the assignments and arrays among them, and where their values stand."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.dockerfile.shell import Operator, scan
from orchestrator.dockerfile.spans import Style
from orchestrator.dockerfile.words import SHELL_STOP, Word, read_word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.dockerfile.words import Variable

_ASSIGNMENT = re.compile(
    r"(?P<flag>--build-arg=|-D|(?:--set=)?[\w*?-]+\.args\.)?(?P<name>[A-Za-z_]\w*)(?(flag)(?::[A-Z]+)?)(?P<add>\+?)=",
    re.ASCII,
)

_BEFORE_QUOTES = re.compile(r"(?:--build-arg=|-D)?(?=[\"'])")
_IN_ONE_WORD = frozenset({"-D", "--build-arg="})
"""Flags that are an assignment wherever they stand; a quoted `NAME=value` may be any text."""


class Token(Struct, frozen=True, kw_only=True):
    """A word of a command; `name` where it is spelled NAME=value, and `word` is then the value alone."""

    word: Word
    name: str = ""
    flag: str = ""  # --build-arg=, -D or TARGET.args., written with it in one word
    adds: bool = False  # NAME+=value
    array: bool = False  # NAME=(…)
    start: int

    @property
    def end(self) -> int:
        """The offset after it."""
        return self.word.end


def tokens(text: str) -> Iterator[Token | str]:
    """Words, and operators as strings; a redirection separates words, not commands."""
    for item in scan(text, _token):
        if not isinstance(item, Operator):
            yield item
        elif item.text[0] not in "<>":
            yield item.text


def _token(text: str, pos: int) -> Token:
    named = _ASSIGNMENT.match(text, pos)
    if named is None or (named["flag"] and named["add"]):
        return _quoted(text, pos) or Token(word=read_word(text, pos), start=pos)
    array = text.startswith("(", named.end())
    word = _array(text, named.end()) if array else read_word(text, named.end())
    adds = bool(named["add"])
    return Token(word=word, name=named["name"], flag=named["flag"] or "", adds=adds, array=array, start=pos)


def _quoted(text: str, pos: int) -> Token | None:
    """The assignment behind a flag whose quotes do not begin at the value: `'-DNAME=value'`, `-D'NAME=value'`."""
    flag = _BEFORE_QUOTES.match(text, pos)
    if flag is None:
        return None
    parts = split(text, Token(word=read_word(text, flag.end()), start=pos))
    if parts is None or (parts.flag not in _IN_ONE_WORD if not flag[0] else parts.flag):
        return None
    return replace(parts, flag=flag[0] or parts.flag)


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


def split(text: str, token: Token) -> Token | None:
    """The token of a word that is quoted as a whole, `"NAME=value"` or `'-DNAME=value'`, as name and value."""
    word = token.word
    named = _ASSIGNMENT.match(text, word.inner_start, word.inner_end)
    flag = "" if named is None else named["flag"] or ""
    if named is None or named["add"] or word.inner_start == word.start:
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
    return replace(token, word=value, name=named["name"], flag=flag)
