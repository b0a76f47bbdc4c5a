"""Which here-documents an instruction opens, as BuildKit decides it.

A here-document is a word of its own, `<<EOF`, `<< EOF` or `3<<-"EOF"`: `$((1<<20))`, `cat<<EOF`, the here-string
`<<<word` and what is quoted are none. A line whose quotes or `${…}` BuildKit cannot follow opens none either. Measured
with Docker 28.5 (tests/differential): blanks may stand before the name, but not after `<<-`.
"""

from __future__ import annotations

import re

from msgspec import Struct

from orchestrator.dockerfile.words import DOCKERFILE_STOP, read_word

_JOINT = "\0"  # stands for blanks between << and a name
_OPENING = re.compile(rf"\d*<<(?:(?P<chomp>-)|{_JOINT})?(?P<name>[^<]*)")  # greedy: `<<-` alone has no name
_PARAMETER = re.compile(r"\d+|[@*#?$!-]|\w*")


class Opening(Struct, frozen=True, kw_only=True):
    """A here-document that a line opens.

    Attributes:
        name: The line that ends it.
        chomp: Whether leading tabs are removed (`<<-`).
        expand: Whether BuildKit or the shell expands variables in it (the name is not quoted).
    """

    name: str
    chomp: bool
    expand: bool


def openings(line: str) -> list[Opening]:
    """The here-documents that a logical line opens, in order."""
    if "<<" not in line:
        return []
    found = []
    for word in _words(re.sub(r"<<[ \t]+", f"<<{_JOINT}", line)):
        match = _OPENING.fullmatch(word)
        if match is None or not match["name"]:
            continue
        name = read_word(match["name"], 0, stop=DOCKERFILE_STOP, shell=False)
        if name.end == len(match["name"]) and name.text:
            expand = not set(match["name"]) & set("'\"")
            found.append(Opening(name=name.text, chomp=bool(match["chomp"]), expand=expand))
    return found


def _words(line: str) -> list[str]:
    """The words of a line with their quotes; none at all where a quote or a substitution is not closed."""
    words = _Words()
    within: list[str] = []  # what closes the quotes and substitutions around the current place, the innermost last
    at = 0
    while at < len(line):
        char = line[at]
        end = at + 1
        if within and char == within[-1]:
            within.pop()
        elif char == "\\":
            end = min(at + 2, len(line))
            words.add(line[at:end], within, literal=True)
            at = end
            continue
        elif char == "$":
            after = _dollar(line, at, within)
            if after is None:
                return []
            end = after
        elif char == '"':
            within.append('"')
        elif char == "'" and within[-1:] != ['"']:
            end = line.find("'", end) + 1
            if not end:
                return []
            words.add(line[at:end], within, literal=True)
            at = end
            continue
        words.add(line[at:end], within or [char], literal=char == '"')
        at = end
    return [] if within else words.done()


class _Words:
    """Words as they are put together."""

    def __init__(self) -> None:
        self.whole: list[str] = []
        self.current: list[str] = []

    def add(self, text: str, within: list[str], *, literal: bool) -> None:
        """Add characters; blanks end a word, except in quotes of the line itself (those of a `${…}` do not count)."""
        if within[:1] == ['"'] or (literal and within[:1] not in (["}"], ["/"])):
            self.current.append(text)
            return
        for char in text:
            if not char.isspace():
                self.current.append(char)
            elif self.current:
                self.whole.append("".join(self.current))
                self.current = []

    def done(self) -> list[str]:
        """All words."""
        self.add(" ", [], literal=False)
        return self.whole


def _dollar(line: str, at: int, within: list[str]) -> int | None:
    """The offset after what `$` begins, or of the word inside `${name:-word}`; None where it is invalid."""
    if line[at + 1 : at + 2] != "{":
        name = _PARAMETER.match(line, at + 1)
        return name.end() if name else at + 1
    if line[at + 2 : at + 3] in {"", "{", "}", ":"}:
        return None
    name = _PARAMETER.match(line, at + 2)
    after = name.end() if name else at + 2
    operator = line[after : after + 1]
    if operator == "}":
        return after + 1
    if operator == "/":
        within += ["}", "/"]
        return after + (2 if line.startswith("//", after) else 1)
    if operator and operator in ":+-?#%":
        within.append("}")
        return after + (2 if operator == ":" else 1)
    return None
