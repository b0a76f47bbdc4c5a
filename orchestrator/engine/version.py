"""The version of buildx, and which versions this program works with."""

from __future__ import annotations

import json
import re

from msgspec import Struct

from orchestrator.engine import client
from orchestrator.errors import EnvironmentLacksError

_HINT = (
    "install buildx 0.25 or newer: the package docker-buildx-plugin or docker-buildx, or its release binary as "
    "~/.docker/cli-plugins/docker-buildx"
)
_LINE = re.compile(r"buildx\s+v?(\d+)\.(\d+)(?:\.(\d+))?")


class Version(Struct, frozen=True, kw_only=True, order=True):
    """A version of buildx without its pre-release mark: the first candidate has the features already."""

    major: int
    minor: int
    patch: int = 0

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


FLOOR = Version(major=0, minor=20)
"""The oldest that works: below it file-system entitlements are only warnings, and `bake --list` is missing."""

COMFORT = Version(major=0, minor=25)
"""From here on exit codes tell internal errors, exhausted resources and cancelled builds from build failures."""


def buildx_version(info: str = "") -> Version:
    """Return the version of the buildx that the docker client finds.

    Args:
        info: What `docker info` wrote as JSON, which names the client's plugins; where it does not, buildx is asked.

    Raises:
        EnvironmentLacksError: No docker client, or it has no buildx, or it is older than `FLOOR`.
    """
    found = _plugin(info)
    if found is None:
        answer = client.docker("buildx", "version")
        if not answer.ok:
            raise EnvironmentLacksError("the docker client has no buildx plugin", hint=_HINT)
        found = parse_version(answer.stdout)
    if found < FLOOR:
        raise EnvironmentLacksError(
            f"buildx {found} is too old: expected {FLOOR.major}.{FLOOR.minor} or newer", hint=_HINT
        )
    return found


def _plugin(info: str) -> Version | None:
    """The version of the plugin buildx in what `docker info` wrote, None where it has none that works."""
    try:
        plugins = json.loads(info)["ClientInfo"]["Plugins"]
        (text,) = {str(one["Version"]) for one in plugins if one["Name"] == "buildx" and not one.get("Err")}
        return parse_version(f"buildx {text}")
    except (ValueError, KeyError, TypeError, RecursionError, EnvironmentLacksError):
        return None


def parse_version(text: str) -> Version:
    """Read what `docker buildx version` wrote (`github.com/docker/buildx v0.29.1 a32761a`; distributions vary it).

    Raises:
        EnvironmentLacksError: There is no version in it.
    """
    line = text.strip().splitlines()[0] if text.strip() else ""
    match = _LINE.search(line)
    if match is None:
        raise EnvironmentLacksError(f"`docker buildx version` printed no version: {line or 'nothing'}", hint=_HINT)
    major, minor, patch = match.groups()
    return Version(major=int(major), minor=int(minor), patch=int(patch or 0))
