"""What killed tests leave behind is removed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_TESTS = """\
import sys, time
from tests.support.sweep import if_killed
with if_killed('rm "$1"', sys.argv[1]):
    print("within", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("killed", [True, False])
def test_a_script_runs_where_tests_are_killed_and_only_there(tmp_path: Path, killed: bool) -> None:
    left = tmp_path / "left behind"
    left.touch()
    argv = [sys.executable, "-c", _TESTS, str(left)]
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as tests:
        assert tests.stdout is not None
        assert tests.stdout.readline() == b"within\n"
        if killed:
            tests.send_signal(signal.SIGKILL)
        else:
            tests.communicate(b"end\n")
    deadline = time.monotonic() + (60 if killed else 1)
    while left.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left.exists() is not killed
