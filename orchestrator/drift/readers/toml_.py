"""TOML with the place of every value: pyproject.toml and its like.

tomllib decides whether a text is TOML and what it means; this reader finds where each value stands. Where the two
differ the place gets no span: it is reported and never edited.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any, Literal

from msgspec import Struct, field

from orchestrator.dockerfile.spans import Style
from orchestrator.drift.readers.errors import MAX_DEPTH, TOO_DEEP, ReadError, too_deep
from orchestrator.drift.readers.tree import Node

_SPACE = re.compile(r"[ \t]*")
_GAP = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r"[A-Za-z0-9_-]+|\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'")
_BARE = re.compile(r"[^\s,\]}#]+(?: [0-9]{2}:[^\s,\]}#]+)?")
_PLACE = re.compile(r" \(at line (\d+), column (\d+)\)$")
_QUOTED = (
    (re.compile(r'"""(?P<in>(?:[^\\]|\\.)*?"{0,2})"""(?!")', re.DOTALL), None),
    (re.compile(r"'''(?P<in>.*?'{0,2})'''(?!')", re.DOTALL), None),
    (re.compile(r'"(?P<in>(?:[^"\\\n]|\\.)*)"'), Style.TOML_BASIC),
    (re.compile(r"'(?P<in>[^'\n]*)'"), Style.TOML_LITERAL),
)


def parse(text: str) -> Node:
    """The tree of a TOML text.

    Raises:
        ReadError: It is not TOML.
    """
    body = text.removeprefix("\ufeff")
    shift = len(text) - len(body)
    try:
        meaning = tomllib.loads(body)
    except tomllib.TOMLDecodeError as error:
        raise _not_toml(text, error) from error
    except RecursionError as error:  # tomllib has no bound of its own, and does not say where
        raise _deep_place(text, shift) from error
    draft = _Draft(kind="mapping", start=shift, end=len(text))
    _document(text, shift, draft)
    return _checked(text, draft, meaning, 0)


def _deep_place(text: str, shift: int) -> ReadError:
    """The error for a text that tomllib cannot follow, at the place where our own reading is too deep."""
    try:
        _document(text, shift, _Draft(kind="mapping", start=shift))
    except ReadError as error:
        return error
    except ValueError:  # not TOML before that place
        pass
    return ReadError(TOO_DEEP, line=1)


def _not_toml(text: str, error: tomllib.TOMLDecodeError) -> ReadError:
    """The error of tomllib; before Python 3.14 its place stands only in the message."""
    message = str(error)
    place = _PLACE.search(message)
    if place is None:
        return ReadError.at(text, len(text), f"not TOML: {message.removesuffix(' (at end of document)')}")
    return ReadError(f"not TOML: {message[: place.start()]}", line=int(place[1]), column=int(place[2]))


class _Draft(Struct, kw_only=True):
    """A node while tables are still added to it."""

    kind: Literal["mapping", "list", "scalar"]
    start: int
    end: int = 0
    members: dict[str, _Draft] = field(default_factory=dict)
    items: list[_Draft] = field(default_factory=list)
    inner: tuple[int, int] | None = None
    style: Style | None = None

    def child(self, key: str, start: int) -> _Draft:
        """The table of a key, made where it is not there yet; of a list of tables, its last one."""
        found = self.members.setdefault(key, _Draft(kind="mapping", start=start, end=start))
        return found.items[-1] if found.kind == "list" and found.items else found


def _checked(text: str, draft: _Draft, meaning: Any, depth: int) -> Node:
    """The finished node, with tomllib's values; where shapes differ it has no span."""
    if depth > MAX_DEPTH:  # tables of dotted keys nest without a bracket
        raise too_deep(text, draft.start)
    missing = _Draft(kind="scalar", start=draft.start, end=draft.start)
    if isinstance(meaning, dict):
        members = tuple(
            (key, _checked(text, draft.members.get(key) or missing, value, depth + 1)) for key, value in meaning.items()
        )
        return Node(kind="mapping", start=draft.start, end=draft.end, members=members)
    if isinstance(meaning, list):
        drafts = draft.items if len(draft.items) == len(meaning) else [missing] * len(meaning)
        items = tuple(_checked(text, item, value, depth + 1) for item, value in zip(drafts, meaning, strict=True))
        return Node(kind="list", start=draft.start, end=draft.end, items=items)
    value = str(meaning).lower() if isinstance(meaning, bool) else str(meaning)
    return Node(kind="scalar", start=draft.start, end=draft.end, value=value, inner=draft.inner, style=draft.style)


def _document(text: str, pos: int, root: _Draft) -> None:
    table = root
    while True:
        pos = _skip(_GAP, text, pos)
        if pos >= len(text):
            return
        if text.startswith("[", pos):
            start = pos
            listed = text.startswith("[[", pos)
            keys, pos = _keys(text, pos + 1 + listed)
            pos = text.index("]", pos) + 1 + listed
            table = _table(root, keys, start, listed=listed)
        else:
            pos = _pair(text, pos, table)


def _table(root: _Draft, keys: list[str], start: int, *, listed: bool) -> _Draft:
    parent = root
    for key in keys[:-1]:
        parent = parent.child(key, start)
    if not listed:
        return parent.child(keys[-1], start)
    tables = parent.members.setdefault(keys[-1], _Draft(kind="list", start=start, end=start))
    tables.items.append(_Draft(kind="mapping", start=start, end=start))
    return tables.items[-1]


def _pair(text: str, pos: int, table: _Draft, depth: int = 0) -> int:
    """Read `a.b = value` into a table and give the offset after it."""
    start = pos
    keys, pos = _keys(text, pos)
    for key in keys[:-1]:
        table = table.child(key, start)
    value, pos = _value(text, _skip(_SPACE, text, text.index("=", pos) + 1), depth)
    table.members[keys[-1]] = value
    return pos


def _keys(text: str, pos: int) -> tuple[list[str], int]:
    keys: list[str] = []
    while True:
        match = _KEY.match(text, _skip(_SPACE, text, pos))
        if match is None:
            return keys or [""], pos
        spelled = match[0]
        if spelled[0] == '"':  # its escapes are those of a value
            spelled = next(iter(tomllib.loads(f"{spelled} = 0")))
        keys.append(spelled.strip("'") if match[0][0] == "'" else spelled)
        pos = _skip(_SPACE, text, match.end())
        if not text.startswith(".", pos):
            return keys, pos
        pos += 1


def _value(text: str, pos: int, depth: int) -> tuple[_Draft, int]:
    if depth > MAX_DEPTH:
        raise too_deep(text, pos)
    if text.startswith("[", pos):
        return _list(text, pos, depth + 1)
    if text.startswith("{", pos):
        return _inline(text, pos, depth + 1)
    for pattern, style in _QUOTED:
        quoted = pattern.match(text, pos)
        if quoted:
            inner = quoted.span("in") if style else None
            return _Draft(kind="scalar", start=pos, end=quoted.end(), inner=inner, style=style), quoted.end()
    bare = _BARE.match(text, pos)
    end = bare.end() if bare else pos + 1
    return _Draft(kind="scalar", start=pos, end=end, inner=(pos, end), style=Style.TOML_BARE), end


def _list(text: str, pos: int, depth: int) -> tuple[_Draft, int]:
    draft = _Draft(kind="list", start=pos)
    pos = _skip(_GAP, text, pos + 1)
    while pos < len(text) and text[pos] != "]":
        item, pos = _value(text, pos, depth)
        draft.items.append(item)
        pos = _skip(_GAP, text, pos)
        if text.startswith(",", pos):
            pos = _skip(_GAP, text, pos + 1)
    draft.end = pos + 1
    return draft, pos + 1


def _inline(text: str, pos: int, depth: int) -> tuple[_Draft, int]:
    draft = _Draft(kind="mapping", start=pos)
    pos = _skip(_GAP, text, pos + 1)
    while pos < len(text) and text[pos] != "}":
        pos = _skip(_GAP, text, _pair(text, pos, draft, depth))
        if text.startswith(",", pos):
            pos = _skip(_GAP, text, pos + 1)
    draft.end = pos + 1
    return draft, pos + 1


def _skip(pattern: re.Pattern[str], text: str, pos: int) -> int:
    match = pattern.match(text, pos)
    return match.end() if match else pos
