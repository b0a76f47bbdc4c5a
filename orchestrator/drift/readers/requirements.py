"""Pins of Python requirements: `package==version` lines, and the dependency strings of a pyproject.toml.

The spelling is PEP 508's; names are compared as PEP 503 says.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec.structs import replace

from orchestrator.dockerfile.spans import Source, Style

if TYPE_CHECKING:
    from orchestrator.dockerfile.spans import Found

_REQUIREMENT = re.compile(
    r"^[ \t\ufeff]*(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)[ \t]*(?:\[[^\]\n]*\])?[ \t]*"
    r"(?P<spec>[=!<>~]=?=?[ \t]*[^;#\s,=]+(?:[ \t]*,[ \t]*[=!<>~]=?=?[ \t]*[^;#\s,]+)*)?",
    re.MULTILINE,
)
_PIN = re.compile(r"={2,3}[ \t]*(?P<version>[^,;#\s]+)$")


def read(source: Source, package: str) -> list[Found]:
    """What the requirements of a text say about one package.

    A pin gives its version. Any other specifier is given whole and is not fixed, because a range may be intended.
    """
    wanted = normalized(package)
    places = []
    for match in _REQUIREMENT.finditer(source.text):
        if normalized(match["name"]) != wanted:
            continue
        spec = match["spec"] or ""
        pin = _PIN.match(spec)
        if pin:
            at = match.start("spec") + pin.start("version")
            places.append(source.found(pin["version"], at, at + len(pin["version"]), Style.RAW))
        else:
            start, end = (match.span("spec")) if spec else (match.end("name"), match.end("name"))
            places.append(replace(source.found(spec, start, end, Style.RAW), via="it is not pinned with =="))
    return places


def normalized(name: str) -> str:
    """A package name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()
