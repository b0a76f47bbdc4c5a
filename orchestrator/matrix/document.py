"""Reads YAML into plain values with the position of every key and value.

It knows YAML, its traps and its bombs; what the values mean is not its business. Scalars are handed on as the text
that stands in the file: YAML 1.1 would make `3.10` the number 3.1 and `no` false, which in a file of versions is never
meant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.errors import MatrixError, Problem
from orchestrator.matrix.positions import Positions, invalid, line_and_column

if TYPE_CHECKING:
    from collections.abc import Iterable

    import yaml

    from orchestrator.matrix.positions import Path_

_MAX_NODES = 50_000  # aliases of aliases grow without bound ("billion laughs"); no real matrix comes near
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
    import yaml

    builder = _Builder(shown)
    text = ""
    try:
        text = data.decode("utf-8-sig")
        kind = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        _refuse_depth(yaml.parse(text, Loader=kind), shown)
        loader = kind(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
        tree = builder.build(node, (), 0) if node is not None else {}
    except UnicodeDecodeError as error:
        line, column = line_and_column(data[: error.start].decode("utf-8-sig", errors="replace"))
        raise _broken(shown, line, column, "not UTF-8", f"byte 0x{data[error.start]:02x}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        what = " ".join(part for part in (error.context, error.problem) if part)
        raise _broken(shown, line, column, f"not YAML: {what}") from error
    except yaml.YAMLError as error:  # a reader error: a character that YAML forbids, with an offset in UTF-8 bytes
        offset = getattr(error, "position", 0)
        line, column = line_and_column(text.encode()[:offset].decode(errors="replace"))
        raise _broken(shown, line, column, f"not YAML: {str(error).splitlines()[0]}") from error
    positions = Positions(file=shown, keys=builder.keys, values=builder.values, source=text, spans=builder.spans)
    return tree, positions, builder.problems


def _refuse_depth(events: Iterable[yaml.Event], shown: str) -> None:
    """Stop at deep nesting before libyaml composes nodes: it recurses in C, where a megabyte of `[` is a crash."""
    import yaml

    depth = 0
    for event in events:
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MAX_DEPTH and event.start_mark is not None:
            raise _broken(shown, event.start_mark.line + 1, event.start_mark.column + 1, "nested too deeply")


def _broken(shown: str, line: int, column: int, what: str, found: str = "") -> MatrixError:
    return invalid(shown, [Problem(file=shown, line=line, column=column, what=what, found=found)])


class _Builder:
    """Turns YAML nodes into plain values and notes where each of them stands."""

    def __init__(self, shown: str) -> None:
        self.shown = shown
        self.keys: dict[Path_, tuple[int, int]] = {}
        self.values: dict[Path_, tuple[int, int]] = {}
        self.spans: dict[Path_, tuple[int, int]] = {}
        self.problems: list[Problem] = []
        self.nodes = 0

    def build(self, node: yaml.Node, path: Path_, depth: int) -> Any:
        import yaml

        self.nodes += 1
        mark = node.start_mark
        if self.nodes > _MAX_NODES or depth > _MAX_DEPTH:
            limit = "too many values (aliases of aliases?)" if self.nodes > _MAX_NODES else "nested too deeply"
            raise _broken(self.shown, mark.line + 1, mark.column + 1, limit)
        self.values[path] = (mark.line + 1, mark.column + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, index), depth + 1) for index, item in enumerate(node.value)]
        self.spans[path] = (mark.index, node.end_mark.index)
        if node.tag == "tag:yaml.org,2002:null":
            return None
        return str(node.value)

    def _mapping(self, node: yaml.MappingNode, path: Path_, depth: int) -> dict[str, Any]:
        import yaml

        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line, column = key_node.start_mark.line + 1, key_node.start_mark.column + 1
            if not isinstance(key_node, yaml.ScalarNode) or key_node.value == "<<":
                what = "merge keys are not supported" if isinstance(key_node, yaml.ScalarNode) else "not a plain key"
                self.problems.append(Problem(file=self.shown, line=line, column=column, what=what))
                continue
            key = str(key_node.value)
            if key in result:
                first = self.keys[(*path, key)][0]
                self.problems.append(
                    Problem(file=self.shown, line=line, column=column, what=f"{key} stands twice (first: line {first})")
                )
                continue
            self.keys[(*path, key)] = (line, column)
            result[key] = self.build(value_node, (*path, key), depth + 1)
        return result
