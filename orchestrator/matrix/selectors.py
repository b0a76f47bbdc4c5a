"""Which variants of a plan a command is about: `--cuda 13.0 --platform linux/arm64 --variant ID`.

Values of one option are alternatives, options narrow each other. An option that matches nothing is an error with a
suggestion, never an empty run.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from orchestrator.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.matrix.schema import MatrixFile
    from orchestrator.matrix.variants import DroppedVariant, Plan, Variant


@dataclass(frozen=True, kw_only=True, slots=True)
class Selector:
    """What the command line asked for; an empty one selects everything.

    Attributes:
        cuda, platform, target: Values of the dimension; a full CUDA version works as well.
        variant: Variant ids.
        axes: Axis -> values.
    """

    cuda: Sequence[str] = ()
    platform: Sequence[str] = ()
    target: Sequence[str] = ()
    variant: Sequence[str] = ()
    axes: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether nothing was asked for."""
        return not (self.cuda or self.platform or self.target or self.variant or self.axes)

    def conditions(self, spec: MatrixFile) -> dict[str, frozenset[str]]:
        """Dimension (or "variant") -> what was asked for; `narrow` checks that it exists."""
        releases = {entry.version: name for name, entry in spec.cuda.items()}
        asked: dict[str, Sequence[str]] = {
            "cuda": [releases.get(value, value) for value in self.cuda],
            "platform": self.platform,
            "target": self.target,
            "variant": self.variant,
            **self.axes,
        }
        return {name: frozenset(values) for name, values in asked.items() if values}


def parse_axes(texts: Sequence[str]) -> dict[str, list[str]]:
    """`["python=3.12"]` as a mapping.

    Raises:
        UsageError: One has no `=`.
    """
    axes: dict[str, list[str]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise UsageError(f"--axis {text}: expected NAME=VALUE, as in --axis python=3.12")
        axes.setdefault(name, []).append(value)
    return axes


def narrow(plan: Plan, selector: Selector) -> Plan:
    """The plan with the selected variants alone, and the selected ones of the rows that are not built.

    Raises:
        UsageError: A value does not exist, or nothing is left.
    """
    if selector.empty:
        return plan
    _must_exist(plan, selector)
    wanted = selector.conditions(plan.matrix.spec)
    variants = tuple(variant for variant in plan.variants if _matches(variant, wanted))
    if not variants:
        given = _words(selector)
        dropped = [f"{row.id}: {row.why}" for row in plan.dropped if row.id in selector.variant]
        reason = f" ({'; '.join(dropped)})" if dropped else ""
        raise UsageError(f"no variant matches {given}{reason}", hint="`orchestrate plan` lists the variants")
    return replace(plan, variants=variants, dropped=tuple(row for row in plan.dropped if _matches(row, wanted)))


def _must_exist(plan: Plan, selector: Selector) -> None:
    axes = plan.matrix.spec.axes
    for axis in selector.axes:
        if axis not in axes:
            raise UsageError(f"--axis {axis}=…: no such axis; {did_you_mean(axis, axes)}".rstrip("; "))
    names = [variant.id for variant in plan.variants] + [row.id for row in plan.dropped]
    known = {**plan.matrix.spec.dimensions(), "variant": names}
    for dimension, values in selector.conditions(plan.matrix.spec).items():
        option = f"--axis {dimension}=" if dimension in axes else f"--{dimension} "
        for value in sorted(values - set(known[dimension])):
            hint = did_you_mean(value, known[dimension])
            raise UsageError(f"{option}{value}: not in {plan.matrix.positions.file}; {hint}")


def _matches(row: Variant | DroppedVariant, wanted: Mapping[str, frozenset[str]]) -> bool:
    coordinates = {**row.coordinates(), "variant": row.id}
    return all(coordinates[name] in values for name, values in wanted.items())


def _words(selector: Selector) -> str:
    words = [f"--cuda {value}" for value in selector.cuda]
    words += [f"--platform {value}" for value in selector.platform]
    words += [f"--target {value}" for value in selector.target]
    words += [f"--axis {axis}={value}" for axis, values in selector.axes.items() for value in values]
    words += [f"--variant {value}" for value in selector.variant]
    return " ".join(words)
