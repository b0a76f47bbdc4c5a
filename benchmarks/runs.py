"""What this program itself costs while it runs many variants, with a stand-in for buildx.

    python -m benchmarks.runs [VARIANTS] [AT_ONCE] [SECONDS] [BUILDERS]

The stand-in says ten events a second, as buildx's rawjson, for SECONDS; its own processor time is not counted. Memory
is that of this process, sampled once a second; the variants go to the slots of so many builders. Then 40,000 lines of
one step's output, and an interrupted run.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from orchestrator.bake.process import BakeCommand
from orchestrator.process import Stop
from orchestrator.runs.fleet import Fleet, Member
from orchestrator.runs.job import Job
from orchestrator.runs.journal import Journal
from orchestrator.runs.outcome import Outcome, Status
from orchestrator.runs.scheduler import Memory, build_all
from orchestrator.runs.wishes import Limits
from orchestrator.ui.board import LiveBoard

_BAKE = """\
import base64, json, sys, time
seconds, each, lines = float(sys.argv[1]), 0.1, int(sys.argv[2])
out = sys.stderr
steps = [f"sha256:{n:064d}" for n in range(20)]
at = lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
def say(**what):
    out.write(json.dumps(what) + chr(10)); out.flush()
def log(step, text):
    return {"vertex": step, "stream": 1, "data": base64.b64encode(text.encode()).decode(), "timestamp": at()}
end, n = time.monotonic() + seconds, 0
while time.monotonic() < end:
    step, begun = steps[n // 5 % 20], n % 5
    name = f"[app {n // 5 % 20 + 1}/20] RUN ninja -j8 target{n // 5 % 20}"
    if begun == 0:
        say(vertexes=[{"digest": step, "name": name, "started": at()}])
    elif begun == 4:
        say(vertexes=[{"digest": step, "name": name, "started": at(), "completed": at()}])
    else:
        say(logs=[log(step, f"[{n}/1000] Building CUDA object csrc/kernels/attention_{n}.cu.o" + chr(10))])
    n += 1
    time.sleep(each)
if lines:
    say(vertexes=[{"digest": steps[0], "name": "[app 1/1] RUN make", "started": at()}])
    for start in range(0, lines, 100):
        say(logs=[log(steps[0], "".join(f"[{n}/{lines}] Building CUDA object x{n}.o -DARCH=9.0" + chr(10)
                                        for n in range(start, start + 100)))])
    say(vertexes=[{"digest": steps[0], "name": "[app 1/1] RUN make", "started": at(), "completed": at()}])
"""


class _Terminal(io.TextIOWrapper):
    """A stream that says it is a terminal: on another one nothing is drawn before the end."""

    def isatty(self) -> bool:
        return True


@dataclass(kw_only=True)
class Run:
    """One run of the scheduler, and what it took."""

    folder: Path
    count: int
    at_once: int
    builders: int
    seconds: float
    lines: int = 0
    stop: Stop = field(default_factory=Stop)
    sizes: list[int] = field(default_factory=list)
    wall: float = 0.0
    cpu: float = 0.0
    outcomes: list[Outcome] = field(default_factory=list)

    def go(self) -> Run:
        """Run it, with the board that a terminal of 120x40 gets and a journal."""
        program = self.folder / "bake.py"
        program.write_text(_BAKE)
        ids = [f"app{n:03d}-cu130-amd64" for n in range(self.count)]
        jobs = [
            Job(id=id_, prepare=partial(self._bake, id_, program), at=partial(self._at, id_, program)) for id_ in ids
        ]
        slots = max(1, self.at_once // self.builders)
        fleet = Fleet(members=[Member(name=f"farm{n}", slots=slots) for n in range(self.builders)])
        os.environ.update(COLUMNS="120", LINES="40", TERM="xterm-256color")
        stream = _Terminal(Path(os.devnull).open("wb"), encoding="utf-8")  # noqa: SIM115 - as long as the board
        over = threading.Event()
        begun, cpu = time.perf_counter(), time.process_time()
        watching = threading.Thread(target=self._sample, args=(over,), daemon=True)
        watching.start()
        memory = Memory(journal=Journal(self.folder / "journal.jsonl"), fleet=fleet)
        with LiveBoard(ids, stream=stream) as board:
            limits = Limits(parallel=self.at_once)
            self.outcomes = build_all(jobs, reporter=board, stop=self.stop, limits=limits, memory=memory)
        self.wall, self.cpu = time.perf_counter() - begun, time.process_time() - cpu
        over.set()
        watching.join()
        return self

    def _at(self, id_: str, program: Path, _: str) -> Job:
        return Job(id=id_, prepare=partial(self._bake, id_, program))

    def _bake(self, id_: str, program: Path) -> BakeCommand:
        argv = (sys.executable, "-I", "-S", str(program), str(self.seconds), str(self.lines))
        return BakeCommand(
            id=id_, argv=argv, bake_json="{}", target="app", cwd=self.folder,
            log=self.folder / "logs" / f"{id_}.log", metadata=self.folder / "logs" / f"{id_}.metadata.json",
        )  # fmt: skip

    def _sample(self, over: threading.Event) -> None:
        while not over.wait(1):
            self.sizes.append(resident())


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def mean(sizes: list[int]) -> float:
    """In MB."""
    return sum(sizes) / max(1, len(sizes)) / 1e6


def grown(sizes: list[int], variants: int) -> float:
    """Kilobytes by which memory grew for each variant, from the second fifth to the last."""
    fifth = max(1, len(sizes) // 5)
    return (mean(sizes[4 * fifth : 5 * fifth]) - mean(sizes[fifth : 2 * fifth])) * 1e3 / (variants * 3 / 5)


def main() -> None:
    """Run and print."""
    given = [*sys.argv[1:], *("500", "32", "10", "4")[len(sys.argv) - 1 :]]
    count, at_once, seconds, builders = int(given[0]), int(given[1]), float(given[2]), int(given[3])
    with tempfile.TemporaryDirectory() as folder:
        many = Run(folder=Path(folder), count=count, at_once=at_once, builders=builders, seconds=seconds).go()
        built = sum(one.status is Status.BUILT for one in many.outcomes)
        events = built * seconds * 10
        fifth = max(1, len(many.sizes) // 5)
        there = Counter(one.builder for one in many.outcomes)
        shares = ", ".join(f"{there[name]} on {name}" for name in sorted(there))
        print(
            f"{built} variants ({shares}), {at_once} at once, {many.wall:.0f} s, "
            f"about {events / many.wall:.0f} events/s"
        )
        print(f"  processor of this program  {many.cpu:.1f} s, {many.cpu / many.wall:.1%} of one core (goal 5%)")
        means = ", ".join(f"{mean(many.sizes[at : at + fifth]):.1f}" for at in range(0, fifth * 5, fifth))
        print(f"  memory, mean of each fifth  {means} MB (goal flat)")
        print(f"  grown after the first fifth  {grown(many.sizes, built):.1f} kB a variant")
        print(f"  journal  {(Path(folder) / 'journal.jsonl').stat().st_size / 1e6:.2f} MB (goal under 1)")
    with tempfile.TemporaryDirectory() as folder:
        alone = Run(folder=Path(folder), count=1, at_once=1, builders=1, seconds=0, lines=40_000).go()
        log = Path(folder) / "logs" / "app000-cu130-amd64.log"
        kept = sum("Building" in line for line in log.read_text().splitlines())
        print(f"{kept} lines of output  {alone.cpu:.2f} s of processor (goal 2), {alone.wall:.2f} s")
    with tempfile.TemporaryDirectory() as folder:
        cut = Run(folder=Path(folder), count=count, at_once=at_once, builders=builders, seconds=600)
        asked: list[float] = []

        def interrupt() -> None:
            asked.append(time.perf_counter())
            cut.stop.set()

        threading.Timer(5, interrupt).start()
        cut.go()
        took = time.perf_counter() - asked[0]
        never = sum(not one.attempts for one in cut.outcomes)
        print(f"interrupted with {at_once} at once  ended in {took:.1f} s (goal 15); {never} were never started")


if __name__ == "__main__":
    main()
