"""Which variants of a plan a command is about: `--cuda 13.0 --platform linux/arm64 --variant ID`.

Values of one option are alternatives, options narrow each other. An option that matches nothing is an error with a
suggestion, never an empty run. A variant may be named by a glob (`'*-arm64'`), a release by its number: `13` is
13.0, as GitHub writes an unquoted 13.0.
"""

from __future__ import annotations

import fnmatch
import itertools
import re
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from orchestrator.errors import UsageError, did_you_mean
from orchestrator.matrix.variants import variant_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.matrix.schema import MatrixFile
    from orchestrator.matrix.variants import DroppedVariant, Plan, Variant


_GLOB = frozenset("*?[")
_OPTIONS = frozenset({"cuda", "platform", "target", "variant"})
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?", re.ASCII)


class Selector(Struct, frozen=True, kw_only=True):
    """What the command line asked for; an empty one selects everything.

    Attributes:
        cuda, platform, target: Values of the dimension; a full CUDA version works as well.
        variant: Variant ids, or globs.
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
        """Dimension (or "variant") -> what was asked for; `narrow` checks that it exists.

        Raises:
            UsageError: A release may be one of several.
        """
        asked: dict[str, Sequence[str]] = {
            "cuda": [_release(value, spec) for value in self.cuda],
            "platform": self.platform,
            "target": self.target,
            "variant": _spelled_out(self.variant, spec),
            **self.axes,
        }
        return {name: frozenset(values) for name, values in asked.items() if values}


def _release(value: str, spec: MatrixFile) -> str:
    """The key of a release: as it is, by its full version, or by its number."""
    if value in spec.cuda:
        return value
    for name, entry in spec.cuda.items():
        if entry.version == value:
            return name
    if not _NUMBER.fullmatch(value):
        return value
    major, _, minor = value.partition(".")
    found = [
        name
        for name in spec.cuda
        if name.partition(".")[0] == major and (not minor or name.partition(".")[2].rstrip("0") == minor.rstrip("0"))
    ]
    same = [name for name in found if float(name) == float(value)]
    if len(found) > 1:
        raise UsageError(
            f"--cuda {value}: expected one release, found {' and '.join(found)}",
            hint=f"write --cuda {found[0]}; quote releases in YAML, where 13.0 without quotes becomes 13",
        )
    return same[0] if same else value


def _spelled_out(wanted: Sequence[str], spec: MatrixFile) -> list[str]:
    """Variant ids with every glob replaced by the ids that it matches, or left where it matches none."""
    if not any(map(_is_glob, wanted)):
        return list(wanted)
    ids = every_id(spec)
    return [name for one in wanted for name in ((fnmatch.filter(ids, one) or [one]) if _is_glob(one) else [one])]


def every_id(spec: MatrixFile) -> list[str]:
    """The id of every combination of the dimensions, excluded ones counted."""
    dimensions = spec.dimensions()
    cells = (dict(zip(dimensions, values, strict=True)) for values in itertools.product(*dimensions.values()))
    return [variant_id(c["target"], c["cuda"], c["platform"], {axis: c[axis] for axis in spec.axes}) for c in cells]


def _is_glob(text: str) -> bool:
    return not _GLOB.isdisjoint(text)


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
    found = matching(plan, selector)
    if not found.variants:
        given = _words(selector)
        dropped = [f"{row.id}: {row.why}" for row in plan.dropped if row.id in wanted.get("variant", ())]
        reason = f" ({'; '.join(dropped)})" if dropped else ""
        raise UsageError(f"no variant matches {given}{reason}", hint="`orchestrate plan` lists the variants")
    return found


def matching(plan: Plan, selector: Selector) -> Plan:
    """As `narrow`, but a value may be missing: what another plan has is not there."""
    if selector.empty:
        return plan
    wanted = selector.conditions(plan.matrix.spec)
    variants = tuple(variant for variant in plan.variants if _matches(variant, wanted))
    return replace(plan, variants=variants, dropped=tuple(row for row in plan.dropped if _matches(row, wanted)))


def _must_exist(plan: Plan, selector: Selector) -> None:
    axes = plan.matrix.spec.axes
    for axis, wanted in selector.axes.items():
        if axis in _OPTIONS and axis not in axes:
            hint = f"--{axis} {wanted[0]} selects it"
        else:
            hint = did_you_mean(axis, axes) if axes else f"{plan.matrix.positions.file} has no axes"
        if axis not in axes:
            raise UsageError(f"--axis {axis}=…: no such axis; {hint}")
    names = [variant.id for variant in plan.variants] + [row.id for row in plan.dropped]
    known = {**plan.matrix.spec.dimensions(), "variant": names}
    for dimension, values in selector.conditions(plan.matrix.spec).items():
        option = f"--axis {dimension}=" if dimension in axes else f"--{dimension} "
        for value in sorted(values - set(known[dimension])):
            hint = did_you_mean(value, known[dimension])
            what = "matches no variant of" if dimension == "variant" and _is_glob(value) else "not in"
            raise UsageError(f"{option}{value}: {what} {plan.matrix.positions.file}; {hint}")


def _matches(row: Variant | DroppedVariant, wanted: Mapping[str, frozenset[str]]) -> bool:
    coordinates = {**row.coordinates(), "variant": row.id}
    return all(coordinates.get(name) in values for name, values in wanted.items())


def _words(selector: Selector) -> str:
    words = [f"--cuda {value}" for value in selector.cuda]
    words += [f"--platform {value}" for value in selector.platform]
    words += [f"--target {value}" for value in selector.target]
    words += [f"--axis {axis}={value}" for axis, values in selector.axes.items() for value in values]
    words += [f"--variant {value}" for value in selector.variant]
    return " ".join(words)
