"""Reads what a bake process says, and ends it: on a stop, or when the watch finds that it hangs.

Does not depend on what the lines mean.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from orchestrator import files
from orchestrator.errors import FailureClass, InterruptedRunError
from orchestrator.process import kill_group

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orchestrator.bake.watch import Overrun, Watch
    from orchestrator.process import Stop

_POLL = 0.1  # seconds between looks at the stop event
_CHUNK = 1 << 16
# A build that speaks is looked at some times a second and not at each event, and all builds at the same moments: what
# 32 of them need is then in the processor's caches (measured: a third less time than at moments of their own).
_RESTS_S = ((1.0, 0.1), (2.0, 0.2), (math.inf, 0.4))  # age of a build -> seconds between these moments
_QUIET_S = 0.5  # between looks at the stop while a build of some age says nothing
_FEW = 4096  # bytes at once; one that writes more must not wait for its pipe to be emptied
_STALLED_S = 2.0  # seconds between SIGTERM and SIGKILL for a bake whose builder went silent
_LINE_LIMIT = 8 << 20  # bytes of one line of progress; BuildKit writes log pieces of at most a few MiB


class Ending:
    """Watches the stop and the watch, and makes the child's process group end: SIGTERM, a wait, SIGKILL.

    Args:
        child: The process, which leads its group.
        metadata: The directory of its metadata file.
        stop: Ends it.
        watch: Says when it has hung.
        terminate_after: Seconds from SIGTERM to SIGKILL.

    Attributes:
        stopped: Whether it was ended because the stop was set.
        overrun: Why it was ended though the stop was not set.
    """

    def __init__(
        self,
        *,
        child: subprocess.Popen[bytes],
        metadata: Path,
        stop: Stop,
        watch: Watch,
        terminate_after: float,
    ) -> None:
        self._child = child
        self._metadata = metadata
        self._stop = stop
        self._watch = watch
        self._after = terminate_after
        self._deadline: float | None = None
        self._killed = False
        self.stopped = False
        self.overrun: Overrun | None = None

    def check(self) -> bool:
        """Act on the stop, if it is set, and on the watch; return whether the group was sent SIGKILL."""
        with contextlib.suppress(OSError):  # buildx fails a build whose metadata has no directory, at its very end
            files.make_private(self._metadata)
        if self._deadline is None and self._child.poll() is None:
            self.stopped = self._stop.is_set()
            if not self.stopped:
                with contextlib.suppress(InterruptedRunError):  # seen as a stop by the next look
                    self.overrun = self._watch.look()
            if self.stopped or self.overrun is not None:
                # A builder that went silent hears no goodbye: buildx waits for its answer in vain.
                stalled = self.overrun is not None and self.overrun.failure is FailureClass.STALLED
                self._deadline = time.monotonic() + (min(self._after, _STALLED_S) if stalled else self._after)
                kill_group(self._child, signal.SIGTERM)
        if self._deadline is None or self._killed:
            return self._killed
        if self._stop.immediate or time.monotonic() >= self._deadline:
            self._killed = True
            kill_group(self._child, signal.SIGKILL)
        return self._killed

    def wait(self) -> int:
        """Return the child's exit status, acting on the stop meanwhile."""
        while True:
            self.check()
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self._child.wait(timeout=_POLL)

    def close(self) -> None:
        """Leave nothing of the group behind: plugins of a docker that ended keep running otherwise."""
        kill_group(self._child, signal.SIGKILL)
        self._child.wait()
        if self._child.stderr is not None:
            self._child.stderr.close()


def stderr_lines(child: subprocess.Popen[bytes], ending: Ending) -> Iterator[list[bytes]]:
    """The lines of a child's standard error, those that came together at once.

    They end when it is closed, or when the child has ended and nothing more comes: a grandchild that inherited the pipe
    may outlive the child.
    """
    if child.stderr is None:
        return
    fd = child.stderr.fileno()
    readable, closed = select.poll(), select.poll()
    readable.register(fd, select.POLLIN)
    closed.register(fd, 0)  # its end alone
    pending, begun, few, quiet = b"", time.monotonic(), False, False
    while True:
        now = time.monotonic()
        rest_s = next(rest_s for age_s, rest_s in _RESTS_S if now - begun < age_s)
        if few and not quiet:
            closed.poll(1000 * (rest_s - now % rest_s))
        quiet = not readable.poll(1000 * (_POLL if rest_s < _QUIET_S / 2 else _QUIET_S))
        ending.check()
        if quiet:
            if child.poll() is not None:
                break
            continue
        # What `read` may fill is taken from the heap first: 64 KiB for a line, in each of many threads, tear it up.
        chunk = os.read(fd, _FEW if few else _CHUNK)
        if not chunk:
            break
        few = len(chunk) < _FEW
        *lines, pending = (pending + chunk).split(b"\n")
        if lines:
            yield lines
        if len(pending) > _LINE_LIMIT:
            yield [pending]
            pending = b""
    if pending:
        yield [pending]
