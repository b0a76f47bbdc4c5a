"""Questions to docker that python-on-whales cannot ask, each with its reason (python-on-whales 0.81.0).

They run through `process.run`, under a time limit, with the same client (`client.docker_command`). Paths that stream
use that argv as well: `docker buildx bake` (bake/process.py; whales has no `--allow`, reads standard error in quadratic
time and leaves the process behind) and `docker save` (image/sources/engine.py; whales cuts the tar at newlines into an
unbounded queue).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator import process
from orchestrator.engine import client
from orchestrator.engine.plugin import direct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.process import Completed

_INSPECT_TIMEOUT = 60.0
_COPY_TIMEOUT = 300.0
_USAGE_TIMEOUT = 300.0
_PRUNE_TIMEOUT = 1800.0


def system_info() -> Completed:
    """`docker info` as JSON.

    Whales' model drops `ServerErrors`, the reason why no engine answers. Every build asks this first, too: the question
    takes 0.06 s, importing whales 0.15 s.

    Raises:
        EnvironmentLacksError, InterruptedRunError: As for `client.docker`.
    """
    return client.docker("info", "--format", "{{json .}}")


def list_builders(*, timeout: float) -> Completed:
    """`docker buildx ls` as JSON, one builder a line.

    Whales' model drops `Current` and `Err`: which builder is used where nobody names one, and why one is broken. It
    also starts a process for each builder. buildx waits up to 20 s for each remote builder that is silent, so this is
    asked only where `inspect_builder` does not answer. `builders.listed` reads the answer.

    Args:
        timeout: Seconds.

    Raises:
        EnvironmentLacksError, InterruptedRunError: As for `client.docker`.
    """
    return client.docker("buildx", "ls", "--format", "json", timeout=timeout)


def inspect_builder(name: str = "") -> Completed:
    """`docker buildx inspect`: one builder alone, as text, because buildx has no other form of it.

    Every build asks this. Whales' `inspect` loses the endpoint, driver options and errors of the nodes, and lists all
    builders besides.

    Args:
        name: Of the builder, "" for the current one.

    Raises:
        EnvironmentLacksError, InterruptedRunError: As for `client.docker`.
    """
    argv, env = direct((*client.docker_command(), "buildx", "inspect", *([name] if name else [])))
    return process.run(argv, timeout=_INSPECT_TIMEOUT, env=env or None)


def inspect_images(references: Sequence[str]) -> Completed:
    """`docker image inspect` as JSON, a list with one entry for each image; fails if one is missing.

    Whales' model drops `Descriptor`, the manifest that a tag names in the containerd image store.

    Args:
        references: Of the images; at least one.

    Raises:
        EnvironmentLacksError, InterruptedRunError: As for `client.docker`.
    """
    return client.docker("image", "inspect", *references, timeout=_INSPECT_TIMEOUT)


def copy_to_tags(source: str, tags: Sequence[str]) -> Completed:
    """Point tags at an image of the same registry, byte for byte (`docker buildx imagetools create`).

    Whales has no `--prefer-index`: without `=false` buildx wraps a source that is a single manifest into a new index,
    and the tags name another digest than the one that was verified.

    Args:
        source: `REPOSITORY@sha256:…`.
        tags: Full references; at least one.

    Returns:
        What docker wrote; `buildx.last_error` has the reason of a failure, for callers that try again.

    Raises:
        EnvironmentLacksError, InterruptedRunError: As for `client.docker`.
    """
    words = [word for tag in tags for word in ("--tag", tag)]
    return client.docker(
        "buildx", "imagetools", "create", "--prefer-index=false", *words, source, timeout=_COPY_TIMEOUT
    )


def cache_usage(builder: str = "") -> Completed:
    """`docker buildx du` as JSON, one record of BuildKit's cache a line.

    Whales has no such method.

    Args:
        builder: Name of the builder, "" for the current one.

    Raises:
        EnvironmentLacksError, InterruptedRunError: As for `client.docker`.
    """
    return client.docker("buildx", "du", *_builder(builder), "--format", "json", timeout=_USAGE_TIMEOUT)


def prune_cache(ids: Sequence[str], builder: str = "") -> Completed:
    """Remove records of BuildKit's cache by id (`docker buildx prune`).

    Whales' `prune` takes no builder. buildx matches `id` as a pattern, so one call takes many.

    Args:
        ids: Patterns that begin at the id's first character; at least one.
        builder: Name of the builder, "" for the current one.

    Raises:
        EnvironmentLacksError, InterruptedRunError: As for `client.docker`.
    """
    return _prune(f"id=^({'|'.join(ids)})", builder=builder)


def prune_older(seconds: int, builder: str = "") -> Completed:
    """Remove records of BuildKit's cache that were not used for so long, but no mount; records never used go too.

    Args:
        seconds: From which age on.
        builder: Name of the builder, "" for the current one.

    Raises:
        EnvironmentLacksError, InterruptedRunError: As for `client.docker`.
    """
    return _prune(f"until={seconds}s", "type!=exec.cachemount", builder=builder)


def _prune(*filters: str, builder: str) -> Completed:
    words = [word for one in filters for word in ("--filter", one)]
    return client.docker("buildx", "prune", *_builder(builder), "--all", "--force", *words, timeout=_PRUNE_TIMEOUT)


def _builder(name: str) -> tuple[str, ...]:
    return ("--builder", name) if name else ()
