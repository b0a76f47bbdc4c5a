"""Compose files as buildx bake reads them: a target for each service that is built, with what the file says plainly."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from orchestrator.dockerfile.spans import Style
from orchestrator.drift.readers import data
from orchestrator.drift.readers.lines import default_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.dockerfile.spans import Found
    from orchestrator.drift.readers.tree import Node

_NAME = re.compile(r"(?:docker-)?compose(?:\.[\w.-]+)?\.ya?ml", re.IGNORECASE)
_VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|\{[A-Za-z_]\w*:?-(?P<default>[^${}]*)\}|(?P<other>\{[^{}]*\}|\w+|))", re.ASCII
)
_KEYS = {
    "context": "context",
    "dockerfile": "dockerfile",
    "dockerfile_inline": "dockerfile-inline",
    "target": "target",
}


def is_compose(name: str) -> bool:
    """Whether a file is a Compose file by its name (the last part of its path)."""
    return _NAME.fullmatch(name) is not None


def place(found: Found) -> Found:
    """A value of a Compose file as Compose reads it: `$$` is a dollar, `${NAME:-default}` is the place of its default.

    A value with other variables comes from elsewhere, and so does one with a default inside a longer text.
    """
    if found.via or "$" not in found.value:
        return replace(found, styles=(Style.COMPOSE, *found.styles))
    default = default_of(found)
    if default is not found:
        return default
    value = followed(found.value)
    variables = [match[0] for match in _VARIABLE.finditer(found.value) if not match["escaped"]]
    if variables:
        text = found.value if value is None else value
        return replace(found, value=text, written=found.value, via=f"it comes from {variables[0]}")
    styles = (Style.COMPOSE, *found.styles)
    return replace(found, value=found.value.replace("$$", "$"), written=found.value, styles=styles)


def followed(text: str) -> str | None:
    """A text with the defaults of its variables filled in, None where one has none."""
    if any(match["other"] is not None for match in _VARIABLE.finditer(text)):
        return None
    return _VARIABLE.sub(lambda match: "$" if match["escaped"] else match["default"], text)


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
