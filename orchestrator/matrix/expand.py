"""From a matrix to the variants that it ships: which cells are built, and what only the whole of them shows."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from orchestrator.cuda.arch import ArchSyntaxError
from orchestrator.matrix.findings import Findings
from orchestrator.matrix.layers import CommandLine, Layer, choose, layers, origin
from orchestrator.matrix.positions import invalid
from orchestrator.matrix.render import Renderer
from orchestrator.matrix.schema import MOST_CELLS
from orchestrator.matrix.variants import DroppedVariant, Plan, Variant, variant_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.errors import Problem
    from orchestrator.matrix.model import Matrix

_CHANGED = "files that git tracks differ from the commit that the values name: commit them, or add {git.dirty}"

_NAMED = (
    "argument {name} is named like a credential, and arguments stay in the image's history and provenance: "
    "use variants.secrets, or name it in variants.not_secret"
)


def plan(matrix: Matrix, *, given: CommandLine | None = None, fact: Callable[[str], str] | None = None) -> Plan:
    """Expand the matrix.

    Args:
        matrix: A loaded file.
        given: Values of the command line.
        fact: Returns the value of `{git.…}`; by default asks git, once for each name.

    Raises:
        MatrixError: With every problem that only the expansion shows.
        UsageError: A value of the command line is invalid.
    """
    given = given or CommandLine()
    expansion = _Expansion(matrix, given, fact or _facts(matrix))
    found = expansion.findings
    variants, dropped = expansion.expand()
    if not variants:
        found.nothing_to_build()
    found.unused(expansion.used)
    if not given.archs:  # it is about the file's own lists
        found.nothing_compiles(variants)
        found.nobody_promises(variants)
    found.duplicates(variants)
    found.empty_removals()
    if found.problems:
        raise invalid(matrix.positions.file, found.problems)
    image = given.image or matrix.spec.image
    changed = expansion.renderer.named_commit and expansion.renderer.fact("git.dirty")
    notes = [_CHANGED] if changed else []
    notes += [_NAMED.format(name=name) for name in expansion.renderer.secrets]
    return Plan(matrix=matrix, image=image, variants=tuple(variants), dropped=tuple(dropped), notes=tuple(notes))


def further_problems(matrix: Matrix, *, whole: bool) -> list[Problem]:
    """The problems that the expansion shows of a file that has others, so that one run reports all of them.

    Cells that those others spoil are skipped: what follows from another problem is not reported beside it.

    Args:
        matrix: The file, with what could not be understood left out.
        whole: Whether nothing was left out; otherwise what depends on values (a tag that two share) is not checked.
    """
    cells = matrix.spec.cells()
    if not 0 < cells <= MOST_CELLS:
        return []
    expansion = _Expansion(matrix, CommandLine(), lambda name: name)
    found = expansion.findings
    variants, dropped = expansion.expand(tolerant=True)
    if not whole:
        found.problems.clear()
    found.unused(expansion.used)
    if whole:
        found.duplicates(variants)
        found.empty_removals()
    if whole and len(variants) + len(dropped) == cells:
        found.nothing_compiles(variants)
        found.nobody_promises(variants)
    return found.problems


def _facts(matrix: Matrix) -> Callable[[str], str]:
    from orchestrator.matrix.git import Checkout  # it loads what starts processes: `check` asks git nothing

    return Checkout(matrix.root).fact


class _Expansion:
    """One expansion: the cells of the matrix, and which overrides and excludes match one."""

    def __init__(self, matrix: Matrix, given: CommandLine, fact: Callable[[str], str]) -> None:
        self.spec = matrix.spec
        self.at = matrix.positions
        self.findings = Findings(matrix.spec, matrix.positions)
        self.renderer = Renderer(matrix, given.image or matrix.spec.image, fact, self.findings)
        self.layers = layers(matrix.spec, matrix.positions, given)
        self.used: set[tuple[str, int]] = set()

    def expand(self, *, tolerant: bool = False) -> tuple[list[Variant], list[DroppedVariant]]:
        """The rows that are built and those that are not; a tolerant expansion skips those that a problem spoils."""
        dimensions = self.spec.dimensions()
        excludes = [
            Layer(when={name: frozenset(values) for name, values in entry.when.items()}, override=index)
            for index, entry in enumerate(self.spec.exclude)
        ]
        variants: list[Variant] = []
        dropped: list[DroppedVariant] = []
        for values in itertools.product(*dimensions.values()):
            cell = dict(zip(dimensions, values, strict=True))
            name = variant_id(cell["target"], cell["cuda"], cell["platform"], {a: cell[a] for a in self.spec.axes})
            hits = [entry.override for entry in excludes if entry.applies(cell)]
            if hits:
                self.used |= {("exclude", index) for index in hits}
                why, place = self.spec.exclude[hits[0]].why, origin(self.at, ("exclude", hits[0]))
                dropped.append(DroppedVariant(id=name, cell=cell, why=why, origin=place))
                continue
            found = [layer for layer in self.layers if layer.applies({**cell, "variant": name})]
            self.used |= {("overrides", layer.override) for layer in found}
            try:
                variants.append(self.renderer.variant(name, cell, choose(found)))
            except (KeyError, ArchSyntaxError):
                if not tolerant:
                    raise
        return variants, dropped
