"""Reads matrix.yaml into a `Matrix`, and reports every problem of the file in one run.

It knows the order of the steps (document.py, schema.py, rules.py, then variants.py for what only the expansion shows)
and puts pydantic's errors into words.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from orchestrator.errors import MatrixError, did_you_mean
from orchestrator.matrix.document import compose
from orchestrator.matrix.model import Matrix
from orchestrator.matrix.positions import invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from orchestrator.errors import Problem
    from orchestrator.matrix.positions import Path_, Positions
    from orchestrator.matrix.schema import MatrixFile

_MAX_BYTES = 1_000_000
_OPTIONAL = frozenset({"overrides", "exclude", "publish", "cache", "headers", "verify", "claims", "filter"})


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

    tree, positions, problems = compose(data, shown)
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
