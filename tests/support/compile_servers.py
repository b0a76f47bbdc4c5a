"""Real servers for a compile cache on this machine: redis of Debian, WebDAV (wsgidav) and S3 (moto) of the index."""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

from filelock import FileLock

from tests.support.artifacts import cache_dir, downloads
from tests.support.toolchain import installed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PASSWORD = "a-long-password"

_DAV = """\
import sys
from cheroot import wsgi
from wsgidav.wsgidav_app import WsgiDAVApp
users = {"*": {"user": {"password": sys.argv[3]}}}
app = WsgiDAVApp({"provider_mapping": {"/": sys.argv[2]}, "simple_dc": {"user_mapping": users}, "verbose": 0})
wsgi.Server(("127.0.0.1", int(sys.argv[1])), app).start()
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A server that runs.

    Attributes:
        settings: Lines for the compile cache's settings, the credentials among them.
        process: The server.
        folder: Where it keeps what it holds, where that is a directory.
    """

    settings: str
    process: subprocess.Popen[bytes]
    folder: Path


def python_with(name: str, *packages: str) -> Path:
    """A Python of its own with these packages, made once on this machine."""
    downloads.require_marker(name)
    place = cache_dir() / f"venv-{name}"
    with FileLock(cache_dir() / f"venv-{name}.lock"):
        if not (place / "ready").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
            downloads.made_available(name, place / "bin" / "pip", "install", "--quiet", *packages)
            (place / "ready").touch()
    return place / "bin"


def free_port() -> int:
    """A port below those that the kernel gives to connections: none of these takes it before the server does."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def served(argv: Sequence[str | Path], port: int, settings: str, folder: Path) -> Iterator[Server]:
    """Start a server and wait until something listens on its port."""
    folder.mkdir(exist_ok=True)
    with (folder.parent / "server.log").open("wb") as log:
        child = subprocess.Popen([str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            assert child.poll() is None, (folder.parent / "server.log").read_text()
            assert time.monotonic() < deadline, "the server does not listen"
            time.sleep(0.1)
        yield Server(settings=settings, process=child, folder=folder)
    finally:
        child.kill()
        child.wait()


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[Server]:
    """Redis with a password."""
    program, port = installed("redis-server", "redis-server"), free_port()
    argv = [program, "--port", str(port), "--bind", "127.0.0.1", "--requirepass", PASSWORD, "--dir", str(folder.parent)]
    settings = (
        f"COMPILE_CACHE_BACKEND=redis\nSCCACHE_REDIS_ENDPOINT=redis://127.0.0.1:{port}\n"
        f"SCCACHE_REDIS_USERNAME=default\nSCCACHE_REDIS_PASSWORD={PASSWORD}\nSCCACHE_REDIS_KEY_PREFIX=test/\n"
    )
    with served([*argv, "--save", ""], port, settings, folder) as found:
        yield found


@contextlib.contextmanager
def webdav(folder: Path) -> Iterator[Server]:
    """A WebDAV server with a user."""
    python, port = python_with("wsgidav", "wsgidav==4.4.0", "cheroot==11.1.2") / "python", free_port()
    settings = (
        f"COMPILE_CACHE_BACKEND=webdav\nSCCACHE_WEBDAV_ENDPOINT=http://127.0.0.1:{port}\n"
        f"SCCACHE_WEBDAV_USERNAME=user\nSCCACHE_WEBDAV_PASSWORD={PASSWORD}\nSCCACHE_WEBDAV_KEY_PREFIX=/test\n"
    )
    with served([python, "-c", _DAV, str(port), folder, PASSWORD], port, settings, folder) as found:
        yield found


@contextlib.contextmanager
def s3(folder: Path) -> Iterator[Server]:
    """An S3 server with a bucket."""
    program, port = python_with("moto", "moto[s3]==5.2.5", "flask", "flask-cors") / "moto_server", free_port()
    settings = (
        f"COMPILE_CACHE_BACKEND=s3\nSCCACHE_BUCKET=acme\nSCCACHE_REGION=us-east-1\n"
        f"SCCACHE_ENDPOINT=http://127.0.0.1:{port}\nSCCACHE_S3_KEY_PREFIX=test\n"
        f"AWS_ACCESS_KEY_ID=test\nAWS_SECRET_ACCESS_KEY={PASSWORD}\n"
    )
    with served([program, "-H", "127.0.0.1", "-p", str(port)], port, settings, folder) as found:
        made = urllib.request.Request(f"http://127.0.0.1:{port}/acme", method="PUT")
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(made, timeout=30) as answer:
            assert answer.status == 200
        yield found
