"""What stands between the keyword of an instruction and its words: flags (`--from=base`), or the JSON form."""

from __future__ import annotations

import csv
import json

from msgspec import Struct

_BLANK = " \t\v\f\r\n"


class Option(Struct, frozen=True, kw_only=True):
    """A flag of an instruction.

    Attributes:
        name: Its name without dashes, in lower case.
        value: Its value with quotes undone, "" where it has none.
        start: Offset in the instruction's text.
        end: Offset after it.
    """

    name: str
    value: str
    start: int
    end: int

    @property
    def fields(self) -> dict[str, str]:
        """The value of `--mount` as a mapping: `type=bind,from=base` -> {"type": "bind", "from": "base"}."""
        try:
            row = next(csv.reader([self.value]), [])
        except csv.Error:
            return {}
        return {name.strip().lower(): value for name, _, value in (field.partition("=") for field in row)}


def leading(text: str, at: int) -> tuple[list[Option], int]:
    """The flags that follow a keyword, and the offset of what comes after them.

    Args:
        text: The instruction's text.
        at: Offset after the keyword.
    """
    found: list[Option] = []
    while True:
        while at < len(text) and text[at] in _BLANK:
            at += 1
        if not text.startswith("--", at):
            return found, at
        start = at
        word, at = _word(text, at)
        if word == "--":
            return found, at
        name, _, value = word.removeprefix("--").partition("=")
        found.append(Option(name=name.lower(), value=value, start=start, end=at))


def _word(text: str, at: int) -> tuple[str, int]:
    """A flag with its quotes undone, and the offset after it; a backslash escapes here whatever `escape` says."""
    pieces: list[str] = []
    quote = ""
    while at < len(text) and (quote or text[at] not in _BLANK):
        char = text[at]
        if char == "\\":
            at += 1
            pieces.append(text[at : at + 1])
        elif quote and char == quote:
            quote = ""
        elif not quote and char in "\"'":
            quote = char
        else:
            pieces.append(char)
        at += 1
    return "".join(pieces), min(at, len(text))


def json_form(text: str, at: int = 0) -> list[str] | None:
    """The words of an instruction in JSON form, None where it has another one."""
    if not text.startswith("[", at):
        return None
    try:
        value = json.loads(text[at:])
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) and all(isinstance(word, str) for word in value) else None
