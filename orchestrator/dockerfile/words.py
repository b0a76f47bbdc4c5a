"""Words as shells and Dockerfiles write them: quotes, escapes, variables, and which characters a fix may replace.

Reads one word at a time; what the words of a line mean together is left to the readers of scripts and Dockerfiles.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.dockerfile.spans import Style

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.dockerfile.spans import Found, Source

SHELL_STOP = frozenset(" \t\r\n;|&()<>")
DOCKERFILE_STOP = frozenset(" \t\r\n")
MAX_VALUE = 65_536
"""Characters of a value: each ARG can double the one before it."""

_MAX_DEPTH = 16  # of ${A:-${B:-…}}
_DEFAULTING = frozenset({":-", "-", ":=", "="})
_BEGINNING = "'\"$`"
_QUOTE = frozenset('"')
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_BRACED = re.compile(r"\{([A-Za-z_]\w*)(?:(:?[-=+?])|\})", re.ASCII)
_BRACED_ARGUMENT = re.compile(r"\{([0-9]+)(:?-)", re.ASCII)  # ${1:-default}
_POSITIONAL = re.compile(r"[0-9@*#?!-]")


class Variable(Struct, frozen=True, kw_only=True):
    """A variable inside a word: `$NAME`, `${NAME}`, `${NAME:-default}`.

    `name` is "" where we cannot follow it, as in `$(command)` and `${1:-default}`.
    """

    name: str
    operator: str
    start: int
    end: int
    default_start: int = 0
    default_end: int = 0


class Word(Struct, frozen=True, kw_only=True):
    """One word of a text.

    Attributes:
        start: Offset of its first character.
        end: Offset after its last one.
        text: The word with quotes and escapes undone and variables as they are written.
        parts: The same in parts, variables apart.
        inner_start: Offset of the first character that a fix replaces (after the quote of a quoted word).
        inner_end: Offset after the last one.
        style: How a new value is written there.
    """

    start: int
    end: int
    text: str
    parts: tuple[str | Variable, ...]
    inner_start: int
    inner_end: int
    style: Style

    @property
    def variables(self) -> list[Variable]:
        """Its variables alone."""
        return [part for part in self.parts if not isinstance(part, str)]

    def expand(self, text: str, lookup: Callable[[str], str | None]) -> str | None:
        """The word with its variables followed, or None where one is not known or the result is too long.

        Args:
            text: The text that the word was read from.
            lookup: A variable's value, or None if it has none that can be read here.
        """
        pieces = []
        length = 0
        for part in self.parts:
            piece = part if isinstance(part, str) else _expand(part, text, lookup)
            length += len(piece or "")
            if piece is None or length > MAX_VALUE:
                return None
            pieces.append(piece)
        return "".join(pieces)


def substitute(text: str, lookup: Callable[[str], str | None], *, unset: str | None = "", escape: str = "\\") -> str:
    """One word of a Dockerfile with quotes undone and variables filled in, as BuildKit does for FROM.

    Args:
        text: The word.
        lookup: A variable's value, or None if it has none.
        unset: What a variable without a value becomes; None leaves it as it is written.
        escape: The escape character.

    Returns:
        At most `MAX_VALUE` characters. `${name#pattern}` and its like stay as they are written.
    """
    return _substitute(text, lookup, unset, escape, 0)


def _substitute(text: str, lookup: Callable[[str], str | None], unset: str | None, escape: str, depth: int) -> str:
    word = read_word(text, 0, escape=escape, stop=frozenset(), shell=False)
    pieces = []
    for part in word.parts:
        if isinstance(part, str):
            pieces.append(part)
            continue
        value = lookup(part.name) if part.name else None
        empty = value is None or (not value and part.operator.startswith(":"))
        inner = text[part.default_start : part.default_end]
        if not part.name or depth >= _MAX_DEPTH:
            pieces.append(text[part.start : part.end])
        elif part.operator in _DEFAULTING:
            pieces.append(_substitute(inner, lookup, unset, escape, depth + 1) if empty else str(value))
        elif part.operator in {":+", "+"}:
            pieces.append("" if empty else _substitute(inner, lookup, unset, escape, depth + 1))
        elif value is None:
            pieces.append(text[part.start : part.end] if unset is None else unset)
        else:
            pieces.append(value)
    return "".join(pieces)[:MAX_VALUE]


def _expand(variable: Variable, text: str, lookup: Callable[[str], str | None]) -> str | None:
    known = lookup(variable.name) if variable.name else None
    if variable.operator in _DEFAULTING:
        default = text[variable.default_start : variable.default_end]
        return known or (None if "$" in default or "`" in default else default)
    return known if not variable.operator else None


def place(source: Source, word: Word, lookup: Callable[[str], str | None], *, where: str = "") -> Found:
    """What a word says, as a place: a plain value, a default that can be fixed, or a value from elsewhere."""
    text = source.text
    if not word.variables:
        return source.found(word.text, word.inner_start, word.inner_end, word.style, where=where)
    (first, *more) = word.variables
    value = word.expand(text, lookup)
    alone = not more and not any(isinstance(part, str) and part for part in word.parts)
    default = text[first.default_start : first.default_end]
    literal = first.operator in _DEFAULTING and not any(char in default for char in "$`")
    if alone and literal and not lookup(first.name):
        quotes = '"' if word.style is Style.DOUBLE else "'\""
        start, end = _unquoted(text, first.default_start, first.default_end, quotes)
        return source.found(text[start:end], start, end, Style.DEFAULT, where=where)
    found = source.found(
        word.text if value is None else value,
        word.inner_start,
        word.inner_end,
        word.style,
        where=where,
        written=word.text,
    )
    return replace(found, via=f"it comes from {text[first.start : first.end]}")


def _unquoted(text: str, start: int, end: int, quotes: str) -> tuple[int, int]:
    """The span without a pair of one of the quotes around it; in "…", those of '…' are characters."""
    if end - start > 1 and text[start] == text[end - 1] and text[start] in quotes:
        return start + 1, end - 1
    return start, end


def read_word(text: str, at: int, *, escape: str = "\\", stop: frozenset[str] = SHELL_STOP, shell: bool = True) -> Word:
    """The word that starts at an offset (an empty one where a separator stands there).

    Args:
        text: The text.
        at: The offset.
        escape: The escape character.
        stop: The characters that end a word.
        shell: Whether backticks and $(…) run commands, as they do in a shell and not in a Dockerfile.

    A quote that is not closed ends with the text: files come from elsewhere, and any text can be read.
    """
    pos = at
    parts: list[str | Variable] = []
    segments: list[Style] = []
    plain = _plain(escape, stop)
    if whole := plain.match(text, at):  # most words are nothing but this
        pos = whole.end()
        parts.append(whole[0])
        if pos == len(text) or text[pos] in stop:
            return Word(
                start=at, end=pos, text=whole[0], parts=tuple(parts), inner_start=at, inner_end=pos, style=Style.WORD
            )
        segments.append(Style.WORD)
    while pos < len(text) and text[pos] not in stop:
        char = text[pos]
        if run := plain.match(text, pos):
            if not segments or segments[-1] is not Style.WORD:
                segments.append(Style.WORD)
            parts.append(run[0])
            pos = run.end()
        elif char == "'":
            close = text.find("'", pos + 1)
            close = len(text) if close < 0 else close
            parts.append(text[pos + 1 : close])
            segments.append(Style.SINGLE)
            pos = min(close + 1, len(text))
        elif char == '"':
            pos = _double(text, pos + 1, parts, escape, shell=shell)
            segments.append(Style.DOUBLE)
        else:
            if not segments or segments[-1] is not Style.WORD:
                segments.append(Style.WORD)
            if char == escape:
                goes_on = text.startswith(("\n", "\r\n"), pos + 1)  # a line that goes on
                parts.append("" if goes_on else text[pos + 1 : pos + 2])
                pos = text.index("\n", pos) + 1 if goes_on else min(pos + 2, len(text))
            elif char == "$" or (char == "`" and shell):
                pos = _variable(text, pos, parts, shell=shell)
            else:
                parts.append(char)
                pos += 1
    quoted = segments in ([Style.SINGLE], [Style.DOUBLE])
    closed = quoted and pos - at >= 2 and text[pos - 1] == text[at]
    return Word(
        start=at,
        end=pos,
        text="".join(part if isinstance(part, str) else text[part.start : part.end] for part in parts),
        parts=tuple(parts),
        inner_start=at + 1 if closed else at,
        inner_end=pos - 1 if closed else pos,
        style=segments[0] if closed else Style.WORD,
    )


@functools.cache
def _plain(escape: str, stop: frozenset[str]) -> re.Pattern[str]:
    """What stands for itself: as many characters as possible that end no word and begin nothing."""
    return re.compile(f"[^{re.escape(''.join(sorted(stop | {escape, *_BEGINNING})))}]+")


def _double(text: str, pos: int, parts: list[str | Variable], escape: str, *, shell: bool) -> int:
    """Read the inside of "…" into `parts` and give the offset after its closing quote."""
    plain = _plain(escape, _QUOTE)
    while pos < len(text) and text[pos] != '"':
        char = text[pos]
        if run := plain.match(text, pos):
            parts.append(run[0])
            pos = run.end()
        elif char == escape and pos + 1 < len(text):
            following = text[pos + 1]
            if text.startswith(("\n", "\r\n"), pos + 1):
                pos = text.index("\n", pos) + 1
                continue
            if following in f'"${escape}' or (following == "`" and shell):
                parts.append(following)
            else:
                parts.append(char + following)
            pos += 2
        elif char == "$" or (char == "`" and shell):
            pos = _variable(text, pos, parts, shell=shell)
        else:
            parts.append(char)
            pos += 1
    return min(pos + 1, len(text))


def _variable(text: str, pos: int, parts: list[str | Variable], *, shell: bool) -> int:
    """Read what `$` or a backtick begins into `parts` and give the offset after it."""
    if text[pos] == "`":
        close = text.find("`", pos + 1)
        end = len(text) if close < 0 else close + 1
        parts.append(Variable(name="", operator="", start=pos, end=end))
        return end
    named = _NAME.match(text, pos + 1)
    if named:
        parts.append(Variable(name=named[0], operator="", start=pos, end=named.end()))
        return named.end()
    if shell and _POSITIONAL.match(text, pos + 1):  # an argument of the script, the status of a command
        parts.append(Variable(name="", operator="", start=pos, end=pos + 2))
        return pos + 2
    if text[pos + 1 : pos + 2] not in ({"{", "("} if shell else {"{"}):
        parts.append("$")
        return pos + 1
    end = _balanced(text, pos + 1)
    braced = _BRACED.match(text, pos + 1)
    argument = _BRACED_ARGUMENT.match(text, pos + 1) if shell and braced is None else None
    braced = braced or argument
    if braced is None:
        parts.append(Variable(name="", operator="", start=pos, end=end))
    else:
        default_end = end - 1 if text[end - 1 : end] == "}" else end
        parts.append(
            Variable(
                name="" if argument else braced[1],
                operator=braced[2] or "",
                start=pos,
                end=end,
                default_start=min(braced.end(), default_end) if braced[2] else 0,
                default_end=default_end if braced[2] else 0,
            )
        )
    return end


def _balanced(text: str, pos: int) -> int:
    """The offset after the bracket that closes the one at `pos`; quotes inside are stepped over."""
    opening = text[pos]
    closing = {"{": "}", "(": ")"}[opening]
    depth = 0
    while pos < len(text):
        char = text[pos]
        if char == "\\":
            pos += 1
        elif char == "'" and opening == "(":
            close = text.find("'", pos + 1)
            pos = len(text) if close < 0 else close
        elif char == opening:
            depth += 1
        elif char == closing:
            depth -= 1
            if depth == 0:
                return pos + 1
        pos += 1
    return len(text)
