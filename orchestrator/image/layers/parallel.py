"""Layers of an image, scanned side by side in processes and kept by digest.

Starts, feeds, watches and stops the workers. Does not depend on where an image comes from.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from orchestrator import process
from orchestrator.errors import InterruptedRunError, VerificationError
from orchestrator.image.layers.merge import LayerScan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.image.layers.store import LayerStore

PACKAGE_ROOT = Path(__file__).resolve().parents[2]
_POLL = 0.1  # seconds between looks at the wish to stop


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """One layer of an image, and how to get at its bytes.

    Attributes:
        digest: `sha256:…` of the bytes as stored, or of the content; "" where unknown.
        size: Bytes as stored.
        content: Whether the digest is that of the content, unpacked (a diff_id, as `docker save` archives have them).
        path: File that holds them, None when `feed` brings them, which checks the digest itself.
        offset: Where they begin in the file.
        feed: Writes them to a stream; called again from the start when it is called again.
    """

    digest: str
    size: int
    content: bool = False
    path: Path | None = None
    offset: int = 0
    feed: Callable[[IO[bytes]], None] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """Progress of one layer.

    Attributes:
        index: Of the layer, 0 the lowest.
        count: Layers in all.
        size: Bytes as stored.
        read: Bytes read so far.
        done: Whether it is scanned.
        cached: Whether its scan was kept from before.
    """

    index: int
    count: int
    size: int
    read: int
    done: bool = False
    cached: bool = False


def scan_layers(
    layers: Sequence[Layer],
    store: LayerStore,
    *,
    deep: bool = False,
    workers: int | None = None,
    progress: Callable[[Step], None] | None = None,
) -> tuple[LayerScan, ...]:
    """The scans of layers, in their order.

    Args:
        layers: The lowest first.
        store: Where scans are kept.
        deep: Open every cubin for the names of its kernels.
        workers: Processes at once; by default as many as there are cores.
        progress: Called from several threads.

    Raises:
        VerificationError: A layer is damaged.
        NetworkError: A layer could not be fetched.
        InterruptedRunError: A stop was asked for (`process.stoppable`).
    """
    tell = progress or (lambda _: None)
    scans: dict[int, LayerScan] = {}
    missing: list[int] = []
    for index, layer in enumerate(layers):
        kept = store.get(layer.digest, deep=deep)
        if kept is None:
            missing.append(index)
            continue
        scans[index] = kept
        tell(Step(index=index, count=len(layers), size=layer.size, read=layer.size, done=True, cached=True))
    missing.sort(key=lambda index: -layers[index].size)  # the largest first: it bounds the time of all
    crew = _Crew()

    def work(index: int) -> None:
        layer = layers[index]

        def reading(read: int) -> None:
            tell(Step(index=index, count=len(layers), size=layer.size, read=read))

        scans[index] = crew.scan(layer, deep=deep, reading=reading)
        store.put(layer.digest, scans[index], deep=deep)
        tell(Step(index=index, count=len(layers), size=layer.size, read=layer.size, done=True))

    pool = ThreadPoolExecutor(max_workers=workers or os.cpu_count() or 1)
    try:
        for future in [pool.submit(process.carried(work), index) for index in missing]:
            while not wait([future], timeout=_POLL).done:
                if process.asked_to_stop():
                    raise InterruptedRunError("stopped")
            future.result()
    finally:
        crew.stop()
        pool.shutdown(cancel_futures=True)
    return tuple(scans[index] for index in range(len(layers)))


class _Crew:
    """The worker processes of one call."""

    def __init__(self) -> None:
        self._children: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def stop(self) -> None:
        """Kill what still runs."""
        with self._lock:
            self._stopped = True
            for child in self._children:
                process.kill_group(child, signal.SIGKILL)

    def scan(self, layer: Layer, *, deep: bool, reading: Callable[[int], None]) -> LayerScan:
        """Scan one layer in a process of its own."""
        job = {
            "path": str(layer.path or ""), "offset": layer.offset, "size": layer.size, "deep": deep,
            "digest": "" if layer.feed else layer.digest, "content": layer.content,
        }  # fmt: skip
        paths = [str(PACKAGE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        with self._lock:
            if self._stopped:
                raise VerificationError("stopped")
            child = process.spawn(
                [sys.executable, "-m", "orchestrator.image.layers.worker", json.dumps(job)],
                env={"PYTHONPATH": os.pathsep.join(paths)},
                stdin=subprocess.PIPE if layer.feed else subprocess.DEVNULL,
            )
            self._children.add(child)
        try:
            return _answer(child, layer, reading)
        finally:
            process.kill_group(child, signal.SIGKILL)
            child.wait()
            for pipe in (child.stdin, child.stdout, child.stderr):
                if pipe is not None and not pipe.closed:
                    with contextlib.suppress(BrokenPipeError):  # bytes were still waiting for a worker that is gone
                        pipe.close()
            with self._lock:
                self._children.discard(child)


def _answer(child: subprocess.Popen[bytes], layer: Layer, reading: Callable[[int], None]) -> LayerScan:
    complaints: list[str] = []
    output: list[bytes] = []

    def watch(stream: IO[bytes]) -> None:
        for line in stream:
            text = line.decode("utf-8", "replace").strip()
            if text.isdigit():
                reading(int(text))
            else:
                complaints.append(text)

    def collect(stream: IO[bytes]) -> None:
        output.append(stream.read())

    assert child.stdout is not None  # noqa: S101 - spawn's default is a pipe; this tells mypy
    assert child.stderr is not None  # noqa: S101
    threads = [
        threading.Thread(target=watch, args=[child.stderr], daemon=True),
        threading.Thread(target=collect, args=[child.stdout], daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        if layer.feed is not None and child.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # the worker has seen enough to refuse the layer, and says why
                layer.feed(child.stdin)
                child.stdin.close()
    except BaseException:
        process.kill_group(child, signal.SIGKILL)  # the threads must have read to the end before the pipes are closed
        raise
    finally:
        for thread in threads:
            thread.join()
    child.wait()
    try:
        answer = json.loads(b"".join(output))
    except ValueError as error:
        last = complaints[-1] if complaints else f"status {child.returncode}"
        raise VerificationError(f"layer {layer.digest[:19]}: its reader failed: {last}") from error
    if "error" in answer:
        raise VerificationError(f"layer {layer.digest[:19]}: {answer['error']}")
    return LayerScan.from_json(answer["scan"])
