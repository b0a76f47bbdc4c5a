"""Which named contexts of a target its Dockerfile refers to: in FROM, in COPY --from, in a mount of RUN."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.dockerfile.directives import is_docker_frontend
from orchestrator.dockerfile.predefined import GLOBAL_ARGS
from orchestrator.dockerfile.stages import parse

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from orchestrator.dockerfile.stages import Dockerfile


def unused_contexts(
    text: str, names: Collection[str], *, target: str = "", args: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Return the named contexts that no stage of the target refers to.

    What cannot be told counts as used: a name with a variable that has no value here, another frontend.

    Args:
        text: The Dockerfile.
        names: Named contexts.
        target: Stage that is built, "" for the last.
        args: Build arguments that are passed.
    """
    if not names:
        return ()
    lower = {name.lower() for name in names}
    unknown = {name: f"${name}" for name in GLOBAL_ARGS}
    file = parse(text, {**unknown, **(args or {})}, replaced=lower)
    if file.syntax and not is_docker_frontend(file.syntax):
        return ()
    used = set(_references(file, target, lower))
    if any("$" in one for one in used):
        return ()
    return tuple(name for name in names if not _spellings(name.lower()) & used)


def _references(file: Dockerfile, target: str, contexts: Collection[str]) -> Iterator[str]:
    """Every name that the stages of a target refer to; an image with and without the tag `latest`."""
    last = file.stage(target)
    if last is not None:
        yield last.name  # a context replaces a stage of its name, the target's own as well
    for stage in file.needed(target, replaced=contexts):
        sources = [source for step in stage.steps for source in step.sources]
        for source in (stage.base, *sources):
            numbered = file.stage(source) if source.isdecimal() else None
            yield from _spellings(numbered.name if numbered is not None else source.lower())


def _spellings(name: str) -> set[str]:
    """How a context can name an image: with and without `latest`, Docker Hub and its library."""
    plain = name.removesuffix(":latest").removeprefix("docker.io/").removeprefix("library/")
    return {plain, plain.partition("::")[0]}
