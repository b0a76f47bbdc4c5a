"""Layers of an image, scanned side by side in processes and kept by digest.

Starts, feeds, watches and stops the workers. Does not depend on where an image comes from.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from msgspec import Struct

from orchestrator import process
from orchestrator.errors import InterruptedRunError, VerificationError
from orchestrator.image.layers import recheck
from orchestrator.image.layers.merge import LayerScan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.image.layers.store import LayerStore

PACKAGE_ROOT = Path(__file__).resolve().parents[2]
SMALL = 1 << 20
"""Bytes up to which layers share a process: starting one takes 60 ms, reading them 3 ms."""

_TOGETHER = 16  # small layers for which another process is worth its start
_POLL = 0.1  # seconds between looks at the wish to stop


class Layer(Struct, frozen=True, kw_only=True):
    """One layer of an image, and how to get at its bytes.

    Attributes:
        digest: `sha256:…` of the bytes as stored, or of the content; "" where unknown.
        size: Bytes as stored.
        content: Whether the digest is that of the content, unpacked (a diff_id, as `docker save` archives have them).
        path: File that holds them, None when `feed` brings them, which checks the digest itself.
        offset: Where they begin in the file.
        temporary: Whether the file is gone afterwards.
        feed: Writes them to a stream; called again from the start when it is called again.
    """

    digest: str
    size: int
    content: bool = False
    path: Path | None = None
    offset: int = 0
    temporary: bool = False
    feed: Callable[[IO[bytes]], None] | None = None


class Step(Struct, frozen=True, kw_only=True):
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
    kept = [store.get(layer.digest, deep=deep) for layer in layers]
    scans = {index: scan for index, scan in enumerate(kept) if scan is not None}
    missing = [index for index in range(len(layers)) if index not in scans]
    places = [recheck.place_of(layer) for layer in layers]
    doubtful = [index for index in scans if places[index] and not store.is_checked(layers[index].digest, places[index])]
    for index in scans.keys() - doubtful:
        size = layers[index].size
        tell(Step(index=index, count=len(layers), size=size, read=size, done=True, cached=True))
    crew = _Crew(deep=deep)
    count = workers or os.cpu_count() or 1

    def note(index: int) -> None:
        if not layers[index].temporary:
            store.put_checked(layers[index].digest, places[index])

    def work(indexes: Sequence[int]) -> None:
        def reading(read: int) -> None:
            layer = layers[indexes[0]]
            tell(Step(index=indexes[0], count=len(layers), size=layer.size, read=read))

        found = crew.scan([layers[index] for index in indexes], reading)
        for index, scan in zip(indexes, found, strict=True):
            layer = layers[index]
            scans[index] = scan
            store.put(layer.digest, scan, deep=deep)
            note(index)
            tell(Step(index=index, count=len(layers), size=layer.size, read=layer.size, done=True))

    def check(index: int) -> None:
        layer = layers[index]
        try:
            recheck.require(layer)
        except VerificationError as error:
            raise VerificationError(f"layer {layer.digest[:19]}: {error.message}") from error
        note(index)
        tell(Step(index=index, count=len(layers), size=layer.size, read=layer.size, done=True, cached=True))

    pool = ThreadPoolExecutor(max_workers=count)
    try:
        started = [pool.submit(process.carried(work), some) for some in _portions(layers, missing, count)]
        for future in [*started, *(pool.submit(process.carried(check), index) for index in doubtful)]:
            while not wait([future], timeout=_POLL).done:
                if process.asked_to_stop():
                    raise InterruptedRunError("stopped")
            future.result()
    finally:
        crew.stop()
        pool.shutdown(cancel_futures=True)
    return tuple(scans[index] for index in range(len(layers)))


def _portions(layers: Sequence[Layer], missing: Sequence[int], workers: int) -> list[Sequence[int]]:
    """What each process scans: a large layer alone, small ones together, because a process costs more than they do.

    The largest come first: it bounds the time of all.
    """
    large = sorted((index for index in missing if layers[index].size > SMALL), key=lambda index: -layers[index].size)
    small = [index for index in missing if layers[index].size <= SMALL]
    portions = min(workers, -(-len(small) // _TOGETHER))
    return [*([index] for index in large), *(small[number::portions] for number in range(portions))]


class _Crew:
    """The worker processes of one call.

    Args:
        deep: Open every cubin for the names of its kernels.
    """

    def __init__(self, *, deep: bool) -> None:
        self._deep = deep
        self._children: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def stop(self) -> None:
        """Kill what still runs."""
        with self._lock:
            self._stopped = True
            for child in self._children:
                process.kill_group(child, signal.SIGKILL)

    def scan(self, layers: Sequence[Layer], reading: Callable[[int], None]) -> list[LayerScan]:
        """Scan layers in one process.

        Args:
            layers: One of any size, or small ones.
            reading: Called with the bytes read of the layer, where it is one.
        """
        (first, *more) = layers
        if not more and first.feed is not None and first.size > SMALL:
            return [self._streamed(first, reading)]

        def hand_over(stdin: IO[bytes]) -> None:
            for layer in layers:
                data = _fetched(layer) if layer.feed else b""
                stdin.write(json.dumps(self._job(layer, inline=len(data))).encode() + b"\n" + data)
                stdin.flush()

        answers, complaints = self._run([], hand_over, reading if not more else lambda _: None)
        found = [_scan_of(layer, answer) for layer, answer in zip(layers, answers, strict=False)]
        if len(found) < len(layers):
            raise _reader_failed(layers[len(found)], complaints)
        return found

    def _streamed(self, layer: Layer, reading: Callable[[int], None]) -> LayerScan:
        """Scan a layer as it arrives, without keeping it; once more where something had passed before it was needed."""
        answer: Any = {"again": ()}
        while "again" in answer:
            job = json.dumps(self._job(layer, asked=answer["again"]))
            answers, complaints = self._run([job], layer.feed, reading)
            if not answers:
                raise _reader_failed(layer, complaints)
            answer = answers[0]
        return _scan_of(layer, answer)

    def _job(self, layer: Layer, *, inline: int = 0, asked: Sequence[Sequence[int]] = ()) -> dict[str, Any]:
        return {
            "path": str(layer.path or ""), "offset": layer.offset, "size": layer.size, "inline": inline,
            "deep": self._deep, "digest": "" if layer.feed else layer.digest, "content": layer.content, "asked": asked,
        }  # fmt: skip

    def _run(
        self, arguments: Sequence[str], feed: Callable[[IO[bytes]], None] | None, reading: Callable[[int], None]
    ) -> tuple[list[Any], Sequence[str]]:
        """Run a worker; its answers, and what it complained of.

        Args:
            arguments: Of the worker.
            feed: Writes its standard input.
            reading: Called with the bytes read so far.
        """
        paths = [str(PACKAGE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        with self._lock:
            if self._stopped:
                raise VerificationError("stopped")
            child = process.spawn(
                [*process.python(), "-m", "orchestrator.image.layers.worker", *arguments],
                env={"PYTHONPATH": os.pathsep.join(paths)},
                stdin=subprocess.PIPE,
            )
            self._children.add(child)
        try:
            return _talk(child, feed, reading)
        finally:
            process.kill_group(child, signal.SIGKILL)
            child.wait()
            for pipe in (child.stdin, child.stdout, child.stderr):
                if pipe is not None and not pipe.closed:
                    with contextlib.suppress(BrokenPipeError):  # bytes were still waiting for a worker that is gone
                        pipe.close()
            with self._lock:
                self._children.discard(child)


def _fetched(layer: Layer) -> bytes:
    """The bytes of a small layer, and at most one more than declared: a longer layer must be seen to be longer."""
    if layer.feed is None:
        return b""
    bounded = _Bounded(layer.size + 1)
    with contextlib.suppress(BrokenPipeError):
        layer.feed(bounded)
    return bounded.getvalue()


class _Bounded(io.BytesIO):
    """A stream that takes no more than some bytes and is then closed, as a pipe whose reader has seen enough."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room

    def write(self, data: Any, /) -> int:
        taken = super().write(memoryview(data)[: self._room - self.tell()])
        if self.tell() >= self._room:
            raise BrokenPipeError
        return taken


def _talk(
    child: subprocess.Popen[bytes], feed: Callable[[IO[bytes]], None] | None, reading: Callable[[int], None]
) -> tuple[list[Any], Sequence[str]]:
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

    assert child.stdin is not None  # noqa: S101 - a pipe was asked for; this tells mypy
    assert child.stdout is not None  # noqa: S101  # for the type checker: it is a pipe
    assert child.stderr is not None  # noqa: S101  # for the type checker: it is a pipe
    threads = [
        threading.Thread(target=watch, args=[child.stderr], daemon=True),
        threading.Thread(target=collect, args=[child.stdout], daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        with contextlib.suppress(BrokenPipeError):  # the worker has seen enough to refuse the layer, and says why
            if feed is not None:
                feed(child.stdin)
            child.stdin.close()
    except BaseException:
        process.kill_group(child, signal.SIGKILL)  # the threads must have read to the end before the pipes are closed
        raise
    finally:
        for thread in threads:
            thread.join()
    child.wait()
    answers = []
    with contextlib.suppress(ValueError):  # a worker that was killed while it wrote
        for line in b"".join(output).splitlines():
            answers.append(json.loads(line))  # noqa: PERF401 - what was read before the broken line counts
    return answers, complaints or [f"status {child.returncode}"]


def _scan_of(layer: Layer, answer: Any) -> LayerScan:
    if "error" in answer:
        raise VerificationError(f"layer {layer.digest[:19]}: {answer['error']}")
    return LayerScan.from_json(answer["scan"])


def _reader_failed(layer: Layer, complaints: Sequence[str]) -> VerificationError:
    return VerificationError(f"layer {layer.digest[:19]}: its reader failed: {complaints[-1]}")
