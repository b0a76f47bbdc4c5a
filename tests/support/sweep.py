"""Tidies up behind tests that are killed: SIGKILL runs no `finally`."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# The end of standard input without a line is the end of the tests, also by SIGKILL.
_WAIT = "read -r line && exit 0\n"


@contextlib.contextmanager
def if_killed(script: str, *words: object) -> Iterator[None]:
    """Within it, a shell script runs should this process end.

    Args:
        script: For `sh`; it has no standard input and no output.
        words: Its arguments, `$1` and on.
    """
    argv = ["sh", "-c", _WAIT + script, "orchestrate-sweep", *map(str, words)]
    watcher = subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield
    finally:
        watcher.communicate(b"done\n")
