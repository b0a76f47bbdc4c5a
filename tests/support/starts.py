"""What a command of ours starts, and when: the profile of a run, told by Python's own audit events.

The hook sees every process that Python starts, however it starts it; a process that such a one starts is its own
affair (buildx asks git for the commit, the docker client starts its plugins).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PROGRAM = """
import json, os, resource, sys, time
begun, path = float(sys.argv[1]), sys.argv[2]
starts = []
def hook(event, args):
    if event in ("subprocess.Popen", "os.posix_spawn", "os.exec", "os.spawn", "os.system"):
        argv = args[1] if isinstance(args[1:2] and args[1], (list, tuple)) else [args[0]]
        starts.append([time.monotonic() - begun, [os.fsdecode(word) for word in argv]])
sys.addaudithook(hook)
from orchestrator.cli.app import run
loaded = time.monotonic() - begun
code = run(sys.argv[3:])
own, children = (resource.getrusage(of) for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
found = {"loaded": loaded, "ended": time.monotonic() - begun, "starts": starts, "code": code,
         "own": own.ru_utime + own.ru_stime, "children": children.ru_utime + children.ru_stime}
with open(path, "w") as opened:
    json.dump(found, opened)
"""


class Start(Struct, frozen=True, kw_only=True):
    """One process that was started.

    Attributes:
        at: Seconds after the command was.
        argv: Its words.
    """

    at: float
    argv: tuple[str, ...]

    @property
    def what(self) -> str:
        """What it is, without paths and names that differ between runs: `buildx bake --print`."""
        name = Path(self.argv[0]).name
        if name in {"docker", "docker-buildx"} and "buildx" in self.argv:
            kinds = [word for word in self.argv if word.startswith(("--print", "--call", "--list"))]
            return " ".join(["buildx", self.argv[self.argv.index("buildx") + 1], *kinds])
        words = [word for word in self.argv[1:] if word.isalpha()]
        return " ".join([name, *words[:1]])


class Profile(Struct, frozen=True, kw_only=True):
    """A run of one command.

    Attributes:
        loaded: Seconds until Python had its first modules.
        ended: Seconds until the command ended.
        starts: What it started, in order of time.
        own: Processor seconds of the command itself.
        children: Processor seconds of what it started and waited for.
    """

    loaded: float
    ended: float
    starts: tuple[Start, ...]
    own: float
    children: float


def profile(root: Path, *words: str, env: Mapping[str, str] | None = None) -> Profile:
    """Run `orchestrate WORDS` in a directory, and return what it started.

    Raises:
        RuntimeError: It did not end with 0; the message holds its output.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "found.json")
        begun = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, repr(begun), str(path), *words], cwd=root, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})},
        )  # fmt: skip
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"code": done.returncode}
    if found["code"] or len(found) == 1:
        raise RuntimeError(f"orchestrate {' '.join(words)}: {found['code']}\n{done.stdout}{done.stderr}")
    starts = tuple(Start(at=at, argv=tuple(argv)) for at, argv in sorted(found["starts"]))
    return Profile(
        loaded=found["loaded"], ended=found["ended"], starts=starts, own=found["own"], children=found["children"]
    )


def lines(found: Profile) -> Sequence[str]:
    """A profile as lines for people: a moment each, and what the time of a processor went into."""
    python = sum("python" in Path(one.argv[0]).name for one in found.starts)
    prints = sum("--print" in one.argv for one in found.starts)
    return [
        f"  {found.loaded:6.3f} s  Python and its first modules are loaded",
        *(f"  {one.at:6.3f} s  {one.what}" for one in found.starts),
        f"  {found.ended:6.3f} s  end; processor {found.own:.3f} s here, {found.children:.3f} s in what was started",
        f"  started: {len(found.starts)} processes, {prints} of them --print, {python} a second Python",
    ]
