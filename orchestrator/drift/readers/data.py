"""JSON, YAML, TOML and HCL by pointer: versions.json, workflows, pipelines, pyproject, bake files.

Chooses the reader of a format, and turns a node of its tree into a place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from orchestrator.dockerfile.spans import Found, Source
from orchestrator.drift.readers import tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.drift.readers import shell
    from orchestrator.drift.readers.tree import Node

Format = Literal["json", "yaml", "toml", "hcl"]


def parse(text: str, format_: Format) -> list[Node]:
    """The trees of a text, one for each document.

    Raises:
        ReadError: It is not of that format.
    """
    if format_ == "json":
        from orchestrator.drift.readers import json_

        return [json_.parse(text)]
    if format_ == "yaml":
        from orchestrator.drift.readers import yaml_

        return yaml_.parse(text)
    if format_ == "hcl":
        from orchestrator.drift.readers import hcl_tree

        return [hcl_tree.parse(text)]
    from orchestrator.drift.readers import toml_

    return [toml_.parse(text)]


class Part(Struct, frozen=True, kw_only=True):
    """A string of a file that assigns variables.

    Attributes:
        source: The string.
        listed: Whether it holds NAME=value, one a line, and no commands.
        flag: Whether it is one argument of a command, `--build-arg=NAME=value`.
    """

    source: Source
    listed: bool = False
    flag: bool = False


def place(node: Node) -> Found:
    """A scalar as a place of the file; a list of them is its values, joined by blanks."""
    if node.kind == "list":
        value = " ".join(item.value for item in node.items)
        return Found(value=value, start=node.start, end=node.end, via="it is a list: its items are edited by hand")
    if node.inner is None or node.style is None:
        via = node.via or "its spelling spans lines or carries a tag"
        return Found(value=node.value, start=node.start, end=node.end, via=via)
    return Found(value=node.value, start=node.inner[0], end=node.inner[1], styles=(node.style,))


def scripts(roots: list[Node], steps: tuple[str, ...], *needles: str) -> Iterator[Part]:
    """Every string below a pointer that may assign variables.

    Args:
        roots: The trees of a file.
        steps: Where to look, as `tree.split_pointer` gives it; empty for everywhere.
        needles: Only strings that hold one of these.
    """
    key = next((step for step in reversed(steps) if not step.isdecimal() and step != "*" and "=" not in step), "")
    for root in roots:
        for part in tree.select(root, steps):
            for name, node in tree.keyed(part, key):
                if any(needle in node.value for needle in needles):
                    yield part_of(name, node)


def part_of(key: str, node: Node) -> Part:
    """A string under a key as a part that assigns variables."""
    from orchestrator.drift.readers import lines

    flag = lines.is_flag(node.value)
    listed = not flag and lines.is_list(key, node.value)
    return Part(source=node.source or _literal(node), listed=listed, flag=flag)


def assigned(part: Part) -> list[shell.Assigned]:
    """Every assignment of a part."""
    from orchestrator.drift.readers import lines, shell

    if part.listed:
        return [shell.Assigned(name=name, found=found, branches=()) for name, found in lines.read_list(part.source)]
    return shell.assignments(part.source)


def build_args(part: Part, environment: Mapping[str, str]) -> Iterator[shell.BuildArg]:
    """Every build argument of the commands of a part, or the one that it is.

    Args:
        part: The part.
        environment: Variables that are set around it.
    """
    from orchestrator.drift.readers import lines, shell

    if not part.flag:
        yield from shell.build_args(part.source, environment)
        return
    for name, found in lines.read_list(part.source):
        command = shell.Command(tokens=(), branches=(), text=part.source.text)
        yield shell.BuildArg(name=name, start=found.start, end=found.end, found=found, command=command)


def _literal(node: Node) -> Source:
    """The source of a string without escapes, or one that points at the whole string and cannot be edited."""
    if node.inner and node.inner[1] - node.inner[0] == len(node.value):
        return Source(text=node.value, base=node.inner[0], outer=(node.style,) if node.style else ())
    size = len(node.value)
    via = "the string around it is spelled with escapes"
    return Source(text=node.value, starts=[node.start] * size, ends=[node.end] * size, base=node.start, via=via)


def environment(roots: list[Node]) -> dict[str, str]:
    """The variables that a pipeline sets for all its steps: the top-level `env:` or `variables:`."""
    known: dict[str, str] = {}
    for root in roots:
        for name in ("env", "variables"):
            section = root.member(name)
            if section is not None:
                known |= {key: node.value for key, node in section.members if node.kind == "scalar"}
    return known
