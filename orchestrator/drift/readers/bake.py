"""Bake files, HCL and JSON: the defaults of variables and the arguments of targets, with the place to change.

It follows references and `inherits` inside one file, as buildx does without any environment. An expression beyond that
(a function, a conditional) is reported as one and left to buildx.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from orchestrator.dockerfile.spans import Found, Style
from orchestrator.drift.readers import hcl, json_
from orchestrator.drift.readers.hcl import Expression

if TYPE_CHECKING:
    from orchestrator.drift.readers.tree import Node

_MAX_DEPTH = 20  # variables that refer to each other in a circle


@dataclass(kw_only=True, slots=True)
class Target:
    """A target's own arguments, and the targets that it inherits from, later ones winning."""

    args: dict[str, Expression] = field(default_factory=dict)
    inherits: tuple[str, ...] = ()


@dataclass(kw_only=True, slots=True)
class BakeFile:
    """What one bake file defines."""

    text: str
    variables: dict[str, Expression] = field(default_factory=dict)
    targets: dict[str, Target] = field(default_factory=dict)

    def variable(self, name: str) -> Found | None:
        """The default of a variable as a place of the file."""
        default = self.variables.get(name)
        return None if default is None else self._place(default, where=f"variable {name}")

    def arg(self, target: str, name: str) -> Found | None:
        """The value of an argument of a target: where it is a variable alone, the place is that variable's default."""
        found = self._arg(target, name, 0)
        if found is None:
            return None
        owner, expression = found
        where = f"target {target}" if owner == target else f"target {target}, inherited from {owner}"
        if expression.kind == "reference":
            default = self.variables.get(expression.parts[0][1])
            if default is not None and default.kind == "literal":
                return self._place(default, where=f"{where}, variable {expression.parts[0][1]}")
        return self._place(expression, where=where)

    def _arg(self, target: str, name: str, depth: int) -> tuple[str, Expression] | None:
        body = self.targets.get(target)
        if body is None or depth > _MAX_DEPTH:
            return None
        if name in body.args:
            return target, body.args[name]
        for parent in reversed(body.inherits):
            found = self._arg(parent, name, depth + 1)
            if found is not None:
                return found
        return None

    def _place(self, expression: Expression, *, where: str) -> Found:
        value = self._value(expression, 0)
        written = self.text[expression.start : expression.end]
        if expression.kind == "literal":
            start, end = expression.inner
            return Found(value=value or "", start=start, end=end, styles=(expression.style,), where=where)
        return Found(
            value=written if value is None else value,
            start=expression.start,
            end=expression.end,
            where=where,
            via=f"it comes from {written}" if value is not None else f"it is the expression {written}",
            written=written,
            computed=value is None,
        )

    def _value(self, expression: Expression, depth: int) -> str | None:
        if expression.kind not in {"literal", "reference", "template"} or depth > _MAX_DEPTH:
            return None
        pieces = []
        for is_name, text in expression.parts:
            default = self.variables.get(text) if is_name else None
            piece = text if not is_name else self._value(default, depth + 1) if default is not None else None
            if piece is None:
                return None
            pieces.append(piece)
        return "".join(pieces)


def parse(text: str, *, json: bool) -> BakeFile:
    """What a bake file defines.

    Args:
        text: The file.
        json: Whether it is JSON (else HCL).

    Raises:
        ValueError: It is neither; the message says where.
    """
    file = BakeFile(text=text)
    if json:
        _from_json(json_.parse(text), file)
    else:
        _from_hcl(hcl.parse(text), file)
    return file


def read_variable(text: str, name: str, *, json: bool = False) -> list[Found]:
    """The default of a variable; empty where there is no such variable or it has no default."""
    found = parse(text, json=json).variable(name)
    return [found] if found is not None else []


def read_arg(text: str, target: str, name: str, *, json: bool = False) -> list[Found]:
    """The value of a target's argument; empty where the target or the argument is not there."""
    found = parse(text, json=json).arg(target, name)
    return [found] if found is not None else []


def _from_hcl(root: hcl.Block, file: BakeFile) -> None:
    file.variables |= root.attributes  # NAME = "value" at the top is a variable too
    for block in root.blocks:
        name = block.labels[0] if block.labels else ""
        if block.type == "variable" and "default" in block.attributes:
            file.variables[name] = block.attributes["default"]
        elif block.type == "target":
            target = file.targets.setdefault(name, Target())
            args = block.attributes.get("args")
            inherits = block.attributes.get("inherits")
            target.args |= dict(args.members) if args is not None else {}
            if inherits is not None:
                target.inherits = tuple(
                    "".join(text for _, text in item.parts) for item in inherits.items if item.kind == "literal"
                )


def _from_json(root: Node, file: BakeFile) -> None:
    variables = root.member("variable")
    for name, body in variables.members if variables else ():
        default = body.member("default")
        if default is not None and default.kind == "scalar":
            file.variables[name] = _expression(default)
    targets = root.member("target")
    for name, body in targets.members if targets else ():
        args, inherits = body.member("args"), body.member("inherits")
        file.targets[name] = Target(
            args={key: _expression(node) for key, node in args.members} if args else {},
            inherits=tuple(node.value for node in inherits.items) if inherits else (),
        )


def _expression(node: Node) -> Expression:
    """A JSON value as bake reads it: its strings are HCL templates."""
    if node.kind != "scalar" or node.inner is None or node.style is None or node.value == "null":
        return Expression(kind="other", start=node.start, end=node.end)
    literal = Expression(
        kind="literal",
        start=node.start,
        end=node.end,
        parts=((False, node.value),),
        inner=node.inner,
        style=node.style,
    )
    if node.style is Style.JSON_BARE or ("${" not in node.value and "%{" not in node.value):
        return literal
    parts = hcl.template(node.value, escapes=False)
    if parts is None:
        return replace(literal, kind="other", parts=())
    names = any(is_name for is_name, _ in parts)
    return replace(literal, kind="template" if names else "literal", parts=parts)
