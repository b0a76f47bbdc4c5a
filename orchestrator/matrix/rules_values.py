"""What must hold of single values of matrix.yaml beyond their types: runners, platforms, versions, names, lengths."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orchestrator import labels
from orchestrator.cuda.arch import ArchSyntaxError, parse_list
from orchestrator.entries import read_entry
from orchestrator.matrix import names, template

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orchestrator.errors import Problem
    from orchestrator.matrix.positions import KeyPath, Positions
    from orchestrator.matrix.schema import MatrixFile, Override, Variants

MOST_ARGUMENT = 128 * 1024 - 1
"""Bytes of NAME=value in the environment of a RUN step (Linux, MAX_ARG_STRLEN, with the NUL behind it)."""

_LABEL = re.compile(r"[^\s,](?:[^\n\r\t,]{0,254}[^\s,])?")  # of a runner; the placeholder puts commas between them


def value_problems(spec: MatrixFile, at: Positions) -> Iterator[Problem]:
    """Every problem of a value that stands for itself."""
    for name, platform in spec.platforms.items():
        yield from _runner(platform.runner, ("platforms", name, "runner"), at)
    layers: list[tuple[KeyPath, Variants | Override]] = [(("variants",), spec.variants)]
    layers += [(("overrides", index), entry) for index, entry in enumerate(spec.overrides)]
    for path, layer in layers:
        yield from _layer(layer, path, at)
    for index, entry in enumerate(spec.overrides):
        if entry.runner is not None:
            yield from _runner(entry.runner, ("overrides", index, "runner"), at)
        fields = [getattr(entry, name) for name in entry.section_keys if name not in {"when", "why"}]
        if all(field in (None, {}) for field in fields):
            yield at.problem(("overrides", index), f"overrides[{index}] changes nothing",
                             hint="remove it, or add what it changes")  # fmt: skip
    yield from _same_platform(spec, at)
    yield from _fields(spec, at)
    yield from _carried(spec, at)
    yield from _published(spec, at)
    yield from _verified(spec, at)


def _runner(listed: Sequence[str], path: KeyPath, at: Positions) -> Iterator[Problem]:
    """Labels that GitHub knows; an empty list is no runner, though the file says that there is one."""
    if not listed and path in at.values:
        yield at.problem(path, "runner is empty", expected="a label or a list of labels, as in ubuntu-24.04-arm",
                         hint="leave the key out for GitHub's own runner")  # fmt: skip
    seen: dict[str, int] = {}
    for index, label in enumerate(listed):
        place = (*path, index) if (*path, index) in at.values else path
        if not _LABEL.fullmatch(label) or not label.isprintable():
            yield at.problem(
                place, "a label of the runner is invalid", found=label,
                expected="up to 256 characters without commas, and without spaces around them",
            )  # fmt: skip
        elif label not in listed[:index] and seen.setdefault(label.lower(), index) != index:
            yield at.problem(place, f"the label {label} is there twice: GitHub ignores case")


def _layer(layer: Variants | Override, path: KeyPath, at: Positions) -> Iterator[Problem]:
    for name, value in layer.args.items():
        size = len(f"{name}={value or ''}".encode(errors="replace"))
        if size > MOST_ARGUMENT:
            yield at.problem(
                (*path, "args", name), f"the argument {name} is too long", found=f"{size:,} bytes",
                expected=f"at most {MOST_ARGUMENT:,} bytes of NAME=value, which Linux passes to a process",
                hint="put it into a file of the build context",
            )  # fmt: skip
    for name in layer.labels:
        if name.startswith(f"{labels.PREFIX}."):
            yield at.problem(
                (*path, "labels", name), f"the label {name} is written by the build itself", key=True,
                hint=f"use another name: {labels.PREFIX}.… is what verify and resume read",
            )  # fmt: skip
    for name in layer.contexts:
        if any(map(str.isspace, name)):
            yield at.problem((*path, "contexts", name), f"named context {name!r} is invalid", key=True,
                             expected="a name without spaces")  # fmt: skip
    ids: dict[str, int] = {}
    for index, secret in enumerate(layer.secrets or []):
        place: KeyPath = (*path, "secrets", index)
        name = read_entry(secret).get("id", "")
        if not name:
            yield at.problem(place, "a secret has no id", found=secret, expected="id=NAME,src=FILE or id=NAME,env=NAME")
        elif ids.setdefault(name, index) != index:
            yield at.problem(place, f"the secret {name} is there twice", hint="remove one")


def _same_platform(spec: MatrixFile, at: Positions) -> Iterator[Problem]:
    """Names that docker takes for the same platform: linux/arm64/v8 is linux/arm64."""
    first: dict[str, str] = {}
    for name in spec.platforms:
        same = first.setdefault(names.canonical_platform(name), name)
        if same != name:
            yield at.problem(("platforms", name), f"platforms {same} and {name} are one platform", key=True,
                             hint=f"remove {name}")  # fmt: skip


def _fields(spec: MatrixFile, at: Positions) -> Iterator[Problem]:
    """Fields of axes that no placeholder can name."""
    for axis, values in spec.axes.items():
        for value, fields in values.items():
            for name in fields:
                if template.parse(f"{{{axis}.{name}}}").names != (f"{axis}.{name}",):
                    yield at.problem(
                        ("axes", axis, value, name), f"the field {name!r} is invalid: no placeholder can name it",
                        key=True, expected="letters, digits and _, as in wheels_index",
                    )  # fmt: skip


def _carried(spec: MatrixFile, at: Positions) -> Iterator[Problem]:
    for section, entry in (("headers", spec.headers), ("wheels", spec.wheels)):
        if entry is None:
            continue
        if not names.is_argument(entry.digest_arg):
            yield at.problem((section, "digest_arg"), f"{section}.digest_arg is invalid", found=entry.digest_arg,
                             expected="the name of an argument, as in WHEELHOUSE_DIGEST")  # fmt: skip
        if any(map(str.isspace, entry.context)):
            yield at.problem((section, "context"), f"{section}.context is invalid", found=entry.context,
                             expected="a name without spaces")  # fmt: skip


def _published(spec: MatrixFile, at: Positions) -> Iterator[Problem]:
    if spec.publish is None:
        return
    if not spec.publish.tags and not spec.publish.floating:
        yield at.problem(("publish", "tags"), "publish.tags is empty: there is nothing to publish")
    for index, text in enumerate(spec.publish.floating):
        if text in spec.publish.tags:
            yield at.problem(
                ("publish", "floating", index), "a tag is both a version tag and a floating one", found=text,
                hint="remove it from publish.tags, where it follows the newest version",
            )  # fmt: skip


def _verified(spec: MatrixFile, at: Positions) -> Iterator[Problem]:
    """Lists of `verify` that nobody can read: told now, and not when hours of compiling are over."""
    lists: list[tuple[KeyPath, str | None]] = []
    lists += [(("verify", "require", index, "archs"), one.archs) for index, one in enumerate(spec.verify.require)]
    lists += [(("verify", "exceptions", index, "archs"), one.archs) for index, one in enumerate(spec.verify.exceptions)]
    for path, archs in lists:
        if archs is not None:
            try:
                parse_list(archs)
            except ArchSyntaxError as error:
                yield at.problem(path, str(error))
