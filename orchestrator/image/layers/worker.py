"""Layers, scanned in a process of its own.

`python -m orchestrator.image.layers.worker JOB`: one layer, which comes on standard input.
`python -m orchestrator.image.layers.worker`: any number; each line of standard input is a JOB, and the layer follows it
where the job names no file.

JOB is JSON: {"path", "offset", "size", "inline", "deep", "digest", "content", "asked"}. The bytes (with "content", what
they unpack to) must have the digest, unless it is "". Standard output gets a line for each job: {"scan": …}, {"error":
"…"} or, of a layer on standard input that must be read again, {"again": ranges, the next job's "asked"}. Standard error
gets a line with the number of packed bytes read, now and then. A damaged or hostile layer can take down no more than
this process.
"""

from __future__ import annotations

import io
import json
import sys
import time
from typing import IO, TYPE_CHECKING, Any

from orchestrator.errors import OrchestrateError
from orchestrator.image.layers.checked import Checked
from orchestrator.image.layers.scan import scan_layer

if TYPE_CHECKING:
    from orchestrator.image.layers.merge import LayerScan

_REPORT_EVERY = 0.2  # seconds
_SWITCH = 0.0005  # seconds: the unpacking thread waits for the searching one less than a chunk takes


class _Counted:
    """A part of a file that tells on standard error how much of it was read."""

    def __init__(self, stream: IO[bytes], size: int, digest: Checked) -> None:
        self._stream = stream
        self._digest = digest
        self._left = size
        self._read = 0
        self._next = time.monotonic() + _REPORT_EVERY

    def read(self, count: int, /) -> bytes:
        data = self._stream.read(min(count, self._left))
        self._left -= len(data)
        self._read += len(data)
        self._digest.update(data)
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _REPORT_EVERY
            sys.stderr.write(f"{self._read}\n")
            sys.stderr.flush()
        return data


def _scan(job: Any, stream: IO[bytes], size: int) -> LayerScan:
    """Scan a layer of `size` bytes that stand next in a stream."""
    stored = Checked("" if job["content"] else job["digest"])
    content = Checked(job["digest"] if job["content"] else "")
    raw = _Counted(stream, size, stored)
    asked = [(start, end) for start, end in job["asked"]]
    scan = scan_layer(raw, job["size"], deep=job["deep"], passing=content.update, asked=asked)
    while raw.read(1 << 20):  # what follows the archive belongs to the digest
        pass
    stored.require()
    content.require()
    return scan


def _seekable(job: Any, stream: IO[bytes], size: int) -> LayerScan:
    """As `_scan`, twice where something had passed before it was needed."""
    start = stream.tell()
    scan = _scan(job, stream, size)
    if scan.far:
        stream.seek(start)
        scan = _scan({**job, "asked": scan.far}, stream, size)
    return scan


def _passing(job: Any) -> dict[str, object]:
    """The answer on the layer that is standard input."""
    # One byte more than declared: a longer layer must be seen to be longer.
    scan = _scan(job, sys.stdin.buffer, job["size"] + 1)
    return {"again": scan.far} if scan.far and not job["asked"] else {"scan": scan.to_json()}


def _listed(job: Any) -> dict[str, object]:
    """The answer on one job of several."""
    if not job["path"]:
        return {"scan": _seekable(job, io.BytesIO(sys.stdin.buffer.read(job["inline"])), job["inline"]).to_json()}
    with open(job["path"], "rb") as stream:  # noqa: PTH123 - plain open: a worker imports as little as it can
        stream.seek(job["offset"])
        return {"scan": _seekable(job, stream, job["size"]).to_json()}


def main(arguments: list[str]) -> int:
    """Scan layers and write what they hold to standard output."""
    sys.setswitchinterval(_SWITCH)
    for line in arguments or sys.stdin.buffer:
        job = json.loads(line)
        try:
            answer = _passing(job) if arguments else _listed(job)
        except OrchestrateError as error:
            answer = {"error": error.message}
        except OSError as error:
            answer = {"error": str(error)}
        json.dump(answer, sys.stdout, separators=(",", ":"))
        sys.stdout.write("\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
