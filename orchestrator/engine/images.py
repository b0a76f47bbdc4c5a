"""Images that the engine holds, asked through python-on-whales."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from orchestrator.engine import client

if TYPE_CHECKING:
    from python_on_whales import DockerClient

_TIMEOUT = 60.0


class Held(Struct, frozen=True, kw_only=True):
    """An image that the engine holds.

    Attributes:
        id: `sha256:…`; the engine saves the same image under it each time. "" where it does not say.
        platform: The one that the engine runs, for images that hold several; "" where it does not say.
    """

    id: str = ""
    platform: str = ""


def held(reference: str) -> Held | None:
    """Ask the engine for an image (`docker image inspect`).

    Args:
        reference: A name, or an image id.

    Returns:
        None where the engine holds no image of this name.

    Raises:
        DockerFailedError, EnvironmentLacksError, InterruptedRunError: As for `client.ask`.
    """
    if not reference or reference.startswith("-"):  # whales does not put `--` before it
        return None

    def inspect(docker: DockerClient) -> Held | None:
        from python_on_whales.exceptions import NoSuchImage

        try:
            image = docker.image.inspect(reference)
            parts = (image.os, image.architecture, image.variant)
            identity = image.id
        except NoSuchImage:
            return None
        return Held(id=identity or "", platform="/".join(part for part in parts if part) if parts[0] else "")

    return client.ask(inspect, timeout=_TIMEOUT)


def forget(reference: str) -> None:
    """Take a tag from an image of the engine (`docker image rm`); other tags of it stay.

    Args:
        reference: With the tag.

    Raises:
        DockerFailedError: The engine has no image of this name, or a container uses it.
        EnvironmentLacksError, InterruptedRunError: As for `client.ask`.
    """
    client.ask(lambda docker: docker.image.remove(reference, prune=False), timeout=_TIMEOUT)
