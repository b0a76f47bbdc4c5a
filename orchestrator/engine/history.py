"""What the builder itself says of a build that runs: `buildx history`, over a connection of its own.

buildx writes a file for each build as it begins (`refs/BUILDER/NODE/REF` in its configuration directory, facts measured
with 0.29: `{"Target", "LocalPath", "DockerfilePath", "GroupRef"}`); its name is what `history` knows the build by, and
what no other answer of buildx tells before the build has ended.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orchestrator import process
from orchestrator.engine.buildx import BakeCall, last_error
from orchestrator.engine.plugin import configuration
from orchestrator.errors import EnvironmentLacksError
from orchestrator.redact import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

ANSWER_S = 20.0
"""Seconds that a builder has to answer; buildx itself gives a remote one 20 s."""

_SETTLED_S = 1.0  # the record of a running build is one burst, then what comes
_EARLIER_S = 0.1  # a file system's clock may be behind ours by a tick
_MOST = 1 << 20  # bytes of a file of buildx


class Record(Struct, frozen=True, kw_only=True):
    """What the builder says of one build.

    Attributes:
        lines: Its progress so far, as `--progress rawjson`; empty if there was no answer.
        ended: Whether the build has ended there.
        missing: Whether the builder does not know the build.
        silent: Whether the builder did not answer in time.
        problem: Why there is no answer, or "".
    """

    lines: tuple[bytes, ...] = ()
    ended: bool = False
    missing: bool = False
    silent: bool = False
    problem: str = ""


class Silence(Struct, frozen=True, kw_only=True):
    """Why a builder gives no answer.

    Attributes:
        why: In one line.
        late: Whether it was waited for in vain; False where it refuses connections, as one does that restarts.
    """

    why: str
    late: bool = False


class Build(Struct, frozen=True, kw_only=True):
    """A build that nobody follows any more.

    Attributes:
        call: How its builder's buildx is called.
        reference: The build.
        answer_s: Seconds that the builder has for an answer.
    """

    call: BakeCall
    reference: str
    answer_s: float = ANSWER_S

    @property
    def builder(self) -> str:
        """The name of its builder, as it is shown."""
        return self.call.builder or "default"

    def goes_on(self) -> bool | None:
        """Return whether it still runs there; None where the builder does not tell.

        Raises:
            InterruptedRunError: A stop was asked for (see `process.stoppable`).
        """
        found = record(self.call, self.reference, timeout=self.answer_s)
        if found.ended or found.missing:
            return False
        return None if found.silent or found.problem else True


def reference(target: str, *, root: Path, since: float, env: Mapping[str, str] | None = None) -> str:
    """Return the reference of the build of a bake target, "" where buildx has written none yet.

    Args:
        target: The bake target.
        root: The directory that it is built from, to tell it from builds of another checkout.
        since: When it was started, in seconds of the wall clock.
        env: Environment; this process's if not given.
    """
    found: list[tuple[bool, float, str]] = []
    for path in (_config(os.environ if env is None else env) / "refs").glob("*/*/*"):
        try:
            began = path.stat().st_mtime
            if began < since - _EARLIER_S or path.parent.parent.name.startswith("__"):
                continue
            state: Any = json.loads(path.read_bytes()[:_MOST])
        except (OSError, ValueError, RecursionError):  # removed meanwhile, or half written
            continue
        if isinstance(state, dict) and state.get("Target") == target:
            ours = Path(str(state.get("LocalPath") or "/nowhere")).is_relative_to(root)
            found.append((not ours, began, path.name))
    return min(found, default=(False, 0.0, ""))[2]


def record(call: BakeCall, ref: str, *, timeout: float = ANSWER_S) -> Record:
    """Ask the builder for a build's progress so far.

    Args:
        call: How buildx is called.
        ref: The build (`reference`).
        timeout: Seconds.

    Raises:
        InterruptedRunError: A stop was asked for (see `process.stoppable`).
    """
    argv = call.about_builder("history", "logs", "--progress", "rawjson", words=(ref,))
    heard = process.listen(argv, longest=timeout, settled=_SETTLED_S, cwd=call.root)
    lines = tuple(line for line in heard.output.splitlines() if line.startswith(b"{"))
    if heard.returncode in (None, 0):
        ended = heard.returncode == 0
        if not lines and not ended:
            return Record(silent=True, problem=f"the builder does not answer within {timeout:g} s")
        return Record(lines=lines, ended=ended)
    reason = redact(last_error(heard.output.decode(errors="replace")))
    return Record(missing="no record found" in reason, problem=reason)


def silent(call: BakeCall, *, timeout: float = ANSWER_S) -> Silence | None:
    """Return why the builder does not answer, None if it does.

    Raises:
        InterruptedRunError: A stop was asked for (see `process.stoppable`).
    """
    # `buildx inspect` says what it has kept of a builder that is down; the size of its cache only the builder knows.
    try:
        done = process.run(call.about_builder("du", "--filter", "id=none"), timeout=timeout, cwd=call.root)
    except EnvironmentLacksError as error:
        return Silence(why=redact(error.message), late=True)
    return None if done.ok else Silence(why=redact(last_error(done.stderr)))


def instance(name: str) -> Path:
    """Return the file in which buildx keeps what it knows of a builder."""
    return _config(os.environ) / "instances" / name


def _config(env: Mapping[str, str]) -> Path:
    """Where buildx keeps its state, as buildx finds it."""
    if own := env.get("BUILDX_CONFIG"):
        return Path(own)
    return configuration(env) / "buildx"
