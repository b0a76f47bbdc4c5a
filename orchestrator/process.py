"""Starts, watches and stops processes; every process that is not the Docker client's own starts here.

Does not depend on docker, buildx or bake. Every child gets the null device as standard input (buildx's entitlement
prompt hangs a process that inherits one, gabrieldemarmiesse/python-on-whales#722) and a process group of its own, so
that a Ctrl-C at the terminal reaches this program alone, which decides in which order children stop.

"Asked to stop" is a `Stop`. Code that runs children deep inside a question (a preflight, a registry login) sees it
through `stoppable`; a thread that it starts sees it when its work was wrapped with `carried`.
"""

from __future__ import annotations

import contextlib
import contextvars
import fcntl
import math
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Generic, ParamSpec, Self, TypeVar

from msgspec import Struct

from orchestrator.errors import EnvironmentLacksError, InterruptedRunError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

P = ParamSpec("P")
T = TypeVar("T")

_POLL = 0.1  # seconds between looks at the stop
# A process that left the group (ssh with ControlPersist, a daemon of a credential helper) may hold the pipes for hours.
_LINGER_S = 2.0


class Stop(threading.Event):
    """Asks running work to end: `set()` asks politely, `immediate = True` besides asks to end at once.

    `immediate` is a plain attribute because a signal handler sets it: an Event's lock, taken in a handler that
    interrupted the holder of the same lock, never comes free.
    """

    immediate: bool = False


_stop: contextvars.ContextVar[Stop | None] = contextvars.ContextVar("stop", default=None)


class Completed(Struct, frozen=True, kw_only=True):
    """A process that has ended: its exit status and output, decoded as UTF-8 with replacement."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        """Return whether it ended with status 0."""
        return self.returncode == 0


def command_line(argv: Sequence[str]) -> str:
    """Return the command as typed in a POSIX shell."""
    return shlex.join(argv)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment updated with `extra`."""
    return {**os.environ, **(extra or {})}


def python() -> list[str]:
    """The argv of this Python as it imports nothing from the directory that it is started in.

    That directory may hold an untrusted checkout, whose json.py or yaml.py `python -m` prefers to the real one.
    """
    return [sys.executable, "-P"]


def resolve(program: str) -> str:
    """Return the absolute path of a program.

    Raises:
        EnvironmentLacksError: It is not on PATH.
    """
    found = shutil.which(program)
    if found is None:
        raise EnvironmentLacksError(f"{program} is not installed or not on PATH")
    return found


@contextlib.contextmanager
def stoppable(stop: Stop) -> Iterator[None]:
    """Within it, `run` and `pause` of this thread raise InterruptedRunError once `stop` is set; `run` ends its child.

    A context variable rather than an argument, so that a question deep inside a preflight does not hand it through
    every call. Threads do not inherit it: see `carried`.
    """
    token = _stop.set(stop)
    try:
        yield
    finally:
        _stop.reset(token)


def carried(work: Callable[P, T]) -> Callable[P, T]:
    """Wrap work for another thread, so that it sees the `stoppable` of this one.

    Wrap once for each submitted piece of work: a context cannot be entered twice at once.
    """
    context = contextvars.copy_context()

    def inside(*args: P.args, **kwargs: P.kwargs) -> T:
        return context.run(work, *args, **kwargs)

    return inside


def asked_to_stop() -> bool:
    """Return whether this thread is within `stoppable` and its stop is set: for work that is no child of `run`."""
    stop = _stop.get()
    return stop is not None and stop.is_set()


class Ahead(Generic[T]):
    """Work that is begun now in a thread of its own, and whose result is read later.

    A context manager: leaving it asks work that nobody waited for to stop, and waits for its end.

    Args:
        work: What to do; `run` and `pause` in it raise InterruptedRunError once the context is left.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._stop = Stop()

    def __enter__(self) -> Self:
        from concurrent.futures import ThreadPoolExecutor

        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ahead")
        with stoppable(self._stop):
            self._job = self._pool.submit(carried(self._work))
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._pool.shutdown()

    def result(self) -> T:
        """Wait for the end of the work and return its result, or raise its error.

        Raises:
            InterruptedRunError: This thread was asked to stop.
        """
        from concurrent.futures import wait

        while not wait([self._job], timeout=_POLL).done:
            if asked_to_stop():
                raise InterruptedRunError("stopped")
        return self._job.result()


def pause(seconds: float) -> None:
    """Wait, as between two attempts.

    Raises:
        InterruptedRunError: A stop was asked for (see `stoppable`).
    """
    end = time.monotonic() + seconds
    # Not `stop.wait`: a signal handler of this thread that sets the stop takes the same lock.
    while not asked_to_stop():
        rest = end - time.monotonic()
        if rest <= 0:
            return
        time.sleep(min(rest, _POLL))
    raise InterruptedRunError("stopped")


def run(
    argv: Sequence[str],
    *,
    timeout: float | None = 120,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
) -> Completed:
    """Run a process to its end and return its output.

    Its end counts, not that of what it leaves behind: two seconds later the output is taken as it is.

    Args:
        argv: Program and arguments; never a shell string.
        timeout: Seconds after which the process group is killed; None sets no limit.
        cwd: Directory to run in.
        env: Variables added to this process's environment.
        stdin: Text for standard input; None gives the null device.

    Raises:
        EnvironmentLacksError: The program was not found, it ran past `timeout`, or a signal killed it.
        InterruptedRunError: A stop was asked for (see `stoppable`).
    """
    child = spawn(argv, cwd=cwd, env=env, stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL)
    try:
        out, err = _communicate(child, None if stdin is None else stdin.encode(), timeout)
    except subprocess.TimeoutExpired as error:
        raise EnvironmentLacksError(f"no answer within {timeout:g} s: {command_line(argv)}") from error
    finally:
        _end(child)
    if child.returncode < 0:  # by somebody else: the kernel's OOM killer, an administrator
        killed = signal.Signals(-child.returncode).name
        raise EnvironmentLacksError(
            f"{Path(argv[0]).name} was killed ({killed}): {command_line(argv)}",
            hint="the machine may be out of memory: see its kernel log (dmesg), then run this again",
        )
    return Completed(
        argv=tuple(argv),
        returncode=child.returncode,
        stdout=out.decode(errors="replace"),
        stderr=err.decode(errors="replace"),
    )


class Heard(Struct, frozen=True, kw_only=True):
    """What a process wrote to both of its outputs while somebody listened; its status, None if it had not ended."""

    output: bytes
    returncode: int | None


def listen(argv: Sequence[str], *, longest: float, settled: float, cwd: Path | None = None) -> Heard:
    """Start a process that may go on for long, and return what it has to say at first.

    Args:
        argv: Program and arguments.
        longest: Seconds to listen at most.
        settled: Seconds without output, once there was some, after which it has said what it had to say.
        cwd: Directory to run in.

    Raises:
        EnvironmentLacksError: The program was not found.
        InterruptedRunError: A stop was asked for (see `stoppable`).
    """
    child = spawn(argv, cwd=cwd, stderr=subprocess.STDOUT)
    stream = child.stdout
    if stream is None:  # spawn made a pipe
        raise AssertionError
    output, end, quiet_at = bytearray(), time.monotonic() + longest, math.inf
    try:
        while time.monotonic() < min(end, quiet_at):
            if asked_to_stop():
                raise InterruptedRunError("stopped")
            if not select.select([stream], [], [], _POLL)[0]:
                continue
            chunk = os.read(stream.fileno(), 1 << 16)
            if not chunk:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(timeout=max(0, end - time.monotonic()))
                break
            output += chunk
            quiet_at = time.monotonic() + settled
        return Heard(output=bytes(output), returncode=child.poll())
    finally:
        kill_group(child, signal.SIGKILL)
        child.wait()
        stream.close()


def unread(pipe: IO[bytes] | None) -> bool:
    """Return whether a pipe holds something that was not read yet."""
    if pipe is None or pipe.closed:
        return False
    return bool(int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder))


def _communicate(child: subprocess.Popen[bytes], data: bytes | None, timeout: float | None) -> tuple[bytes, bytes]:
    stop, ended_at = _stop.get(), math.inf
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    while True:
        now = time.monotonic()
        try:
            return child.communicate(data, timeout=max(0, min(_POLL, deadline - now)))
        except subprocess.TimeoutExpired as late:
            data = None  # communicate remembers what was not written yet
            if child.poll() is not None:
                ended_at = min(ended_at, now)
                if time.monotonic() - ended_at > _LINGER_S:
                    kill_group(child, signal.SIGKILL)
                    return late.output or b"", late.stderr or b""
            elif stop is not None and stop.is_set():
                raise InterruptedRunError("stopped") from None
            elif time.monotonic() >= deadline:
                raise


def _end(child: subprocess.Popen[bytes]) -> None:
    """Leave nothing behind of a child and of what is in its group, and wait for nobody else."""
    if child.returncode is None:
        kill_group(child, signal.SIGKILL)
        child.wait()
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):  # what was not written yet
                pipe.close()


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
        EnvironmentLacksError: The program was not found.
    """
    return subprocess.Popen(
        [resolve(argv[0]), *argv[1:]],
        cwd=cwd,
        env=environment(env) if env else None,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )


def kill_group(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a child's whole process group; does nothing if the group has ended."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)
