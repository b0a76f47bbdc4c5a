"""Runs one bake process: starts it, follows it line by line, and says how it ended.

Does not depend on other variants, nor on attempts before and after.

Reasons for a child process of our own rather than python-on-whales' `bake()`: its reader concatenates standard error
(quadratic; 40,000 lines take minutes), fails on bytes that are not UTF-8, outlives its caller, has no `--allow`.

With `--progress rawjson` buildx checks no entitlement (measured with 0.29): `bake/privileges.py` does, beforehand.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from orchestrator import files
from orchestrator.bake.ending import Ending, stderr_lines
from orchestrator.bake.events import LogLine, Steps
from orchestrator.bake.log import LogFile
from orchestrator.bake.moved import Moved, StepTime
from orchestrator.bake.origin import Origin, origin
from orchestrator.bake.progress import Failure, Progress
from orchestrator.bake.watch import Answer, Bounds, Overrun, Watch, ask
from orchestrator.engine import history
from orchestrator.engine.machine import busy
from orchestrator.engine.plugin import direct
from orchestrator.entries import read_entry
from orchestrator.orphans import ended_with_us
from orchestrator.process import Stop, environment, spawn
from orchestrator.redact import redact_values
from orchestrator.untrusted import json_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from orchestrator.bake.events import Event
    from orchestrator.bake.imports import CacheSource
    from orchestrator.engine.buildx import BakeCall

__all__ = ["BakeCommand", "BakeResult", "Failure", "run_bake"]

_GHA_DROPPED = (
    "type=gha cache was left out by buildx: ACTIONS_RUNTIME_TOKEN and ACTIONS_RESULTS_URL are not in the environment "
    "(in a workflow, export them with crazy-max/ghaction-github-runtime)"
)
_MARKED = 64  # lines kept with a command's mark


class BakeCommand(Struct, frozen=True, kw_only=True):
    """One variant, ready to be baked.

    Attributes:
        id: The variant.
        argv: `docker buildx bake -f … --allow …` without target, `--progress` and `--metadata-file`, which
            `run_bake` adds. Holds no secret: it is written into the log.
        bake_json: Text of the generated bake file (which `argv` names by its path).
        target: The target to bake.
        cwd: Directory that relative paths of the bake files refer to.
        log: Log file; attempts are appended to it.
        metadata: Where bake writes its metadata file.
        env: Variables added to this process's environment.
        mark: Lines of a step's output that begin with it are kept in the result; "" for none.
        bounds: How long a step may take, and how long the builder may say nothing.
        call: How the builder is asked for a build that says nothing; None asks never.
        file: Where `bake_json` is written before each attempt; None where it lies already.
    """

    id: str
    argv: tuple[str, ...]
    bake_json: str
    target: str
    cwd: Path
    log: Path
    metadata: Path
    env: Mapping[str, str] = field(default_factory=dict)
    mark: str = ""
    bounds: Bounds = field(default_factory=Bounds)
    call: BakeCall | None = None
    file: Path | None = None

    def __repr__(self) -> str:
        """Without `env`, which holds secrets."""
        return f"BakeCommand(id={self.id!r}, argv={self.argv!r})"

    def restore(self) -> None:
        """Write the bake file, and make the directory of the metadata, where somebody has removed them.

        Raises:
            OSError: They cannot be written.
        """
        files.make_private(self.metadata.parent)
        if self.file is not None and not self.file.exists():
            files.make_private(self.file.parent)
            files.write_whole(self.file, self.bake_json, mode=files.PRIVATE)

    def silent(self) -> history.Silence | None:
        """Why its builder does not answer, None if it does."""
        return None if self.call is None else history.silent(self.call, timeout=self.bounds.answer_s(busy()))

    def run(self, *, on_event: Callable[[Event], None], stop: Stop, terminate_after: float) -> BakeResult:
        """Run it to its end (`run_bake`)."""
        return run_bake(self, on_event=on_event, stop=stop, terminate_after=terminate_after)


class BakeResult(Struct, frozen=True, kw_only=True):
    """How one bake process ended.

    Attributes:
        returncode: Its exit status; negative if a signal killed it.
        failure: None exactly if `returncode` is 0.
        steps: Counts of Dockerfile steps.
        metadata: The metadata file's content, None if there is none.
        last_lines: End of the failed step's output; empty on success.
        clipped: BuildKit dropped a part of a step's output.
        cache_problems: One line for each cache that could not be used.
        cache_sources: The cache references that were read.
        stopped: The process was ended by us because `stop` was set.
        first_ran: The first step that did not come from the cache, "" where all did.
        marked: Lines of output that begin with the command's mark: the last 64, untrusted.
        pushed: `REFERENCE@DIGEST` of each tag that moved, also if the bake failed or was stopped afterwards.
        overrun: Why the process was ended by us though `stop` was not set; None if it was not.
        origin: Where the failed instruction stands; None where nothing failed or that is not known.
        moved: The bytes that were moved.
        timeline: When each step ran.
        given_up: The build that was given up and may go on at its builder; None where there is none.
    """

    returncode: int
    failure: Failure | None
    steps: Steps = field(default_factory=Steps)
    metadata: Mapping[str, Any] | None = None
    last_lines: tuple[str, ...] = ()
    clipped: bool = False
    cache_problems: tuple[str, ...] = ()
    cache_sources: tuple[CacheSource, ...] = ()
    stopped: bool = False
    first_ran: str = ""
    marked: tuple[str, ...] = ()
    pushed: tuple[str, ...] = ()
    overrun: Overrun | None = None
    origin: Origin | None = None
    moved: Moved = field(default_factory=Moved)
    timeline: tuple[StepTime, ...] = ()
    given_up: history.Build | None = None


def run_bake(
    command: BakeCommand,
    *,
    on_event: Callable[[Event], None],
    stop: Stop,
    terminate_after: float = 10,
) -> BakeResult:
    """Bake one target and follow it to its end.

    Args:
        command: What to bake.
        on_event: Called in the calling thread for each event, as it comes.
        stop: When set, the process group gets SIGTERM, and SIGKILL `terminate_after` seconds later, or at once with
            `immediate`.
        terminate_after: Seconds between the two signals.

    Raises:
        EnvironmentLacksError: docker was not found.
        OSError: The log file cannot be written.
    """
    argv = bake_argv(command)
    command.restore()
    command.metadata.unlink(missing_ok=True)  # one of an earlier attempt must not pass for this one's
    progress = Progress()
    marked: deque[str] = deque(maxlen=_MARKED)
    with LogFile(command.log) as log:

        def tell(event: Event) -> None:
            log.write(event)
            on_event(event)

        def hear(events: Sequence[Event]) -> None:
            log.write(*events)
            for event in events:
                watch.event(event)
                on_event(event)
                if command.mark and isinstance(event, LogLine) and event.text.startswith(command.mark):
                    marked.append(event.text)

        # Not `hear`, which holds the watch: a circle keeps the whole attempt until a full collection.
        watch = _watch(command, progress, tell)
        log.begin(command.id, argv)
        started, env = direct(argv)
        child = spawn(started, cwd=command.cwd, env={**_added(command.env), **env}, stdout=subprocess.DEVNULL)
        watch.pipe = child.stderr
        ending = Ending(
            child=child, metadata=command.metadata.parent, stop=stop, watch=watch, terminate_after=terminate_after
        )
        # Whatever goes wrong (an error in on_event, a full disk under the log): no child is left behind.
        with contextlib.closing(ending), ended_with_us(child.pid):
            for lines in stderr_lines(child, ending):
                watch.arrived()
                hear([event for line in lines for event in progress.feed(line)])
            hear(list(progress.finish()))
            returncode = ending.wait()
        log.end(returncode, stopped=ending.stopped)
    failure = progress.failure(returncode)
    return BakeResult(
        returncode=returncode,
        failure=failure,
        steps=progress.steps,
        metadata=_read_metadata(command.metadata),
        last_lines=progress.last_lines() if failure else (),
        clipped=progress.clipped,
        cache_problems=(*progress.cache_problems, *dropped_gha_caches(command)),
        cache_sources=progress.cache_sources,
        stopped=ending.stopped,
        first_ran=progress.first_ran,
        marked=tuple(marked),
        pushed=progress.pushed,
        overrun=ending.overrun if failure else None,
        origin=_origin(command, progress, (ending.overrun.step if ending.overrun else "") or failure.step)
        if failure
        else None,
        moved=progress.moved,
        timeline=progress.timeline,
        given_up=_given_up(command, ending.overrun),
    )


def bake_argv(command: BakeCommand) -> tuple[str, ...]:
    """Return the whole argument list that `run_bake` starts."""
    return (
        *command.argv,
        "--progress",
        "rawjson",
        "--metadata-file",
        str(command.metadata),
        command.target,
    )


def dropped_gha_caches(command: BakeCommand) -> tuple[str, ...]:
    """Return a line if the bake file asks for the GitHub Actions cache and BuildKit will silently leave it out.

    Without a service URL and ACTIONS_RUNTIME_TOKEN buildx drops the backend and ends with 0; `run:` steps do not
    get them without an action that exports them.
    """
    env = environment(command.env)
    if env.get("ACTIONS_RUNTIME_TOKEN") and (env.get("ACTIONS_RESULTS_URL") or env.get("ACTIONS_CACHE_URL")):
        return ()
    try:
        targets = json.loads(command.bake_json).get("target", {})
        entries = [e for t in targets.values() for key in ("cache-from", "cache-to") for e in t.get(key) or ()]
    except (ValueError, AttributeError, TypeError):
        return ()
    if not any(read_entry(entry).get("type") == "gha" for entry in entries):
        return ()
    return (_GHA_DROPPED,)


def _origin(command: BakeCommand, progress: Progress, step: str) -> Origin | None:
    try:
        members = json.loads(command.bake_json)["target"]
        return origin(command.cwd, members, step, progress.excerpt) if step else None
    except (ValueError, AttributeError, TypeError, KeyError):  # not a file of ours
        return None


def _given_up(command: BakeCommand, overrun: Overrun | None) -> history.Build | None:
    if overrun is None or not overrun.build or command.call is None:
        return None
    answer_s = command.bounds.answer_s(busy())
    return history.Build(call=command.call, reference=overrun.build, answer_s=answer_s)


def _added(extra: Mapping[str, str]) -> dict[str, str]:
    """The variables of a bake: warnings and the digests of the bases, unless the user wants other provenance."""
    # max adds the build graph to the digests, for an eighth of a cached bake's processor time (buildx 0.29).
    wanted = {"BUILDX_METADATA_PROVENANCE": "min", "BUILDX_METADATA_WARNINGS": "1"}
    return {**{name: value for name, value in wanted.items() if name not in os.environ}, **extra}


def _watch(command: BakeCommand, progress: Progress, tell: Callable[[Event], None]) -> Watch:
    call, since = command.call, time.time()
    if call is None:
        return Watch(Bounds(step_s=command.bounds.step_s), ask=Answer, tell=tell)
    asked = partial(ask, call, command.target, progress, since=since, bounds=command.bounds)
    return Watch(command.bounds, ask=asked, tell=tell)


def _read_metadata(path: Path) -> Mapping[str, Any] | None:
    """What bake wrote, without credentials, also in the file: provenance holds the proxy of the docker client.

    Each text is looked at by itself, as JSON may write any of its characters as an escape. A file that cannot be read
    as JSON is removed.
    """
    try:
        found = redact_values(json.loads(path.read_bytes()))
    except OSError:
        return None
    except (ValueError, RecursionError):
        path.unlink(missing_ok=True)
        return None
    with contextlib.suppress(OSError):
        path.unlink()  # what bake wrote does not outlive a disk that is full
        files.write_whole(path, json_text(found, indent=None), mode=files.PRIVATE)
    return found if isinstance(found, dict) else None
