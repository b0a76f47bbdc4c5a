"""Which FlashInfer a build installs, read from where the repository says so.

`version_from: FILE#NAME` names the place: an ARG of a Dockerfile, a variable of versions.json, a package of a
requirements or lock file. Without `#NAME` the usual names are looked for. Two answers in one file are an error: a
bundle for the wrong one of them fails on the user's machine only.
"""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING, Any

from orchestrator.dockerfile.declared import declarations
from orchestrator.dockerfile.spans import Source
from orchestrator.dockerfile.stages import parse
from orchestrator.drift.files import UnreadableError, read_text
from orchestrator.drift.readers import data, requirements
from orchestrator.errors import UsageError, did_you_mean
from orchestrator.headers import layout
from orchestrator.headers.steps import run_commands

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from orchestrator.dockerfile.spans import Found
    from orchestrator.matrix.schema import HeadersSpec

_ARGUMENT = "FLASHINFER_VERSION"
_PACKAGE = "flashinfer-python"
_TOML = frozenset({".lock", ".toml"})


def wanted_version(spec: HeadersSpec, directory: Path, overlay: Mapping[str, str] | None = None) -> str:
    """The FlashInfer version that the build installs, as matrix.yaml says it; "" where it says nothing.

    Args:
        spec: The section.
        directory: Of matrix.yaml.
        overlay: Texts that stand for those on disk, by name.

    Raises:
        UsageError: `version_from` cannot be followed, or contradicts `version`.
    """
    found = version(spec.version_from, directory, overlay) if spec.version_from else ""
    if found and spec.version and found != spec.version:
        raise UsageError(
            f"headers.version does not match: expected {spec.version}, found {found} in {spec.version_from}"
        )
    return found or spec.version or ""


def version(place: str, directory: Path, overlay: Mapping[str, str] | None = None) -> str:
    """The FlashInfer version that a file names.

    Args:
        place: `FILE` or `FILE#NAME`, the file relative to `directory`.
        directory: Of matrix.yaml.
        overlay: Texts that stand for those on disk, by name.

    Raises:
        UsageError: The file or the name was not found, it names no exact version, or it names two.
    """
    name, _, wanted = place.partition("#")
    path = directory / name
    try:
        text = overlay[name] if overlay and name in overlay else read_text(path)
    except UnreadableError as error:
        raise UsageError(f"headers.version_from: {path} cannot be read: {error}") from error
    names = [wanted] if wanted else [_ARGUMENT, _PACKAGE]
    said = list(_variables(path, text) if path.suffix == ".json" else _assigned(path, text))
    found = {value for key, value in said if key in names}
    if path.suffix != ".json":
        found |= {one.value for item in names for one in _required(path, text, item) if not one.via}
    if not found:
        hint = did_you_mean(wanted, [key for key, _ in said]) if wanted else "name the place: version_from: FILE#NAME"
        raise UsageError(f"headers.version_from: {path} names no version of {' or '.join(names)}", hint=hint)
    if len(found) > 1:
        raise UsageError(f"headers.version_from: {path} names more than one version: {', '.join(sorted(found))}")
    layout.key(*found)
    return found.pop()


def _assigned(path: Path, text: str) -> Iterator[tuple[str, str]]:
    """The packages of a lock file, or the ARG and ENV of a Dockerfile."""
    if path.suffix in _TOML:
        yield from _packages(text)
    else:
        yield from ((one.name, one.found.value) for one in declarations(text) if one.found is not None)


def _required(path: Path, text: str, package: str) -> Iterator[Found]:
    """What requirements say of a package: lines, strings of a TOML file, words of RUN steps."""
    sources = [Source(text=text)]
    if path.suffix in _TOML:
        sources = _strings(text)
    elif instructions := [step for stage in parse(text).stages for step in stage.steps]:
        words = (word for step in instructions for command in run_commands(step) for word in command.words)
        sources += [Source(text=word) for word in words if "==" in word]
    for source in sources:
        yield from requirements.read(source, package)


def _variables(path: Path, text: str) -> Iterator[tuple[str, str]]:
    """The variables of a bake file in JSON, or the members of any other object."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"headers.version_from: {path} is not JSON: {error}") from error
    variables = whole.get("variable", whole) if isinstance(whole, dict) else {}
    for name, value in variables.items() if isinstance(variables, dict) else ():
        default = value.get("default") if isinstance(value, dict) else value
        if isinstance(default, str):
            yield name, default


def _packages(text: str) -> Iterator[tuple[str, str]]:
    """The packages of a uv.lock or poetry.lock."""
    try:
        whole: Mapping[str, Any] = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return
    listed = whole.get("package")
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict) and isinstance(one.get("name"), str) and isinstance(one.get("version"), str):
            yield one["name"], one["version"]


def _strings(text: str) -> list[Source]:
    """The strings of a TOML file; its lines where it is not TOML."""
    try:
        return [part.source for part in data.scripts(data.parse(text, "toml"), (), "==")]
    except ValueError:
        return [Source(text=text)]
