"""python-on-whales as this program calls it: the same engine, a limit, a way to stop it, and no import without need."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from python_on_whales.utils import run

from orchestrator import process
from orchestrator.engine import beyond, client, images
from orchestrator.errors import EnvironmentLacksError, InterruptedRunError
from tests.support.engine import ROOT, call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from python_on_whales import DockerClient

    from tests.support.engine import Registry


def version(docker: DockerClient) -> str:
    return docker.system.info().server_version or ""


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An engine that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"tcp://127.0.0.1:{mute.getsockname()[1]}"
        monkeypatch.setenv("DOCKER_HOST", address)
        yield address


def left_over(address: str) -> list[str]:
    """Commands of running processes that were given this engine."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if f"DOCKER_HOST={address}".encode() in (path / "environ").read_bytes().split(b"\0"):
                found.append((path / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return [command for command in found if "pytest" not in command]


def nothing_left(address: str) -> None:
    """Wait for what was killed: it is there until the kernel has ended it. What nobody ends stays longer."""
    wait_until(lambda: left_over(address) == [], seconds=5)


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_whales_reach_the_same_engine(engine: str) -> None:
    assert client.ask(version) == engine


def test_images_of_the_engine(engine: str) -> None:
    listed = call("docker", "image", "ls", "--no-trunc", "--format", "{{.ID}}").stdout.split()
    assert images.held(f"localhost/nobody/has:{os.getpid()}") is None
    if not listed:
        pytest.fail("the engine of the tests holds an image whenever others have run")
    told = json.loads(call("docker", "image", "inspect", listed[0]).stdout)[0]
    found = images.held(listed[0])
    assert found is not None
    assert found.id == told["Id"]
    assert found.platform.startswith("/".join(part for part in (told["Os"], told["Architecture"]) if part))


def test_a_tag_is_taken_from_the_engine_and_others_of_the_image_stay(engine: str) -> None:
    assert engine
    held, own = (f"localhost/forget/{os.getpid()}:{tag}" for tag in ("held", "own"))
    call("docker", "image", "import", "/dev/null", held)
    call("docker", "image", "tag", held, own)
    images.forget(held)
    assert images.held(held) is None
    assert images.held(own) is not None
    with pytest.raises(client.DockerFailedError):
        images.forget(held)
    images.forget(own)
    assert images.held(own) is None


def test_a_silent_engine_costs_no_more_than_the_limit(silent: str) -> None:
    started = time.monotonic()
    with pytest.raises(EnvironmentLacksError, match="no answer within 1 s"):
        client.ask(version, timeout=1)
    assert time.monotonic() - started < 10
    nothing_left(silent)


def test_the_limit_holds_without_timeout_on_the_machine(
    silent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on macOS."""
    for name in ("sh", "docker"):
        (tmp_path / name).symlink_to(process.resolve(name))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentLacksError, match="no answer within 1 s"):
        client.ask(version, timeout=1)
    nothing_left(silent)


def test_a_stop_ends_the_call_and_its_processes(silent: str) -> None:
    stop = process.Stop()
    threading.Timer(1, stop.set).start()
    started = time.monotonic()
    with process.stoppable(stop), pytest.raises(InterruptedRunError):
        client.ask(version, timeout=60)
    assert time.monotonic() - started < 20
    nothing_left(silent)


def test_a_stop_before_the_call_ends_it_as_well(silent: str) -> None:
    stop = process.Stop()
    stop.set()
    started = time.monotonic()
    with process.stoppable(stop), pytest.raises(InterruptedRunError):
        client.ask(version, timeout=60)
    assert time.monotonic() - started < 20
    nothing_left(silent)


def test_ctrl_c_leaves_no_process_behind(silent: str) -> None:
    code = "from orchestrator.engine import client; client.ask(lambda docker: docker.system.info(), timeout=60)"
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL, start_new_session=True) as child:
        wait_until(lambda: any(" system info" in command and "timeout" not in command for command in left_over(silent)))
        os.killpg(child.pid, signal.SIGINT)  # as a terminal does: to the whole foreground group
        child.wait(20)
    nothing_left(silent)


def test_a_process_that_is_killed_leaves_its_call_to_the_limit(silent: str) -> None:
    code = "from orchestrator.engine import client; client.ask(lambda docker: docker.system.info(), timeout=3)"
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL, start_new_session=True) as child:
        wait_until(lambda: any(" system info" in command and "timeout" not in command for command in left_over(silent)))
        child.kill()
    wait_until(lambda: left_over(silent) == [])


def test_the_client_that_the_user_names_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "docker"
    mine.write_text("#!/bin/sh\necho 'ERROR: asked with https://bob:secret@host/' >&2\nexit 3\n")
    mine.chmod(0o755)
    monkeypatch.setenv(client.CLIENT_VARIABLE, str(mine))
    with pytest.raises(client.DockerFailedError) as caught:
        images.held("alpine")
    assert caught.value.message == "`docker image inspect alpine` failed: asked with https://host/"
    assert caught.value.returncode == 3


def test_an_input_reaches_the_client_and_a_terminal_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of the terminal's process group a client that reads from it is stopped, not ended."""
    mine = tmp_path / "docker"
    mine.write_text('#!/bin/sh\n[ -t 0 ] && exec sleep 60\nread -r word\necho "read $word." >&2\nexit 2\n')
    mine.chmod(0o755)
    monkeypatch.setenv(client.CLIENT_VARIABLE, str(mine))

    def say(docker: DockerClient) -> None:
        run([*docker.client_config.docker_cmd, "login"], input=b"bytes\n")

    with pytest.raises(client.DockerFailedError) as caught:
        client.ask(say)
    assert caught.value.reason == "read bytes."
    main, terminal = os.openpty()
    script = "from orchestrator.engine import client\nclient.ask(lambda docker: docker.volume.list(), timeout=10)"
    done = subprocess.run([sys.executable, "-c", script], stdin=terminal, capture_output=True, text=True, timeout=60)
    os.close(main)
    os.close(terminal)
    assert "`docker volume list --quiet` failed: read ." in done.stderr


def test_a_tag_names_the_digest_of_a_single_manifest(registry: Registry, tmp_image: str, tmp_path: Path) -> None:
    """Without `--prefer-index=false` buildx wraps it into an index of another digest."""
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    output = f"type=image,name={tmp_image}:source,push=true"
    call(
        "docker", "buildx", "build", "--provenance=false", "--output", output, "--metadata-file", tmp_path / "m.json",
        tmp_path,
    )  # fmt: skip
    digest = json.loads((tmp_path / "m.json").read_text())["containerimage.digest"]
    tags = [f"{tmp_image}:one", f"{tmp_image}:two"]
    done = beyond.copy_to_tags(f"{tmp_image}@{digest}", tags)
    while "500 Internal Server Error" in done.stderr:
        # buildx sets tags beside each other, and this registry (2.8) writes a manifest's link in place: whoever reads
        # it in that moment hears of an empty one. `runs.tagging` tries again, too.
        done = beyond.copy_to_tags(f"{tmp_image}@{digest}", tags)
    assert done.ok, done.stderr
    repository = tmp_image.partition("/")[2]
    assert registry.digest(repository, "one") == registry.digest(repository, "two") == digest


COMMANDS = [
    ["--help"], ["--version"], ["plan"], ["plan", "--format", "json"], ["check"], ["check", "--help"], ["schema"],
]  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_commands_that_ask_nothing_of_it_do_not_import_whales(words: list[str]) -> None:
    assert imported(words) == []


def test_completion_does_not_import_whales() -> None:
    typed = {"COMP_WORDS": "orchestrate pl", "COMP_CWORD": "1", "_ORCHESTRATE_COMPLETE": "bash_complete"}
    assert imported([], env=typed) == []


def test_what_asks_for_an_image_imports_whales() -> None:
    """The test above can fail."""
    assert imported(["verify", f"localhost:1/nobody/has:{os.getpid()}", "--archs", "9.0"], code=6) == [
        "python_on_whales"
    ]


def imported(words: list[str], *, code: int = 0, env: Mapping[str, str] | None = None) -> list[str]:
    """What is imported of python-on-whales once a command has ended."""
    script = (
        "import atexit, sys\n"
        "name = 'python_on_whales'\n"
        "atexit.register(lambda: print('\\n', [name] if name in sys.modules else [], file=sys.stderr))\n"
        f"sys.argv[:] = ['orchestrate', *{words!r}]\n"
        "from orchestrator.cli.app import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT / "examples" / "axpy", capture_output=True, text=True, timeout=120,
        env={**os.environ, **(env or {})},
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert done.stdout or code
    found = done.stderr.splitlines()[-1].strip()
    assert found in ("[]", "['python_on_whales']"), done.stderr
    return ["python_on_whales"] if "whales" in found else []
