"""An image of the local Docker engine, by way of `docker save`."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import threading
from typing import TYPE_CHECKING, Any

from orchestrator import process
from orchestrator.engine.client import docker, docker_command
from orchestrator.errors import EnvironmentLacksError, InterruptedRunError, OrchestrateError
from orchestrator.image.sources.oci import open_layout
from orchestrator.image.sources.spool import spool
from orchestrator.image.unpack import CHUNK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import IO

    from orchestrator.image.sources.base import Contents

_POLL = 0.1  # seconds between looks at the wish to stop


def has_image(reference: str) -> bool:
    """Whether the engine holds an image; False also where no engine answers."""
    try:
        return docker("image", "inspect", "--format", "{{.Id}}", "--", reference).ok
    except EnvironmentLacksError:
        return False


def open_saved(reference: str, directory: Path, known: Callable[[str], bool], *, platform: str = "") -> Contents:
    """The image as the engine saves it.

    Args:
        reference: Of the image, as `docker` understands it.
        directory: Empty, for the layers that are not known.
        known: Whether a layer need not be kept, by its digest.
        platform: Which one of several.

    Raises:
        EnvironmentLacksError: No engine, no such image, or no space.
        BrokenImageError: What came is no whole image.
        InterruptedRunError: A stop was asked for.
    """
    wanted = platform or _platform(reference)
    argv = [*docker_command(), "save", *(["--platform", platform] if platform else []), "--", reference]
    child = process.spawn(argv)
    complaint: list[bytes] = []
    assert child.stderr is not None  # noqa: S101 - spawn's default is a pipe; this tells mypy
    assert child.stdout is not None  # noqa: S101
    watcher = threading.Thread(target=lambda stream: complaint.append(stream.read()), args=[child.stderr], daemon=True)
    watcher.start()
    try:
        try:
            files, _ = spool(_chunks(child.stdout), directory, known, reference)
        except InterruptedRunError:
            raise
        except OrchestrateError as error:
            _refuse(child, watcher, complaint, reference, error)
            raise
        _refuse(child, watcher, complaint, reference)
    finally:
        process.kill_group(child, signal.SIGKILL)
        child.wait()
        watcher.join()  # at its end, now that docker is gone: a pipe is not closed under its reader
        for pipe in (child.stdout, child.stderr):
            with contextlib.suppress(OSError):
                pipe.close()
    return open_layout(files, reference, platform=wanted)


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    """What a pipe brings, until a stop is asked for: an engine may take minutes to say its first word."""
    while True:
        ready, _, _ = select.select([stream], [], [], _POLL)
        if process.asked_to_stop():
            raise InterruptedRunError("stopped")
        if ready:
            chunk = os.read(stream.fileno(), CHUNK)
            if not chunk:
                return
            yield chunk


def _refuse(
    child: Any, watcher: threading.Thread, complaint: list[bytes], reference: str, cause: OrchestrateError | None = None
) -> None:
    """Prefer docker's own reason over what its silence looks like."""
    if cause is not None:
        process.kill_group(child, signal.SIGTERM)  # it may still be writing what nobody reads
    status = child.wait()
    watcher.join(5)
    text = b"".join(complaint).decode("utf-8", "replace").strip()
    if status > 0 and text:
        raise EnvironmentLacksError(f"docker save {reference}: {text.splitlines()[-1]}") from cause


def _platform(reference: str) -> str:
    """The platform that the engine itself would run, for images that hold several; "" where it does not say."""
    answer = docker("image", "inspect", "--format", "{{json .}}", "--", reference)
    try:
        value = json.loads(answer.stdout) if answer.ok else {}
    except ValueError:
        return ""
    if not isinstance(value, dict) or not value.get("Os"):
        return ""
    return "/".join(filter(None, [value.get("Os"), value.get("Architecture"), value.get("Variant")]))
