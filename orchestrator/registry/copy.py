"""Copies manifests, with everything that they reach, from one repository to another by digest: no tag is touched.

Blobs are mounted where both repositories are in one registry, and else streamed from one registry to the other without
a file between them.
"""

from __future__ import annotations

import queue
import threading
from typing import IO, TYPE_CHECKING, cast

from orchestrator import process
from orchestrator.errors import VerificationError
from orchestrator.registry.errors import UnavailableError
from orchestrator.registry.manifests import described
from orchestrator.registry.network import check_stop
from orchestrator.registry.referrers import attach

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.reference import Digest
    from orchestrator.registry.client import Registry
    from orchestrator.registry.manifests import Descriptor, Manifest

_PARTS = 16  # of a blob that wait between the registry that sends and the one that receives
_WAIT_S = 0.5
_MAX_DEPTH = 4  # an index may name another index, but not for ever


def copy_image(source: Registry, target: Registry, digest: Digest) -> Manifest:
    """Copy a manifest or index with its children, their blobs, and what was attached to each of them.

    Args:
        source: Where it is.
        target: Where it goes; the same repository copies nothing.
        digest: Of the manifest.

    Raises:
        NotFoundError: The source does not have it.
        NetworkError: A registry denies access, refuses or does not answer.
        DamagedAnswerError: What the source sends does not match its digest.
        VerificationError: The target took what was attached and does not have it.
    """
    manifest = source.manifest(digest)
    if source.repository != target.repository:
        _copy(source, target, manifest, depth=0)
    return manifest


def _copy(source: Registry, target: Registry, manifest: Manifest, *, depth: int) -> None:
    if depth < _MAX_DEPTH:
        for one in described(manifest):
            _copy(source, target, source.manifest(one.digest), depth=depth + 1)
    if target.head(manifest.digest) is None:
        for one in described(manifest, "config", "layers"):
            copy_blob(source, target, one)
        target.put_manifest(manifest, manifest.digest)
    if depth < _MAX_DEPTH:
        known = {one.digest for one in target.referrers(manifest.digest)}
        for one in source.referrers(manifest.digest):
            if one.digest not in known:
                attached = source.manifest(one.digest)
                for blob in described(attached, "config", "layers"):
                    copy_blob(source, target, blob)
                attach(target, attached)
                if target.head(one.digest) is None:
                    raise VerificationError(f"{target.repository}: {one.digest} was not found after it was stored")


def copy_blob(source: Registry, target: Registry, blob: Descriptor) -> None:
    """Copy a blob, unless the target has it.

    Raises:
        NetworkError, DamagedAnswerError: As for `copy_image`.
    """

    def bring() -> None:
        same = source.repository.host == target.repository.host
        if not (same and target.mount(blob.digest, source.repository)):
            target.upload(blob.digest, blob.size, lambda: _streamed(source, blob))

    target.require_blob(blob.digest, bring)


def _streamed(source: Registry, blob: Descriptor) -> Iterator[bytes]:
    """The bytes of a blob as they arrive; few of them wait here, so that a slow receiver slows the sender."""
    pipe = _Pipe()

    def fetch() -> None:
        try:
            source.stream(blob.digest, blob.size, cast("IO[bytes]", pipe))
        except BaseException as error:  # noqa: BLE001  # raised again by the reader
            pipe.put(error)
        else:
            pipe.put(None)

    thread = threading.Thread(target=process.carried(fetch), daemon=True)
    thread.start()
    try:
        yield from pipe.parts(thread.is_alive)
    finally:
        pipe.closed.set()
        thread.join()


class _Pipe:
    """Bytes on their way from one thread to another."""

    def __init__(self) -> None:
        self.closed = threading.Event()
        self._queue: queue.Queue[bytes | BaseException | None] = queue.Queue(_PARTS)

    def write(self, data: bytes) -> int:
        self.put(data)
        return len(data)

    def put(self, item: bytes | BaseException | None) -> None:
        """Hand something on; dropped once the reader has gone.

        Raises:
            BrokenPipeError: The reader has gone.
        """
        while True:
            try:
                self._queue.put(item, timeout=_WAIT_S)
            except queue.Full:
                if self.closed.is_set():
                    if isinstance(item, bytes):
                        raise BrokenPipeError from None
                    return
            else:
                return

    def parts(self, writing: Callable[[], bool]) -> Iterator[bytes]:
        """What was written; an error of the writer is raised here.

        Args:
            writing: Whether the writer lives: a thread can end before its first line, and is not waited for then.
        """
        while True:
            alive = writing()
            try:
                item = self._queue.get(timeout=_WAIT_S)
            except queue.Empty:
                check_stop()
                if not alive:
                    raise UnavailableError("the transfer ended before its last byte") from None
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
