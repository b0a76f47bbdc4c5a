"""Creates builders of buildx that the matrix describes and that are absent, through python-on-whales."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, field

from orchestrator.engine import client, history
from orchestrator.errors import EnvironmentLacksError
from orchestrator.redact import redact
from orchestrator.sizes import parse_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from python_on_whales import DockerClient

    from orchestrator.engine.builders import Builder

FILES = frozenset({"cacert", "cert", "key"})
"""Driver options that are paths of files."""

_BOOTED = frozenset({"docker-container", "kubernetes"})  # the others are started by somebody else
_BOOT_S = 600.0  # the image of buildkitd may have to be pulled
_GC = {"reserved": "reservedSpace", "max_used": "maxUsedSpace", "min_free": "minFreeSpace"}


class Wanted(Struct, frozen=True, kw_only=True):
    """A builder as the matrix describes it.

    Attributes:
        name: Its name.
        driver: Its driver; "" for one that must exist.
        endpoint: Where it is, "" for the driver's own choice.
        platforms: The platforms that it is asked for; none for those that it says.
        options: Driver options, with absolute paths.
        config: File of buildkitd's configuration, "" for none.
        gc: Disk of the layer cache: reserved, max_used, min_free.
    """

    name: str
    driver: str
    endpoint: str = ""
    platforms: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    config: str = ""
    gc: Mapping[str, str] = field(default_factory=dict)


def known(name: str) -> bool:
    """Return whether buildx has a builder of that name, without asking the builder."""
    return history.instance(name).is_file()


def create(wanted: Wanted) -> None:
    """Create a builder, and start it where buildx starts it.

    Raises:
        EnvironmentLacksError: buildx refuses it, or a file of it was not found.
        InterruptedRunError: A stop was asked for.
    """
    named = {name: wanted.options[name] for name in sorted(FILES & set(wanted.options))}
    for name, path in {**named, **({"config": wanted.config} if wanted.config else {})}.items():
        if not Path(path).is_file():
            raise EnvironmentLacksError(f"builder {wanted.name}: {name} {path} was not found")
    with tempfile.TemporaryDirectory(prefix="orchestrate-") as directory:
        config = wanted.config
        if wanted.gc:
            config = str(Path(directory, "buildkitd.toml"))
            Path(config).write_text(gc_config(wanted.gc), encoding="utf-8")

        def make(docker: DockerClient) -> None:
            docker.buildx.create(
                wanted.endpoint or None,
                bootstrap=wanted.driver in _BOOTED,
                config=config or None,
                driver=wanted.driver,
                driver_options=dict(wanted.options),
                name=wanted.name,
                platforms=list(wanted.platforms) or None,
            )

        client.ask(make, timeout=_BOOT_S)


def gc_config(gc: Mapping[str, str]) -> str:
    """Return the configuration of buildkitd for a policy: bytes, for units differ between its versions."""
    lines = [f'{_GC[name]} = "{parse_size(text)}"' for name, text in gc.items()]
    return "\n".join(["[worker.oci]", "gc = true", *lines, ""])


def require_same(wanted: Wanted, found: Builder) -> None:
    """Require that a builder which exists is the one that the matrix describes.

    Raises:
        EnvironmentLacksError: It has another driver or endpoint.
    """
    there = [node.endpoint for node in found.nodes]
    what = ""
    if wanted.driver and found.driver != wanted.driver:
        what = f"expected driver {wanted.driver}, found {found.driver}"
    elif wanted.driver == "remote" and wanted.endpoint not in there:
        what = f"expected {wanted.endpoint}, found {', '.join(there)}"
    if what:
        raise EnvironmentLacksError(
            f"builder {wanted.name} does not match: {redact(what)}",
            hint=f"`docker buildx rm {wanted.name}` (the next build creates it), or name another builder",
        )
