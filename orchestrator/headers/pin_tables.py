"""The tables of constants in flashinfer/artifacts.py, read without running it.

What gives a table attributes in a way that is not read is named: a lock without them looks whole and is not.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_TABLES = ("ArtifactPath", "CheckSumHash")
_PLAIN_BASES = frozenset({"object", "str", "Enum", "StrEnum", "enum.Enum", "enum.StrEnum", "NamedTuple", "Protocol"})
_READ = (ast.Pass, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.If, ast.Try, ast.With, ast.For, ast.While)


def class_values(module: ast.Module, name: str) -> tuple[dict[str, object], dict[str, str]]:
    """Attributes of a class that can be read, and source text of those that cannot.

    Read are literals, names of earlier constants, and texts put together from these. An attribute in a branch has two
    values: it cannot be read.
    """
    names: dict[str, object] = {}
    found: dict[str, object] = {}
    unread: dict[str, str] = {}
    for node in module.body:
        for target, value in assignments([node]):
            names[target] = _value(value, names)
        if not (isinstance(node, ast.ClassDef) and node.name == name):
            continue
        inside = dict(names)
        for target, value in assignments(node.body):
            read = inside[target] = _value(value, inside)
            found.pop(target, None)
            unread.pop(target, None)
            if read is _UNREAD:
                unread[target] = ast.unparse(value)
            else:
                found[target] = read
        for statement in node.body:
            for target, value in _branched(statement):
                found.pop(target, None)
                unread[target] = f"{ast.unparse(value)}, in a branch"
    return found, unread


def other_ways(module: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield (table, source text) for whatever gives a table attributes in a way that `class_values` does not read."""
    for node in module.body:
        if isinstance(node, ast.ClassDef) and node.name in _TABLES:
            for base in (*node.bases, *(word.value for word in node.keywords)):
                if ast.unparse(base) not in {*_PLAIN_BASES, node.name}:
                    yield node.name, f"class {node.name}({ast.unparse(base)})"
            for statement in node.body:
                said = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
                if not (said or isinstance(statement, (*_READ, ast.Match)) or any(assignments([statement]))):
                    bare = isinstance(statement, ast.AnnAssign) and statement.value is None
                    if not bare:
                        yield node.name, ast.unparse(statement)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for inner in ast.walk(node):
                if table := _written_to(inner):
                    yield table, ast.unparse(inner)


def _written_to(node: ast.AST) -> str:
    """Return the table that a statement outside of it changes, "" for none: `ArtifactPath.X = …`, `setattr`."""
    match node:
        case ast.Attribute(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()) if name in _TABLES:
            return name
        case ast.Call(func=ast.Name(id="setattr" | "delattr"), args=[ast.Name(id=name), *_]) if name in _TABLES:
            return name
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()) if name in _TABLES:
            return name
        case ast.ClassDef(name=name) if name in _TABLES:
            return name
        case _:
            return ""


_UNREAD = object()


def _value(node: ast.expr, names: dict[str, object]) -> object:
    """Return what an expression is, `_UNREAD` if that takes more than reading."""
    match node:
        case ast.Name(id=name):
            return names.get(name, _UNREAD)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _joined([_value(left, names), _value(right, names)])
        case ast.JoinedStr(values=parts):
            return _joined([_value(part, names) for part in parts])
        case ast.FormattedValue(value=inner, conversion=-1, format_spec=None):
            return _value(inner, names)
        case _:
            try:
                return ast.literal_eval(node)
            except (ValueError, TypeError, SyntaxError, RecursionError):
                return _UNREAD


def _joined(parts: list[object]) -> object:
    texts = [part for part in parts if isinstance(part, str)]
    return "".join(texts) if len(texts) == len(parts) else _UNREAD


def _branched(statement: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    """Assignments of a class body that run under a condition; those of methods and inner classes are none."""
    if isinstance(statement, ast.If | ast.Try | ast.With | ast.For | ast.While | ast.Match):
        for node in ast.walk(statement):
            if isinstance(node, ast.stmt):
                yield from assignments([node])


def assignments(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    """Yield (name, value) for every assignment to a single name."""
    for statement in body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                yield name, value
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                yield name, value
            case _:
                continue
