"""Reads matrix.yaml into a `Matrix`, and reports every problem of the file in one run.

The steps: `document` parses YAML, `convert` validates it against `schema`, `rules` checks what the values mean
together, `expand` finds what only the expansion shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.errors import MatrixError
from orchestrator.matrix.document import compose
from orchestrator.matrix.model import Matrix
from orchestrator.matrix.positions import invalid

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.errors import Problem
    from orchestrator.matrix.convert import Fault
    from orchestrator.matrix.positions import Positions
    from orchestrator.matrix.schema import MatrixFile

_MAX_BYTES = 1_000_000


def read(path: Path, *, shown: str = "") -> bytes:
    """The bytes of the file.

    Raises:
        MatrixError: It is not there, not a file, not readable or too large.
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
        raise MatrixError(f"{name}: larger than {_MAX_BYTES:,} bytes")
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
    """As `load`, from bytes that were read already.

    Raises:
        MatrixError: The file is invalid; it holds every problem with its place.
    """
    from orchestrator.matrix import rules

    tree, positions, problems = compose(data, shown)
    spec, more = _validate(tree, positions)
    problems += more
    if spec is None:
        raise invalid(shown, problems)
    whole = not problems
    problems += rules.problems(spec, positions)
    matrix = Matrix(path=path, root=path.parent, spec=spec, positions=positions, data=data)
    if problems:
        from orchestrator.matrix.expand import further_problems

        raise invalid(shown, [*problems, *further_problems(matrix, whole=whole)])
    return matrix


def _validate(tree: Any, positions: Positions) -> tuple[MatrixFile | None, list[Problem]]:
    """The file against the schema; what is invalid is left out so that the rest is still checked in the same run."""
    from orchestrator.matrix.convert import read, read_keys
    from orchestrator.matrix.schema import MatrixFile

    spec, faults = read(MatrixFile, tree)
    problems = [_problem(fault, positions) for fault in faults]
    if spec is None and isinstance(tree, dict):
        values = {"version": "1", **read_keys(MatrixFile, tree)}
        needed = {name for name, key in MatrixFile.section_keys.items() if key.required} | ({"axes"} & tree.keys())
        if needed <= values.keys():  # the other sections are optional: their defaults take part in the further checks
            spec = MatrixFile(**values)
    return spec, problems


def _problem(fault: Fault, positions: Positions) -> Problem:
    """A fault as a problem at its place in the file."""
    return positions.problem(
        fault.path, fault.what, key=fault.at_key, expected=fault.expected, found=fault.found, hint=fault.hint
    )
