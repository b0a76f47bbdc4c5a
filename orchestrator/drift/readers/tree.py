"""What JSON, YAML and TOML have in common: a tree whose scalars know where they stand, and pointers into it."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orchestrator.dockerfile.spans import Source, Style


class Node(Struct, frozen=True, kw_only=True):
    """One value of a tree.

    Attributes:
        kind: What it is.
        start: Offset of its first character in the file.
        end: Offset after the last one.
        value: A scalar's value as text: 16, true, 13.0.2.
        members: A mapping's keys and values, in order.
        items: A list's values.
        inner: The span that a fix of a scalar replaces, or None where its spelling is beyond a fix.
        style: How a new value is written there.
        via: Why it cannot be edited, "" where its spelling says it.
        source: A string's text with the place of each character, for commands inside it; None where not known.
    """

    kind: Literal["mapping", "list", "scalar"]
    start: int
    end: int
    value: str = ""
    members: tuple[tuple[str, Node], ...] = ()
    items: tuple[Node, ...] = ()
    inner: tuple[int, int] | None = None
    style: Style | None = None
    source: Source | None = None
    via: str = ""

    def member(self, key: str) -> Node | None:
        """The value of a key; of several, the last, as all three formats' loaders take it."""
        return next((node for name, node in reversed(self.members) if name == key), None)

    def scalars(self) -> Iterator[Node]:
        """Every scalar in it, in order."""
        if self.kind == "scalar":
            yield self
        for _, node in self.members:
            yield from node.scalars()
        for node in self.items:
            yield from node.scalars()


def is_list(node: Node) -> bool:
    """Whether a node is a list of scalars."""
    return node.kind == "list" and all(item.kind == "scalar" for item in node.items)


def keyed(node: Node, key: str = "") -> Iterator[tuple[str, Node]]:
    """Every scalar in a node with the key of the nearest mapping above it, in order; `key` is that of the node."""
    if node.kind == "scalar":
        yield key, node
    for name, member in node.members:
        yield from keyed(member, name)
    for item in node.items:
        yield from keyed(item, key)


def split_pointer(pointer: str) -> tuple[str, ...]:
    """The steps of a pointer (RFC 6901: `/` between them, `~1` for a slash, `~0` for a tilde).

    Raises:
        ValueError: It does not begin with a slash.
    """
    if not pointer.startswith("/"):
        raise ValueError(f"the pointer {pointer} is invalid: expected one that begins with /, for example /env/NAME")
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer[1:].split("/"))


def join_pointer(steps: Iterable[str]) -> str:
    """The pointer of steps; the inverse of `split_pointer`."""
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)


def select(root: Node, steps: tuple[str, ...]) -> Iterator[Node]:
    """Every node that the steps of a pointer lead to.

    Args:
        root: Where to start.
        steps: A key, a list index, `*` for every member, or `key=value` for the members of a list that are mappings
            whose `key` has that value (a glob).
    """
    if not steps:
        yield root
        return
    step, rest = steps[0], steps[1:]
    for node in _step(root, step):
        yield from select(node, rest)


def _step(node: Node, step: str) -> Iterator[Node]:
    if node.kind == "mapping":
        if step == "*":
            yield from (member for _, member in node.members)
        else:
            member = node.member(step)
            if member is not None:
                yield member
    elif node.kind == "list":
        key, equals, wanted = step.partition("=")
        if step == "*":
            yield from node.items
        elif step.isdecimal() and len(step) < 10 and int(step) < len(node.items):
            yield node.items[int(step)]
        elif equals:
            for item in node.items:
                named = item.member(key)
                if named is not None and named.kind == "scalar" and fnmatchcase(named.value, wanted):
                    yield item
