"""Composes YAML into PyYAML's nodes with bounds on depth and size: untrusted files cannot crash or fill the machine.

The only module that calls PyYAML's parser on files of a user. What the nodes mean is for its callers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.matrix.positions import line_and_column

if TYPE_CHECKING:
    from collections.abc import Iterable

    import yaml

MAX_NODES = 50_000
"""Values of one file, aliases followed: aliases of aliases grow without bound ("billion laughs")."""

MERGE = "<<"
"""The key whose value is merged into its mapping (YAML 1.1)."""


class YamlError(ValueError):
    """A text is not YAML, or exceeds a bound.

    Attributes:
        what: What is wrong, one line.
        line: 1-based line.
        column: 1-based column.
        expected: The bound that is exceeded, or "".
    """

    def __init__(self, what: str, *, line: int, column: int, expected: str = "") -> None:
        super().__init__(f"line {line}: {what}")
        self.what = what
        self.line = line
        self.column = column
        self.expected = expected


class Budget:
    """Bounds a walk over composed nodes: their number, and their depth with aliases followed (a cycle has no end)."""

    def __init__(self, text: str, *, depth: int) -> None:
        self._text = text
        self._depth = depth
        self._left = MAX_NODES

    def enter(self, node: yaml.Node, depth: int) -> None:
        """Count a node.

        Args:
            node: The node that a walk enters.
            depth: How many collections it is in.

        Raises:
            YamlError: It is one too many, or in too many collections.
        """
        self._left -= 1
        if self._left < 0:
            what = "too many values (aliases of aliases?)"
            raise _at(self._text, node.start_mark.index, what, f"at most {MAX_NODES:,}")
        if depth > self._depth:
            raise _too_deep(self._text, node.start_mark.index, self._depth)

    def members(self, node: yaml.MappingNode) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
        """Scalar keys with their values, those of merged mappings first: of equal keys the last one counts.

        Raises:
            YamlError: Merged mappings exceed the bounds.
        """
        return self._members(node, 0)

    def _members(self, node: yaml.MappingNode, depth: int) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
        import yaml

        own: list[tuple[yaml.ScalarNode, yaml.Node]] = []
        merged: list[tuple[yaml.ScalarNode, yaml.Node]] = []
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value != MERGE:
                own.append((key, value))
                continue
            sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
            for source in reversed(sources):
                if isinstance(source, yaml.MappingNode):
                    self.enter(source, depth + 1)
                    more = self._members(source, depth + 1)
                    self._left -= len(more)
                    merged += more
        return merged + own


def compose(text: str, *, depth: int, single: bool = False) -> list[yaml.Node]:
    """The root node of each document.

    Args:
        text: A YAML text.
        depth: How many collections may contain each other.
        single: Whether more than one document is an error.

    Raises:
        YamlError: It is not YAML, or nested more deeply.
    """
    import yaml

    kind = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loader = None
    try:
        _check_events(text, yaml.parse(text, Loader=kind), depth, single=single)
        loader = kind(text)
        nodes: list[Any] = []
        while loader.check_node():
            nodes.append(loader.get_node())
    except yaml.MarkedYAMLError as error:
        what = " ".join(part for part in (error.context, error.problem) if part)
        mark = error.problem_mark or error.context_mark
        raise _at(text, mark.index if mark else 0, f"not YAML: {what}") from error
    except yaml.YAMLError as error:  # a character that YAML forbids, with an offset in UTF-8 bytes
        before = text.encode(errors="replace")[: getattr(error, "position", 0)].decode(errors="replace")
        raise _at(text, len(before), f"not YAML: {str(error).splitlines()[0]}") from error
    except UnicodeEncodeError as error:  # a byte that is not UTF-8, kept as a surrogate
        raise _at(text, error.start, "not YAML: a byte is not UTF-8") from error
    else:
        return nodes
    finally:
        if loader is not None:
            loader.dispose()


def _check_events(text: str, events: Iterable[yaml.Event], depth: int, *, single: bool) -> None:
    """Stop before nodes are composed: libyaml composes by recursion in C, where a megabyte of `[` is a crash."""
    import yaml

    level = documents = 0
    for event in events:
        if isinstance(event, yaml.CollectionStartEvent):
            level += 1
            if level > depth:
                raise _too_deep(text, event.start_mark.index if event.start_mark else 0, depth)
        elif isinstance(event, yaml.CollectionEndEvent):
            level -= 1
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if single and documents > 1:
                raise _at(text, event.start_mark.index if event.start_mark else 0, "not YAML: more than one document")


def _too_deep(text: str, offset: int, depth: int) -> YamlError:
    return _at(text, offset, "nested too deeply", f"at most {depth} levels")


def _at(text: str, offset: int, what: str, expected: str = "") -> YamlError:
    """The error at an offset; PyYAML's own lines also end at characters that editors do not count."""
    line, column = line_and_column(text[:offset])
    return YamlError(what, line=line, column=column, expected=expected)
