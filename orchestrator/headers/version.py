"""Version: which FlashInfer a build will install, read from where the repository says so.

`version_from: FILE#NAME` names the place: an ARG of a Dockerfile, a variable of versions.json, a package of a
requirements or lock file. Without `#NAME` the usual names are looked for. Two answers in one file are an error: a
bundle for the wrong one of them would be found out on the user's machine.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from orchestrator.errors import UsageError, did_you_mean
from orchestrator.headers import layout

if TYPE_CHECKING:
    from pathlib import Path

_ARGUMENT = "FLASHINFER_VERSION"
_PACKAGE = "flashinfer-python"


def read(place: str, directory: Path) -> str:
    """The FlashInfer version that a file names.

    Args:
        place: `FILE` or `FILE#NAME`, the file relative to `directory`.
        directory: Where matrix.yaml lies.

    Raises:
        UsageError: The file or the name is not there, it names no exact version, or it names two.
    """
    name, _, wanted = place.partition("#")
    path = directory / name
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"headers.version_from: {path} cannot be read ({error})") from error
    names = [wanted] if wanted else [_ARGUMENT, _PACKAGE]
    found = sorted({version for item in names for version in _versions(path, text, item)})
    if not found:
        hint = did_you_mean(wanted, _names(path, text)) if wanted else "name the place: version_from: FILE#NAME"
        raise UsageError(f"headers.version_from: {path} names no version of {' or '.join(names)}", hint=hint)
    if len(found) > 1:
        raise UsageError(f"headers.version_from: {path} names more than one version: {', '.join(found)}")
    layout.key(found[0])
    return found[0]


def _versions(path: Path, text: str, name: str) -> list[str]:
    if path.suffix == ".json":
        return _json_versions(path, text, name)
    if path.suffix in (".lock", ".toml") and "==" not in text:  # uv.lock, poetry.lock: name, then version
        table = rf'name\s*=\s*"{re.escape(name)}"\s*\n\s*version\s*=\s*"([^"]+)"'
        return re.findall(table, text)
    argument = re.findall(rf"^\s*(?:ARG|ENV)\s+{re.escape(name)}=[\"']?([^\s\"']+)", text, re.MULTILINE)
    package = re.findall(rf"(?:^|[\s\"']){re.escape(name)}(?:\[[^\]]*\])?\s*==\s*([^\s;\"',\\]+)", text, re.MULTILINE)
    return argument + package


def _json_versions(path: Path, text: str, name: str) -> list[str]:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise UsageError(f"headers.version_from: {path} is not JSON ({error})") from error
    variables = data.get("variable", data) if isinstance(data, dict) else {}
    value = variables.get(name) if isinstance(variables, dict) else None
    if isinstance(value, dict):
        value = value.get("default")
    return [value] if isinstance(value, str) else []


def _names(path: Path, text: str) -> list[str]:
    if path.suffix == ".json":
        data = json.loads(text)
        return [str(name) for name in data.get("variable", data)] if isinstance(data, dict) else []
    pairs = re.findall(r"^\s*(?:ARG|ENV)\s+(\w+)=|^([\w.-]+)==", text, re.MULTILINE)
    return [argument or package for argument, package in pairs]
