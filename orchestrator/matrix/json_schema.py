"""The JSON Schema of matrix.yaml, for editors: made of the same sections that validate the file."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from orchestrator.matrix.schema import MatrixFile
from orchestrator.matrix.section import AnyScalar, MayBeEmpty, Range, Section, Short

_TITLES = {"MatrixFile": "matrix.yaml of orchestrate"}
_NOT_EMPTY = r"\S"
_SCALARS = {str: "string", bool: "boolean", int: "integer", float: "number"}


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of matrix.yaml."""
    definitions: dict[str, Any] = {}
    top = _section(MatrixFile, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$defs": {name: definitions[name] for name in sorted(definitions)},
        **top,
    }


def _section(kind: type[Section], definitions: dict[str, Any]) -> dict[str, Any]:
    properties = {}
    for name, key in kind.section_keys.items():
        found = _schema(key.kind, definitions)
        if key.default == "":
            found.pop("pattern", None)
        if not key.required:
            found["default"] = _plain(key.default)
        if key.description:
            found["description"] = key.description
        if "$ref" not in found:
            found["title"] = name.replace("_", " ").title()
        properties[name] = dict(sorted(found.items()))
    required = [name for name, key in kind.section_keys.items() if key.required]
    return {
        "additionalProperties": False,
        "description": (kind.__doc__ or "").strip(),
        "properties": properties,
        **({"required": required} if required else {}),
        "title": _TITLES.get(kind.__name__, kind.__name__),
        "type": "object",
    }


def _schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _annotated(kind, definitions)
    if origin in (Union, UnionType):
        (member,) = (member for member in arguments if member is not NoneType)
        return {"anyOf": [_schema(member, definitions), {"type": "null"}]}
    if origin is dict:
        return {"additionalProperties": _schema(arguments[1], definitions), "type": "object"}
    if origin is list:
        items = _schema(arguments[0], definitions)
        return {"items": items, "type": "array"} | ({} if "$ref" in items else {"uniqueItems": True})
    if origin is Literal:
        return (
            {"enum": list(arguments), "type": "string"}
            if len(arguments) > 1
            else {"const": arguments[0], "type": "string"}
        )
    if issubclass(kind, Section):
        if kind.__name__ not in definitions:
            definitions[kind.__name__] = {}  # its place is taken before its own keys are described
            definitions[kind.__name__] = _section(kind, definitions)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    return {"type": _SCALARS[kind]} | ({"pattern": _NOT_EMPTY} if kind is str else {})


def _annotated(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    inner, *marks = get_args(kind)
    found = _schema(inner, definitions)
    for mark in marks:
        if isinstance(mark, AnyScalar):
            found = _any_scalar(found)
        elif isinstance(mark, MayBeEmpty):
            found.pop("pattern", None)
        elif isinstance(mark, Range):
            found |= {"minimum": mark.least} | ({} if mark.most is None else {"maximum": mark.most})
        elif isinstance(mark, Short):
            found = {"anyOf": [found, mark.schema]}
    return found


def _any_scalar(found: dict[str, Any]) -> dict[str, Any]:
    """A text that may be written as any scalar; a constant such as "1" also as the number 1."""
    if "const" in found:
        return {"enum": [int(found["const"]), found["const"]]}
    return {"pattern": _NOT_EMPTY, "type": ["string", "number", "boolean"]}


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return {name: _plain(getattr(value, name)) for name in type(value).section_keys}
    return value
