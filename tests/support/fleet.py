"""Real remote builders on this machine: Docker engines in network namespaces of their own, behind ports with faults.

dockerd contains BuildKit; `docker-buildx dial-stdio` connects to it, one process for each connection of a port, which
speaks plain TCP or mutual TLS. A process in the namespace makes the registry of this machine reachable there under the
same address, as a registry of the field is.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.bridge import PLUGINS
from tests.support.engine import call
from tests.support.isolated_engine import LOOPBACK_UP, swept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_START_SECONDS = 60
_FORWARD = """\
import socket, sys, threading

def pump(one, other):
    try:
        while data := one.recv(65536):
            other.sendall(data)
    except OSError:
        pass
    for end in (one, other):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

port, path = int(sys.argv[1]), sys.argv[2]
server = socket.create_server(("127.0.0.1", port))
print("ready", flush=True)
while True:
    here, _ = server.accept()
    there = socket.socket(socket.AF_UNIX)
    there.connect(path)
    for ends in ((here, there), (there, here)):
        threading.Thread(target=pump, args=ends, daemon=True).start()
"""


def pump(one: socket.socket, other: socket.socket) -> None:
    """Copy what one socket says to another, until either ends."""
    with contextlib.suppress(OSError, ValueError):
        while data := one.recv(65536):
            other.sendall(data)
    for end in (one, other):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def accepting(server: socket.socket, serve: Callable[[socket.socket], None]) -> Iterator[None]:
    """Give each connection of a listening socket to a function, in a thread of its own."""

    def accept() -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                connection, _ = server.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()


@dataclass
class Machine:
    """An engine in a network namespace that has loopback and this machine's registry.

    Attributes:
        root: Its directory.
        holder: A process that keeps the namespace and forwards the registry's port.
    """

    root: Path
    holder: subprocess.Popen[str]
    daemon: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """Its DOCKER_HOST."""
        return f"unix://{self.root}/docker.sock"

    def start(self) -> None:
        """Start the engine, and wait until it answers."""
        argv = ["nsenter", "-n", "-t", str(self.holder.pid), "dockerd", "--host", self.host]
        argv += ["--bridge", "none", "--iptables=false", "--ip6tables=false"]
        for option, name in {"config-file": "daemon.json", "data-root": "data", "exec-root": "exec"}.items():
            argv += [f"--{option}", str(self.root / name)]
        argv += ["--pidfile", str(self.root / "docker.pid")]
        path = os.environ["PATH"] + os.pathsep + "/usr/sbin:/sbin"
        with (self.root / "log").open("a") as log:
            self.daemon = subprocess.Popen(
                argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={**os.environ, "PATH": path},
                start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + _START_SECONDS
        while subprocess.run(["docker", "--host", self.host, "version"], capture_output=True).returncode:
            said = (self.root / "log").read_text()[-2000:]
            assert self.daemon.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.2)

    def stop(self) -> None:
        """End the engine as its machine does."""
        if self.daemon is not None:
            self.daemon.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.daemon.wait(timeout=30)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.daemon.pid, signal.SIGKILL)
            self.daemon.wait()


@contextlib.contextmanager
def machine(registry: str) -> Iterator[Machine]:
    """Start an engine in a namespace of its own; it and all its data are gone afterwards.

    Args:
        registry: `127.0.0.1:PORT` of this machine, reachable there under the same address.
    """
    root = Path(tempfile.mkdtemp(prefix="orchestrate-fleet-"))
    port = int(registry.rpartition(":")[2])
    (root / "daemon.json").write_text(json.dumps({"features": {"containerd-snapshotter": True}}))
    door = socket.socket(socket.AF_UNIX)
    door.bind(str(root / "registry.sock"))
    door.listen()

    def forward(connection: socket.socket) -> None:
        with connection, socket.create_connection(("127.0.0.1", port)) as there:
            back = threading.Thread(target=pump, args=(there, connection), daemon=True)
            back.start()
            pump(connection, there)
            back.join()

    program = f"{LOOPBACK_UP}\n{_FORWARD}"
    argv = ["unshare", "-n", sys.executable, "-c", program, str(port), str(root / "registry.sock")]
    holder = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    made = Machine(root=root, holder=holder)
    try:
        with accepting(door, forward):
            assert holder.stdout is not None
            assert holder.stdout.readline() == "ready\n"
            with swept(root, holder.pid):
                made.start()
                yield made
    finally:
        made.stop()
        holder.kill()
        holder.communicate()
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            place = line.split()[1]
            if place.startswith(f"{root}/"):
                subprocess.run(["umount", "--lazy", place], capture_output=True)
        shutil.rmtree(root, ignore_errors=True)


@dataclass(frozen=True)
class Certificates:
    """An authority, and what it signed: PEM files of a server named localhost and of a client."""

    folder: Path

    def file(self, name: str) -> Path:
        """One of ca.pem, server.pem, server.key, client.pem, client.key."""
        return self.folder / name

    def server(self, trusted: Path | None = None) -> ssl.SSLContext:
        """A server that requires a certificate signed by `trusted`, by default the authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file("server.pem"), self.file("server.key"))
        context.load_verify_locations(trusted or self.file("ca.pem"))
        context.verify_mode = ssl.CERT_REQUIRED
        context.set_alpn_protocols(["h2"])
        return context

    @property
    def options(self) -> dict[str, str]:
        """The driver options of a client."""
        names = {"cacert": "ca.pem", "cert": "client.pem", "key": "client.key"}
        return {name: str(self.file(file)) for name, file in names.items()} | {"servername": "localhost"}


def certificates(folder: Path) -> Certificates:
    """Make an authority and what it signs."""
    folder.mkdir(parents=True, exist_ok=True)
    new = ("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    call(*new, "-x509", "-days", "2", "-subj", "/CN=authority", "-keyout", folder / "ca.key", "-out", folder / "ca.pem")
    (folder / "names").write_text("subjectAltName=DNS:localhost")
    for name in ("server", "client"):
        call(*new, "-subj", "/CN=localhost", "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.csr")
        call("openssl", "x509", "-req", "-in", folder / f"{name}.csr", "-CA", folder / "ca.pem", "-CAkey",
             folder / "ca.key", "-CAcreateserial", "-days", "2", "-extfile", folder / "names", "-out",
             folder / f"{name}.pem")  # fmt: skip
    return Certificates(folder=folder)


@dataclass
class Port:
    """A port at which an engine's BuildKit is served, with faults on demand.

    Attributes:
        host: DOCKER_HOST of the engine.
        tls: What its server requires; None for plain TCP.
        path: The socket of a unix endpoint; None for TCP.
    """

    host: str
    tls: ssl.SSLContext | None = None
    path: Path | None = None
    number: int = 0
    children: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _open: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def endpoint(self) -> str:
        """As `docker buildx create --driver remote` takes it."""
        return f"tcp://127.0.0.1:{self.number}" if self.path is None else f"unix://{self.path}"

    def open(self) -> None:
        """Listen, at the port of before where there was one."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
            server = socket.socket(socket.AF_UNIX)
            server.bind(str(self.path))
            server.listen()
        else:
            server = socket.create_server(("127.0.0.1", self.number))
            self.number = server.getsockname()[1]
        self._open.enter_context(accepting(server, self._serve))

    def close(self) -> None:
        """Listen no more; connections go on."""
        self._open.close()

    def signal(self, number: signal.Signals) -> int:
        """Send a signal to what serves the connections that there are; return how many they are."""
        alive = [child for child in self.children if child.poll() is None]
        for child in alive:
            child.send_signal(number)
        return len(alive)

    def _serve(self, raw: socket.socket) -> None:
        plugin = next(str(Path(place, "docker-buildx")) for place in PLUGINS if Path(place, "docker-buildx").exists())
        environment = {**os.environ, "DOCKER_HOST": self.host}

        def dial(end: socket.socket) -> None:
            argv = [plugin, "dial-stdio", "--builder", "default"]
            fd = end.fileno()
            child = subprocess.Popen(argv, stdin=fd, stdout=fd, stderr=subprocess.DEVNULL, env=environment)
            self.children.append(child)

        with contextlib.suppress(OSError), raw:
            if self.tls is None:
                dial(raw)
                return
            with self.tls.wrap_socket(raw, server_side=True) as secure:
                ours, theirs = socket.socketpair()
                with ours:
                    with theirs:
                        dial(theirs)
                    _both_ways(secure, ours)


def _both_ways(secure: ssl.SSLSocket, plain: socket.socket) -> None:
    """Copy between a TLS connection and a plain one; OpenSSL wants one thread for both ways."""
    with contextlib.suppress(OSError, ValueError):
        while True:
            ready = [secure] if secure.pending() else select.select([secure, plain], [], [])[0]
            for one, other in ((secure, plain), (plain, secure)):
                if one in ready:
                    data = one.recv(65536)
                    if not data:
                        return
                    other.sendall(data)


@contextlib.contextmanager
def served(host: str, tls: ssl.SSLContext | None = None, *, path: Path | None = None) -> Iterator[Port]:
    """Serve the BuildKit of an engine at a port of this machine, or at a unix socket."""
    port = Port(host=host, tls=tls, path=path)
    port.open()
    try:
        yield port
    finally:
        port.close()
        port.signal(signal.SIGKILL)
        for child in port.children:
            child.wait()
