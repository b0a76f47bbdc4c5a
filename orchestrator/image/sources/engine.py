"""Reads an image of the local Docker engine through `docker save`."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from typing import TYPE_CHECKING, Any

from orchestrator import process
from orchestrator.engine import images
from orchestrator.engine.client import docker_command
from orchestrator.errors import EnvironmentLacksError, InterruptedRunError, OrchestrateError
from orchestrator.image.layers.unpack import CHUNK
from orchestrator.image.sources.base import Contents
from orchestrator.image.sources.oci import open_layout
from orchestrator.image.sources.spool import spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import IO

    from orchestrator.engine.images import Held
    from orchestrator.image.layers.store import LayerStore

_POLL = 0.1  # seconds between looks at the wish to stop


def held(reference: str) -> Held | None:
    """An image of the engine; None where it holds none of this name, and where no engine answers."""
    try:
        return images.held(reference)
    except EnvironmentLacksError:
        return None


def open_image(
    reference: str,
    image: Held,
    store: LayerStore,
    scratch: Callable[[], Path],
    *,
    platform: str = "",
    deep: bool = False,
) -> Contents:
    """An image of the engine; it is saved only if anything of it is not known from before.

    Args:
        reference: Of the image, as `docker` understands it.
        image: What `held` said of it.
        store: Where scans of layers are kept.
        scratch: Makes an empty directory for the layers that are not known.
        platform: Which one of several.
        deep: Whether the names of kernels are wanted.

    Raises:
        EnvironmentLacksError: No engine, no such image, or no space.
        BrokenImageError: What came is not a whole image.
        InterruptedRunError: A stop was asked for.
    """

    def known(digest: str) -> bool:
        return store.has(digest, deep=deep)

    key = f"{image.id} {platform} {image.platform}"
    kept = Contents.from_json(reference, store.image(key)) if image.id else None
    if kept is not None and all(known(layer.digest) for layer in kept.layers):
        return kept
    contents = _saved(reference, scratch(), known, platform=platform, wanted=platform or image.platform)
    if image.id:
        store.put_image(key, contents.to_json())
    return contents


def _saved(reference: str, directory: Path, known: Callable[[str], bool], *, platform: str, wanted: str) -> Contents:
    """The image as the engine saves it; only layers that are not known are kept in the directory."""
    argv = [*docker_command(), "save", *(["--platform", platform] if platform else []), "--", reference]
    child = process.spawn(argv)
    complaint: list[bytes] = []
    assert child.stderr is not None  # noqa: S101 - spawn's default is a pipe; this tells mypy
    assert child.stdout is not None  # noqa: S101  # for the type checker: it is a pipe
    watcher = threading.Thread(target=lambda stream: complaint.append(stream.read()), args=[child.stderr], daemon=True)
    watcher.start()
    try:
        try:
            files, _ = spool(_chunks(child.stdout), directory, known, reference, trusted=True)
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
