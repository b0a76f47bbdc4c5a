"""One layer, scanned in a process of its own: `python -m orchestrator.image.layers.worker JOB`.

JOB is JSON: {"path", "offset", "size", "deep", "digest", "content"}; without a path the layer comes on standard input.
The bytes (with "content", what they unpack to) must have the digest, unless it is "". Standard output gets
{"scan": …} or {"error": "…"}, standard error a line with the number of packed bytes read, now and then. A damaged or
hostile layer can take down no more than this process.
"""

from __future__ import annotations

import json
import sys
import time
from typing import IO

from orchestrator.errors import OrchestrateError
from orchestrator.image.layers.checked import Checked
from orchestrator.image.layers.scan import scan_layer

_REPORT_EVERY = 0.2  # seconds
_SWITCH = 0.0005  # seconds: the unpacking thread waits for the searching one less than a chunk takes


class _Counted:
    """A part of a file that tells on standard error how much of it was read."""

    def __init__(self, stream: IO[bytes], size: int, digest: Checked) -> None:
        self._stream = stream
        self._digest = digest
        self._left = size
        self._read = 0
        self._next = 0.0

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


def main(arguments: list[str]) -> int:
    """Scan the layer that the job names and write what it holds to standard output."""
    job = json.loads(arguments[0])
    sys.setswitchinterval(_SWITCH)
    try:
        stored = Checked("" if job["content"] else job["digest"])
        content = Checked(job["digest"] if job["content"] else "")
        if job["path"]:
            with open(job["path"], "rb") as stream:  # noqa: PTH123 - plain open: a worker imports as little as it can
                stream.seek(job["offset"])
                raw = _Counted(stream, job["size"], stored)
                scan = scan_layer(raw, job["size"], deep=job["deep"], passing=content.update)
                while raw.read(1 << 20):  # what follows the archive belongs to the digest
                    pass
        else:
            # One byte more than declared: a longer layer must be seen to be longer.
            scan = scan_layer(_Counted(sys.stdin.buffer, job["size"] + 1, stored), job["size"], deep=job["deep"])
        stored.require()
        content.require()
        answer: dict[str, object] = {"scan": scan.to_json()}
    except OrchestrateError as error:
        answer = {"error": error.message}
    except OSError as error:
        answer = {"error": str(error)}
    json.dump(answer, sys.stdout, separators=(",", ":"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
