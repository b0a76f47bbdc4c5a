"""`orchestrate headers …` as a person uses it: every command of the installed program, on a bundle of a few files."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from orchestrator.headers import bundle
from orchestrator.headers.store import Store
from tests.unit.headers import samples

COMMAND = str(Path(sys.executable).parent / "orchestrate")


class Place:
    """A directory with a FlashInfer wheel, a mirror and a store; and the program in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        samples.wheel(root / "flashinfer_python-0.6.13-py3-none-any.whl")
        for path, data in samples.artifacts().items():
            target = root / "mirror" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("FLASHINFER", "ORCHESTRATE"))
        }
        self.environment |= {"XDG_CACHE_HOME": str(root / "cache"), "NO_COLOR": "1"}
        self.store = Store(root / "cache" / "orchestrate" / "headers")

    def headers(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [COMMAND, "headers", *words],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == code, (words, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done

    def lock(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.headers("lock", "--from", "flashinfer_python-0.6.13-py3-none-any.whl", "--mirror", "mirror", *words)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_from_a_lock_over_an_archive_to_another_machine(place: Place, tmp_path: Path) -> None:
    written = place.lock()
    assert "6 headers" in written.stdout
    assert "flashinfer.lock.json: written" in written.stderr
    assert "unchanged" in place.lock().stderr
    text = (place.root / "flashinfer.lock.json").read_text()

    told = json.loads(place.headers("fetch", "--format", "json").stdout)
    assert told == {"schema": 1, "fetched": 0, "bytes": 0, "present": 9, "requests": 0}
    assert "9 files" in place.headers("verify").stdout
    place.headers("export", "-o", "one.tar.zst")
    place.headers("export", "-o", "two.tar.zst")
    assert (place.root / "one.tar.zst").read_bytes() == (place.root / "two.tar.zst").read_bytes()
    place.headers("export", "-o", "tree")
    assert "9 files verified" in place.headers("verify", "tree").stdout

    (tmp_path / "other").mkdir()
    other = Place(tmp_path / "other")
    other.headers("import", "../one.tar.zst")
    assert (other.root / "flashinfer.lock.json").read_text() == text
    other.headers("verify")
    other.headers("import", "../one.tar.zst")


def test_what_is_wrong_is_one_message_and_its_code(place: Place) -> None:
    assert "orchestrate headers lock" in place.headers("fetch", code=2).stderr
    assert "the version of FlashInfer is missing" in place.headers("lock", code=2).stderr
    assert (
        "unknown tier"
        in place.headers("lock", "--from", "flashinfer_python-0.6.13-py3-none-any.whl", "--tier", "x", code=2).stderr
    )
    assert "no such file" in place.headers("import", "none.tar.zst", code=2).stderr
    place.lock()
    assert "not in the store" in place.headers("export", "--store", "empty", code=4).stderr
    dead = ("--mirror", "http://127.0.0.1:9/", "--window", "1")
    assert "could not be fetched" in place.headers("fetch", "--store", "e", *dead, code=6).stderr
    (place.root / "one.tar.zst").write_bytes(b"not zstd")
    assert "not a bundle" in place.headers("import", "one.tar.zst", code=4).stderr
    lock = place.root / "flashinfer.lock.json"
    lock.write_text(lock.read_text().replace('"bundle": "sha256:', '"bundle": "sha256:0'))
    assert "was edited" in place.headers("verify", code=4).stderr


def test_damage_is_found_and_repaired(place: Place) -> None:
    place.lock()
    lock = bundle.read_lock(place.root / "flashinfer.lock.json")
    victim = place.store.path(lock.headers[0].sha256)
    victim.chmod(0o644)
    victim.write_bytes(b"damaged")
    assert "is damaged in the store" in place.headers("verify", code=4).stderr
    assert "1 file repaired" in place.headers("verify", "--repair", "--mirror", "mirror").stderr
    place.headers("verify")


def test_a_stale_lock_says_which_pins_moved(place: Place) -> None:
    place.lock()
    place.headers("lock", "--check", "--from", "flashinfer_python-0.6.13-py3-none-any.whl")
    files = {name: text.replace(samples.BMM, "9" * 40 + "/moved") for name, text in samples.source("0.6.14").items()}
    samples.wheel(place.root / "next.whl", files)
    stale = place.headers("lock", "--check", "--from", "next.whl", code=3)
    assert "pin TRTLLM_GEN_BMM moved with FlashInfer 0.6.14" in stale.stderr
    assert "TRTLLM_GEN_GEMM" not in stale.stderr


def test_progress_is_a_bar_on_a_terminal_and_lines_in_a_log(place: Place) -> None:
    in_a_log = place.lock().stderr
    assert "lock: 4 of 4 files" in in_a_log
    assert "\x1b" not in in_a_log
    ours, theirs = pty.openpty()
    argv = [COMMAND, "headers", "fetch", "--mirror", "mirror", "--store", "second"]
    environment = {**place.environment, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(argv, cwd=place.root, env=environment, stdout=subprocess.PIPE, stderr=theirs) as running:
        os.close(theirs)
        seen = b""
        with contextlib.suppress(OSError):  # a terminal whose other end is closed
            while chunk := os.read(ours, 4096):
                seen += chunk
    os.close(ours)
    assert running.returncode == 0
    assert b"9/9" in seen
    assert b"fetch: 9 of 9" not in seen


def test_serve_and_gc(place: Place) -> None:
    place.lock()
    lock = bundle.read_lock(place.root / "flashinfer.lock.json")
    server = subprocess.Popen(
        [COMMAND, "headers", "serve"], cwd=place.root, env=place.environment, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        name, _, url = server.stdout.readline().strip().partition("=")
        assert name == "FLASHINFER_CUBINS_REPOSITORY"
        for file in lock.files:
            with urllib.request.urlopen(url + file.path.replace("/include", "//include")) as answer:
                assert samples.sha(answer.read()) == file.sha256
        request = urllib.request.Request(url + lock.files[0].path, headers={"Range": "bytes=5-9"})
        with urllib.request.urlopen(request) as answer:
            assert (answer.status, len(answer.read())) == (206, 5)
        for path in ("../../etc/passwd", "%2e%2e/x", "flashinfer.lock.json"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(url + path)
    finally:
        server.send_signal(signal.SIGINT)
        _, said = server.communicate(timeout=20)
    assert server.returncode == 130
    assert "Traceback" not in said

    extra = place.store.path(samples.sha(b"extra"))
    extra.parent.mkdir(exist_ok=True)
    extra.write_bytes(b"extra")
    # the manifest without headers was read for the lock and is not part of the bundle
    assert "2 files removed" in place.headers("gc").stdout
    place.headers("verify")
