"""Bake files, HCL and JSON: the defaults of variables and the arguments of targets, with the place to change.

It follows references and `inherits` inside one file, as buildx does when no environment variable is set. Any other
expression (a function, a conditional) is reported as one and left to buildx.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from orchestrator.dockerfile.spans import Found, Style
from orchestrator.drift.readers import hcl, json_
from orchestrator.drift.readers.errors import MAX_DEPTH
from orchestrator.drift.readers.hcl import Expression

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.drift.readers.tree import Node

_MAX_VALUE = 100_000
"""Characters of a value; variables of variables grow without bound."""


_DOCKERFILE = ("context", "dockerfile", "dockerfile-inline", "target")
"""The attributes that say which stage of which Dockerfile a target builds."""
_RENAMED = frozenset({"matrix", "name"})
"""The attributes with which one block makes several targets."""


class Target(Struct, kw_only=True):
    """A target's own arguments and attributes, and the targets that it inherits from, later ones winning.

    Attributes:
        args: Its arguments.
        built: Its attributes of `_DOCKERFILE`.
        contexts: Its named contexts, None where they are computed.
        inherits: Names of other targets.
        plain: Whether it is one target, in one block, whose `inherits` are literals.
    """

    args: dict[str, Expression] = field(default_factory=dict)
    built: dict[str, Expression] = field(default_factory=dict)
    contexts: dict[str, Expression] | None = field(default_factory=dict)
    inherits: tuple[str, ...] = ()
    plain: bool = True


class BakeFile(Struct, kw_only=True):
    """What one bake file defines.

    Attributes:
        text: The file's text.
        variables: The default of each variable.
        declared: The names of all variables, those without a default included.
        targets: The targets by name.
        known: The values of defaults worked out so far.
        partial: Whether buildx alone knows what it defines: a Compose file.
    """

    text: str
    variables: dict[str, Expression] = field(default_factory=dict)
    declared: dict[str, None] = field(default_factory=dict)
    targets: dict[str, Target] = field(default_factory=dict)
    known: dict[str, str | None] = field(default_factory=dict)
    partial: bool = False

    def variable(self, name: str) -> Found | None:
        """The default of a variable as a place of the file."""
        default = self.variables.get(name)
        return None if default is None else self._place(default, where=f"variable {name}")

    def arg(self, target: str, name: str) -> Found | None:
        """The value of an argument of a target: where it is a variable alone, the place is that variable's default."""
        found = self._arg(target, name)
        if found is None:
            return None
        owner, expression = found
        where = f"target {target}" if owner == target else f"target {target}, inherited from {owner}"
        variable = self._variable_alone(expression)
        if variable is not None:
            return self._place(self.variables[variable], where=f"{where}, variable {variable}")
        return self._place(expression, where=where)

    def own_arg(self, target: str, name: str) -> Found | None:
        """The same where it is written in a target; None where it is a variable's default."""
        found = self._arg(target, name)
        return None if found is None or self._variable_alone(found[1]) is not None else self.arg(target, name)

    def arguments(self, variable: str) -> list[tuple[str, str]]:
        """The targets and their arguments, inherited ones included, that are a variable and nothing else."""
        return [
            (target, name)
            for target in self.targets
            for owner in lineage([self], target)
            for name in self.targets[owner].args
            if (found := self._arg(target, name)) is not None and self._variable_alone(found[1]) == variable
        ]

    def heirs(self, target: str, name: str) -> list[tuple[str, str]]:
        """A target and those that inherit its argument, each with the argument's name."""
        return [(one, name) for one in self.targets if (found := self._arg(one, name)) and found[0] == target]

    def _variable_alone(self, expression: Expression) -> str | None:
        """The variable that an expression is, if it is nothing else and has a literal default."""
        if expression.kind != "reference":
            return None
        name = expression.parts[0][1]
        default = self.variables.get(name)
        return name if default is not None and default.kind == "literal" else None

    def _arg(self, target: str, name: str) -> tuple[str, Expression] | None:
        """The target that an argument comes from, and its value: of the targets inherited from, the last one wins."""
        seen: set[str] = set()
        waiting = [target]
        while waiting:
            owner = waiting.pop()
            if owner in seen or owner not in self.targets:
                continue
            seen.add(owner)
            if name in self.targets[owner].args:
                return owner, self.targets[owner].args[name]
            waiting += self.targets[owner].inherits
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
        """The text of an expression, None where it is none that can be followed here."""
        if expression.kind not in {"literal", "reference", "template"} or depth > MAX_DEPTH:
            return None
        pieces = []
        size = 0
        for is_name, text in expression.parts:
            piece = self._default(text, depth + 1) if is_name else text
            size += len(piece or "")
            if piece is None or size > _MAX_VALUE:
                return None
            pieces.append(piece)
        return "".join(pieces)

    def _default(self, variable: str, depth: int) -> str | None:
        """The value of a variable's default; each is worked out once, because a variable may be named many times."""
        if variable not in self.known:
            default = self.variables.get(variable)
            self.known[variable] = None  # in a circle nothing has a value
            self.known[variable] = None if default is None else self._value(default, depth)
        return self.known[variable]


def dockerfiles(files: Sequence[BakeFile], names: Sequence[str]) -> dict[str, dict[str, str]] | None:
    """Which stage of which Dockerfile targets build, where the files say it in literals.

    Args:
        files: The project's bake files.
        names: The targets.

    Returns:
        Name -> the attributes `context`, `dockerfile`, `dockerfile-inline` and `target` that are set, inherited ones
        included; None where only buildx knows: a target that is computed, in several blocks, or not found.
    """
    every = [(name, target) for file in files for name, target in file.targets.items()]
    targets = dict(every)
    if len(targets) < len(every) or any(file.partial for file in files):
        return None
    found: dict[str, dict[str, str]] = {}
    for name in names:
        attributes = _inherited(targets, name)
        if attributes is None or any(one.kind != "literal" for one in attributes.values()):
            return None
        found[name] = {key: "".join(text for _, text in one.parts) for key, one in attributes.items()}
    return found


def contexts(files: Sequence[BakeFile], name: str) -> dict[str, str] | None:
    """The named contexts of a target with those that it inherits, None where only buildx knows them.

    Args:
        files: The project's bake files, in which each target has one block.
        name: The target.
    """
    targets = {key: target for file in files for key, target in file.targets.items()}
    if any(file.partial for file in files):
        return None
    found: dict[str, Expression] = {}
    for owner in lineage(files, name):
        own = targets[owner].contexts
        if own is None:
            return None
        found = own | found
    if any(one.kind != "literal" for one in found.values()):
        return None
    return {key: "".join(text for _, text in one.parts) for key, one in found.items()}


def lineage(files: Sequence[BakeFile], name: str) -> list[str]:
    """A target and those that it inherits from, each before the ones that it wins over."""
    targets = {key: target for file in files for key, target in file.targets.items()}
    waiting, found = [name], []
    while waiting:
        owner = waiting.pop()
        if owner in targets and owner not in found:
            found.append(owner)
            waiting += targets[owner].inherits
    return found


def _inherited(targets: Mapping[str, Target], name: str) -> dict[str, Expression] | None:
    """The attributes of a target with those that it inherits, None where a target is not plain or not found."""
    found: dict[str, Expression] = {}
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        owner = waiting.pop()
        if owner in seen:
            continue
        seen.add(owner)
        target = targets.get(owner)
        if target is None or not target.plain:
            return None
        found = target.built | found
        waiting += target.inherits
    return found


def parse(text: str, *, json: bool) -> BakeFile:
    """What a bake file defines.

    Args:
        text: The file.
        json: Whether it is JSON (else HCL).

    Raises:
        ReadError: It is not.
    """
    file = BakeFile(text=text)
    if json:
        _from_json(json_.parse(text), file)
    else:
        _from_hcl(hcl.parse(text), file)
    return file


def _from_hcl(root: hcl.Block, file: BakeFile) -> None:
    file.variables |= root.attributes  # NAME = "value" at the top is a variable too
    file.declared |= dict.fromkeys(root.attributes)
    for block in root.blocks:
        name = block.labels[0] if block.labels else ""
        if block.type == "variable":
            file.declared[name] = None
            if "default" in block.attributes:
                file.variables[name] = block.attributes["default"]
        elif block.type == "target":
            known = name in file.targets
            target = file.targets.setdefault(name, Target())
            target.plain = not known and not _RENAMED & block.attributes.keys()
            target.built |= {key: block.attributes[key] for key in _DOCKERFILE if key in block.attributes}
            args = block.attributes.get("args")
            contexts = block.attributes.get("contexts")
            if contexts is not None:
                target.contexts = dict(contexts.members) if contexts.kind == "object" else None
            inherits = block.attributes.get("inherits")
            target.args |= dict(args.members) if args is not None else {}
            if inherits is not None:
                target.inherits = tuple(
                    "".join(text for _, text in item.parts) for item in inherits.items if item.kind == "literal"
                )
                target.plain = target.plain and inherits.kind == "list" and len(target.inherits) == len(inherits.items)


def _from_json(root: Node, file: BakeFile) -> None:
    variables = root.member("variable")
    for name, body in variables.members if variables else ():
        file.declared[name] = None
        default = body.member("default")
        if default is not None and default.kind == "scalar":
            file.variables[name] = _expression(default)
    targets = root.member("target")
    for name, body in targets.members if targets else ():
        args, inherits, contexts = body.member("args"), body.member("inherits"), body.member("contexts")
        own = {key: body.member(key) for key in _DOCKERFILE}
        file.targets[name] = Target(
            args={key: _expression(node) for key, node in args.members} if args else {},
            built={key: _expression(node) for key, node in own.items() if node is not None},
            contexts={key: _expression(node) for key, node in contexts.members} if contexts else {},
            inherits=tuple(node.value for node in inherits.items) if inherits else (),
            plain=not any(body.member(key) for key in _RENAMED)
            and (inherits is None or all("${" not in node.value for node in inherits.items)),
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
