"""On which platforms the RUN steps of a target run: an image that runs nothing elsewhere needs no emulation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.dockerfile.predefined import platform_args
from orchestrator.dockerfile.stages import parse

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from orchestrator.dockerfile.stages import Dockerfile, Stage

_NATIVE = "native"  # stands for the parts of the builder's own platform, which no builder lacks
_BUILD_ARGS = {f"BUILD{part}": _NATIVE for part in ("PLATFORM", "OS", "ARCH", "VARIANT")}


def run_platforms(
    text: str,
    platform: str,
    *,
    target: str = "",
    contexts: Collection[str] = (),
    args: Mapping[str, str] | None = None,
) -> frozenset[str]:
    """Return the platforms that steps of the reached stages run on, without the builder's own ($BUILDPLATFORM).

    Args:
        text: The Dockerfile.
        platform: The platform that is built, "linux/arm64".
        target: Stage that is built, "" for the last.
        contexts: Named contexts.
        args: Build arguments that are passed.
    """
    replaced = {name.lower() for name in contexts}
    file = parse(text, {**platform_args(platform), **_BUILD_ARGS, **(args or {})}, replaced=replaced)
    running = (
        stage for stage in file.needed(target, replaced=replaced) if any(step.keyword == "RUN" for step in stage.steps)
    )
    found = (_platform(file, stage) or platform for stage in running)
    return frozenset(name for name in found if _NATIVE not in name)


def _platform(file: Dockerfile, stage: Stage) -> str:
    """The --platform of a stage, or of the one that it is FROM; "" for the platform that is built."""
    while not stage.platform and stage.parent is not None:
        stage = file.stages[stage.parent]  # always an earlier one
    return stage.platform
