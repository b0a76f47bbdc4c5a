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
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from orchestrator.errors import EnvironmentLacksError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


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
    """
    child = spawn(argv, cwd=cwd, env=env, stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL)
    try:
        out, err = child.communicate(None if stdin is None else stdin.encode(), timeout=timeout)
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
