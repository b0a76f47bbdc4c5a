"""Fetching from a mirror that misbehaves: everything arrives, or one clear error; the store never holds a wrong byte.

Real sockets, real HTTP; no container engine.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.errors import EnvironmentLacksError, NetworkError, UsageError, VerificationError
from orchestrator.headers.fetch import fetch
from orchestrator.headers.request import Options, Wanted
from orchestrator.headers.sources import HttpSource, chain, source_of
from orchestrator.headers.store import Store
from orchestrator.redact import redact_url
from tests.support.mirror import (
    Endless,
    HostileMirror,
    Page,
    Redirect,
    Reset,
    Slow,
    Status,
    Truncate,
    Wrong,
    WrongRange,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.support.mirror import Fault

# impatient, so that the tests are quick; the proportions are those of the defaults
QUICK = Options(jobs=4, window=6, connect=1, read=1, slowest=1000, patience=0.5, backoff=0.02, backoff_most=0.2)


def some_files(count: int = 6, size: int = 40_000) -> dict[str, bytes]:
    source = random.Random(7)
    return {f"aa{n}/include/File{n}.h": source.randbytes(size + n) for n in range(count)}


def wanted_of(files: Mapping[str, bytes], *, sizes: bool = True) -> list[Wanted]:
    return [
        Wanted(path=path, sha256=hashlib.sha256(data).hexdigest(), size=len(data) if sizes else None)
        for path, data in files.items()
    ]


def assert_store_is_right(store: Store, files: Mapping[str, bytes], *, complete: bool) -> None:
    """Whatever is visible is right; if `complete`, everything is visible."""
    assert list(store.verify()) == []
    for data in files.values():
        digest = hashlib.sha256(data).hexdigest()
        if complete or store.has(digest):
            assert store.path(digest).read_bytes() == data
            assert store.path(digest).stat().st_mode & 0o777 == 0o444
    if complete:
        assert not [path for path in (store.root / "partial").glob("*") if path.suffix != ".json"]


@pytest.mark.parametrize("sizes", [True, False], ids=["locked", "unlocked"])
@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([Status(403)] * 3, id="burst of 403"),
        pytest.param([Status(429, "0"), Status(503)], id="429 with Retry-After, 503"),
        pytest.param([Status(500)] * 2, id="500"),
        pytest.param([Truncate(1000), Truncate(39_000)], id="cut short, with a length"),
        pytest.param([Truncate(1000, declared=False)], id="cut short, without a length"),
        pytest.param([Reset(20_000), Reset(10_000)], id="reset in mid-body"),
        pytest.param([Wrong()], id="wrong bytes once"),
        pytest.param([Page()], id="a page once"),
        pytest.param([Slow(0.01)], id="slow body"),
        pytest.param([Endless()], id="a body without an end"),
        pytest.param([Status(408), Truncate(0), Wrong(), Reset(1)], id="all of it"),
    ],
)
def test_a_mirror_that_recovers_gives_everything(tmp_path: Path, faults: list[Fault], sizes: bool) -> None:
    files = some_files(3)
    store = Store(tmp_path / "store")
    with HostileMirror(files, faults=faults) as mirror:
        options = Options(**{**_fields(QUICK), "limit": 100_000})
        if not sizes and any(isinstance(fault, Endless) for fault in faults):
            with pytest.raises(NetworkError, match="sends more than 100000 bytes"):
                fetch(wanted_of(files, sizes=False), [source_of(mirror.url)], store, options=options)
            assert_store_is_right(store, files, complete=False)
            return
        if sizes and any(isinstance(fault, Endless) for fault in faults):
            with pytest.raises(NetworkError, match=r"sends more than 4000\d bytes"):
                fetch(wanted_of(files), [source_of(mirror.url)], store, options=options)
            assert_store_is_right(store, files, complete=False)
            return
        report = fetch(wanted_of(files, sizes=sizes), [source_of(mirror.url)], store, options=options)
    assert report.fetched == 3
    assert_store_is_right(store, files, complete=True)


def _fields(options: Options) -> dict[str, Any]:
    return {name: getattr(options, name) for name in Options.__struct_fields__}


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        (Status(403), NetworkError, "HTTP 403"),
        (Status(404), NetworkError, "HTTP 404"),
        (Status(401), NetworkError, "HTTP 401"),
        (Status(500), NetworkError, "not within"),
        (Wrong(), VerificationError, "wrong bytes"),
        (Page(), VerificationError, "captive portal"),
        (Truncate(100), NetworkError, "not within"),
        (Slow(0.3), NetworkError, "slower than|time was over|timed out"),
        (Slow(0.2, headers=True), NetworkError, "not within"),
        (Redirect("/again"), NetworkError, "cannot be asked|redirect"),
        (Redirect("ftp://elsewhere/file"), NetworkError, "cannot be asked"),
    ],
    ids=str,
)
def test_a_mirror_that_stays_bad_gives_one_error(
    tmp_path: Path, fault: Fault, error: type[Exception], says: str
) -> None:
    files = some_files(2, size=2_000)
    store = Store(tmp_path / "store")
    options = Options(**{**_fields(QUICK), "window": 1.5})
    started = time.monotonic()
    by_path: dict[str, list[Fault]] = {path: [fault] * 1000 for path in (*files, "again")}
    with (
        HostileMirror(files, by_path=by_path) as mirror,
        pytest.raises(error) as caught,
    ):
        fetch(wanted_of(files), [source_of(mirror.url)], store, options=options)
    assert time.monotonic() - started < 8
    text = str(caught.value)
    assert re.search(says, text), text
    assert "Traceback" not in text
    assert_store_is_right(store, files, complete=False)
    assert not list(store.blobs())


def test_404_is_believed_at_once_and_only_for_that_source(tmp_path: Path) -> None:
    files = some_files(3)
    first, *rest = files
    store = Store(tmp_path / "store")
    with HostileMirror({path: files[path] for path in rest}) as poor, HostileMirror(files) as rich:
        report = fetch(wanted_of(files), [source_of(poor.url), source_of(rich.url)], store, options=QUICK)
        assert poor.gets(first) == 1
        assert [request.path for request in rich.requests] == [first]
    assert report.requests == 4
    assert_store_is_right(store, files, complete=True)


def test_a_dead_mirror_costs_one_connection_attempt_not_the_window(tmp_path: Path) -> None:
    files = some_files(8)
    store = Store(tmp_path / "store")
    with HostileMirror(files) as gone:
        dead = gone.url
    with HostileMirror(files) as mirror:
        fetch(wanted_of(files), [source_of(dead), source_of(mirror.url)], store, options=QUICK)
    assert_store_is_right(store, files, complete=True)


def test_a_mirror_with_wrong_bytes_does_not_stop_the_next_one(tmp_path: Path) -> None:
    files = some_files(3)
    store = Store(tmp_path / "store")
    with HostileMirror(files, faults=[Wrong()] * 50) as bad, HostileMirror(files) as good:
        fetch(wanted_of(files), [source_of(bad.url), source_of(good.url)], store, options=QUICK)
    assert_store_is_right(store, files, complete=True)


def test_a_second_fetch_sends_no_request(tmp_path: Path) -> None:
    files = some_files()
    store = Store(tmp_path / "store")
    with HostileMirror(files) as mirror:
        fetch(wanted_of(files), [source_of(mirror.url)], store, options=QUICK)
        count = len(mirror.requests)
        again = fetch(wanted_of(files), [source_of(mirror.url)], store, options=QUICK)
        assert len(mirror.requests) == count == len(files)
    assert again.requests == again.bytes == 0


def test_connections_are_kept_alive(tmp_path: Path) -> None:
    files = some_files(40, size=100)
    with HostileMirror(files) as mirror:
        fetch(wanted_of(files), [source_of(mirror.url)], Store(tmp_path / "store"), options=QUICK)
        assert len({request.peer for request in mirror.requests}) <= QUICK.jobs


def test_a_resume_asks_for_the_rest_alone(tmp_path: Path) -> None:
    data = random.Random(1).randbytes(3_000_000)
    files = {"aa/big.h": data}
    with HostileMirror(files, faults=[Reset(2_000_000)]) as mirror:
        fetch(wanted_of(files), [source_of(mirror.url)], Store(tmp_path / "store"), options=QUICK)
        first, second = mirror.requests
        assert first.range == ""
        assert second.range.startswith("bytes=")
        start = int(second.range[6:].rstrip("-"))
        assert 0 < start <= 2_000_000
        assert mirror.sent <= 2_000_000 + len(data) - start


@pytest.mark.parametrize(
    "fault",
    [WrongRange(), Status(416), Wrong(), Page(), Truncate(0), Reset(10)],
    ids=lambda fault: type(fault).__name__,
)
def test_a_resume_that_goes_wrong_begins_again(tmp_path: Path, fault: Fault) -> None:
    files = {"aa/big.h": random.Random(1).randbytes(600_000)}
    store = Store(tmp_path / "store")
    with HostileMirror(files, faults=[Reset(500_000), fault]) as mirror:
        fetch(wanted_of(files), [source_of(mirror.url)], store, options=QUICK)
        assert mirror.requests[1].range
    assert_store_is_right(store, files, complete=True)


@pytest.mark.parametrize("kind", ["no ranges", "no validators"])
def test_without_range_or_validator_it_begins_again(tmp_path: Path, kind: str) -> None:
    files = {"aa/big.h": random.Random(1).randbytes(300_000)}
    store = Store(tmp_path / "store")
    with HostileMirror(
        files, faults=[Reset(200_000)], ranges=kind != "no ranges", validators=kind != "no validators"
    ) as mirror:
        fetch(wanted_of(files), [source_of(mirror.url)], store, options=QUICK)
        assert bool(mirror.requests[1].range) == (kind == "no ranges")
    assert_store_is_right(store, files, complete=True)


def test_retry_after_is_obeyed(tmp_path: Path) -> None:
    files = some_files(1)
    with HostileMirror(files, faults=[Status(429, "1")]) as mirror:
        started = time.monotonic()
        fetch(wanted_of(files), [source_of(mirror.url)], Store(tmp_path / "store"), options=QUICK)
        assert 1.0 <= time.monotonic() - started < 4


def test_a_retry_after_beyond_the_window_ends_the_fetch_at_once(tmp_path: Path) -> None:
    files = some_files(4)
    with HostileMirror(files, faults=[Status(429, "3600")] * 9) as mirror:
        started = time.monotonic()
        with pytest.raises(NetworkError, match="HTTP 429"):
            fetch(wanted_of(files), [source_of(mirror.url)], Store(tmp_path / "store"), options=QUICK)
        assert time.monotonic() - started < 3


def test_credentials_are_sent_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = some_files(1)
    store = Store(tmp_path / "store")
    with HostileMirror(files, faults=[Status(403)] * 99) as mirror:
        url = mirror.url.replace("http://", "http://robot:hunter2secret@")
        with pytest.raises(NetworkError) as caught:
            fetch(wanted_of(files), chain([url], environment={"FLASHINFER_CUBINS_REPOSITORY": url}), store,
                  options=Options(**{**_fields(QUICK), "window": 0.5}))  # fmt: skip
        assert mirror.requests[0].authorization.startswith("Basic ")
    kept = b"".join(path.read_bytes() for path in store.root.rglob("*") if path.is_file())
    for place in (str(caught.value), repr(caught.value), kept.decode("latin-1"), redact_url(url)):
        assert "hunter2secret" not in place
        assert "robot" not in place

    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login robot password hunter2secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with HostileMirror(files) as mirror:
        fetch(wanted_of(files), [source_of(mirror.url)], store, options=QUICK)
        assert mirror.requests[0].authorization.startswith("Basic ")


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("HTTP_PROXY", "http://user:hunter2secret@[bad", "is not a URL"),
        ("NETRC", "{broken}", "not a netrc file"),
        ("ALL_PROXY", "socks5://user:hunter2secret@127.0.0.1:1080", "socks5 proxy is not supported"),
        ("HTTPS_PROXY", "socks5h://127.0.0.1:1080", "socks5h proxy is not supported"),
        ("ALL_PROXY", "ftp://user:hunter2secret@127.0.0.1:1", "ftp proxy is not supported"),
        ("HTTP_PROXY", "hunter2secret://x", "proxy is not supported"),
    ],
)
def test_a_broken_environment_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, says: str
) -> None:
    if variable == "NETRC":
        (tmp_path / "netrc").write_text("machine\n")
        value = str(tmp_path / "netrc")
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError, match=says) as caught:
        fetch(
            wanted_of(some_files(1)),
            [HttpSource(url="http://127.0.0.1:9/", name="x")],
            Store(tmp_path / "s"),
            options=QUICK,
        )
    assert "hunter2secret" not in str(caught.value)


def test_what_a_mirror_answered_is_said_when_the_repository_cannot_be_reached(tmp_path: Path) -> None:
    with HostileMirror(some_files(1), faults=[Status(401)] * 99) as mirror:
        told = {"FLASHINFER_CUBINS_REPOSITORY": "http://127.0.0.1:9/"}
        with pytest.raises(NetworkError) as caught:
            fetch(wanted_of(some_files(1)), chain([mirror.url], environment=told), Store(tmp_path / "s"),
                  options=Options(**{**_fields(QUICK), "window": 0.5}))  # fmt: skip
    assert "HTTP 401" in str(caught.value)
    assert "Connection refused" in str(caught.value)


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"])
@pytest.mark.parametrize(("content", "says"), [(None, "was not found"), ("no certificate", "is invalid")])
def test_a_ca_bundle_that_cannot_be_used_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, content: str | None, says: str
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_text(content)
    monkeypatch.setenv(variable, str(bundle))
    with pytest.raises(EnvironmentLacksError, match=f"{variable}: the CA bundle .*ca.pem {says}"):
        fetch(wanted_of(some_files(1)), [source_of("https://127.0.0.1:9/")], Store(tmp_path / "s"), options=QUICK)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that nobody knows, with its key."""
    root = tmp_path_factory.mktemp("tls")
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=mirror"]
    argv += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(argv, cwd=root, check=True, capture_output=True)
    (root / "both.pem").write_text((root / "key.pem").read_text() + (root / "cert.pem").read_text())
    return root / "both.pem"


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", ""])
@pytest.mark.parametrize("redirected", [False, True], ids=["https", "redirected to https"])
def test_certificates_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, certificate: Path, variable: str, *, redirected: bool
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, str(certificate.with_name("cert.pem")))
    files = some_files(2)
    store = Store(tmp_path / "store")
    options = Options(**{**_fields(QUICK), "window": 1})
    with HostileMirror(files, certificate=certificate) as secure:
        there: dict[str, list[Fault]] = {path: [Redirect(secure.url + path)] * 50 for path in files}
        with HostileMirror({}, by_path=there) as plain:
            source = source_of(plain.url if redirected else secure.url)
            if variable:
                fetch(wanted_of(files), [source], store, options=options)
                assert_store_is_right(store, files, complete=True)
            else:
                with pytest.raises(NetworkError, match="certificate verify failed"):
                    fetch(wanted_of(files), [source], store, options=options)
                assert not list(store.blobs())


def test_an_interrupt_ends_at_once(tmp_path: Path) -> None:
    files = some_files(2)
    with HostileMirror(files, faults=[Status(503)] * 999) as mirror:
        timer = threading.Timer(0.5, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT])
        timer.start()
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            fetch(wanted_of(files), [source_of(mirror.url)], Store(tmp_path / "s"), options=Options(window=60))
        assert time.monotonic() - started < 3


CHILD = textwrap.dedent("""
    import json, sys
    from pathlib import Path
    from orchestrator.headers.fetch import fetch
    from orchestrator.headers.request import Options, Wanted
    from orchestrator.headers.sources import source_of
    from orchestrator.headers.store import Store
    url, root, listed = sys.argv[1:]
    wanted = [Wanted(**item) for item in json.loads(listed)]
    report = fetch(wanted, [source_of(url)], Store(Path(root)), options=Options(jobs=4, window=60, backoff=0.05))
    print(report.fetched)
""")


def child(url: str, root: Path, wanted: list[Wanted]) -> subprocess.Popen[str]:
    import json

    listed = json.dumps([{"path": item.path, "sha256": item.sha256, "size": item.size} for item in wanted])
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, url, str(root), listed],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


def test_eight_processes_fetch_each_file_once(tmp_path: Path) -> None:
    files = some_files(24, size=20_000)
    store = Store(tmp_path / "store")
    with HostileMirror(files, latency=0.01) as mirror:
        children = [child(mirror.url, store.root, wanted_of(files)) for _ in range(8)]
        results = [process.communicate(timeout=60) for process in children]
        assert [process.returncode for process in children] == [0] * 8, results
        assert {path: mirror.gets(path) for path in files} == dict.fromkeys(files, 1)
    assert sum(int(out) for out, _ in results) == len(files)
    assert_store_is_right(store, files, complete=True)


def test_kill_at_random_moments_leaves_no_damage(tmp_path: Path) -> None:
    """Fifty times SIGKILL in the middle of a fetch; then one run completes it."""
    files = some_files(12, size=150_000)
    store = Store(tmp_path / "store")
    clock = random.Random(20)
    killed = 0
    # slow enough that a process is mid-way at any moment between its first and its last file
    with HostileMirror(files, latency=0.02) as mirror:
        for _ in range(50):
            before = len(mirror.requests)
            process = child(mirror.url, store.root, wanted_of(files))
            deadline = time.monotonic() + 20
            while len(mirror.requests) == before and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.002)
            time.sleep(clock.random() * 0.06)
            process.kill()
            process.communicate()
            killed += process.returncode == -signal.SIGKILL
            assert_store_is_right(store, files, complete=False)
            if all(store.has(item.sha256) for item in wanted_of(files)):
                for path in list(store.blobs()):  # begin again, so that every kill meets work to do
                    store.discard(path)
        fetch(wanted_of(files), [source_of(mirror.url)], store, options=QUICK)
    assert killed >= 40
    assert_store_is_right(store, files, complete=True)
