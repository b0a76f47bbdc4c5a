"""The pointers that lead to the values of a tree, spelled so that they survive a change of the file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.drift.readers.tree import is_list

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.drift.readers.tree import Node

_PLAIN_KEY = re.compile(r"[\w.-]+")
_OF_PARENT = frozenset({"default", "value"})
_LABELS = ("id", "key", "name", "label")


class Step(Struct, frozen=True, kw_only=True):
    """One step of a pointer.

    Attributes:
        text: The step.
        item: Whether it selects a member of a list.
        named: Whether it does so by a name of its own.
    """

    text: str
    item: bool = False
    named: bool = False


def named_by(steps: tuple[Step, ...], key: str) -> str:
    """The name of a value: a `default` or `value` has that of the input, parameter or variable that it stands in."""
    last = max((index for index, step in enumerate(steps) if not step.item), default=0)  # not the members of a list
    if key not in _OF_PARENT or not last or steps[last].text != key:
        return key
    parent = steps[last - 1]
    if parent.item and not parent.named:
        return key
    return parent.text.partition("=")[2] if parent.named else parent.text


def pointer(steps: tuple[Step, ...]) -> tuple[str, ...]:
    """The steps as texts, as `tree.select` takes them."""
    return tuple(step.text for step in steps)


def named_part(steps: tuple[Step, ...]) -> tuple[str, ...]:
    """The part of a pointer that leads to the nearest list member with a name of its own, empty without one."""
    last = max((index for index, step in enumerate(steps) if step.named), default=-1)
    return pointer(steps[: last + 1])


def values(node: Node, steps: tuple[Step, ...], key: str) -> Iterator[tuple[tuple[Step, ...], str, Node]]:
    """Every scalar with its pointer and the key above it; list members by id or name where they have one.

    A list of scalars comes before its members.
    """
    if node.kind == "scalar" or (node.items and is_list(node)):
        yield steps, key, node
    for name, member in node.members:
        yield from values(member, (*steps, Step(text=name)), name)
    for index, item in enumerate(node.items):
        step = Step(text=str(index), item=True)
        for label in _LABELS:
            named = item.member(label)
            if named is not None and named.kind == "scalar" and _PLAIN_KEY.fullmatch(named.value):
                step = Step(text=f"{label}={named.value}", item=True, named=True)
                break
        yield from values(item, (*steps, step), key)
