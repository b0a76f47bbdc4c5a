"""A remote builder on this machine: the engine's own BuildKit behind a TCP port, with faults on demand.

dockerd contains BuildKit, and `docker-buildx dial-stdio` connects to it; a process of it for each connection makes the
port that buildx's remote driver wants. To stop such a process is a peer that was suspended; to kill it, a lost session.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PLUGINS = ("/usr/libexec/docker/cli-plugins", "/usr/lib/docker/cli-plugins", "/usr/local/lib/docker/cli-plugins")


@dataclass
class Bridge:
    """A builder of buildx's remote driver.

    Attributes:
        name: The builder.
        endpoint: Where it listens.
        env: Variables under which buildx knows it: a configuration of its own, which nobody else's `buildx ls` asks.
    """

    name: str
    endpoint: str
    env: dict[str, str]
    children: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def signal(self, number: signal.Signals) -> int:
        """Send a signal to what serves the connections that there are; return how many they are."""
        alive = [child for child in self.children if child.poll() is None]
        for child in alive:
            child.send_signal(number)
        return len(alive)


@contextlib.contextmanager
def bridge(folder: Path, host: str = "") -> Iterator[Bridge]:
    """Make a remote builder.

    Args:
        folder: Where buildx keeps what it knows of it.
        host: DOCKER_HOST of the engine behind it; "" for this machine's.
    """
    plugin = next(str(Path(place, "docker-buildx")) for place in PLUGINS if Path(place, "docker-buildx").exists())
    environment = {**os.environ, **({"DOCKER_HOST": host} if host else {})}
    server = socket.create_server(("127.0.0.1", 0))
    made = Bridge(
        name=f"test-{uuid.uuid4().hex[:8]}",
        endpoint=f"tcp://127.0.0.1:{server.getsockname()[1]}",
        env={"BUILDX_CONFIG": str(folder / "buildx")},
    )

    def serve() -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                connection, _ = server.accept()
                with connection:
                    fd = connection.fileno()
                    argv = [plugin, "dial-stdio", "--builder", "default"]
                    made.children.append(subprocess.Popen(argv, stdin=fd, stdout=fd, env=environment))

    threading.Thread(target=serve, daemon=True).start()
    create = ["docker", "buildx", "create", "--name", made.name, "--driver", "remote", made.endpoint]
    subprocess.run(create, check=True, capture_output=True, env={**os.environ, **made.env})
    try:
        yield made
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        made.signal(signal.SIGKILL)
        for child in made.children:
            child.wait()
