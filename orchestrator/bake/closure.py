"""Finds the targets that a target links to, and gives each of them a name of the variant's own.

A context `target:base` makes bake build the target `base` first. Two variants that share it would get one build of it
with one set of arguments (measured: a cu130 image on a base compiled for 12.4), so the bake file of a variant holds a
copy of each linked target, `<variant>--<target>`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.errors import MatrixError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LINK = "target:"
"""What the value of a context that is another target begins with."""


def links(contexts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the targets that named contexts link to, each once, in order."""
    found = (str(value).removeprefix(LINK) for value in contexts.values() if str(value).startswith(LINK))
    return tuple(dict.fromkeys(found))


def closure(targets: Mapping[str, Mapping[str, Any]], contexts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return every target that these contexts link to, and those that they link to in turn.

    Args:
        targets: Name -> target as `buildx.resolve` gives it.
        contexts: Named contexts of the target that is built.

    Raises:
        MatrixError: A target is linked that the bake files do not have.
    """
    found: dict[str, None] = {}
    waiting = list(links(contexts))
    while waiting:
        name = waiting.pop(0)
        if name in found:
            continue
        if name not in targets:
            raise MatrixError(f"target:{name}: the linked target was not found in the bake files")
        found[name] = None
        waiting += links(targets[name].get("contexts") or {})
    return tuple(found)


def member_name(variant: str, target: str) -> str:
    """Return the name that a linked target has in the bake file of a variant."""
    return f"{variant}--{target}"


def relinked(contexts: Mapping[str, Any], variant: str, members: Iterable[str]) -> dict[str, Any]:
    """Return named contexts that link to the variant's own copies."""
    names = {f"{LINK}{target}": f"{LINK}{member_name(variant, target)}" for target in members}
    return {name: names.get(str(value), value) for name, value in contexts.items()}
