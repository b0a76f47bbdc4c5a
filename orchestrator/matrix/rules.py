"""What must hold among the values of matrix.yaml beyond their types: names exist, lists parse, rules hold.

Every function returns problems with their positions and stops at none. `findings` has those that only the expansion
shows: an override that matches nothing, a tag that two variants push.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cuda.arch import ArchSyntaxError, parse_arch, parse_list
from orchestrator.cuda.toolkit import UnknownToolkitError, toolkit_for
from orchestrator.errors import Problem, did_you_mean
from orchestrator.matrix import names, template
from orchestrator.matrix.rules_builders import builder_problems
from orchestrator.matrix.rules_values import value_problems
from orchestrator.matrix.schema import ALLOWED_IN_MATRIX, MOST_CELLS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from orchestrator.cuda.arch import Arch
    from orchestrator.matrix.positions import KeyPath, Positions
    from orchestrator.matrix.schema import ArchRule, MatrixFile

RESERVED = frozenset(name.split(".")[0] for name in template.PLACEHOLDERS)


def problems(spec: MatrixFile, positions: Positions) -> list[Problem]:
    """Every problem that can be seen without expanding the variants."""
    return [
        *_shape(spec, positions),
        *_platforms(spec, positions),
        *_allowed(spec, positions),
        *_arch_lists(spec, positions),
        *_cuda(spec, positions),
        *builder_problems(spec, positions),
        *value_problems(spec, positions),
        *_references(spec, positions),
        *_conditions(spec, positions),
        *_placeholders(spec, positions),
    ]


def _shape(spec: MatrixFile, at: Positions) -> Iterator[Problem]:
    if not names.is_repository(spec.image):
        yield at.problem(
            ("image",), "image is invalid", expected="a repository such as ghcr.io/acme/app, without a tag",
            found=spec.image,
        )  # fmt: skip
    for path, given, pattern, what in (
        (("bake", "targets"), spec.bake.targets, names.TARGET, "bake target name (letters, digits, _ and -)"),
        (("cuda",), spec.cuda, names.RELEASE, 'CUDA release (MAJOR.MINOR, as in "13.0")'),
        (("platforms",), spec.platforms, None, "platform"),
        (("arch_lists",), spec.arch_lists, names.KEY, "name"),
        (("axes",), spec.axes, names.AXIS, "axis name (lowercase letters, digits and _)"),
        (("variants", "args"), spec.variants.args, names.ARGUMENT, "argument name"),
    ):
        if not given and path not in {("axes",), ("variants", "args")}:
            yield at.problem(path, f"{'.'.join(path)} is empty: there is nothing to build")
        for name in given:
            if pattern is not None and not pattern.fullmatch(name):
                yield at.problem((*path, name), f"{name!r} is not a valid {what}", key=True)
    if not spec.bake.files and ("bake", "files") in at.values:
        yield at.problem(
            ("bake", "files"), "bake.files is empty", expected="the project's own bake files",
            hint="leave the key out for those that bake reads by itself",
        )  # fmt: skip
    for name, values in spec.axes.items():
        if name in RESERVED:
            yield at.problem(
                ("axes", name), f"the axis name {name} is taken by the placeholders {{{name}.…}}", key=True
            )
        if not values:
            yield at.problem(("axes", name), f"the axis {name} has no values")
    if spec.cells() > MOST_CELLS:
        yield at.problem(("axes",), f"{spec.cells():,} combinations are too many", expected=f"at most {MOST_CELLS:,}")


def _platforms(spec: MatrixFile, at: Positions) -> Iterator[Problem]:
    for name in spec.platforms:
        if not names.is_platform(name):
            yield at.problem(
                ("platforms", name), f"platform {name!r} is invalid", key=True,
                expected="linux/ARCHITECTURE of the OCI image specification", hint=names.platform_meant(name),
            )  # fmt: skip


def _allowed(spec: MatrixFile, at: Positions) -> Iterator[Problem]:
    for index, word in enumerate(spec.bake.allow):
        if word.partition("=")[0] not in ALLOWED_IN_MATRIX or word in {"network.host=", "device="}:
            yield at.problem(
                ("bake", "allow", index), "a privilege is invalid here", found=word,
                expected=f"{' or '.join(ALLOWED_IN_MATRIX)}", hint="all others come from --allow of the command line",
            )  # fmt: skip


def _arch_lists(spec: MatrixFile, at: Positions) -> Iterator[Problem]:
    for name, entry in spec.arch_lists.items():
        path: KeyPath = ("arch_lists", name)
        where = at.arch_list(name)
        try:
            listed = parse_list(entry.archs)
        except ArchSyntaxError as error:
            before = entry.archs[: error.offset].count(error.item) if error.item else 0
            yield at.problem_in(where, error.item, before, f"arch list {name}: {error}")
            continue
        plain = {arch.without_ptx() for arch in listed}
        yield from _rules(entry.require, plain, at, (*path, "require"), must=True)
        yield from _rules(entry.forbid, plain, at, (*path, "forbid"), must=False)


def _rules(
    rules: Sequence[ArchRule], listed: set[Arch], at: Positions, path: KeyPath, *, must: bool
) -> Iterator[Problem]:
    """The rules (require or forbid, at `path`) that an arch list breaks."""
    name = path[1]
    for index, rule in enumerate(rules):
        try:
            arch = parse_arch(rule.arch)
        except ArchSyntaxError as error:
            yield at.problem((*path, index, "arch"), str(error))
            continue
        if (arch in listed) != must:
            said = "must hold" if must else "must never hold"
            what = f"arch list {name} {said} {arch} (line {at.at((*path, index))[0]}: {rule.why})"
            yield at.problem(at.arch_list(str(name)), what)


def _cuda(spec: MatrixFile, at: Positions) -> Iterator[Problem]:
    for name, entry in spec.cuda.items():
        path: KeyPath = ("cuda", name, "version")
        if not names.VERSION.fullmatch(entry.version):
            yield at.problem(path, f"cuda.{name}.version is invalid", expected="a full version, as in 13.0.2",
                             found=entry.version)  # fmt: skip
            continue
        try:
            toolkit_for(entry.version)
        except UnknownToolkitError as error:
            yield at.problem(path, str(error))
            continue
        if names.RELEASE.fullmatch(name) and not names.agrees(name, entry.version):
            release = entry.version.rpartition(".")[0]
            yield at.problem(
                path, f"CUDA release {name} and its version do not agree", expected=f"{name}.PATCH",
                found=entry.version, hint=f'correct the version, or name the release "{release}"',
            )  # fmt: skip


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
    carried = (("headers", spec.headers), ("wheels", spec.wheels), ("compile_cache", spec.compile_cache))
    for section, entry in carried:
        for index, target in enumerate((entry.targets if entry is not None else None) or []):
            if target not in spec.bake.targets:
                yield at.problem(
                    (section, "targets", index), f"unknown target {target}",
                    hint=did_you_mean(target, spec.bake.targets),
                )  # fmt: skip
    if spec.publish is not None:
        for index, platform in enumerate(spec.publish.require_platforms):
            if platform not in spec.platforms:
                yield at.problem(
                    ("publish", "require_platforms", index), f"unknown platform {platform}",
                    hint=did_you_mean(platform, spec.platforms),
                )  # fmt: skip


def _conditions(spec: MatrixFile, at: Positions) -> Iterator[Problem]:
    known = spec.dimensions()
    conditions: list[tuple[KeyPath, dict[str, list[str]]]] = [
        *((("overrides", index, "when"), entry.when) for index, entry in enumerate(spec.overrides)),
        *((("exclude", index, "when"), entry.when) for index, entry in enumerate(spec.exclude)),
        *((("claims", index, "when"), entry.when or {}) for index, entry in enumerate(spec.claims)),
    ]
    for path, when in conditions:
        if not when and path[0] != "claims":
            yield at.problem(path, "when is empty: it selects everything", expected=", ".join(known))
        for name, values in when.items():
            if name not in known:
                yield at.problem((*path, name), f"unknown dimension {name}", key=True, hint=did_you_mean(name, known))
                continue
            for index, value in enumerate(values):
                if value not in known[name]:
                    place = (*path, name, index) if (*path, name, index) in at.values else (*path, name)
                    yield at.problem(place, f"{name} {value} does not exist", hint=did_you_mean(value, known[name]))


def _templates(spec: MatrixFile) -> Iterator[tuple[KeyPath, str]]:
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
    yield from _publish_templates(spec)
    yield ("cache", "ref"), spec.cache.ref
    yield ("cache", "pull_request_ref"), spec.cache.pull_request_ref
    yield from ((("cache", "read", index), value) for index, value in enumerate(spec.cache.read))
    if spec.wheels is not None:
        yield ("wheels", "python"), spec.wheels.python
        for field in ("requirements", "packages", "extra_index_urls"):
            yield from ((("wheels", field, index), value) for index, value in enumerate(getattr(spec.wheels, field)))


def _publish_templates(spec: MatrixFile) -> Iterator[tuple[KeyPath, str]]:
    if spec.publish is not None:
        for field in ("tags", "floating", "to"):
            yield from ((("publish", field, index), text) for index, text in enumerate(getattr(spec.publish, field)))


def _placeholders(spec: MatrixFile, at: Positions) -> Iterator[Problem]:
    known = spec.placeholders()
    for path, text in _templates(spec):
        yield from _unknown(path, text, known, at)
    for path, text in _publish_templates(spec):
        for name in template.parse(text).names:
            if name.split(".")[0] in {"platform", "variant", "archs", "arch_list"}:
                yield at.problem(
                    path, f"{{{name}}} differs between the platforms of one index",
                    hint="leave it out: one index holds all platforms",
                )  # fmt: skip


def _unknown(path: KeyPath, text: str, known: Collection[str], at: Positions) -> Iterator[Problem]:
    for offset, name in template.unknown(text, known):
        written = f"{{{name}}}"
        hint = f"{did_you_mean(name, known)} (literal braces: {{{{{name}}}}})"
        yield at.problem_in(path, written, text[:offset].count(written), f"unknown placeholder {written}", hint=hint)
