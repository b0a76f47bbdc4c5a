"""Assignments of a Makefile: `NAME = value`, `:=`, `?=`, `+=`, with the line that goes on and the comment that ends it.

A value is read without the blanks at its end, which make counts to it where the line ends or a comment begins behind
them: they separate nothing in the lists and versions that are compared, and an edit leaves them as they are.

Lines that begin with a tab are commands, read by the shell's reader; those of `define` are text. What holds a `$` is
followed where its variables are plain ones of the same file; functions and `!=` are not.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec.structs import replace

from orchestrator.dockerfile.spans import Style

if TYPE_CHECKING:
    from orchestrator.dockerfile.spans import Found, Source

_REST = r"(?:\\\r?\n|[^\n])*"
_ASSIGNMENT = re.compile(
    rf"^\ufeff?(?:(?:\t|[ ]*\#){_REST}"  # a command or a comment, which go on as a value does
    r"|[ ]*(?:override[ ]+)*(?P<text>define|endef)(?=\s|$)[^\n]*"
    r"|[ ]*(?:(?:export|override|private)[ \t]+)*(?P<name>[\w.-]+)[ \t]*(?P<how>\+|\?|:{1,3}|!)?=[ \t]*"
    rf"(?P<value>(?:\\\r?\n|\\[^\n]|[^#\\\n])*){_REST})",
    re.MULTILINE,
)
_VARIABLE = re.compile(r"\$(?:\((?P<round>[\w.-]+)\)|\{(?P<curly>[\w.-]+)\})")
_MAX_VALUE = 65_536


def read(source: Source) -> list[tuple[str, Found]]:
    """Every assignment of a Makefile, the name and the place; of `+=` the place is the whole value."""
    known: dict[str, str | None] = {}
    places: list[tuple[str, Found]] = []
    depth = 0  # of define … endef, whose lines are text
    for match in _ASSIGNMENT.finditer(source.text):
        if match["text"]:
            depth += 1 if match["text"] == "define" else -min(depth, 1)
        if depth or not match["name"]:
            continue
        name, how = match["name"], match["how"] or ""
        start, end = match.span("value")
        while end > start and source.text[end - 1] in " \t\r\n":  # a line that goes on with nothing ends it as well
            end = source.text.rindex("\\", start, end) if source.text[end - 1] == "\n" else end - 1
        written = source.text[start:end]
        joined = re.sub(r"[ \t]*\\\r?\n[ \t]*", " ", written)
        value = None if how == "!" else _followed(joined, known)
        via = f"it comes from {written}" if "$" in joined or how == "!" else ""
        if how == "+":
            before = known.get(name)
            value = None if value is None or before is None else f"{before} {value}"
            via = f"{name} += extends it"
            places = [one for one in places if one[0] != name or one[1].via]
        found = source.found(joined if value is None else value, start, end, Style.MAKE, written=written if via else "")
        places.append((name, replace(found, via=via) if via else found))
        known[name] = value
    return places


def _followed(text: str, known: dict[str, str | None]) -> str | None:
    """A value with its variables filled in, None where one cannot be told."""
    pieces = []
    end = 0
    for match in _VARIABLE.finditer(text):
        value = known.get(match["round"] or match["curly"])
        if value is None:
            return None
        pieces += [text[end : match.start()], value]
        end = match.end()
    whole = "".join([*pieces, text[end:]])
    return None if "$" in whole or len(whole) > _MAX_VALUE else whole
