"""YAML with the place of every scalar, down to the characters of commands inside quoted and block scalars.

`matrix.yaml_nodes` parses; this reader follows the spelling of scalars. A scalar whose spelling it cannot follow
exactly gets no span: such a place is reported and never edited.
"""

from __future__ import annotations

import re
from typing import Any

from orchestrator.dockerfile.spans import Source, Style
from orchestrator.drift.readers.errors import MAX_DEPTH, ReadError
from orchestrator.drift.readers.tree import Node
from orchestrator.matrix.yaml_nodes import Budget, YamlError, compose

_ESCAPES = {
    "0": "\0", "a": "\a", "b": "\b", "t": "\t", "\t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r", "e": "\x1b",
    " ": " ", '"': '"', "/": "/", "\\": "\\", "N": "\x85", "_": "\xa0", "L": "\u2028", "P": "\u2029",
}  # fmt: skip
_STYLES = {None: Style.YAML_PLAIN, "'": Style.YAML_SINGLE, '"': Style.YAML_DOUBLE}
_HEX = {"x": 2, "u": 4, "U": 8}
_PLAIN = re.compile(r"[^ \t\r\n'\"\\]+")
_IN_LINE = re.compile(r"[^\r'\"\\]+")  # of a scalar on one line, where blanks stand for themselves
_BREAK = re.compile(r"[ \t]*(?:\r\n|\n)(?:[ \t]*(?:\r\n|\n))*[ \t]*")


def parse(text: str) -> list[Node]:
    """The trees of a YAML text, one for each document.

    Raises:
        ReadError: It is not YAML, nested too deeply or grown too large.
    """
    shift = 1 if text.startswith("\ufeff") else 0
    body = text[shift:]
    try:
        builder = _Builder(body, shift)
        return [builder.build(root, 0) for root in compose(body, depth=MAX_DEPTH)]
    except YamlError as error:
        what = f"{error.what}, expected {error.expected}" if error.expected else error.what
        column = error.column + (shift if error.line == 1 else 0)
        raise ReadError(what, line=error.line, column=column) from error


class _Builder:
    """Turns PyYAML's nodes into ours."""

    def __init__(self, text: str, shift: int) -> None:
        self.text = text
        self.shift = shift
        self.budget = Budget(text, depth=MAX_DEPTH)

    def build(self, node: Any, depth: int) -> Node:
        import yaml

        self.budget.enter(node, depth)
        start, end = node.start_mark.index, node.end_mark.index
        if isinstance(node, yaml.MappingNode):
            members = self.budget.members(node)
            built = tuple((str(key.value), self.build(value, depth + 1)) for key, value in members)
            return Node(kind="mapping", start=start + self.shift, end=end + self.shift, members=built)
        if isinstance(node, yaml.SequenceNode):
            items = tuple(self.build(item, depth + 1) for item in node.value)
            return Node(kind="list", start=start + self.shift, end=end + self.shift, items=items)
        return self._scalar(node, start, end)

    def _scalar(self, node: Any, start: int, end: int) -> Node:
        value = str(node.value)
        quoted = node.style in {"'", '"'}
        inner = (start + self.shift + quoted, end + self.shift - quoted)
        if (quoted or node.style is None) and self.text[start + quoted : end - quoted] == value:
            style = _STYLES[node.style]  # spelled as it is, as nearly all are: nothing to map
            source = Source(text=value, base=inner[0], outer=(style,))
            return Node(
                kind="scalar",
                start=start + self.shift,
                end=end + self.shift,
                value=value,
                inner=inner,
                style=style,
                source=source,
            )
        spelled = _spelling(self.text, start, end, node.style)
        if spelled is None or "".join(spelled[0]) != value:
            return Node(kind="scalar", start=start + self.shift, end=end + self.shift, value=value)
        chars, starts, ends, style = spelled
        simple = "\n" not in self.text[start:end]
        if self.shift:
            starts = [at + self.shift for at in starts]
            ends = [at + self.shift for at in ends]
        source = Source(text="".join(chars), starts=starts, ends=ends, base=start + self.shift, outer=(style,))
        return Node(
            kind="scalar",
            start=start + self.shift,
            end=end + self.shift,
            value=value,
            inner=inner if simple and style is not Style.YAML_BLOCK else None,
            style=style,
            source=source,
        )


_Spelled = tuple[list[str], list[int], list[int], Style]


def _spelling(text: str, start: int, end: int, style: str | None) -> _Spelled | None:
    """The characters of a scalar, where each is spelled, and the quoting; None where we cannot follow it."""
    match style:
        case "'":
            return (*_flow(text, start + 1, end - 1, "'"), Style.YAML_SINGLE)
        case '"':
            return (*_flow(text, start + 1, end - 1, '"'), Style.YAML_DOUBLE)
        case "|" | ">":
            return (*_block(text, start, end, folded=style == ">"), Style.YAML_BLOCK)
        case _:
            return (*_flow(text, start, end, ""), Style.YAML_PLAIN)


def _flow(text: str, pos: int, end: int, quote: str) -> tuple[list[str], list[int], list[int]]:
    """A plain or quoted scalar: line breaks fold into a blank, escapes become one character."""
    chars: list[str] = []
    starts: list[int] = []
    ends: list[int] = []

    def add(piece: str, start: int, stop: int) -> None:
        chars.extend(piece)
        starts.extend([start] * len(piece))
        ends.extend([stop] * len(piece))

    plain = _IN_LINE if text.find("\n", pos, end) < 0 else _PLAIN
    while pos < end:
        char = text[pos]
        folded = _BREAK.match(text, pos, end) if char in " \t\r\n" else None
        if run := plain.match(text, pos, end):
            _as_written(text, run.span(), chars, starts, ends)
            pos = run.end()
        elif folded:
            add("\n" * (folded[0].count("\n") - 1) or " ", pos, folded.end())
            pos = folded.end()
        elif quote == "'" and text.startswith("''", pos):
            add("'", pos, pos + 2)
            pos += 2
        elif quote == '"' and char == "\\":
            piece, stop = _escaped(text, pos)
            add(piece, pos, stop)
            pos = stop
        else:
            add(char, pos, pos + 1)
            pos += 1
    return chars, starts, ends


def _escaped(text: str, pos: int) -> tuple[str, int]:
    """The character of an escape in "…", and the offset after it."""
    code = text[pos + 1 : pos + 2]
    if code in _HEX:
        stop = pos + 2 + _HEX[code]
        try:
            return chr(int(text[pos + 2 : stop], 16)), stop
        except ValueError:
            return "", stop
    folded = _BREAK.match(text, pos + 1)
    if folded and code in "\r\n":
        return "\n" * (folded[0].count("\n") - 1), folded.end()
    return _ESCAPES.get(code, code), pos + 2


def _block(text: str, start: int, end: int, *, folded: bool) -> tuple[list[str], list[int], list[int]]:
    """A block scalar: its indentation is taken off; `>` folds the breaks between lines of equal indentation."""
    head = text.find("\n", start)
    header = text[start : head if head >= 0 else end].split("#", maxsplit=1)[0]
    lines = [match.span() for match in re.compile(r"[^\n]*\n|[^\n]+").finditer(text, head + 1, end)]
    bodies = [text[first:last].rstrip("\r\n") for first, last in lines]
    indent = next((len(body) - len(body.lstrip(" ")) for body in bodies if body.strip(" ")), 0)
    if re.search(r"[1-9]", header):  # it counts from the parent's indentation, which the node does not tell
        return [], [], []
    chars: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for (first, last), body in zip(lines, bodies, strict=True):
        _as_written(text, (first + indent, first + len(body)), chars, starts, ends)
        if last > first + len(body):
            chars.append("\n")
            starts.append(first + len(body))
            ends.append(last)
    if folded:
        _fold(chars)
    return _chomp(chars, starts, ends, header)


def _as_written(text: str, span: tuple[int, int], chars: list[str], starts: list[int], ends: list[int]) -> None:
    """Characters that stand for themselves."""
    start, end = span
    chars.extend(text[start:end])
    starts.extend(range(start, end))
    ends.extend(range(start + 1, end + 1))


def _fold(chars: list[str]) -> None:
    """Turn the single breaks between two lines that are neither empty nor indented further into blanks."""
    line = 0
    for index, char in enumerate(chars[:-1]):
        if char != "\n":
            continue
        before, after, first = chars[index - 1 : index], chars[index + 1], chars[line]
        line = index + 1
        if before not in ([], ["\n"]) and after not in "\n \t" and first not in " \t":
            chars[index] = " "


def _chomp(chars: list[str], starts: list[int], ends: list[int], header: str) -> tuple[list[str], list[int], list[int]]:
    """Take off the breaks at the end as the header says: `-` all, `+` none, else all but one."""
    if "+" not in header:
        size = len(chars)
        while size and chars[size - 1] == "\n":
            size -= 1
        if "-" not in header and size < len(chars):
            size += 1
        return chars[:size], starts[:size], ends[:size]
    return chars, starts, ends
