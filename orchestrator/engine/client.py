"""The docker command, the engine behind it, and which features this buildx has.

Knows how to ask (`docker info`, `docker buildx version`) and what the answers mean; builders are builders.py's, judging
the machine is doctor.py's. The questions go through `process.run` and not through python-on-whales because they need a
time limit: an engine at an unreachable `DOCKER_HOST` hangs a client that has none.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator import process
from orchestrator.errors import EnvironmentLacksError

if TYPE_CHECKING:
    from python_on_whales import DockerClient

CLIENT_VARIABLE = "ORCHESTRATE_DOCKER"
"""Environment variable that names another docker client than the first on PATH."""

TIMEOUT = 30.0
"""Seconds that the engine has to answer a question."""

GIB = 1024**3

_ENGINE_CURE = (
    "start the Docker engine (systemctl start docker), or name a running one with DOCKER_HOST or `docker context use`"
)
_BUILDX_CURE = (
    "install buildx 0.25 or newer: the package docker-buildx-plugin or docker-buildx, or its release binary as "
    "~/.docker/cli-plugins/docker-buildx"
)


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Version:
    """A version of buildx; pre-release marks are dropped, as its features are there from the first candidate on."""

    major: int
    minor: int
    patch: int = 0

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


FLOOR = Version(major=0, minor=20)
"""Below this nothing works as promised: file-system entitlements are only warnings, `bake --list` is missing."""

COMFORT = Version(major=0, minor=25)
"""From here on exit codes tell internal errors, exhausted resources and cancelled builds from build failures."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Feature:
    """Something that buildx can do from a version on, and what is missing below it."""

    since: Version
    without: str


def _feature(minor: int, without: str) -> Feature:
    return Feature(since=Version(major=0, minor=minor), without=without)


FEATURES: Mapping[str, Feature] = {
    # buildx's release notes and tags; collected in facts/bake.md section 1
    "metadata-provenance": _feature(14, "no base image digests from the build's metadata"),
    "rawjson": _feature(15, "no progress that a program can read"),
    "call": _feature(16, "no proof before the build that arguments arrive"),
    "bake-allow": _feature(17, "no explicit entitlements"),
    "prune-space": _feature(18, "no pruning down to a size"),
    "bake-list": _feature(20, "no list of a bake file's targets"),
    "history": _feature(20, "no cached steps from the build history"),
    "set-append": _feature(22, "no appending with --set"),
    "history-export": _feature(23, "no build record to attach to a run"),
    "variable-type": _feature(24, "no typed bake variables"),
    "exit-codes": _feature(25, "internal errors and exhausted resources look like build failures"),
    "du-json": _feature(28, "the cache table has no sizes"),
    "imagetools-platform": _feature(29, "no choice of platforms when an index is made"),
    "bake-var": _feature(31, "bake variables only through the environment"),
    "imagetools-metadata-file": _feature(32, "an index's digest takes one more request"),
}
"""First buildx of each feature that this program uses or reports."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Buildx:
    """The buildx plugin that the docker client finds.

    Attributes:
        version: Its version.
        text: Its version line as it printed it.
    """

    version: Version
    text: str

    def supports(self, feature: str) -> bool:
        """Whether a feature of `FEATURES` is there."""
        return self.version >= FEATURES[feature].since

    def lacking(self, feature: str) -> str:
        """One sentence for a feature that is missing ("needs buildx >= 0.28, found 0.23: …"), "" where it is there."""
        entry = FEATURES[feature]
        if self.supports(feature):
            return ""
        return f"needs buildx >= {entry.since.major}.{entry.since.minor}, found {self.version}: {entry.without}"


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineInfo:
    """A Docker engine that answers.

    Attributes:
        version: Of the engine ("28.5.2").
        containerd_store: Whether images live in the containerd image store; without it the docker driver exports
            neither caches nor multi-platform images nor attestations.
        platform: Its own platform ("linux/amd64").
        cpus: Processors that it may use.
        memory: Bytes of memory that it may use.
        root: Its data directory, on its own machine.
        host_name: Name of its machine.
        system: Operating system in words.
    """

    version: str
    containerd_store: bool
    platform: str
    cpus: int
    memory: int
    root: str
    host_name: str
    system: str


PRUNE = "docker buildx prune --filter type!=exec.cachemount"
"""What frees disk space and keeps the cache mounts, the dear ones (ccache)."""

# `docker info` speaks uname's language, platforms speak OCI's.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm/v7", "armv6l": "arm/v6", "i686": "386"}

_BUILDX_LINE = re.compile(r"buildx\s+v?(\d+)\.(\d+)(?:\.(\d+))?")


def docker_command() -> tuple[str, ...]:
    """The docker client to run: $ORCHESTRATE_DOCKER, else `docker` of PATH.

    The client reads DOCKER_HOST, DOCKER_CONTEXT and DOCKER_CONFIG itself, so what the user chose holds for us too.

    Raises:
        EnvironmentLacksError: There is no docker client.
    """
    wanted = os.environ.get(CLIENT_VARIABLE) or "docker"
    found = shutil.which(wanted)
    if found is None:
        where = f"{wanted} (from {CLIENT_VARIABLE})" if wanted != "docker" else "docker"
        raise EnvironmentLacksError(
            f"there is no docker client: {where} is not installed or not on PATH",
            hint="install Docker Engine with buildx; on Debian or Ubuntu, as root: scripts/engine up",
        )
    return (found,)


def docker(*arguments: str, timeout: float = TIMEOUT, env: Mapping[str, str] | None = None) -> process.Completed:
    """Run `docker ARGUMENTS…` to its end.

    Args:
        arguments: What follows `docker`.
        timeout: Seconds.
        env: Variables laid over this process's environment.

    Raises:
        EnvironmentLacksError: There is no docker client, or it ran past `timeout`.
    """
    return process.run([*docker_command(), *arguments], timeout=timeout, env=env)


def whales() -> DockerClient:
    """A python-on-whales client for the same docker command, context and host.

    Costs 0.4 s of imports at its first use: call it where it is needed, never at import time.
    """
    from python_on_whales import DockerClient

    return DockerClient(client_call=list(docker_command()))


def engine_info() -> EngineInfo:
    """What the engine says of itself.

    Raises:
        EnvironmentLacksError: No client, no engine, or one that does not let us in; with the cure.
    """
    try:
        answer = docker("info", "--format", "{{json .}}")
    except EnvironmentLacksError as error:
        if error.hint:
            raise
        raise EnvironmentLacksError(f"the Docker engine does not answer: {error.message}", hint=_ENGINE_CURE) from error
    return parse_info(answer.stdout, answer.stderr)


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
    if not isinstance(values, dict) or not values.get("ServerVersion"):
        raise _unreachable(values if isinstance(values, dict) else {}, stderr)
    machine = str(values.get("Architecture", ""))
    return EngineInfo(
        version=str(values["ServerVersion"]),
        containerd_store=_containerd_store(values.get("DriverStatus")),
        platform=f"{values.get('OSType') or 'linux'}/{_ARCHITECTURES.get(machine, machine)}",
        cpus=int(values.get("NCPU") or 0),
        memory=int(values.get("MemTotal") or 0),
        root=str(values.get("DockerRootDir") or ""),
        host_name=str(values.get("Name") or ""),
        system=str(values.get("OperatingSystem") or ""),
    )


def _containerd_store(status: Any) -> bool:
    """Whether `DriverStatus` names a containerd snapshotter: [["driver-type", "io.containerd.snapshotter.v1"]]."""
    if not isinstance(status, Sequence):
        return False
    return any(str(part).startswith("io.containerd.snapshotter") for row in status if row for part in row)


def _unreachable(values: Mapping[str, Any], stderr: str) -> EnvironmentLacksError:
    reasons = [str(reason) for reason in values.get("ServerErrors") or []]
    reasons += [line.strip() for line in stderr.splitlines() if line.strip()]
    reason = reasons[0] if reasons else "docker info named no server"
    if "permission denied" in reason.lower():
        return EnvironmentLacksError(
            f"the Docker engine does not let you in: {reason}",
            hint="join its group (usermod -aG docker YOU, then log in again), or run this as root",
        )
    if "context" in reason.lower() and "not found" in reason.lower():
        return EnvironmentLacksError(
            f"the docker client's context is wrong: {reason}",
            hint="see `docker context ls`, then `docker context use NAME`, or unset DOCKER_CONTEXT",
        )
    return EnvironmentLacksError(f"no Docker engine answers: {reason}", hint=_ENGINE_CURE)


def buildx() -> Buildx:
    """The buildx that the docker client finds.

    Raises:
        EnvironmentLacksError: No docker client, or it has no buildx, or it is older than `FLOOR`.
    """
    answer = docker("buildx", "version")
    if not answer.ok:
        raise EnvironmentLacksError("the docker client has no buildx plugin", hint=_BUILDX_CURE)
    found = parse_buildx(answer.stdout)
    if found.version < FLOOR:
        raise EnvironmentLacksError(
            f"buildx {found.version} is too old: {FLOOR.major}.{FLOOR.minor} is the oldest that works",
            hint=_BUILDX_CURE,
        )
    return found


def parse_buildx(text: str) -> Buildx:
    """Read what `docker buildx version` wrote (`github.com/docker/buildx v0.29.1 a32761a`; distributions vary it).

    Raises:
        EnvironmentLacksError: There is no version in it.
    """
    line = text.strip().splitlines()[0] if text.strip() else ""
    match = _BUILDX_LINE.search(line)
    if match is None:
        raise EnvironmentLacksError(
            f"`docker buildx version` printed no version: {line or 'nothing'}", hint=_BUILDX_CURE
        )
    major, minor, patch = match.groups()
    return Buildx(version=Version(major=int(major), minor=int(minor), patch=int(patch or 0)), text=line)


def free_bytes(info: EngineInfo) -> int | None:
    """Bytes free where the engine keeps layers and build cache, None where that is on another machine.

    With the containerd image store and a containerd of the system's own, layers live in /var/lib/containerd; the
    smaller of the two counts.
    """
    if info.host_name != platform.node():
        return None
    places = [Path(info.root)] if info.root else []
    if info.containerd_store:
        places.append(Path("/var/lib/containerd"))
    found = [usage for place in places if (usage := _free(place)) is not None]
    return min(found, default=None)


def _free(place: Path) -> int | None:
    try:
        return shutil.disk_usage(place).free
    except OSError:
        return None
