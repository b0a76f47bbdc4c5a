"""Finds what defeats the compile cache in a Dockerfile: a step that cannot reach it, or misses each time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.dockerfile.stages import assignments, parse
from orchestrator.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from orchestrator.dockerfile.stages import Dockerfile, Stage, Step

CONTEXT = "compile-cache"
MOUNT = "/var/cache/compile-cache"
NAMESPACE = "COMPILE_CACHE_ID"

_DOCS = "docs/compile-cache.md shows the step"
_COMPILER_CACHE = re.compile(r"[sc]cache")
_VARIABLE = re.compile(r"\$\{?([A-Za-z_]\w*)")


class Wanted(Struct, frozen=True, kw_only=True):
    """What the matrix says of the cache.

    Attributes:
        target: Stage that is built, "" for the last.
        backend: As in `compile_cache`.
        releases: How many CUDA releases one builder builds.
        moving: Arguments whose value changes with every commit.
    """

    target: str
    backend: str
    releases: int
    moving: Collection[str]


def problems(text: str, wanted: Wanted, name: str) -> list[Problem]:
    """Return what defeats the cache in a Dockerfile, in the order of its lines.

    Args:
        text: The Dockerfile.
        wanted: What the matrix says.
        name: The Dockerfile's name in messages.
    """
    file = parse(text)
    needed = file.needed(wanted.target)
    users = [(stage, step) for stage in needed for step in stage.steps if CONTEXT in map(str.lower, step.sources)]
    found = list(_mounts(needed, wanted, name))
    if file.stage(CONTEXT) is None:
        what = f"stage {CONTEXT} was not found: docker pulls a forgotten context from docker.io/library/{CONTEXT}"
        found.append(Problem(file=name, line=1, what=what, hint=_DOCS))
    if not users:
        shown = wanted.target or (needed[-1].name if needed else "the Dockerfile")
        found.append(Problem(file=name, line=1, what=f"no RUN of {shown} mounts {CONTEXT}", hint=_DOCS))
    for stage, step in users:
        found += _step(file, stage, step, wanted, name)
    return sorted(dict.fromkeys(found), key=lambda one: one.line or 0)


def _step(file: Dockerfile, stage: Stage, step: Step, wanted: Wanted, name: str) -> Iterator[Problem]:
    """What is wrong with one step that uses the cache."""

    def problem(what: str, hint: str = _DOCS, line: int = step.line) -> Problem:
        return Problem(file=name, line=line, what=what, hint=hint)

    mounts = [option.fields for option in step.options if option.name == "mount"]
    if not any(one.get("type") == "secret" and one.get("id") == CONTEXT for one in mounts):
        yield problem(f"the compile step does not mount the secret {CONTEXT}: it compiles without a cache")
    if wanted.backend == "mount":
        ids = [one.get("id", "") for one in mounts if one.get("type") == "cache" and _target(one) == MOUNT]
        if not ids:
            yield problem(f"the compile step has no cache mount at {MOUNT}: its cache ends with the step")
        elif not any(NAMESPACE in _VARIABLE.findall(one) for one in ids):
            yield problem(
                f"the cache mount at {MOUNT} does not carry ${{{NAMESPACE}}} in its id: all releases share it"
            )
    elif step.network == "none":
        yield problem(f"RUN --network=none does not reach {wanted.backend}", "use backend: mount, or give it a network")
    ancestry = file.ancestry(stage.name)
    above = [one for each in ancestry for one in each.steps if each is not stage or one.line < step.line]
    for one in above:
        if one.keyword == "ARG":
            for argument, _ in assignments(one.text):
                if argument in wanted.moving:
                    what = f"ARG {argument} changes with every commit, and the compile step below runs again each time"
                    yield problem(what, "declare it in a later stage", one.line)


def _mounts(stages: Collection[Stage], wanted: Wanted, name: str) -> Iterator[Problem]:
    """Cache mounts of a compiler cache that several CUDA releases share."""
    for step in (step for stage in stages for step in stage.steps):
        for fields in (option.fields for option in step.options if option.name == "mount"):
            target = _target(fields)
            if fields.get("type") != "cache" or not _COMPILER_CACHE.search(target) or wanted.releases < 2:
                continue
            if not _VARIABLE.search(fields.get("id", "")):
                what = (
                    f"the cache mount at {target} is shared by {wanted.releases} CUDA releases, which evict each other"
                )
                hint = "give it an id with the release, as in id=ccache-${CUDA_VERSION}-${TARGETPLATFORM}"
                yield Problem(file=name, line=step.line, what=what, hint=hint)


def _target(fields: dict[str, str]) -> str:
    return next((fields[name] for name in ("target", "dst", "destination") if name in fields), "")
