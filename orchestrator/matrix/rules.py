"""What must hold among the values of matrix.yaml beyond their shape: names exist, lists parse, rules hold.

Every function returns problems with their positions and stops at none. It knows the schema and the architectures; what
a variant becomes is variants.py's, which finds the rest (an override that matches nothing, a tag that two share).
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from orchestrator.cuda.arch import ArchSyntaxError, parse_arch, parse_list
from orchestrator.cuda.toolkit import UnknownToolkitError, toolkit_for
from orchestrator.errors import Problem, did_you_mean
from orchestrator.matrix import template
from orchestrator.reference import InvalidReferenceError, repository

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from orchestrator.cuda.arch import Arch
    from orchestrator.matrix.positions import KeyPath, Positions
    from orchestrator.matrix.schema import ArchRule, MatrixFile

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")  # bake target names: [a-zA-Z0-9_-]+, and no option in disguise
_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_AXIS = re.compile(r"[a-z][a-z0-9_]*")
_PLATFORM = re.compile(r"[a-z0-9]+/[a-z0-9_]+(/[a-z0-9_.]+)?")
_ARG = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
MOST_CELLS = 100_000  # a few lines of axes multiply without bound; no run of so many builds ends
RESERVED = frozenset(name.split(".")[0] for name in template.PLACEHOLDERS)


def is_repository(text: str) -> bool:
    """Whether a text names an image repository, without a tag."""
    try:
        repository(text)
    except InvalidReferenceError:
        return False
    return True


def is_argument(text: str) -> bool:
    """Whether a text can name a build argument."""
    return bool(_ARG.fullmatch(text))


def problems(spec: MatrixFile, positions: Positions) -> list[Problem]:
    """Every problem that can be seen without expanding the variants."""
    return [
        *_shape(spec, positions),
        *_arch_lists(spec, positions),
        *_cuda(spec, positions),
        *_references(spec, positions),
        *_conditions(spec, positions),
        *_placeholders(spec, positions),
    ]


def _shape(spec: MatrixFile, at: Positions) -> Iterator[Problem]:
    if not is_repository(spec.image):
        yield at.problem(
            ("image",), "image is no repository name", expected="a name such as ghcr.io/acme/app, without a tag",
            found=spec.image,
        )  # fmt: skip
    for path, names, pattern, what in (
        (("bake", "targets"), spec.bake.targets, _NAME, "bake target name (letters, digits, _ and -)"),
        (("cuda",), spec.cuda, _KEY, "CUDA release"),
        (("platforms",), spec.platforms, _PLATFORM, "platform such as linux/arm64"),
        (("arch_lists",), spec.arch_lists, _KEY, "name"),
        (("axes",), spec.axes, _AXIS, "axis name (small letters, digits and _)"),
        (("variants", "args"), spec.variants.args, _ARG, "argument name"),
    ):
        if not names and path not in {("axes",), ("variants", "args")}:
            yield at.problem(path, f"{'.'.join(path)} is empty: there is nothing to build")
        for name in names:
            if not pattern.fullmatch(name):
                yield at.problem((*path, name), f"{name!r} is no {what}", key=True)
    if not spec.bake.files:
        yield at.problem(("bake", "files"), "bake.files is empty", expected="the project's own bake files")
    for name, values in spec.axes.items():
        if name in RESERVED:
            yield at.problem(
                ("axes", name), f"the axis name {name} is taken by the placeholders {{{name}.…}}", key=True
            )
        if not values:
            yield at.problem(("axes", name), f"the axis {name} has no values")
    if cells(spec) > MOST_CELLS:
        yield at.problem(("axes",), f"{cells(spec):,} combinations are too many", expected=f"at most {MOST_CELLS:,}")


def _arch_lists(spec: MatrixFile, at: Positions) -> Iterator[Problem]:
    for name, entry in spec.arch_lists.items():
        path: KeyPath = ("arch_lists", name)
        where = (*path, "archs") if (*path, "archs") in at.values else path
        try:
            listed = parse_list(entry.archs)
        except ArchSyntaxError as error:
            part = (error.item, entry.archs[: error.offset].count(error.item) if error.item else 0)
            yield at.problem(where, f"arch list {name}: {error}", part=part)
            continue
        plain = {arch.without_ptx() for arch in listed}
        yield from _rules(entry.require, plain, at, (*path, "require"), where, must=True, name=name)
        yield from _rules(entry.forbid, plain, at, (*path, "forbid"), where, must=False, name=name)


def _rules(
    rules: Sequence[ArchRule], listed: set[Arch], at: Positions, path: KeyPath, where: KeyPath, *, must: bool, name: str
) -> Iterator[Problem]:
    for index, rule in enumerate(rules):
        try:
            arch = parse_arch(rule.arch)
        except ArchSyntaxError as error:
            yield at.problem((*path, index, "arch"), str(error))
            continue
        if (arch in listed) != must:
            said = "must hold" if must else "must never hold"
            yield at.problem(where, f"arch list {name} {said} {arch} (line {at.at((*path, index))[0]}: {rule.why})")


def _cuda(spec: MatrixFile, at: Positions) -> Iterator[Problem]:
    for name, entry in spec.cuda.items():
        try:
            toolkit_for(entry.version)
        except UnknownToolkitError as error:
            yield at.problem(("cuda", name, "version"), str(error))


def _references(spec: MatrixFile, at: Positions) -> Iterator[Problem]:
    """Names of arch lists, and of targets, that must exist."""
    uses: list[tuple[KeyPath, str | None]] = [(("variants", "arch_list"), spec.variants.arch_list)]
    uses += [(("bake", "targets", name, "arch_list"), entry.arch_list) for name, entry in spec.bake.targets.items()]
    uses += [(("cuda", name, "arch_list"), entry.arch_list) for name, entry in spec.cuda.items()]
    uses += [(("platforms", name, "arch_list"), entry.arch_list) for name, entry in spec.platforms.items()]
    uses += [(("overrides", index, "arch_list"), entry.arch_list) for index, entry in enumerate(spec.overrides)]
    for path, name in uses:
        if name is not None and name not in spec.arch_lists:
            yield at.problem(path, f"unknown arch list {name}", hint=did_you_mean(name, spec.arch_lists))
    if spec.headers is not None:
        for index, target in enumerate(spec.headers.targets or []):
            if target not in spec.bake.targets:
                yield at.problem(
                    ("headers", "targets", index), f"unknown target {target}",
                    hint=did_you_mean(target, spec.bake.targets),
                )  # fmt: skip
    if spec.publish is not None:
        for index, platform in enumerate(spec.publish.require_platforms):
            if platform not in spec.platforms:
                yield at.problem(
                    ("publish", "require_platforms", index), f"unknown platform {platform}",
                    hint=did_you_mean(platform, spec.platforms),
                )  # fmt: skip


def dimensions(spec: MatrixFile) -> dict[str, list[str]]:
    """Every dimension of the matrix with its values, in the order of variants: target, cuda, platform, axes."""
    return {
        "target": list(spec.bake.targets),
        "cuda": list(spec.cuda),
        "platform": list(spec.platforms),
        **{name: list(values) for name, values in spec.axes.items()},
    }


def cells(spec: MatrixFile) -> int:
    """How many combinations the dimensions have, excluded ones counted."""
    return math.prod(len(values) for values in dimensions(spec).values())


def _conditions(spec: MatrixFile, at: Positions) -> Iterator[Problem]:
    known = dimensions(spec)
    conditions: list[tuple[KeyPath, dict[str, list[str]]]] = [
        *((("overrides", index, "when"), entry.when) for index, entry in enumerate(spec.overrides)),
        *((("exclude", index, "when"), entry.when) for index, entry in enumerate(spec.exclude)),
        *((("claims", index, "when"), entry.when or {}) for index, entry in enumerate(spec.claims)),
    ]
    for path, when in conditions:
        if not when and path[0] != "claims":
            yield at.problem(path, "when is empty: it would select everything", expected=", ".join(known))
        for name, values in when.items():
            if name not in known:
                yield at.problem((*path, name), f"unknown dimension {name}", key=True, hint=did_you_mean(name, known))
                continue
            for index, value in enumerate(values):
                if value not in known[name]:
                    place = (*path, name, index) if (*path, name, index) in at.values else (*path, name)
                    yield at.problem(place, f"{name} {value} does not exist", hint=did_you_mean(value, known[name]))


def placeholders(spec: MatrixFile) -> set[str]:
    """The placeholders that this matrix has."""
    names = set(template.PLACEHOLDERS)
    for axis, values in spec.axes.items():
        names.add(axis)
        names |= {f"{axis}.{field}" for fields in values.values() for field in fields}
    return names


def templates(spec: MatrixFile) -> Iterator[tuple[KeyPath, str]]:
    """Every value that may hold placeholders, with its path."""
    sections: list[tuple[KeyPath, object]] = [(("variants",), spec.variants)]
    sections += [(("overrides", index), entry) for index, entry in enumerate(spec.overrides)]
    for path, entry in sections:
        for field in ("args", "labels", "contexts"):
            for name, value in getattr(entry, field).items():
                if value is not None:
                    yield (*path, field, name), value
        for field in ("tags", "secrets"):
            for index, value in enumerate(getattr(entry, field) or []):
                yield (*path, field, index), value
    if spec.publish is not None:
        yield from (((("publish", "tags", index)), value) for index, value in enumerate(spec.publish.tags))
    yield ("cache", "ref"), spec.cache.ref
    yield from ((("cache", "read", index), value) for index, value in enumerate(spec.cache.read))


def _placeholders(spec: MatrixFile, at: Positions) -> Iterator[Problem]:
    known = placeholders(spec)
    for path, text in templates(spec):
        yield from _unknown(path, text, known, at)
    if spec.publish is not None:
        for index, text in enumerate(spec.publish.tags):
            for name in template.parse(text).names:
                if name.split(".")[0] in {"platform", "variant", "archs", "arch_list"}:
                    yield at.problem(
                        ("publish", "tags", index), f"{{{name}}} differs between the platforms of one index",
                        hint="leave it out: one index holds all platforms",
                    )  # fmt: skip


def _unknown(path: KeyPath, text: str, known: Iterable[str], at: Positions) -> Iterator[Problem]:
    names = list(known)
    for offset, name in template.unknown(text, names):
        written = f"{{{name}}}"
        yield at.problem(
            path, f"unknown placeholder {written}", part=(written, text[:offset].count(written)),
            hint=f"{did_you_mean(name, names)} (literal braces: {{{{{name}}}}})",
        )  # fmt: skip
