"""Candidates for the values of options in shells: what the matrix, the table of devices and buildx have.

Imported only when a shell asks for such a value. Nothing here fails: a matrix that is invalid has no candidates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli.common import Location, open_matrix
from orchestrator.errors import OrchestrateError
from orchestrator.untrusted import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import click

    from orchestrator.matrix.schema import MatrixFile

_MOST_CELLS = 5_000  # a shell waits for the answer
_BUILDERS_S = 3.0


def candidates(what: str, ctx: click.Context) -> dict[str, str]:
    """The values that an option can have, each with a few words on it.

    Args:
        what: cuda, platform, target, axis, variant, device or builder.
        ctx: The command line so far; its -f and -C say which matrix.
    """
    try:
        if what == "device":
            found: Mapping[str, str] = _devices()
        elif what == "builder":
            found = _builders()
        else:
            spec = open_matrix(Location(file=ctx.params.get("file"), directory=ctx.params.get("directory"))).spec
            found = _variants(spec) if what == "variant" else _values(what, spec)
    except (OrchestrateError, OSError):
        return {}
    return {clean(name): clean(text) for name, text in found.items()}


def _values(what: str, spec: MatrixFile) -> dict[str, str]:
    if what == "cuda":
        return {name: f"CUDA {entry.version}" for name, entry in spec.cuda.items()}
    if what == "axis":
        return {f"{axis}={value}": f"{value} of {axis}" for axis, values in spec.axes.items() for value in values}
    return dict.fromkeys(spec.dimensions()[what], what)


def _variants(spec: MatrixFile) -> dict[str, str]:
    """The ids of the rows that are built; none where there are too many to choose from."""
    import itertools

    from orchestrator.matrix.layers import Layer
    from orchestrator.matrix.variants import variant_id

    if spec.cells() > _MOST_CELLS:
        return {}
    excludes = [
        Layer(when={name: frozenset(values) for name, values in entry.when.items()}, override=index)
        for index, entry in enumerate(spec.exclude)
    ]
    dimensions = spec.dimensions()
    cells = (dict(zip(dimensions, values, strict=True)) for values in itertools.product(*dimensions.values()))
    return {
        variant_id(cell["target"], cell["cuda"], cell["platform"], {axis: cell[axis] for axis in spec.axes}): " ".join(
            cell.values()
        )
        for cell in cells
        if not any(entry.applies(cell) for entry in excludes)
    }


def _devices() -> dict[str, str]:
    from orchestrator.cuda.devices import devices

    return {cc: ", ".join(names) for cc, names in devices().items()}


def _builders() -> dict[str, str]:
    from orchestrator.engine.builders import listed

    return {one.name: one.driver for one in listed(timeout=_BUILDERS_S)}


def beginning(found: Mapping[str, str], incomplete: str) -> Iterable[tuple[str, str]]:
    """The candidates that begin with what was typed."""
    return [(name, text) for name, text in found.items() if name.startswith(incomplete)]
