"""The one door through which every process starts.

It knows how to start, watch and stop a child; it must not know what docker, buildx or bake are. Every child gets the
null device as standard input (buildx's entitlement prompt hangs a process that inherits one,
gabrieldemarmiesse/python-on-whales#722) and a process group of its own, so that a Ctrl-C at the terminal reaches us
alone and we decide in which order children stop.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from orchestrator.errors import EnvironmentLacksError, InterruptedRunError

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_POLL = 0.1  # seconds between looks at the wish to stop
_stop: ContextVar[threading.Event | None] = ContextVar("stop", default=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Completed:
    """A process that has ended: its exit status and what it wrote, decoded as UTF-8 with replacement."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        """Whether it ended with status 0."""
        return self.returncode == 0


def command_line(argv: Sequence[str]) -> str:
    """The command as a person would type it, quoted for a POSIX shell."""
    return shlex.join(argv)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment with `extra` laid over it."""
    return {**os.environ, **(extra or {})}


def resolve(program: str) -> str:
    """The absolute path of a program.

    Raises:
        EnvironmentLacksError: It is not on PATH.
    """
    found = shutil.which(program)
    if found is None:
        raise EnvironmentLacksError(f"{program} is not installed or not on PATH")
    return found


@contextlib.contextmanager
def stoppable(stop: threading.Event) -> Iterator[None]:
    """Within it, and in this thread alone, `run` ends its child and raises InterruptedRunError once `stop` is set.

    A context variable rather than an argument: whoever asks buildx a question deep inside a preflight need not know
    that somebody may press Ctrl-C.
    """
    token = _stop.set(stop)
    try:
        yield
    finally:
        _stop.reset(token)


def asked_to_stop() -> bool:
    """Whether this thread is within `stoppable` and its event is set: for work that is no child of `run`."""
    stop = _stop.get()
    return stop is not None and stop.is_set()


def run(
    argv: Sequence[str],
    *,
    timeout: float | None = 120,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
) -> Completed:
    """Run a process to its end and keep what it wrote.

    Args:
        argv: Program and arguments; never a shell string.
        timeout: Seconds after which the process group is killed; None waits for ever.
        cwd: Directory to run in.
        env: Variables laid over this process's environment.
        stdin: Text for standard input; None gives the null device.

    Raises:
        EnvironmentLacksError: The program is not there, or it ran past `timeout`.
        InterruptedRunError: A stop was asked for (see `stoppable`).
    """
    child = spawn(argv, cwd=cwd, env=env, stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL)
    try:
        out, err = _communicate(child, None if stdin is None else stdin.encode(), timeout)
    except subprocess.TimeoutExpired as error:
        kill_group(child, signal.SIGKILL)
        child.communicate()
        raise EnvironmentLacksError(f"no answer within {timeout:g} s: {command_line(argv)}") from error
    except BaseException:
        kill_group(child, signal.SIGKILL)
        child.communicate()
        raise
    return Completed(
        argv=tuple(argv),
        returncode=child.returncode,
        stdout=out.decode(errors="replace"),
        stderr=err.decode(errors="replace"),
    )


def _communicate(child: subprocess.Popen[bytes], data: bytes | None, timeout: float | None) -> tuple[bytes, bytes]:
    stop = _stop.get()
    if stop is None:
        return child.communicate(data, timeout=timeout)
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        try:
            return child.communicate(data, timeout=_POLL)
        except subprocess.TimeoutExpired:
            data = None  # what was not written yet is remembered by communicate
            if stop.is_set():
                raise InterruptedRunError("stopped") from None
            if deadline is not None and time.monotonic() > deadline:
                raise


def spawn(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
    stdout: int | IO[bytes] = subprocess.PIPE,
    stderr: int | IO[bytes] = subprocess.PIPE,
) -> subprocess.Popen[bytes]:
    """Start a process in its own process group (a new session) and return at once.

    The caller owns it: it reads its pipes, waits for it, and stops it with `kill_group`.

    Raises:
        EnvironmentLacksError: The program is not there.
    """
    return subprocess.Popen(
        [resolve(argv[0]), *argv[1:]],
        cwd=cwd,
        env=environment(env),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )


def kill_group(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a child's whole process group; a group that is gone already is no error."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)
