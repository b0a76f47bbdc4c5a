"""JSON with the place of every value: versions.json, bake files in JSON, package manifests.

The standard library undoes the escapes of strings; its parser gives no places.
"""

from __future__ import annotations

import json
import re

from orchestrator.dockerfile.spans import Style
from orchestrator.drift.readers.errors import MAX_DEPTH, ReadError, too_deep
from orchestrator.drift.readers.tree import Node

_SPACE = re.compile(r"[ \t\r\n]*")
_BARE = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|true|false|null|-?Infinity|NaN")
_QUOTED = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')


def parse(text: str) -> Node:
    """The tree of a JSON text.

    Raises:
        ReadError: It is not JSON.
    """
    start = 1 if text.startswith("\ufeff") else 0
    node, end = _value(text, _skip(text, start), 0)
    end = _skip(text, end)
    if end != len(text):
        raise _wrong(text, end, "text after the value")
    return node


def _value(text: str, at: int, depth: int) -> tuple[Node, int]:
    if depth > MAX_DEPTH:
        raise too_deep(text, at)
    char = text[at : at + 1]
    if char == "{":
        return _mapping(text, at, depth)
    if char == "[":
        return _list(text, at, depth)
    if char == '"':
        value, end = _string(text, at)
        inner = (at + 1, end - 1)
        return Node(kind="scalar", start=at, end=end, value=value, inner=inner, style=Style.JSON_STRING), end
    bare = _BARE.match(text, at)
    if bare is None:
        raise _wrong(text, at, "expected a value")
    node = Node(kind="scalar", start=at, end=bare.end(), value=bare[0], inner=bare.span(), style=Style.JSON_BARE)
    return node, bare.end()


def _mapping(text: str, at: int, depth: int) -> tuple[Node, int]:
    members: list[tuple[str, Node]] = []
    pos = _skip(text, at + 1)
    while text[pos : pos + 1] != "}":
        if members:
            pos = _skip(text, _expect(text, pos, ","))
        if text[pos : pos + 1] != '"':
            raise _wrong(text, pos, "expected a key in quotes")
        key, pos = _string(text, pos)
        pos = _expect(text, _skip(text, pos), ":")
        node, pos = _value(text, _skip(text, pos), depth + 1)
        members.append((key, node))
        pos = _skip(text, pos)
    return Node(kind="mapping", start=at, end=pos + 1, members=tuple(members)), pos + 1


def _list(text: str, at: int, depth: int) -> tuple[Node, int]:
    items: list[Node] = []
    pos = _skip(text, at + 1)
    while text[pos : pos + 1] != "]":
        if items:
            pos = _skip(text, _expect(text, pos, ","))
        node, pos = _value(text, pos, depth + 1)
        items.append(node)
        pos = _skip(text, pos)
    return Node(kind="list", start=at, end=pos + 1, items=tuple(items)), pos + 1


def _string(text: str, at: int) -> tuple[str, int]:
    quoted = _QUOTED.match(text, at)
    try:
        return str(json.loads(quoted[0] if quoted else "")), quoted.end() if quoted else at
    except json.JSONDecodeError as error:
        raise _wrong(text, at, "a string is not closed or has an unknown escape") from error


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _expect(text: str, at: int, char: str) -> int:
    if text[at : at + 1] != char:
        raise _wrong(text, at, f"expected {char}")
    return at + 1


def _wrong(text: str, at: int, what: str) -> ReadError:
    return ReadError.at(text, at, f"not JSON: {what}")
