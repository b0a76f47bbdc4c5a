"""How a running build is watched: the board on terminals of several sizes, JSON lines, logs that are followed."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import termios
from typing import TYPE_CHECKING

import pytest

from tests.support.project import COMMAND, Project, wait_for_line, write_project

if TYPE_CHECKING:
    from pathlib import Path

NOWHERE = "127.0.0.1:5000/unused"
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
NINJA = (
    'RUN sleep 1; for i in 1 2 3 4 5 6 7 8; do echo "[$i/8] Building CUDA object x$i.o"; sleep 0.4; done; echo linked'
)


def on_terminal(project: Project, columns: int, rows: int) -> str:
    """What a build writes to a terminal of a size, control sequences taken out."""
    outer, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    env = project.environment({"TERM": "xterm-256color"})
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        env.pop(name, None)
    run = subprocess.Popen(
        [str(COMMAND), "build", "--jobs", "2", "--report", str(project.report)], cwd=project.root, env=env,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=inner, start_new_session=True,
    )  # fmt: skip
    os.close(inner)
    said = b""
    try:
        while run.poll() is None or select.select([outer], [], [], 0)[0]:
            if select.select([outer], [], [], 0.1)[0]:
                try:
                    chunk = os.read(outer, 1 << 16)
                except OSError:  # the other side is closed
                    break
                said += chunk
    finally:
        run.kill()
        run.wait()
        os.close(outer)
    return CONTROL.sub("", said.decode(errors="replace"))


@pytest.mark.parametrize(("columns", "rows"), [(120, 40), (80, 24), (60, 15)])
def test_the_board(engine: str, tmp_path: Path, columns: int, rows: int) -> None:
    project = write_project(tmp_path, NOWHERE, one=NINJA, two="RUN echo a line of output; sleep 3", three="RUN : x")
    said = on_terminal(project, columns, rows)
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", said)]
    assert {variant["status"] for variant in project.reported().values()} == {"built"}
    assert any(line.startswith("logs: .orchestrate/runs/") for line in lines)
    board = [line for line in lines if not line.startswith(("logs: ", "warning: "))]
    assert max(map(len, board)) <= columns
    for name in ("one", "two", "three"):
        assert any(f"{name}-cu130-amd64" in line for line in lines)
    assert any("RUN sleep 1" in line for line in lines)
    assert any(re.search(r"█+░+ [1-7]/8 Bu", line) for line in lines), said[-3000:]
    assert any("a line of outp" in line for line in lines)
    assert any(re.search(r"\d/3 \d cached", line) for line in lines)


def test_json_lines_alone_are_on_standard_error(engine: str, tmp_path: Path) -> None:
    project = write_project(tmp_path, NOWHERE, app="RUN echo words", bad="RUN exit 9")
    done = project.build("--progress", "json")
    assert done.returncode == 1
    found = [json.loads(line) for line in done.stderr.splitlines()]
    assert {(one["event"], one.get("status")) for one in found if one["event"] == "finished"} == {
        ("finished", "built"),
        ("finished", "failed"),
    }
    assert any(one["event"] == "output" and one["text"] == "words" for one in found)
    assert any(one["event"] == "notice" and one["text"].startswith("logs: ") for one in found)


def test_quiet_says_nothing_but_results(engine: str, tmp_path: Path) -> None:
    project = write_project(tmp_path, NOWHERE, app="RUN echo words")
    done = project.build("--progress", "quiet")
    assert done.returncode == 0
    assert [line for line in done.stderr.splitlines() if not line.startswith("warning: ")] == []
    assert "app-cu130-amd64" in done.stdout


def test_a_log_is_followed_to_the_end_of_its_run(engine: str, tmp_path: Path) -> None:
    project = write_project(tmp_path, NOWHERE, app="RUN echo begin; sleep 3; echo end")
    assert project.run("logs").returncode == 5
    run = project.start()
    try:
        wait_for_line(run, project, "app", "| begin")
        followed = project.run("logs", "-f", "app-cu130-amd64", timeout=60)
        run.communicate(timeout=30)
    finally:
        run.kill()
    assert followed.returncode == 0
    assert followed.stdout.splitlines()[0].startswith("=== app-cu130-amd64: ")
    assert [line.partition("| ")[2] for line in followed.stdout.splitlines() if "| " in line] == ["begin", "end"]
    assert "=== ended with status 0" in followed.stdout
    assert project.run("logs", "app-cu130-amd64").stdout == followed.stdout
    listed = project.run("logs").stdout.splitlines()
    assert listed[0].startswith("app-cu130-amd64  ")
    assert listed[1].strip().startswith("=== ended with status 0")
