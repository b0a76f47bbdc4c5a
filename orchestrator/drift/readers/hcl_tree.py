"""HCL as a tree that pointers lead into: /target/app/matrix/cuda/0, /variable/RELEASES/default/1.

A block is a mapping under its type and its labels; blocks of one name are one mapping. A literal is a scalar that can
be edited; a template, a reference, a `for` and every other expression is one that buildx computes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.drift.readers import hcl
from orchestrator.drift.readers.tree import Node

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.drift.readers.hcl import Block, Expression


def parse(text: str) -> Node:
    """The tree of an HCL text.

    Raises:
        ReadError: It is not HCL.
    """
    return _mapping(text, [hcl.parse(text)])


def _mapping(text: str, blocks: Sequence[Block]) -> Node:
    """The attributes of blocks of one name, and the blocks in them."""
    members = [(name, _node(text, value)) for block in blocks for name, value in block.attributes.items()]
    inner: dict[str, list[tuple[tuple[str, ...], Block]]] = {}
    for block in blocks:
        for one in block.blocks:
            inner.setdefault(one.type, []).append((one.labels, one))
    members += [(name, _labelled(text, every)) for name, every in inner.items()]
    return _whole(members)


def _labelled(text: str, every: Sequence[tuple[tuple[str, ...], Block]]) -> Node:
    """Blocks of one type: a mapping of their first labels, or what stands in those that have none."""
    named: dict[str, list[tuple[tuple[str, ...], Block]]] = {}
    for labels, block in every:
        if labels:
            named.setdefault(labels[0], []).append((labels[1:], block))
    plain = _mapping(text, [block for labels, block in every if not labels])
    return _whole([*plain.members, *((name, _labelled(text, inner)) for name, inner in named.items())])


def _whole(members: Sequence[tuple[str, Node]]) -> Node:
    start = min((node.start for _, node in members), default=0)
    end = max((node.end for _, node in members), default=0)
    return Node(kind="mapping", start=start, end=end, members=tuple(members))


def _node(text: str, value: Expression) -> Node:
    if value.kind == "object":
        members = tuple((name, _node(text, one)) for name, one in value.members)
        return Node(kind="mapping", start=value.start, end=value.end, members=members)
    if value.kind == "list":
        items = tuple(_node(text, one) for one in value.items)
        return Node(kind="list", start=value.start, end=value.end, items=items)
    written = text[value.start : value.end]
    if value.kind == "literal":
        said = "".join(part for _, part in value.parts)
        return Node(kind="scalar", start=value.start, end=value.end, value=said, inner=value.inner, style=value.style)
    return Node(kind="scalar", start=value.start, end=value.end, value=written, via=f"it is the expression {written}")
