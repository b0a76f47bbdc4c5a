"""What the Docker engine says of itself: version, platform, image store, memory, processors, data directory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orchestrator.engine import client
from orchestrator.errors import EnvironmentLacksError

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.process import Completed

# `docker info` names architectures as uname does, platforms name them as OCI does.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm/v7", "armv6l": "arm/v6", "i686": "386"}


class EngineInfo(Struct, frozen=True, kw_only=True):
    """A Docker engine that answers.

    Attributes:
        version: Of the engine ("28.5.2").
        containerd_store: Whether images live in the containerd image store; without it the docker driver exports
            neither caches nor multi-platform images nor attestations.
        platform: Its own platform ("linux/amd64").
        cpus: Processors that it may use, 0 if it does not say.
        memory: Bytes of memory that it may use, 0 if it does not say.
        root: Its data directory, on its own machine.
        host_name: Name of its machine.
    """

    version: str
    containerd_store: bool
    platform: str
    cpus: int
    memory: int
    root: str
    host_name: str


def answered(ask: Callable[[], Completed]) -> Completed:
    """Return the answer to `docker info`.

    Args:
        ask: Asks, or waits for the answer.

    Raises:
        EnvironmentLacksError: There is no client, or no answer, which is the engine's.
    """
    try:
        return ask()
    except EnvironmentLacksError as error:
        if error.hint:
            raise
        raise client.unreachable(error.message) from error


def parse_info(stdout: str, stderr: str) -> EngineInfo:
    """Read what `docker info --format '{{json .}}'` wrote.

    Some clients print an empty engine and exit 0 where none answers, so the text decides and not the status.

    Raises:
        EnvironmentLacksError: It describes no engine; the message holds the client's own reason.
    """
    try:
        values = json.loads(stdout)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise client.unreachable(_reason({}, stderr))
    if not values.get("ServerVersion"):
        raise client.unreachable(_reason(values, stderr))
    machine = str(values.get("Architecture", ""))
    return EngineInfo(
        version=str(values["ServerVersion"]),
        containerd_store=_containerd_store(values.get("DriverStatus")),
        platform=f"{values.get('OSType') or 'linux'}/{_ARCHITECTURES.get(machine, machine)}",
        cpus=int(values.get("NCPU") or 0),
        memory=int(values.get("MemTotal") or 0),
        root=str(values.get("DockerRootDir") or ""),
        host_name=str(values.get("Name") or ""),
    )


def _containerd_store(status: Any) -> bool:
    """Whether `DriverStatus` names a containerd snapshotter: [["driver-type", "io.containerd.snapshotter.v1"]]."""
    if not isinstance(status, Sequence):
        return False
    return any(str(part).startswith("io.containerd.snapshotter") for row in status if row for part in row)


def _reason(values: Mapping[str, Any], stderr: str) -> str:
    reasons = [str(reason) for reason in values.get("ServerErrors") or []]
    reasons += [line.strip() for line in stderr.splitlines() if line.strip()]
    return reasons[0] if reasons else "docker info shows no server"
