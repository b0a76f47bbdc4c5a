"""Reads `.dockerignore` files and tells which paths BuildKit leaves out of a context.

Source of the rules: moby/patternmatcher, which BuildKit asks for every path of a walk; tests/differential compares the
answers with what a build really gets. A pattern that BuildKit refuses, or that only Go's regular expressions know, is
an `UnknownPatternError`: the content of such a context is unknown, never guessed.
"""

from __future__ import annotations

import posixpath
import re
import warnings
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

NAME = ".dockerignore"
"""The file beside a context's content, and the suffix of the one beside a Dockerfile."""

_BOM = b"\xef\xbb\xbf"
_LONGEST = 64 << 10  # bytes of a line; BuildKit's reader refuses longer ones
_BLANK = " \t\n\v\f\r\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_SPECIAL = frozenset(".+()|{}$")
_ANY, _DEEP, _REST = "[^/]*", "(?:.*/)?", ".*"
_REPEATS = frozenset({_ANY, _DEEP, _REST})
_BACKTRACKED = 2  # wildcards; with more, Python's expressions may take time without bound
_SAME_ESCAPES = frozenset("dDwWsSbBaftnrv")
_POSIX_CLASS = re.compile(r"\[:\^?[a-z]+:\]")


class UnknownPatternError(ValueError):
    """A pattern whose meaning is unknown: BuildKit refuses it, or it uses a part of Go's syntax that is not read."""


class Matched(Struct, frozen=True):
    """What the patterns say of one path.

    Attributes:
        ignored: Whether the path is left out.
        by: For each pattern whether it applied; what is below a directory inherits it.
    """

    ignored: bool
    by: tuple[bool, ...]


class _Pattern(Struct, frozen=True):
    negated: bool
    matches: Callable[[str], bool]


class Ignore:
    """The patterns of one file.

    Args:
        patterns: As `read` gives them.

    Raises:
        UnknownPatternError: One cannot be read.
    """

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        self._patterns = tuple(_pattern(text) for text in patterns)
        self.negations = any(pattern.negated for pattern in self._patterns)

    def match(self, path: str, parent: Matched | None = None) -> Matched:
        """Tell whether a path is left out.

        Args:
            path: Relative to the context, with `/`.
            parent: What `match` gave for its directory; None at the top.
        """
        ignored = False
        by = []
        for number, pattern in enumerate(self._patterns):
            applies = parent is not None and parent.by[number]
            # A pattern that cannot change the answer is not tried, and is not inherited: BuildKit does the same.
            if not applies and pattern.negated == ignored:
                applies = pattern.matches(path)
            by.append(applies)
            if applies:
                ignored = not pattern.negated
        return Matched(ignored, tuple(by))


def read(data: bytes) -> list[str]:
    """Return the patterns of a `.dockerignore` file.

    Raises:
        UnknownPatternError: A line is too long for BuildKit, or is not UTF-8.
    """
    return list(_lines(data.removeprefix(_BOM)))


def _lines(data: bytes) -> Iterator[str]:
    for raw in data.split(b"\n"):
        if len(raw) >= _LONGEST:
            raise UnknownPatternError(f"a line has more than {_LONGEST} bytes")
        try:
            line = raw.removesuffix(b"\r").decode()
        except UnicodeDecodeError as error:
            raise UnknownPatternError("a line is not UTF-8") from error
        if line.startswith("#"):
            continue
        text = line.strip(_BLANK)
        negated = text.startswith("!")
        text = text[1:].strip(_BLANK) if negated else text
        if not text:
            if negated:
                raise UnknownPatternError('the pattern "!" is invalid')
            continue
        text = _clean(text)
        yield f"{'!' if negated else ''}{text[1:] if len(text) > 1 and text[0] == '/' else text}"


def _clean(text: str) -> str:
    """A path without `.`, `..` and doubled slashes, as Go's `filepath.Clean`; leading slashes are one."""
    return posixpath.normpath(f"/{text.lstrip('/')}" if text.startswith("/") else text)


def _pattern(text: str) -> _Pattern:
    negated = text.startswith("!")
    text = _clean(text.removeprefix("!"))
    _check(text)
    return _Pattern(negated, _matcher(text))


def _check(text: str) -> None:
    """Refuse what Go's `filepath.Match` refuses: an open or an empty bracket, a backslash at the end."""
    at = 0
    while at < len(text):
        if text[at] == "\\":
            at += 1
            if at == len(text):
                raise UnknownPatternError(f"{text!r} ends with a backslash")
        elif text[at] == "[":
            at = _bracket(text, at + 1)
        at += 1


def _bracket(text: str, at: int) -> int:
    """The offset of the bracket that ends a character class."""
    at += text[at : at + 1] == "^"
    first = True
    while first or text[at : at + 1] != "]":
        first = False
        at = _bracket_character(text, at)
        if text[at : at + 1] == "-":
            at = _bracket_character(text, at + 1)
    return at


def _bracket_character(text: str, at: int) -> int:
    if text[at : at + 1] == "\\":
        at += 1
    elif text[at : at + 1] in {"-", "]"}:
        raise UnknownPatternError(f"{text!r} has an invalid character class")
    if at + 1 >= len(text):
        raise UnknownPatternError(f"{text!r} has a character class without an end")
    return at + 1


def _matcher(text: str) -> Callable[[str], bool]:
    """How a pattern is compared: `**` at one end is a plain prefix or suffix, other wildcards a regular expression."""
    if not set(text) & set("*?[]\\"):
        return text.__eq__
    inner = text.removeprefix("**")
    if inner != text and not set(inner) & set("*?[]\\"):
        return lambda path: path.endswith(inner) or (inner.startswith("/") and path == inner[1:])
    inner = text.removesuffix("**")
    if inner != text and not set(inner) & set("*?[]\\"):
        return lambda path: path.startswith(inner)
    if _POSIX_CLASS.search(text):
        raise UnknownPatternError(f"{text!r} has a named character class")
    pieces = list(_translated(text))
    if sum(piece in _REPEATS for piece in pieces) > _BACKTRACKED:
        return _Machine(pieces, text).match
    expression = _compiled("".join(pieces) + r"\Z", text)
    return lambda path: expression.match(path) is not None


def _compiled(expression: str, text: str) -> re.Pattern[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # Python 3 reads [[ and -- as Go does
            return re.compile(expression, re.ASCII)
    except (re.error, OverflowError, RecursionError) as error:
        raise UnknownPatternError(f"{text!r} is invalid: {error}") from error


class _Machine:
    """Matches all ways at once, as Go's regular expressions do: many wildcards cost no more than few.

    Args:
        pieces: Of the expression, each for one character or one of `_REPEATS`.
        text: The pattern, for a message.
    """

    def __init__(self, pieces: Sequence[str], text: str) -> None:
        steps: list[str] = []
        bracket = ""
        for piece in pieces:
            if bracket or piece == "[":
                bracket += piece
                if piece in _REPEATS:
                    raise UnknownPatternError(f"{text!r} has a wildcard in a character class")
                if piece == "]" and bracket not in {"[]", "[^]"}:
                    steps.append(bracket)
                    bracket = ""
            else:
                steps.append(piece)
        self._repeats = [step if step in _REPEATS else "" for step in steps]
        self._tests = [_compiled(step, text).fullmatch for step in steps if step not in _REPEATS]
        numbers = iter(range(len(self._tests)))
        self._test_of = [-1 if repeat else next(numbers) for repeat in self._repeats]

    def match(self, path: str) -> bool:
        """Whether the whole path matches."""
        end = len(self._repeats)
        at = self._reached({0})
        for one in path:
            after: set[int] = set()
            for state in at:
                if state < 0:  # inside of `**/`, which ends behind a slash
                    after |= {state} if one != "\n" else set()
                    after |= {-state} if one == "/" else set()
                elif state < end:
                    after |= self._after(state, one)
            at = self._reached(after)
            if not at:
                return False
        return end in at

    def _after(self, state: int, one: str) -> set[int]:
        repeat = self._repeats[state]
        if not repeat:
            return {state + 1} if self._tests[self._test_of[state]](one) else set()
        if repeat == _DEEP or one == ("/" if repeat == _ANY else "\n"):
            return set()
        return {state}

    def _reached(self, states: set[int]) -> set[int]:
        """The states with those that are reached without a character; `-n` is inside of the `**/` before state n."""
        found: set[int] = set()
        waiting = list(states)
        while waiting:
            state = waiting.pop()
            if state in found:
                continue
            found.add(state)
            if 0 <= state < len(self._repeats) and self._repeats[state]:
                waiting.append(state + 1)
                if self._repeats[state] == _DEEP:
                    waiting.append(-state - 1)
        return found


def _translated(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        one = text[at]
        at += 1
        if one == "*" and text[at : at + 1] == "*":
            at += 1
            at += text[at : at + 1] == "/"
            yield _DEEP if at < len(text) else _REST
        elif one == "*":
            yield _ANY
        elif one == "?":
            yield "[^/]"
        elif one == "\\":
            if text[at].isalnum() and text[at] not in _SAME_ESCAPES:
                raise UnknownPatternError(f"{text!r} escapes {text[at]!r}")
            yield f"\\{text[at]}"
            at += 1
        elif one in _SPECIAL:
            yield f"\\{one}"
        else:
            yield one
