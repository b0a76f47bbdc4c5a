"""Compose files as buildx bake reads them: a target for each service that is built, with what the file says plainly."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from orchestrator.drift.readers import data

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.drift.readers.tree import Node

_NAME = re.compile(r"(?:docker-)?compose(?:\.[\w.-]+)?\.ya?ml", re.IGNORECASE)
_KEYS = {
    "context": "context",
    "dockerfile": "dockerfile",
    "dockerfile_inline": "dockerfile-inline",
    "target": "target",
}


def is_compose(name: str) -> bool:
    """Whether a file is a Compose file by its name (the last part of its path)."""
    return _NAME.fullmatch(name) is not None


def targets(text: str) -> dict[str, dict[str, Any]]:
    """The targets of a Compose file: service -> the attributes of its target that hold no variable.

    Raises:
        ReadError: It is not YAML.
    """
    return {name: _target(service, build) for name, service, build in _built(text)}


def arguments(text: str) -> dict[str, dict[str, int]]:
    """The build arguments of each service that is built, with the offset of their names or values.

    Raises:
        ReadError: It is not YAML.
    """
    found: dict[str, dict[str, int]] = {}
    for name, _, build in _built(text):
        args = build.member("args")
        if args is not None:
            named = {key: value.start for key, value in args.members}
            found[name] = named | {item.value.partition("=")[0].strip(): item.start for item in args.items}
    return found


def _built(text: str) -> Iterator[tuple[str, Node, Node]]:
    """The services that are built: the name of their target, the service, its `build:`."""
    for root in data.parse(text, "yaml"):
        services = root.member("services")
        for name, service in services.members if services is not None else ():
            build = service.member("build")
            if build is not None:
                yield name.replace(".", "_"), service, build


def _target(service: Node, build: Node) -> dict[str, Any]:
    target: dict[str, Any] = {"context": build.value} if build.kind == "scalar" else {}
    for key, attribute in _KEYS.items():
        node = build.member(key)
        if node is not None and node.kind == "scalar":
            target[attribute] = node.value
    args = build.member("args")
    if args is not None:
        pairs = [(key, value.value) for key, value in args.members if value.kind == "scalar"]
        pairs += [(name, value) for name, equals, value in (one.value.partition("=") for one in args.items) if equals]
        target["args"] = {name: value for name, value in pairs if "$" not in value}
    image, platforms = service.member("image"), build.member("platforms")
    if image is not None and image.value and "$" not in image.value:
        target["tags"] = [image.value]
    if platforms is not None:
        target["platforms"] = [one.value for one in platforms.items if "$" not in one.value]
    return {key: value for key, value in target.items() if not (isinstance(value, str) and "$" in value)}
