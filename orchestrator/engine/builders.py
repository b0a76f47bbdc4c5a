"""The builder that buildx uses: its driver, its platforms, and what it can export."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import replace

from orchestrator.engine import beyond
from orchestrator.engine.buildx import last_error
from orchestrator.engine.endpoints import fault
from orchestrator.errors import EnvironmentLacksError, did_you_mean
from orchestrator.redact import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DOCKER_DRIVER = "docker"
"""The driver that builds in the engine itself."""

REMOTE_DRIVER = "remote"
"""The driver of a BuildKit that somebody else has started."""

BUILDER_VARIABLE = "BUILDX_BUILDER"

_LIST_TIMEOUT = 60.0

LOCAL_DRIVERS = frozenset({DOCKER_DRIVER, "docker-container"})
"""Drivers whose builders are in a Docker engine; the others are somewhere else."""


class Node(Struct, frozen=True, kw_only=True):
    """One machine of a builder.

    Attributes:
        name: Its name.
        endpoint: Where it is: an address, or a context of docker.
        running: Whether it answers; one of a docker-container builder starts with its first build.
        options: Driver options.
        version: BuildKit's version as it says it, "" where it does not.
    """

    name: str
    endpoint: str
    running: bool
    options: Mapping[str, str] = field(default_factory=dict)
    version: str = ""


class Builder(Struct, frozen=True, kw_only=True):
    """One builder of buildx.

    Attributes:
        name: Its name.
        driver: docker, docker-container, kubernetes, remote or cloud.
        platforms: What its running nodes build ("linux/amd64"); empty if none runs yet.
        running: Whether any node runs. A docker-container builder starts with its first build.
        error: Why buildx cannot load it, or "".
        current: Whether buildx uses it where no builder is named.
        containerd_store: Whether the engine behind a docker driver has the containerd image store.
        nodes: Its machines.
    """

    name: str
    driver: str
    platforms: tuple[str, ...]
    running: bool
    error: str = ""
    current: bool = False
    containerd_store: bool = False
    nodes: tuple[Node, ...] = ()

    @property
    def elsewhere(self) -> bool:
        """Whether it builds outside of the engine that answers here: its disk and memory are not the engine's."""
        remote = ("tcp://", "ssh://", "http://", "https://")
        return self.driver not in LOCAL_DRIVERS or any(node.endpoint.startswith(remote) for node in self.nodes)

    @property
    def full(self) -> bool:
        """Whether it exports caches, multi-platform images and attestations (docker/buildx driver documentation)."""
        return self.driver != DOCKER_DRIVER or self.containerd_store

    def exports_cache(self, backend: str) -> bool:
        """Whether it can write a cache of this backend (registry, local, gha, s3, azblob, inline).

        The docker driver without the containerd image store writes inline caches only; with it, no object store's
        (the engine leaves them out: moby/moby#51571).
        """
        if self.driver == DOCKER_DRIVER and backend in ("s3", "azblob"):
            return False
        return self.full or backend == "inline"

    def builds(self, platform: str) -> bool:
        """Whether it builds a platform; True for a builder that has not started, which does not say."""
        return not self.platforms or platform in self.platforms


def parse_builders(text: str) -> tuple[Builder, ...]:
    """Read what `docker buildx ls --format json` wrote: one JSON object per line.

    Args:
        text: Its standard output. Lines that are not JSON objects are skipped.
    """
    found: list[Builder] = []
    for line in text.splitlines():
        try:
            values = json.loads(line)
        except ValueError:
            continue
        if isinstance(values, dict) and values.get("Name"):
            found.append(_builder(values))
    return tuple(found)


def parse_inspected(text: str) -> Builder | None:
    """Read what `docker buildx inspect` wrote: the builder's fields, then those of each node.

    Args:
        text: Its standard output.

    Returns:
        The builder; None for a text that is no builder's.
    """
    blocks: list[dict[str, Any]] = [{}]
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if line.strip() == "Nodes:":
            continue
        if colon and not line.startswith(" "):  # labels and policies are indented
            if name == "Name" and blocks[0]:
                blocks.append({})
            blocks[-1].setdefault(name, value.strip())
    first, *nodes = blocks
    if not first.get("Name") or not first.get("Driver"):
        return None
    for node in nodes:
        node["Platforms"] = [platform.strip() for platform in node.get("Platforms", "").split(",") if platform.strip()]
        node["DriverOpts"] = {
            found["name"]: _unquoted(found["value"]) for found in _OPTION.finditer(node.get("Driver Options", ""))
        }
    values = {"Name": first["Name"], "Driver": first["Driver"], "Err": first.get("Error"), "Nodes": nodes}
    for node in nodes:
        node["Err"] = node.get("Error")
    return _builder(values)


_OPTION = re.compile(r'(?P<name>[^\s=]+)=(?P<value>"(?:[^"\\]|\\.)*")')


def _unquoted(value: str) -> str:
    """A text as Go quotes it (%q), which is JSON for all that options hold."""
    try:
        return str(json.loads(value))
    except ValueError:
        return value[1:-1]


def _builder(values: Mapping[str, Any]) -> Builder:
    nodes = [node for node in values.get("Nodes") or [] if isinstance(node, dict)]
    errors = [str(error) for error in (values.get("Err"), *(node.get("Err") for node in nodes)) if error]
    # A star marks a platform that the user set; v2, v3 … are micro-architectures of one that is listed too.
    platforms = {str(name).rstrip("*") for node in nodes for name in node.get("Platforms") or []}
    return Builder(
        name=str(values["Name"]),
        driver=str(values.get("Driver") or ""),
        platforms=tuple(sorted(platforms)),
        running=any(node.get("Status") == "running" for node in nodes),
        error=errors[0] if errors else "",
        current=bool(values.get("Current")),
        nodes=tuple(_node(node) for node in nodes),
    )


def _node(values: Mapping[str, Any]) -> Node:
    options = values.get("DriverOpts")
    return Node(
        name=str(values.get("Name") or ""),
        endpoint=str(values.get("Endpoint") or ""),
        running=values.get("Status") == "running",
        options={str(name): str(value) for name, value in options.items()} if isinstance(options, dict) else {},
        version=str(values.get("BuildKit version") or values.get("Version") or ""),
    )


def silent_nodes(builder: Builder) -> tuple[str, ...]:
    """Return one line for each machine of a remote builder that does not answer: its endpoint and what is wrong.

    buildx calls one inactive that it could not ask within its 20 s, which may build all the same (measured with 0.29
    and `docker buildx dial-stdio`): the endpoint itself decides.
    """
    asleep = (node for node in builder.nodes if builder.driver == REMOTE_DRIVER and not node.running)
    faults = ((node, fault(node.endpoint, node.options)) for node in asleep)
    return tuple(f"{redact(node.endpoint) or node.name}: {why}" for node, why in faults if why)


def choose(found: Iterable[Builder], name: str = "") -> Builder:
    """Choose the builder of a build.

    Args:
        found: All builders.
        name: The one that the user named; "" means $BUILDX_BUILDER, else the current one, as for buildx.

    Raises:
        EnvironmentLacksError: It was not found, or buildx cannot load it.
    """
    known = {builder.name: builder for builder in found}
    asked = wanted(name)
    chosen = known.get(asked) if asked else next((b for b in known.values() if b.current), None)
    if chosen is None:
        raise EnvironmentLacksError(
            f"builder {asked} was not found" if asked else "buildx has no current builder",
            hint=did_you_mean(asked, known) if asked else "see `docker buildx ls`, then `docker buildx use NAME`",
        )
    if chosen.error:
        raise EnvironmentLacksError(
            f"buildx cannot load builder {chosen.name}: {redact(chosen.error)}",
            hint="see `docker buildx ls`, then `docker buildx use NAME` or set BUILDX_BUILDER",
        )
    return chosen


def wanted(name: str = "") -> str:
    """Return the builder that a build uses, "" for the current one: the one named, else $BUILDX_BUILDER."""
    return name or os.environ.get(BUILDER_VARIABLE, "")


def listed(*, timeout: float = _LIST_TIMEOUT) -> tuple[Builder, ...]:
    """Ask buildx for every builder that it knows; `containerd_store` of those in the engine is not known yet.

    buildx waits up to 20 s for each remote builder that is silent: a build asks `in_use`.

    Args:
        timeout: Seconds.

    Raises:
        EnvironmentLacksError: buildx names none because it failed, or it does not answer.
        InterruptedRunError: A stop was asked for.
    """
    answer = beyond.list_builders(timeout=timeout)
    found = parse_builders(answer.stdout)
    if not found and not answer.ok:
        raise EnvironmentLacksError(
            f"`docker buildx ls` failed: {redact(last_error(answer.stderr))}", hint="see `docker buildx ls`"
        )
    return found


def in_use(name: str = "") -> Builder:
    """Ask buildx for the builder of a build alone; for all of them where it names none, to say which there are.

    Args:
        name: As for `choose`.

    Raises:
        EnvironmentLacksError: As for `choose`, or buildx does not answer.
        InterruptedRunError: A stop was asked for.
    """
    found = inspected(wanted(name))
    return choose(listed(), name) if found is None else choose([found], found.name)


def inspected(name: str = "") -> Builder | None:
    """Ask buildx for one builder alone, which it waits up to 20 s for; None where it does not know it.

    Args:
        name: Of the builder, "" for the current one.

    Raises:
        EnvironmentLacksError: buildx does not answer.
        InterruptedRunError: A stop was asked for.
    """
    return parse_inspected(beyond.inspect_builder(name).stdout)


def selected(found: Builder, *, containerd_store: bool) -> Builder:
    """Return the builder of a build with what the engine says of it.

    Args:
        found: What `in_use` returned.
        containerd_store: Whether the engine has the containerd image store (`EngineInfo.containerd_store`).

    Raises:
        EnvironmentLacksError: No machine of a remote builder answers.
    """
    chosen = replace(found, containerd_store=containerd_store)
    silent = silent_nodes(chosen)
    if silent and len(silent) == len(chosen.nodes):
        raise EnvironmentLacksError(
            f"builder {chosen.name} does not answer: {'; '.join(silent)}",
            hint=f"start it, or choose another builder with --builder (`docker buildx inspect {chosen.name}` tests it)",
        )
    return chosen
