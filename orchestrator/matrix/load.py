"""Reads matrix.yaml into a `Matrix`, with the position of every key and value.

It knows YAML and positions; what the values mean together is rules.py's, what they expand to variants.py's. Scalars
are handed on as the text that stands in the file: YAML 1.1 would make `3.10` the number 3.1 and `no` false, which in a
file of versions is never meant.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from orchestrator.errors import MatrixError, Problem, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import yaml

    from orchestrator.matrix.schema import MatrixFile

Path_ = tuple[str | int, ...]
"""Where in the file a value stands: keys and list indexes from the top."""

_MAX_BYTES = 1_000_000
_MAX_NODES = 50_000  # aliases of aliases grow without bound ("billion laughs"); no real matrix comes near
_MAX_DEPTH = 40
_MAX_SHOWN = 400  # characters of one part of a message
_OPTIONAL = frozenset({"overrides", "exclude", "publish", "cache", "headers", "verify", "claims", "filter"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Positions:
    """Line and column (1-based) of every key and value of one YAML file.

    Attributes:
        file: The file's name as the user gave it.
        keys: Position of the key that leads to a path.
        values: Position of the value at a path.
        source: The file's text.
        spans: Start and end of the scalar at a path, quotes included, as offsets in `source`.
    """

    file: str
    keys: Mapping[Path_, tuple[int, int]]
    values: Mapping[Path_, tuple[int, int]]
    source: str = ""
    spans: Mapping[Path_, tuple[int, int]] = field(default_factory=dict)

    def at(self, path: Path_, *, key: bool = False) -> tuple[int, int]:
        """Position of the value (or key) at `path`, or of its nearest ancestor that stands in the file."""
        while True:
            for table in (self.keys, self.values) if key else (self.values, self.keys):
                if path in table:
                    return table[path]
            if not path:
                return (1, 1)
            path = path[:-1]

    def place(self, path: Path_) -> str:
        """The place as `matrix.yaml:14:9`."""
        line, column = self.at(path)
        return f"{self.file}:{line}:{column}"

    def problem(
        self,
        path: Path_,
        what: str,
        *,
        key: bool = False,
        part: tuple[str, int] = ("", 0),
        expected: str = "",
        found: str = "",
        hint: str = "",
    ) -> Problem:
        """A problem at `path`, or at a part of the scalar there: (a piece of its text, how many such stand before)."""
        line, column = self._inside(path, *part) or self.at(path, key=key)
        return Problem(file=self.file, line=line, column=column, what=what, expected=expected, found=found, hint=hint)

    def _inside(self, path: Path_, piece: str, before: int) -> tuple[int, int] | None:
        """Where a piece stands in the file: quotes, escapes and folded lines make it another place than in the text."""
        if not piece or path not in self.spans:
            return None
        start, end = self.spans[path]
        for _ in range(before + 1):
            start = self.source.find(piece, start, end) + 1
            if not start:
                return None  # written with escapes
        return _place(self.source[: start - 1])


@dataclass(frozen=True, kw_only=True, slots=True)
class Matrix:
    """A matrix.yaml that was read, with what is needed to point into it.

    Attributes:
        path: The file.
        root: Its directory: what relative paths in it start from.
        spec: The validated values.
        positions: Where each of them stands.
        digest: `sha256:…` of the file's bytes.
    """

    path: Path
    root: Path
    spec: MatrixFile
    positions: Positions
    digest: str


def read(path: Path, *, shown: str = "") -> bytes:
    """The bytes of the file.

    Raises:
        MatrixError: It is not there, not a file, not readable or absurdly large.
    """
    name = shown or str(path)
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise MatrixError(
            f"{name}: no such file", hint="name it with --file, or write a first one with `orchestrate init`"
        ) from error
    except OSError as error:
        raise MatrixError(f"{name}: cannot be read: {error.strerror}") from error
    if len(data) > _MAX_BYTES:
        raise MatrixError(f"{name}: larger than {_MAX_BYTES:,} bytes: this is no matrix.yaml")
    return data


def load(path: Path, *, shown: str = "") -> Matrix:
    """Read, parse and check a matrix.yaml.

    Args:
        path: The file.
        shown: Its name in messages, by default `path` as given.

    Raises:
        MatrixError: With every problem of the file, each at its line and column.
    """
    return parse(read(path, shown=shown), path=path, shown=shown or str(path))


def parse(data: bytes, *, path: Path, shown: str) -> Matrix:
    """As `load`, from bytes that were read already."""
    from orchestrator.matrix import rules

    tree, positions, problems = _compose(data, shown)
    spec, more = _validate(tree, positions)
    problems += more
    if spec is None:
        raise invalid(shown, problems)
    whole = not problems
    problems += rules.problems(spec, positions)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    matrix = Matrix(path=path, root=path.parent, spec=spec, positions=positions, digest=digest)
    if problems:
        from orchestrator.matrix import variants

        raise invalid(shown, [*problems, *variants.further_problems(matrix, whole=whole)])
    return matrix


def invalid(shown: str, problems: Iterable[Problem]) -> MatrixError:
    """The error for a file with problems, sorted by position."""
    ordered = sorted({_readable(problem) for problem in problems}, key=lambda p: (p.line, p.column, p.what))
    count = f"{len(ordered)} problem{'s' if len(ordered) != 1 else ''}"
    return MatrixError(f"{shown}: {count}", problems=ordered)


def _readable(problem: Problem) -> Problem:
    """The problem on one line: what a file holds may be long, or end lines and move a terminal's cursor."""
    return replace(
        problem, what=_clean(problem.what), expected=_clean(problem.expected), found=_clean(problem.found),
        hint=_clean(problem.hint),
    )  # fmt: skip


def _clean(text: str) -> str:
    text = text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 1]}…"
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _compose(data: bytes, shown: str) -> tuple[Any, Positions, list[Problem]]:
    """Parse YAML into plain values (scalars as text), positions, and problems such as duplicate keys."""
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
        line, column = _place(data[: error.start].decode("utf-8-sig", errors="replace"))
        raise _broken(shown, line, column, "not UTF-8", f"byte 0x{data[error.start]:02x}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        what = " ".join(part for part in (error.context, error.problem) if part)
        raise _broken(shown, line, column, f"not YAML: {what}") from error
    except yaml.YAMLError as error:  # a reader error: a character that YAML forbids, with an offset in UTF-8 bytes
        offset = getattr(error, "position", 0)
        line, column = _place(text.encode()[:offset].decode(errors="replace"))
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


def _place(before: str) -> tuple[int, int]:
    """Line and column (1-based) of the character after a text."""
    return before.count("\n") + 1, len(before) - before.rfind("\n")


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


def _validate(tree: Any, positions: Positions) -> tuple[MatrixFile | None, list[Problem]]:
    """Validate against the schema; what is wrong is set aside so that the rest is still checked in the same run."""
    from pydantic import ValidationError

    from orchestrator.matrix.schema import MatrixFile

    try:
        return MatrixFile.model_validate(tree), []
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=True)
    problems = [_explain(detail, positions) for detail in details]
    try:
        return MatrixFile.model_validate(_without(tree, details)), problems
    except ValidationError:
        return None, problems


def _without(tree: Any, details: Iterable[Mapping[str, Any]]) -> Any:
    """The tree without what is wrong in it, as far as the rest can do without: keys, and sections that are optional."""
    sections = set()
    for detail in details:
        path = tuple(detail["loc"])
        if detail["type"] == "extra_forbidden":
            holder = tree
            for step in path[:-1]:
                holder = holder[step]
            holder.pop(path[-1], None)
        elif path == ("version",):
            tree["version"] = "1"
        elif path and path[0] in _OPTIONAL:
            sections.add(path[0])
    return {name: value for name, value in tree.items() if name not in sections} if sections else tree


def _explain(detail: Mapping[str, Any], positions: Positions) -> Problem:
    """One pydantic error as a problem at its place in the file."""
    path = tuple(step for step in detail["loc"] if step != "[key]")
    name = ".".join(str(step) for step in path)
    kind = detail["type"]
    if kind == "extra_forbidden":
        known = _known_keys(path[:-1])
        return positions.problem(path, f"unknown key {path[-1]}", key=True, hint=did_you_mean(str(path[-1]), known))
    if kind == "missing":
        return positions.problem(path[:-1], f"{name} is missing", key=True)
    found = _describe(detail["input"])
    expected = {
        "string_type": "text", "dict_type": "a mapping", "list_type": "a list", "bool_parsing": "true or false",
        "bool_type": "true or false", "float_parsing": "a number", "int_parsing": "a whole number",
        "model_type": "a mapping", "literal_error": str(detail.get("ctx", {}).get("expected", "")).replace("'", ""),
    }.get(kind, "")  # fmt: skip
    what = (
        f"{name or 'the file'} is not right" if expected else f"{name}: {detail['msg'].removeprefix('Value error, ')}"
    )
    return positions.problem(path, what, expected=expected, found=found if expected else "")


def _describe(value: object) -> str:
    """What was found, short enough for one line."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _known_keys(path: Path_) -> list[str]:
    """The keys that the schema knows at `path`."""
    from pydantic import BaseModel

    from orchestrator.matrix.schema import MatrixFile

    model: Any = MatrixFile
    for step in path:
        if isinstance(model, type) and issubclass(model, BaseModel):
            field = model.model_fields.get(str(step))
            model = field.annotation if field else None
        else:
            model = _element(model)
        model = _model_in(model)
    if isinstance(model, type) and issubclass(model, BaseModel):
        return list(model.model_fields)
    return []


def _element(annotation: Any) -> Any:
    """The type of the members of `list[X]` or `dict[str, X]`."""
    from typing import get_args

    arguments = get_args(annotation)
    return arguments[-1] if arguments else None


def _model_in(annotation: Any) -> Any:
    """`X` of `Annotated[X, …]` and of `X | None`."""
    from types import NoneType, UnionType
    from typing import Annotated, Union, get_args, get_origin

    while get_origin(annotation) in (Annotated, Union, UnionType):
        arguments = [item for item in get_args(annotation) if item is not NoneType]
        annotation = arguments[0]
    return annotation
