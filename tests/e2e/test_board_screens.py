"""What a terminal shows of a running build, read back from a real one (tmux) in three sizes."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.support.project import COMMAND, MARK, write_project
from tests.support.toolchain import installed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.download

NOWHERE = "127.0.0.1:5000/unused"
NINJA = 'RUN sleep 2; for i in 1 2 3 4 5 6 7 8; do echo "[$i/8] Building CUDA object x$i.o"; sleep 1; done; echo linked'


@pytest.fixture(scope="module")
def tmux() -> str:
    """A terminal whose screen can be read; installed where there is none, as root."""
    return installed("tmux", "tmux")


class Terminal:
    """A tmux server of its own with one window."""

    def __init__(self, tmux: str, columns: int, rows: int, *command: str, cwd: Path, env: dict[str, str]) -> None:
        self._base = (tmux, "-L", f"orchestrate-{uuid.uuid4().hex[:12]}", "-f", "/dev/null")
        self.size = (columns, rows)
        clean = {name: value for name, value in env.items() if name not in ("COLUMNS", "LINES", "NO_COLOR", "TMUX")}
        line = f"{shlex.join(command)}; echo ended with $?; exec sleep 600"
        subprocess.run(
            [*self._base, "new-session", "-d", "-x", str(columns), "-y", str(rows), "-c", str(cwd), "sh", "-c", line],
            env=clean | {"LC_ALL": "C.UTF-8"}, check=True, timeout=30,
        )  # fmt: skip

    def screen(self, *more: str) -> list[str]:
        """The lines of the screen as they stand; `-S -` and `-J`: from the beginning, and not wrapped."""
        done = subprocess.run([*self._base, "capture-pane", "-p", *more], capture_output=True, check=True, timeout=30)
        return [line.rstrip() for line in done.stdout.decode().splitlines()]

    def until(self, seen: Callable[[list[str]], bool], *, seconds: float = 90) -> list[str]:
        """The first screen that has something."""
        end = time.monotonic() + seconds
        while not seen(lines := self.screen()):
            assert time.monotonic() < end, "\n".join(lines)
            time.sleep(0.1)
        return lines

    def close(self) -> None:
        """End the server and what runs in it."""
        subprocess.run([*self._base, "kill-server"], capture_output=True, timeout=30)


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    """Terminals that are closed at the end."""
    opened: list[Terminal] = []
    yield opened
    for one in opened:
        one.close()


@pytest.mark.parametrize(("columns", "rows"), [(120, 40), (80, 24), (60, 15)])
def test_the_screen_of_a_running_build(
    engine: str, tmux: str, terminals: list[Terminal], tmp_path: Path, columns: int, rows: int
) -> None:
    project = write_project(
        tmp_path, NOWHERE, one=NINJA, two="RUN echo a line of output; sleep 12", three="RUN : x", bad="RUN exit 9"
    )
    words = (str(COMMAND), "build", "--jobs", "4", "--report", str(project.report))
    terminals.append(Terminal(tmux, columns, rows, *words, cwd=project.root, env={**os.environ, MARK: project.mark}))
    bar = re.compile(r"█+░+ [2-7]/8 Bu")
    running = terminals[0].until(
        lambda lines: (
            any(map(bar.search, lines)) and any("a line of outp" in line for line in lines) and "✗" in "\n".join(lines)
        )
    )
    first = next(number for number, line in enumerate(running) if line.startswith("logs: .orchestrate/runs/"))
    assert first == 0 or running[0].startswith("warning: ")  # of the disk, where it is nearly full
    board = [line for line in running[first + 1 :] if line]
    assert len(board) <= rows - 1
    assert max(map(len, board)) <= columns
    variants = {name: next(line for line in board if f"{name}-cu130-amd64" in line) for name in ("one", "two", "three")}
    for name in ("one", "two"):
        assert variants[name][0] in "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏|/-\\"  # it turns
        assert "RUN" in variants[name]
        assert re.search(r"\d+\.\ds$", variants[name])
        row = board[board.index(variants[name]) + 1]
        assert row.startswith("  ")  # its last line of output stands below it
        counts = row if columns < 70 else variants[name]
        assert re.search(r"\d/3 \d cached", counts)
        assert ("sent" in variants[name]) == (columns >= 100)
        assert ("sent" in row) == (columns < 100)
    ended = terminals[0].until(lambda lines: any(line.startswith("ended with ") for line in lines))
    assert not re.search(r"█|░", "\n".join(ended))  # the board is gone
    text = "\n".join(terminals[0].screen("-J", "-S", "-"))
    assert "ended with 1" in text
    assert "bad-cu130-amd64: failed (run) at Dockerfile:" in text
    assert "3 built, 1 failed" in text
    assert {variant["status"] for variant in project.reported().values()} == {"built", "failed"}
