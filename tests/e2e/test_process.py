"""The one door for processes, with real children: what they get, how they end, and that none is left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator import process
from orchestrator.errors import EnvironmentLacksError, InterruptedRunError


def alive(number: int) -> bool:
    """Whether a process runs; one that ended and waits for its parent to look does not."""
    try:
        with Path(f"/proc/{number}/stat").open() as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(numbers: list[int], seconds: float = 5) -> bool:
    end = time.monotonic() + seconds
    while any(map(alive, numbers)) and time.monotonic() < end:
        time.sleep(0.02)
    return not any(map(alive, numbers))


def family(note: Path) -> tuple[str, ...]:
    """A shell with a child of its own; both write their number."""
    return ("sh", "-c", f"echo $$ > {note}; sleep 60 & echo $! >> {note}; wait")


def numbers(note: Path) -> list[int]:
    end = time.monotonic() + 5
    while time.monotonic() < end and (not note.exists() or note.read_text().count("\n") < 2):
        time.sleep(0.01)
    return [int(line) for line in note.read_text().split()]


def test_output_and_status_are_kept() -> None:
    done = process.run(("sh", "-c", "printf 'a\\377b'; echo oops >&2; exit 3"))
    assert (done.returncode, done.ok, done.stdout, done.stderr) == (3, False, "a\ufffdb", "oops\n")
    assert done.argv[0] == "sh"


def test_standard_input_is_empty_or_ours() -> None:
    assert process.run(("cat",)).stdout == ""
    assert process.run(("cat",), stdin="é" * 200_000).stdout == "é" * 200_000


def test_directory_and_environment(tmp_path: Path) -> None:
    done = process.run(("sh", "-c", "pwd; echo $EXTRA; echo $HOME"), cwd=tmp_path, env={"EXTRA": "x"})
    assert done.stdout.splitlines() == [os.path.realpath(tmp_path), "x", os.environ["HOME"]]


def test_a_child_has_a_group_of_its_own() -> None:
    script = "import os; print(os.getpgid(0) == os.getpid(), os.getsid(0) == os.getpid())"
    assert process.run((sys.executable, "-c", script)).stdout == "True True\n"


def test_no_answer_ends_the_whole_family(tmp_path: Path) -> None:
    note = tmp_path / "numbers"
    with pytest.raises(EnvironmentLacksError, match=r"^no answer within 0\.5 s: sh -c "):
        process.run(family(note), timeout=0.5)
    assert gone(numbers(note))


@pytest.mark.parametrize("watched", [False, True])
def test_one_that_left_the_family_and_holds_its_pipes_is_not_waited_for(tmp_path: Path, *, watched: bool) -> None:
    """As ssh does with ControlPersist, and the daemon of a credential helper."""
    note = tmp_path / "number"
    daemon = f"echo begun; setsid sh -c 'echo $$ > {note}; exec sleep 60' & echo said >&2;"
    began = time.monotonic()
    with process.stoppable(process.Stop()) if watched else contextlib.nullcontext():
        done = process.run(("sh", "-c", f"{daemon} exit 3"), timeout=30)
        assert (done.returncode, done.stdout, done.stderr) == (3, "begun\n", "said\n")
        os.kill(int(note.read_text()), signal.SIGKILL)
        with pytest.raises(EnvironmentLacksError, match="no answer within 1 s"):
            process.run(("sh", "-c", f"{daemon} sleep 60"), timeout=1)
        os.kill(int(note.read_text()), signal.SIGKILL)
    assert time.monotonic() - began < 20


def test_a_child_that_stays_in_the_family_ends_with_it(tmp_path: Path) -> None:
    note = tmp_path / "number"
    assert process.run(("sh", "-c", f"sleep 60 & echo $! > {note}"), timeout=30).ok
    assert gone([int(note.read_text())])


def test_a_wish_to_stop_ends_the_whole_family(tmp_path: Path) -> None:
    note = tmp_path / "numbers"
    stop = process.Stop()
    threading.Timer(0.3, stop.set).start()
    started = time.monotonic()
    with process.stoppable(stop), pytest.raises(InterruptedRunError):
        process.run(family(note), timeout=30)
    assert time.monotonic() - started < 10
    assert gone(numbers(note))
    assert process.run(("true",)).ok  # outside, the wish counts no more


def test_a_thread_sees_the_stop_only_when_it_is_carried(tmp_path: Path) -> None:
    stop = process.Stop()
    stop.set()
    with process.stoppable(stop), ThreadPoolExecutor(max_workers=2) as pool:
        carried = [pool.submit(process.carried(process.run), ("sleep", "60"), timeout=30) for _ in range(2)]
        assert pool.submit(process.run, ("true",)).result().ok
        for future in carried:
            with pytest.raises(InterruptedRunError):
                future.result()
    assert not process.carried(process.asked_to_stop)()


def test_while_nobody_wishes_to_stop_all_is_as_ever() -> None:
    with process.stoppable(process.Stop()):
        assert process.run(("cat",), stdin="x" * 100_000).stdout == "x" * 100_000
        with pytest.raises(EnvironmentLacksError, match="no answer within"):
            process.run(("sleep", "60"), timeout=0.3)


def test_ctrl_c_in_the_middle_ends_the_whole_family(tmp_path: Path) -> None:
    note = tmp_path / "numbers"
    code = f"from orchestrator import process; process.run({family(note)!r})"
    ours = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    try:
        found = numbers(note)
        time.sleep(0.3)  # the children may run before their parent has heard that they started
        ours.send_signal(signal.SIGINT)
        _, said = ours.communicate(timeout=20)
    finally:
        ours.kill()
    assert said.rstrip().endswith(b"KeyboardInterrupt")
    assert gone(found)


def test_a_group_that_is_gone_is_no_error() -> None:
    child = process.spawn(("true",))
    child.communicate()
    process.kill_group(child, signal.SIGTERM)
