"""Reads YAML into plain values with the position of every key and value.

Scalars are returned as the text that the file has: YAML 1.1 makes `3.10` the number 3.1 and `no` false, which in a file
of versions is never meant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.errors import MatrixError, Problem
from orchestrator.matrix import yaml_nodes
from orchestrator.matrix.positions import Positions, invalid, line_and_column

if TYPE_CHECKING:
    import yaml

    from orchestrator.matrix.positions import KeyPath

_MAX_DEPTH = 40


def compose(data: bytes, shown: str) -> tuple[Any, Positions, list[Problem]]:
    """Parse YAML.

    Args:
        data: The file's bytes.
        shown: Its name in messages.

    Returns:
        Plain values (mappings, lists, scalars as text, None), their positions, and problems such as duplicate keys.

    Raises:
        MatrixError: It is not YAML, not UTF-8, nested too deeply or grown too large.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = line_and_column(data[: error.start].decode("utf-8-sig", errors="replace"))
        raise _broken(shown, line, column, "not UTF-8", f"byte 0x{data[error.start]:02x}") from error
    builder = _Builder(shown, text)
    try:
        nodes = yaml_nodes.compose(text, depth=_MAX_DEPTH, single=True)
        tree = builder.build(nodes[0], (), 0) if nodes else {}
    except yaml_nodes.YamlError as error:
        problem = Problem(file=shown, line=error.line, column=error.column, what=error.what, expected=error.expected)
        raise invalid(shown, [problem]) from error
    positions = Positions(file=shown, keys=builder.keys, values=builder.values, source=text, spans=builder.spans)
    return tree, positions, builder.problems


def _broken(shown: str, line: int, column: int, what: str, found: str = "") -> MatrixError:
    return invalid(shown, [Problem(file=shown, line=line, column=column, what=what, found=found)])


class _Builder:
    """Turns YAML nodes into plain values and records the position of each."""

    def __init__(self, shown: str, text: str) -> None:
        self.shown = shown
        self.keys: dict[KeyPath, tuple[int, int]] = {}
        self.values: dict[KeyPath, tuple[int, int]] = {}
        self.spans: dict[KeyPath, tuple[int, int]] = {}
        self.problems: list[Problem] = []
        self.budget = yaml_nodes.Budget(text, depth=_MAX_DEPTH)

    def build(self, node: yaml.Node, path: KeyPath, depth: int) -> Any:
        import yaml

        self.budget.enter(node, depth)
        mark = node.start_mark
        self.values[path] = (mark.line + 1, mark.column + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, index), depth + 1) for index, item in enumerate(node.value)]
        self.spans[path] = (mark.index, node.end_mark.index)
        if node.tag == "tag:yaml.org,2002:null":
            return None
        return str(node.value)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath, depth: int) -> dict[str, Any]:
        import yaml

        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line, column = key_node.start_mark.line + 1, key_node.start_mark.column + 1
            if not isinstance(key_node, yaml.ScalarNode) or key_node.value == yaml_nodes.MERGE:
                what = "merge keys are not supported" if isinstance(key_node, yaml.ScalarNode) else "not a plain key"
                self.problems.append(Problem(file=self.shown, line=line, column=column, what=what))
                continue
            key = str(key_node.value)
            if key in result:
                first = self.keys[(*path, key)][0]
                what = f"duplicate key {key} (first: line {first})"
                self.problems.append(Problem(file=self.shown, line=line, column=column, what=what))
                continue
            self.keys[(*path, key)] = (line, column)
            result[key] = self.build(value_node, (*path, key), depth + 1)
        return result
