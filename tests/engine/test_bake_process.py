"""One bake process: real processes that misbehave, and the real engine."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.bake.events import LogLine, PlainLine, StepKind, StepStarted
from orchestrator.bake.process import BakeCommand, BakeResult, bake_argv, run_bake
from orchestrator.errors import EnvironmentLacksError
from orchestrator.process import Stop, run
from tests.support.base import write_rootfs

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.bake.events import Event
    from tests.support.engine import Registry

MARK = "ORCHESTRATE_TEST_MARK"


def marked(mark: str) -> list[int]:
    """The processes whose environment holds the mark, zombies aside."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if f"{MARK}={mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def gone(mark: str) -> bool:
    """Whether none is left; a process that was killed takes a moment to go."""
    deadline = time.monotonic() + 3
    while marked(mark):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def script(folder: Path, text: str, **env: str) -> BakeCommand:
    """A command whose "docker" is a Python script."""
    (folder / "fake.py").write_text(text)
    return bake(folder, argv=(sys.executable, "-u", str(folder / "fake.py")), env=env)


def bake(folder: Path, **fields: Any) -> BakeCommand:
    settings: dict[str, Any] = {
        "id": "v",
        "argv": ("docker", "buildx", "bake", "-f", "bake.json"),
        "bake_json": "{}",
        "target": "v",
        "cwd": folder,
        "env": {},
        "log": folder / "state" / "v.log",
        "metadata": folder / "state" / "v.json",
        **fields,
    }
    return BakeCommand(**settings)


def follow(
    command: BakeCommand, *, on_event: Callable[[Event], None] | None = None, **options: Any
) -> tuple[BakeResult, list[Event]]:
    events: list[Event] = []

    def hear(event: Event) -> None:
        events.append(event)
        if on_event is not None:
            on_event(event)

    return run_bake(command, on_event=hear, **{"stop": Stop(), **options}), events


def after(seconds: float, act: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(seconds, act)
    timer.start()
    return timer


def test_what_is_started(tmp_path: Path) -> None:
    command = script(
        tmp_path,
        "import json, os, sys\n"
        "print(json.dumps([sys.argv[1:], os.getcwd(), os.environ['X'], os.environ['BUILDX_METADATA_PROVENANCE'],\n"
        "    sys.stdin.read(), os.getpgrp() == os.getpid()]), file=sys.stderr)",
        X="1",
    )
    result, events = follow(command)
    argv = ["--progress", "rawjson", "--metadata-file", str(command.metadata), "v"]
    (line,) = events
    assert isinstance(line, PlainLine)
    assert json.loads(line.text) == [argv, str(tmp_path), "1", "min", "", True]
    assert (result.returncode, result.failure, result.metadata) == (0, None, None)
    assert bake_argv(command)[-5:] == tuple(argv)


def test_a_stop_is_polite_and_a_group_that_obeys_ends_at_once(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    command = script(
        tmp_path,
        "import subprocess, sys, time\nsubprocess.Popen(['sleep', '60'])\nprint('up', file=sys.stderr)\ntime.sleep(60)",
        **{MARK: mark},
    )
    stop = Stop()
    started = time.monotonic()
    result, _ = follow(command, stop=stop, on_event=lambda _: stop.set())
    assert time.monotonic() - started < 5
    assert result.stopped
    assert result.returncode == -signal.SIGTERM
    assert gone(mark)
    assert "stopped by orchestrate" in command.log.read_text()


STUBBORN = (
    "import signal, subprocess, sys, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print('up', file=sys.stderr)\n"
    "time.sleep(60)"
)


def test_a_group_that_does_not_obey_is_killed(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    stop = Stop()
    started = time.monotonic()
    command = script(tmp_path, STUBBORN, **{MARK: mark})
    result, _ = follow(command, stop=stop, on_event=lambda _: stop.set(), terminate_after=1)
    assert 1 <= time.monotonic() - started < 6
    assert result.returncode == -signal.SIGKILL
    assert gone(mark)


def test_a_second_wish_kills_at_once(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    stop = Stop()

    def twice(_: object) -> None:
        stop.set()
        after(0.3, lambda: setattr(stop, "immediate", True))

    started = time.monotonic()
    result, _ = follow(script(tmp_path, STUBBORN, **{MARK: mark}), stop=stop, on_event=twice, terminate_after=30)
    assert time.monotonic() - started < 6
    assert result.returncode == -signal.SIGKILL
    assert gone(mark)


def test_an_error_in_the_listener_leaves_no_child(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex

    def fail(_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        follow(script(tmp_path, STUBBORN, **{MARK: mark}), on_event=fail)
    assert gone(mark)


def test_a_grandchild_that_keeps_the_pipe_open_does_not_hold_us(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    command = script(
        tmp_path,
        "import subprocess, sys\nsubprocess.Popen(['sleep', '60'])\nprint('ERROR: over', file=sys.stderr)\nsys.exit(3)",
        **{MARK: mark},
    )
    started = time.monotonic()
    result, _ = follow(command)
    assert time.monotonic() - started < 5
    assert result.returncode == 3
    assert result.failure is not None
    assert result.failure.message == "over"
    assert gone(mark)


def test_floods_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    command = script(
        tmp_path,
        "import sys\nout = sys.stderr.buffer\nfor n in range(40000): out.write(b'%d \\xff\\n' % n)\n"
        "out.write(b'x' * (20 << 20))\nsys.exit(1)",
    )
    started = time.monotonic()
    result, events = follow(command)
    assert time.monotonic() - started < 20
    assert len(events) >= 40001
    assert result.failure is not None
    assert len(result.last_lines) <= 40
    assert command.log.read_bytes().startswith(b"=== v: ")


def test_no_credentials_stay_in_the_metadata(tmp_path: Path) -> None:
    written = {"v": {"containerimage.digest": "sha256:new", "proxy": "http://user:PASSWORD@127.0.0.1:9/"}}
    text = (
        "import pathlib, sys\n"
        f"pathlib.Path(sys.argv[sys.argv.index('--metadata-file') + 1]).write_text({json.dumps(written)!r})"
    )
    command = script(tmp_path, text)
    found = follow(command)[0].metadata
    assert found == {"v": {"containerimage.digest": "sha256:new", "proxy": "http://127.0.0.1:9/"}}
    assert json.loads(command.metadata.read_text()) == found
    assert command.metadata.stat().st_mode & 0o777 == 0o600


def test_metadata_of_an_earlier_attempt_does_not_pass_for_this_ones(tmp_path: Path) -> None:
    command = script(tmp_path, "import sys; sys.exit(1)")
    command.metadata.parent.mkdir()
    command.metadata.write_text('{"v": {"containerimage.digest": "sha256:old"}}')
    assert follow(command)[0].metadata is None


def test_no_docker(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentLacksError, match="no-such-docker is not installed"):
        follow(bake(tmp_path, argv=("no-such-docker",)))


@pytest.mark.parametrize("entry", ["type=gha,scope=x", {"type": "gha", "scope": "x"}])
def test_a_gha_cache_that_buildx_drops_is_named(tmp_path: Path, entry: object, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACTIONS_RUNTIME_TOKEN", "ACTIONS_RESULTS_URL", "ACTIONS_CACHE_URL"):
        monkeypatch.delenv(name, raising=False)
    text = json.dumps({"target": {"v": {"cache-to": [entry]}}})
    fake = script(tmp_path, "")
    (problem,) = follow(bake(tmp_path, argv=fake.argv, bake_json=text))[0].cache_problems
    assert problem.startswith("type=gha cache was left out by buildx: ACTIONS_RUNTIME_TOKEN")
    env = {"ACTIONS_RUNTIME_TOKEN": "t", "ACTIONS_RESULTS_URL": "https://example.org/"}
    assert follow(bake(tmp_path, argv=fake.argv, bake_json=text, env=env))[0].cache_problems == ()


# With the real engine.


def project(folder: Path, instructions: str, **target: Any) -> BakeCommand:
    """A project with one target `v` on a base that needs no registry."""
    write_rootfs(folder)
    # A value that no other build has: what comes after it is never in the cache.
    fresh = uuid.uuid4().hex
    (folder / "Dockerfile").write_text(
        f"FROM scratch AS base\nADD rootfs.tar /\nENV FRESH={fresh}\nRUN : $FRESH\n{instructions}\n"
    )
    text = json.dumps({"target": {"v": {"output": ["type=cacheonly"], **target}}})
    (folder / "bake.json").write_text(text)
    return bake(folder, bake_json=text)


def test_a_real_build(registry: Registry, tmp_path: Path, tmp_image: str) -> None:
    command = project(tmp_path, "RUN echo hello; echo oops >&2", tags=[f"{tmp_image}:1"], output=["type=registry"])
    result, events = follow(command)
    assert result.returncode == 0
    assert result.metadata is not None
    digest = result.metadata["v"]["containerimage.digest"]
    assert registry.digest(tmp_image.partition("/")[2], "1") == digest
    assert result.metadata["v"]["buildx.build.provenance"]
    assert result.steps.total == result.steps.done == 3
    assert {event.text for event in events if isinstance(event, LogLine)} == {"hello", "oops"}
    log = command.log.read_text()
    assert "3/3] RUN echo hello; echo oops >&2" in log
    assert "| hello\n" in log
    again, _ = follow(command)
    assert (again.steps.total, again.steps.cached) == (3, 3)


def test_a_real_failure(engine: str, tmp_path: Path) -> None:
    command = project(tmp_path, r"RUN echo network x not found; printf '\377\n'; exit 7")
    result, _ = follow(command)
    assert result.returncode == 1
    assert result.failure is not None
    assert result.failure.kind is StepKind.RUN
    assert result.failure.message == "exit code: 7"
    assert result.last_lines == ("network x not found", "\ufffd")
    assert result.metadata is None


def test_clipped_output_is_noticed(engine: str, tmp_path: Path) -> None:
    # The default builder's limit is 200 KiB/s; its cure is an option of a builder, not of the client.
    command = project(tmp_path, "RUN yes abcdefghijklmnopqrstuvwxyz | head -c 3000000")
    assert follow(command)[0].clipped


def test_a_cache_that_is_not_there_yet_is_a_note(engine: str, tmp_path: Path, tmp_image: str) -> None:
    command = project(tmp_path, "", **{"cache-from": [f"type=registry,ref={tmp_image}-cache:none"]})
    result, _ = follow(command)
    assert result.returncode == 0
    assert result.cache_problems == (f"no cache at {tmp_image}-cache:none yet",)


def test_a_real_build_is_stopped_in_the_middle_of_a_run(engine: str, tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    command = project(tmp_path, "RUN echo asleep; sleep 120")
    command = bake(tmp_path, bake_json=command.bake_json, env={MARK: mark})
    stop = Stop()
    asked: list[float] = []

    def stop_when_asleep(event: Event) -> None:
        if isinstance(event, LogLine) and event.text == "asleep":
            assert marked(mark)
            asked.append(time.monotonic())
            stop.set()

    result, events = follow(command, stop=stop, on_event=stop_when_asleep)
    assert time.monotonic() - asked[0] < 10
    assert result.stopped
    assert result.returncode in (130, 1, -signal.SIGTERM)
    assert gone(mark)
    assert any(isinstance(event, StepStarted) and "sleep 120" in event.name for event in events)


def test_rawjson_skips_the_file_system_entitlement(engine: str, tmp_path: Path) -> None:
    """Documented behaviour of buildx (measured with 0.29) that the bake room has to make up for.

    With `--progress plain` a context outside the working directory needs `--allow fs.read=…`; with `rawjson` nobody
    asks. When this test fails, buildx has closed the hole: `--allow` is then needed in earnest, which is given already.
    """
    outside = tmp_path / "outside"
    inside = tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    command = project(outside, "")
    text = json.dumps({"target": {"v": {"context": str(outside), "output": ["type=cacheonly"]}}})
    (inside / "bake.json").write_text(text)
    command = bake(inside, bake_json=text)
    base = [*command.argv, "v"]
    plain = run([*base, "--progress", "plain"], cwd=inside)
    assert plain.returncode != 0
    assert "additional privileges requested" in plain.stderr
    allowed = run([*base, "--progress", "plain", "--allow", f"fs.read={outside}"], cwd=inside)
    assert allowed.returncode == 0, allowed.stderr
    assert follow(command)[0].returncode == 0


def test_the_log_is_written_while_it_happens(tmp_path: Path) -> None:
    command = script(tmp_path, "import sys, time\nprint('first', file=sys.stderr)\ntime.sleep(0.5)")
    seen: list[bool] = []
    follow(command, on_event=lambda _: seen.append("first\n" in command.log.read_text()))
    assert seen == [True]
    assert command.log.stat().st_mode & 0o777 == 0o600
