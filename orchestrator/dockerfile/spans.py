"""Where a value stands in a text, and how a new one is written into that very place.

Readers find values in files of many kinds; this module holds what they share: the span of a value, the nesting of
texts inside texts (a shell command inside a quoted YAML scalar) and the quoting that each of them asks for.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from enum import Enum
from typing import TYPE_CHECKING

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Sequence


class Style(Enum):
    """How a value is written in the place it stands in; the span of a quoted style lies between the quotes."""

    RAW = "raw"
    WORD = "word"  # an unquoted word of a shell or a Dockerfile
    DOCKERFILE = "dockerfile"  # an unquoted word of ARG or ENV, in which `;` is a character
    TAG = "tag"  # of an image that a stage is FROM
    SINGLE = "single"  # '…' of a shell or a Dockerfile
    DOUBLE = "double"  # "…" of a shell or a Dockerfile
    DEFAULT = "default"  # of ${NAME:-…}, in a shell, a Dockerfile, an env file, a Compose file
    COMPOSE = "compose"  # a text in which Compose fills in variables
    ENV_PLAIN = "env plain"  # the rest of a line of an env file
    ENV_QUOTED = "env quoted"  # "…" of an env file
    CMAKE_QUOTED = "cmake quoted"
    CMAKE_BARE = "cmake bare"
    CMAKE_WORDS = "cmake words"  # the items of a list as bare words
    MAKE = "make"  # the rest of a line of a Makefile
    HCL_STRING = "hcl string"
    HCL_BARE = "hcl bare"  # a number or a boolean
    JSON_STRING = "json string"
    JSON_BARE = "json bare"
    YAML_PLAIN = "yaml plain"
    YAML_SINGLE = "yaml single"
    YAML_DOUBLE = "yaml double"
    YAML_BLOCK = "yaml block"  # | and >
    TOML_BASIC = "toml basic"
    TOML_LITERAL = "toml literal"
    TOML_BARE = "toml bare"


_BARE_WORD = re.compile(r"[\w./:+,@%=~^-]*", re.ASCII)
_DOCKERFILE_WORD = re.compile(r"[\w./:+,@%=~^;-]*", re.ASCII)
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_PLAIN_YAML = re.compile(r"(?!-(?: |\Z))[A-Za-z0-9_./+-]([\w ./:+@%=;~^$-]*[\w./+@%=;~^$-])?", re.ASCII)
_YAML_NUMBER = re.compile(
    r"[-+]?(?:0[box][\da-fA-F_]+|\d[\d_]*(?::[0-5]?\d)+(?:\.[\d_]*)?|(?:\d[\d_]*(?:\.[\d_]*)?|\.[\d_]+)(?:[eE][-+]?\d+)?)"
    r"|null|Null|NULL",
    re.ASCII,
)
_SAME_NUMBER = re.compile(r"(?=.{1,15}\Z)-?(?:0|[1-9]\d*)(?:\.(?:0|\d*[1-9]))?", re.ASCII)
"""A number that any reader shows as it is written: 12.9, and not 12.10."""
_WITHOUT = {
    Style.SINGLE: "'",
    Style.DEFAULT: "'\"\\$`{}~",
    Style.TOML_LITERAL: "'",
    Style.ENV_PLAIN: "'\"\\$#`",
    Style.ENV_QUOTED: '"\\$`',
    Style.MAKE: "#\\$",
    Style.CMAKE_QUOTED: '"\\$',
}
"""Styles that hold a value as it is, and the characters that they cannot hold."""
_SHELL = frozenset({Style.WORD, Style.DOCKERFILE, Style.DOUBLE})
"""Styles that hold no backtick: a shell runs what stands between two of them, and a Dockerfile may escape by it."""
_QUOTES = frozenset({Style.SINGLE, Style.TOML_LITERAL, Style.ENV_QUOTED, Style.CMAKE_QUOTED})


class Found(Struct, frozen=True, kw_only=True):
    """One place of a file that says something.

    Attributes:
        value: What it says, quotes and escapes undone and, where `via` is set, variables followed.
        start: Offset, in characters of the file's text, of the first one that a fix replaces.
        end: Offset after the last one.
        styles: How a new value is written there, the innermost quoting first.
        where: What the place is called in a report: "stage base", "branch else"; "" where the line says it all.
        via: Why a new value cannot be written at this place (it comes from elsewhere), or "".
        written: The text as it stands before variables are followed, or "" where it is `value`.
        computed: Whether it is an expression that cannot be followed here.
    """

    value: str
    start: int
    end: int
    styles: tuple[Style, ...] = (Style.RAW,)
    where: str = ""
    via: str = ""
    written: str = ""
    computed: bool = False


class Source(Struct, frozen=True, kw_only=True):
    """A text, and where in the file each of its characters came from.

    A whole file is its own source. The decoded scalar of a YAML file, the logical line of a Dockerfile and the code
    block of a Markdown page are sources inside one.

    Attributes:
        text: The decoded text.
        starts: For each character, its offset in the file; None where the file's offset is `base` plus its own.
        ends: For each character, the offset after its spelling in the file.
        base: Offset of the first character where `starts` is None.
        outer: The quoting that the text stands in, the innermost first.
        via: Why nothing in it can be edited, or "".
    """

    text: str
    starts: Sequence[int] | None = None
    ends: Sequence[int] = ()
    base: int = 0
    outer: tuple[Style, ...] = ()
    via: str = ""

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The file's span of a span of this text."""
        if self.starts is None:
            return self.base + start, self.base + end
        if start < end:
            return self.starts[start], self.ends[end - 1]
        at = self.starts[start] if start < len(self.starts) else (self.ends[-1] if self.ends else self.base)
        return at, at

    def part(self, start: int, end: int) -> Source:
        """The source of a part of this text."""
        if self.starts is None:
            return Source(text=self.text[start:end], base=self.base + start, outer=self.outer, via=self.via)
        return Source(
            text=self.text[start:end],
            starts=self.starts[start:end],
            ends=self.ends[start:end],
            base=self.span(start, start)[0],
            outer=self.outer,
            via=self.via,
        )

    def found(self, value: str, start: int, end: int, style: Style, *, where: str = "", written: str = "") -> Found:
        """A value of this text as a place of the file."""
        outer_start, outer_end = self.span(start, end)
        styles = (style, *self.outer)
        return Found(
            value=value,
            start=outer_start,
            end=outer_end,
            styles=styles,
            where=where,
            via=self.via,
            written=written,
        )


class Lines(Struct, frozen=True, kw_only=True):
    """Line and column of an offset. Lines end with LF or CRLF, whatever a format may count besides."""

    breaks: tuple[int, ...] = field(default=())

    @classmethod
    def of(cls, text: str) -> Lines:
        """The lines of a text."""
        return cls(breaks=tuple(match.end() for match in re.finditer("\n", text)))

    def place(self, offset: int) -> tuple[int, int]:
        """1-based line and column, in characters, of an offset."""
        line = bisect_right(self.breaks, offset)
        return line + 1, offset - (self.breaks[line - 1] if line else 0) + 1


def write(value: str, styles: Sequence[Style]) -> str | None:
    """The text that says `value` inside the given quoting, the innermost first.

    Returns:
        None where the quoting cannot hold it (a quote inside `'…'`, a line break anywhere).
    """
    if any(ord(char) < 0x20 or char in "\x7f\x85\u2028\u2029" for char in value):
        return None
    text: str | None = value
    for style in styles:
        if text is None or (style in _SHELL and "`" in text):
            return None
        text = _write_one(text, style)
    return text


def _cmake(value: str, style: Style) -> str | None:
    """A value as unquoted arguments of CMake, which drops the empty items of a list, or in quotes."""
    items = value.split(";")
    if all(one and _BARE_WORD.fullmatch(one) for one in items):
        return " ".join(items) if style is Style.CMAKE_WORDS else value
    quoted = _write_one(value, Style.CMAKE_QUOTED)
    return None if quoted is None or style is Style.CMAKE_WORDS else f'"{quoted}"'


def _write_one(value: str, style: Style) -> str | None:
    if style in _WITHOUT:
        stands = (value == value.strip() or style in _QUOTES) and not any(char in value for char in _WITHOUT[style])
        return value if stands else None
    match style:
        case Style.WORD | Style.DOCKERFILE:
            plain = (_BARE_WORD if style is Style.WORD else _DOCKERFILE_WORD).fullmatch(value)
            return value if plain else '"' + _escape(value, '\\"') + '"'
        case Style.DOUBLE | Style.YAML_DOUBLE | Style.TOML_BASIC:
            return _escape(value, '\\"')
        case Style.CMAKE_BARE | Style.CMAKE_WORDS:
            return _cmake(value, style)
        case Style.TAG:
            return value if _TAG.fullmatch(value) else None
        case Style.COMPOSE | Style.YAML_SINGLE:
            doubled = "$" if style is Style.COMPOSE else "'"
            return value.replace(doubled, 2 * doubled)
        case Style.HCL_STRING:
            return _escape(value, '\\"').replace("${", "$${").replace("%{", "%%{")
        case Style.HCL_BARE:
            bare = _SAME_NUMBER.fullmatch(value) or value in {"true", "false"}
            return value if bare else '"' + str(_write_one(value, Style.HCL_STRING)) + '"'
        case Style.JSON_STRING:
            return json.dumps(value, ensure_ascii=False)[1:-1]
        case Style.JSON_BARE | Style.TOML_BARE:
            bare = _SAME_NUMBER.fullmatch(value) or value in {"true", "false"}
            return value if bare else json.dumps(value, ensure_ascii=False)
        case Style.YAML_PLAIN:
            safe = _PLAIN_YAML.fullmatch(value) and ": " not in value and not value.endswith(":")
            other = _YAML_NUMBER.fullmatch(value) and not _SAME_NUMBER.fullmatch(value)  # 12.10 is the number 12.1
            return value if safe and not other else '"' + _escape(value, '\\"') + '"'
        case _:  # RAW, YAML_BLOCK
            return value


def _escape(value: str, special: str) -> str:
    """`value` with a backslash before each of the special characters."""
    return "".join(f"\\{char}" if char in special else char for char in value)
