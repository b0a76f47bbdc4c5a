"""Ends a child's process group when this program is killed with SIGKILL, which no handler sees.

A build whose step prints nothing would go on for hours: buildx notices a closed pipe only when it writes. Linux's
PR_SET_PDEATHSIG is not used: it is bound to the thread that started the child, is lost by a set-user-id program, does
not reach the plugin that the docker client starts, and does not exist elsewhere.
"""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

from orchestrator.process import spawn

if TYPE_CHECKING:
    from collections.abc import Iterator

GRACE_S = 5
"""Seconds from SIGTERM to SIGKILL."""

# The end of standard input without a line is the end of the program that holds the other side of the pipe. No `--`:
# the kill of dash does not know it.
_WATCH = f'read -r line && exit 0; kill -TERM "-$1"; sleep {GRACE_S}; kill -KILL "-$1"'


@contextlib.contextmanager
def ended_with_us(group: int) -> Iterator[None]:
    """Within it, a process group ends within seconds of this program, however that ends.

    A small shell waits at a pipe whose other side only this program has, in a session of its own, so that neither
    Ctrl-C nor the death of this program's process group reaches it.

    Args:
        group: The group; the block ends as soon as its leader has, whose number may be another's later.
    """
    watcher = spawn(
        ["sh", "-c", _WATCH, "orchestrate-watch", str(group)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # somebody killed it
            watcher.communicate(b"done\n")
