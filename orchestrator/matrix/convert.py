"""Turns plain values (mappings, lists, scalars as text) into sections, and reports every fault in them.

Does not depend on YAML or on positions: a fault carries the path of its value.
"""

from __future__ import annotations

from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from msgspec import Struct

from orchestrator.errors import did_you_mean
from orchestrator.matrix.section import MayBeEmpty, Range, Section, Short

if TYPE_CHECKING:
    from orchestrator.matrix.positions import KeyPath

S = TypeVar("S", bound=Section)

_SHOWN = 60  # characters of a found value
_TRUE = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "off", "0"})
_WRONG: Any = object()


class Fault(Struct, frozen=True, kw_only=True):
    """One thing that is wrong with a value.

    Attributes:
        path: The value; of a missing key, the section that must have it.
        what: What is wrong, one line.
        expected, found, hint: As in `errors.Problem`.
        at_key: Whether the key is to be pointed at, and not its value.
    """

    path: KeyPath
    what: str
    expected: str = ""
    found: str = ""
    hint: str = ""
    at_key: bool = False


def read(kind: type[S], tree: object) -> tuple[S | None, list[Fault]]:
    """Validate a tree as a section.

    Returns:
        The section, None if a value of it is invalid, and every fault. An unknown key is a fault, but the section
        does without it.
    """
    reader = _Reader()
    section = reader.value(kind, tree, ())
    return (None if section is _WRONG else section), reader.faults


def read_keys(kind: type[Section], tree: dict[str, Any]) -> dict[str, Any]:
    """The keys of a section whose values are valid: what can be checked further of a section that is not."""
    return _Reader().keys(kind, tree, ())


class _Reader:
    """Reads values, and collects faults on the way."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def value(self, kind: Any, value: object, path: KeyPath) -> Any:
        """The value as a type, or `_WRONG` after its faults were noted."""
        origin = get_origin(kind)
        if origin is Annotated:
            return self._annotated(kind, value, path)
        if origin in (Union, UnionType):
            if value is None:
                return None
            (kind,) = (member for member in get_args(kind) if member is not NoneType)
            return self.value(kind, value, path)
        if origin is dict:
            return self._mapping(get_args(kind)[1], value, path)
        if origin is list:
            return self._list(get_args(kind)[0], value, path)
        if origin is Literal:
            return value if value in get_args(kind) else self._invalid(path, _alternatives(get_args(kind)), value)
        if issubclass(kind, Section):
            return self._section(kind, value, path)
        return self._scalar(kind, value, path)

    def _annotated(self, kind: Any, value: object, path: KeyPath) -> Any:
        inner, *marks = get_args(kind)
        for mark in marks:
            if isinstance(mark, Short):
                value = mark.expand(value)
        if value == "" and any(isinstance(mark, MayBeEmpty) for mark in marks):
            return value
        if isinstance(value, list) and get_origin(inner) is dict and self._repeats(value, path):
            return _WRONG  # a list that is short for a mapping
        result = self.value(inner, value, path)
        for mark in marks:
            if isinstance(mark, Range) and result is not _WRONG and not mark.holds(result):
                return self._invalid(path, f"{_WORDS[inner]} {mark}", value)
        return result

    def _mapping(self, kind: Any, value: object, path: KeyPath) -> Any:
        if not isinstance(value, dict):
            return self._invalid(path, "a mapping", value)
        for name in value:
            if name != name.strip() or not name.isprintable() or not name:
                what = f"{_name(path)}: the name {_shown(name)} is invalid"
                self.faults.append(Fault(path=(*path, name), what=what, expected=_NAME, at_key=True))
        result = {name: self.value(kind, member, (*path, name)) for name, member in value.items()}
        return _WRONG if any(member is _WRONG for member in result.values()) else result

    def _list(self, kind: Any, value: object, path: KeyPath) -> Any:
        if not isinstance(value, list):
            return self._invalid(path, "a list", value)
        self._repeats(value, path)
        result = [self.value(kind, member, (*path, index)) for index, member in enumerate(value)]
        return _WRONG if any(member is _WRONG for member in result) else result

    def _repeats(self, items: list[Any], path: KeyPath) -> bool:
        """Report every text that stands twice in a list."""
        first: dict[str, int] = {}
        before = len(self.faults)
        for index, item in enumerate(items):
            if isinstance(item, str) and first.setdefault(item, index) != index:
                what = f"{_name((*path, index))} repeats {_name((*path, first[item]))}"
                self.faults.append(Fault(path=(*path, index), what=what, found=_describe(item), hint="remove one"))
        return len(self.faults) > before

    def _section(self, kind: type[Section], value: object, path: KeyPath) -> Any:
        if not isinstance(value, dict):
            return self._invalid(path, "a mapping", value)
        before = len(self.faults)
        values = self.keys(kind, value, path)
        if any(name not in values and (key.required or name in value) for name, key in kind.section_keys.items()):
            return _WRONG
        section = kind(**values)
        if len(self.faults) == before and (rule := section.broken_rule()):
            self.faults.append(Fault(path=path, what=f"{_name(path)}: {rule}"))
            return _WRONG
        return section

    def keys(self, kind: type[Section], value: dict[str, Any], path: KeyPath) -> dict[str, Any]:
        """The keys of a section whose values are valid."""
        known = kind.section_keys
        for name in value:
            if name not in known:
                what, hint = f"unknown key {name}", did_you_mean(name, known)
                self.faults.append(Fault(path=(*path, name), what=what, hint=hint, at_key=True))
        for name, key in known.items():
            if key.required and name not in value:
                self.faults.append(Fault(path=path, what=f"{_name((*path, name))} is missing", at_key=True))
        found = {
            name: "" if value[name] == key.default == "" else self.value(key.kind, value[name], (*path, name))
            for name, key in known.items()
            if name in value
        }
        return {name: member for name, member in found.items() if member is not _WRONG}

    def _scalar(self, kind: type, value: object, path: KeyPath) -> Any:
        if isinstance(value, str):
            if kind is str:
                return value if value.strip() and "\0" not in value else self._invalid(path, _TEXT, value)
            if kind is bool and value.lower() in _TRUE | _FALSE:
                return value.lower() in _TRUE
            if kind in (int, float):
                try:
                    return kind(value)
                except ValueError:
                    pass
        return self._invalid(path, _WORDS[kind], value)

    def _invalid(self, path: KeyPath, expected: str, value: object) -> Any:
        what = f"{_name(path)} is invalid"
        self.faults.append(Fault(path=path, what=what, expected=expected, found=_describe(value)))
        return _WRONG


_NAME = "text without spaces around it and without control characters"
_TEXT = "text that is not empty and holds no NUL"
_WORDS = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}


def _name(path: KeyPath) -> str:
    return ".".join(map(str, path)) or "the file"


def _alternatives(words: tuple[str, ...]) -> str:
    """`min, max or off`."""
    return " or ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def _describe(value: object) -> str:
    """What was found, short enough for one line."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    return _shown(str(value))


def _shown(text: str) -> str:
    """A text, in quotes where its beginning or end would not be seen."""
    text = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}…"
    return text if text and text == text.strip() else f'"{text}"'
