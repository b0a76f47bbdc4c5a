"""The Docker client: which program it is, how it is asked, and its failures as errors of this program.

`docker` runs it through `process.run`. `ask` runs methods of python-on-whales and is the second door through which
processes start: the library calls `subprocess.run` itself, without a time limit, a way to stop it or a process group
(facts measured with 0.81.0: `system.info()` still waits after 25 s for a host that accepts and never answers). So each
call starts through a small shell line that writes down its process id, and through `timeout`, which gives it a process
group and a limit that holds even where this process is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from orchestrator import process
from orchestrator.engine.buildx import last_error
from orchestrator.errors import EnvironmentLacksError, InterruptedRunError
from orchestrator.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future

    from python_on_whales import DockerClient

T = TypeVar("T")

CLIENT_VARIABLE = "ORCHESTRATE_DOCKER"
"""Environment variable that names the docker client; the default is `docker` on PATH."""

TIMEOUT = 30.0
"""Seconds that the engine has to answer a question."""

_POLL = 0.1  # seconds between looks at the wish to stop
_KILL_AFTER = 2  # seconds from the limit's SIGTERM to its SIGKILL
_TIMED_OUT = frozenset({124, 128 + signal.SIGKILL})  # exit statuses of `timeout`

# $0 is the file for the process id, which `exec` keeps. A terminal is not inherited: a client that asks it something
# waits for ever, and stops altogether outside of the terminal's process group. A pipe stays: whales writes input to it.
_LAUNCH = '[ ! -t 0 ] || exec </dev/null; echo "$$" >"$0"; exec "$@"'

_ENGINE_HINT = (
    "start the Docker engine (systemctl start docker), or name a running one with DOCKER_HOST or `docker context use`"
)


class DockerFailedError(EnvironmentLacksError):
    """The docker client ended with a failure.

    Attributes:
        reason: The line of its output that says why, without credentials.
        returncode: Its exit status.
    """

    def __init__(self, command: str, reason: str, returncode: int) -> None:
        super().__init__(
            f"`{command}` failed: {reason}", hint=hint(reason) or "run it by hand to see all of its output"
        )
        self.reason = reason
        self.returncode = returncode


def docker_command() -> tuple[str, ...]:
    """The docker client's argv: $ORCHESTRATE_DOCKER, else `docker` on PATH.

    The client reads DOCKER_HOST, DOCKER_CONTEXT and DOCKER_CONFIG itself and combines them; as options `--host` and
    `--context` exclude each other.

    Raises:
        EnvironmentLacksError: There is no docker client.
    """
    wanted = os.environ.get(CLIENT_VARIABLE) or "docker"
    found = shutil.which(wanted)
    if found is None:
        where = f"{wanted} (from {CLIENT_VARIABLE})" if wanted != "docker" else "docker"
        raise EnvironmentLacksError(
            f"the docker client was not found: {where} is not installed or not on PATH",
            hint="install Docker Engine with buildx; on Debian or Ubuntu, as root: scripts/engine up",
        )
    return (found,)


def docker(*arguments: str, timeout: float = TIMEOUT, env: Mapping[str, str] | None = None) -> process.Completed:
    """Run `docker ARGUMENTS…` to its end.

    Args:
        arguments: What follows `docker`.
        timeout: Seconds.
        env: Variables added to this process's environment.

    Raises:
        EnvironmentLacksError: There is no docker client, or it ran past `timeout`.
        InterruptedRunError: A stop was asked for (see `process.stoppable`).
    """
    return process.run([*docker_command(), *arguments], timeout=timeout, env=env)


def ask(question: Callable[[DockerClient], T], *, timeout: float = TIMEOUT) -> T:
    """Ask the engine through python-on-whales, whose import costs 0.15 s: never for `plan`, `check` or `--help`.

    Args:
        question: Calls methods of the client and returns plain values; an object of whales asks again when it is read.
        timeout: Seconds for all of it.

    Returns:
        What `question` returned.

    Raises:
        DockerFailedError: docker ended with a failure, or its answer cannot be read.
        EnvironmentLacksError: There is no docker client, or there is no answer within `timeout`.
        InterruptedRunError: A stop was asked for (see `process.stoppable`).
    """
    from concurrent.futures import ThreadPoolExecutor

    from python_on_whales import DockerClient

    with (
        tempfile.TemporaryDirectory(prefix="orchestrate-") as directory,
        ThreadPoolExecutor(max_workers=1, thread_name_prefix="docker") as pool,
    ):
        pid_file = Path(directory, "pid")
        job = pool.submit(question, DockerClient(client_call=client_call(pid_file, timeout)))
        try:
            _wait(job, timeout)
        except BaseException:
            _end(job, pid_file)
            raise
        return _answer(job, timeout)


def client_call(pid_file: Path, timeout: float) -> list[str]:
    """The argv that python-on-whales puts before every subcommand; it ends with `docker_command()`.

    Args:
        pid_file: Where the process writes its id.
        timeout: Seconds. Where the machine has no `timeout` (macOS), `ask` alone holds the limit.
    """
    program = shutil.which("timeout")
    limit = [program, "-k", str(_KILL_AFTER), f"{timeout:g}"] if program else []
    return ["sh", "-c", _LAUNCH, str(pid_file), *limit, *docker_command()]


def _wait(job: Future[T], timeout: float) -> None:
    """Wait for the end of a job, but not past its limit or a wish to stop."""
    from concurrent.futures import wait

    deadline = time.monotonic() + timeout + _POLL
    while not wait([job], timeout=_POLL).done:
        if process.asked_to_stop():
            raise InterruptedRunError("stopped")
        if time.monotonic() > deadline:
            raise _late(timeout)


def _late(timeout: float, command: str = "") -> EnvironmentLacksError:
    return EnvironmentLacksError(
        f"no answer within {timeout:g} s{f': {command}' if command else ' from the Docker engine'}", hint=_ENGINE_HINT
    )


def _end(job: Future[T], pid_file: Path) -> None:
    """Kill what a job started until it has ended; it may be about to start its process."""
    from concurrent.futures import wait

    while not job.done():
        with contextlib.suppress(OSError, ValueError):  # not written yet, or gone already
            pid = int(pid_file.read_text(encoding="ascii"))
            with contextlib.suppress(ProcessLookupError):  # before `timeout` has made its group
                os.killpg(pid, signal.SIGKILL)
            os.kill(pid, signal.SIGKILL)
        wait([job], timeout=_POLL / 2)


def _answer(job: Future[T], timeout: float) -> T:
    """The result of a finished job, whales' errors as ours.

    The message of a DockerException holds the whole command and all captured output, secrets included: it is neither
    shown nor kept as the cause.
    """
    from pydantic import ValidationError
    from python_on_whales.client_config import ParsingError
    from python_on_whales.exceptions import DockerException

    try:
        return job.result()
    except DockerException as error:
        command = _shown(error.docker_command)
        if process.asked_to_stop():  # a Ctrl-C that reached the child before it had a process group
            raise InterruptedRunError("stopped") from None
        if error.return_code in _TIMED_OUT and not error.stderr:
            raise _late(timeout, command) from None
        raise DockerFailedError(command, redact(last_error(error.stderr or "")), error.return_code) from None
    except UnicodeDecodeError as error:  # whales decodes a failure's output strictly, and loses the exit status
        text = error.object.decode("utf-8", "replace")
        raise DockerFailedError("docker", redact(last_error(text)), 1) from None
    except (ParsingError, ValidationError, json.JSONDecodeError) as error:
        raise DockerFailedError("docker", f"its answer cannot be read ({type(error).__name__})", 0) from None


def _shown(argv: Sequence[object]) -> str:
    """A command of whales as a person types it: without what `client_call` puts before it, without credentials."""
    words = [str(word) for word in argv]
    program = docker_command()[-1]
    own = words[words.index(program) + 1 :] if program in words else words
    return redact(process.command_line(["docker", *own]))


def hint(reason: str) -> str:
    """What to do about a failure of the docker client, "" where its words do not tell.

    Args:
        reason: What the client says is wrong.
    """
    words = reason.lower()
    if "permission denied" in words and "docker" in words:
        return "join its group (usermod -aG docker YOU, then log in again), or run this as root"
    if "context" in words and "not found" in words and "endpoint" in words:
        return "see `docker context ls`, then `docker context use NAME`, or unset DOCKER_CONTEXT"
    if "cannot connect to the docker daemon" in words or "failed to connect to the docker api" in words:
        return _ENGINE_HINT
    return ""


def unreachable(reason: str) -> EnvironmentLacksError:
    """The error for an engine that does not answer.

    Args:
        reason: What the client says is wrong.
    """
    return EnvironmentLacksError(f"the Docker engine does not answer: {reason}", hint=hint(reason) or _ENGINE_HINT)
