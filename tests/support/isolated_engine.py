"""A Docker engine of its own in a network namespace that has loopback and nothing else: a machine behind an air gap."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.sweep import if_killed

if TYPE_CHECKING:
    from collections.abc import Iterator

_START_SECONDS = 60
LOOPBACK_UP = "import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sH14x', b'lo', 0x41))"
"""Python that brings loopback up in a new network namespace: SIOCSIFFLAGS with IFF_UP and IFF_RUNNING. A machine with
Python, git and make alone has no `ip`."""


# dash's `kill` knows no `--`.
_SWEEP = """\
root=$1 holder=$2
pid=$(cat "$root/docker.pid") && kill -CONT "$pid" && kill -TERM "$pid"
[ -z "$holder" ] || kill -KILL "$holder"
for wait in $(seq 30); do [ -n "$pid" ] && kill -0 "$pid" || break; sleep 1; done
kill -KILL "$pid"
while read -r _ place _; do case $place in "$root"/*) umount --lazy "$place";; esac; done < /proc/self/mounts
rm -rf "$root"
"""


@contextlib.contextmanager
def swept(root: Path, holder: int | None = None) -> Iterator[None]:
    """Within it, an engine does not outlive the tests, however they end: it, its mounts and its directory go.

    Args:
        root: Its directory, with `docker.pid` in it.
        holder: A process that ends with it.
    """
    with if_killed(_SWEEP, root, holder or ""):
        yield


@dataclass(frozen=True)
class Isolated:
    """The engine: its address, its process, and how to run a command on its side of the gap."""

    host: str
    pid: int

    def run(self, *argv: str, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """A command that reaches this engine and no network at all."""
        environment = {**os.environ, "DOCKER_HOST": self.host, **(env or {})}
        return subprocess.run(
            ["unshare", "-n", *argv], cwd=cwd, env=environment, capture_output=True, text=True, timeout=400,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip


@contextlib.contextmanager
def limited_memory(size: int) -> Iterator[str]:
    """A control group whose processes may take so many bytes together; its name, for --cgroup-parent."""
    name = f"orchestrate-{os.getpid()}-{size}"
    whole = Path("/sys/fs/cgroup")
    group = (whole / "memory" if (whole / "memory").is_dir() else whole) / name
    if group.parent == whole:
        (whole / "cgroup.subtree_control").write_text("+memory")
    group.mkdir()
    limits = {
        "memory.limit_in_bytes": size,
        "memory.memsw.limit_in_bytes": size,
        "memory.max": size,
        "memory.swap.max": 0,
    }
    try:
        for file, value in limits.items():
            if (group / file).exists():
                (group / file).write_text(str(value))
        yield f"/{name}"
    finally:
        for place in (*sorted(group.rglob("*/"), reverse=True), group):
            with contextlib.suppress(OSError):
                place.rmdir()


@contextlib.contextmanager
def isolated_engine(*, cgroup: str = "", disk: str = "") -> Iterator[Isolated]:
    """Start an engine; it and all its data are gone afterwards.

    Args:
        cgroup: The control group that its containers belong to.
        disk: Size of its disk, as in 3g; "" for this machine's.
    """
    root = Path(tempfile.mkdtemp(prefix="orchestrate-isolated-"))
    socket = root / "docker.sock"
    settings = {"features": {"containerd-snapshotter": True}, **({"cgroup-parent": cgroup} if cgroup else {})}
    (root / "daemon.json").write_text(json.dumps(settings))
    if disk:
        (root / "data").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={disk}", "tmpfs", root / "data"], check=True)
    script = (
        f"'{sys.executable}' -c \"{LOOPBACK_UP}\"; exec dockerd --bridge none --iptables=false --ip6tables=false"
        f" --config-file {root}/daemon.json --data-root {root}/data --exec-root {root}/exec"
        f" --pidfile {root}/docker.pid --host unix://{socket}"
    )
    path = os.environ["PATH"] + os.pathsep + "/usr/sbin:/sbin"
    with (root / "log").open("w") as log:
        child = subprocess.Popen(
            ["unshare", "-n", "sh", "-c", script], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            env={**os.environ, "PATH": path}, start_new_session=True,
        )  # fmt: skip
    try:
        host = f"unix://{socket}"
        deadline = time.monotonic() + _START_SECONDS
        with swept(root):
            while subprocess.run(["docker", "--host", host, "version"], capture_output=True).returncode:
                assert child.poll() is None, (root / "log").read_text()[-2000:]
                assert time.monotonic() < deadline, (root / "log").read_text()[-2000:]
                time.sleep(0.2)
            yield Isolated(host=host, pid=child.pid)
    finally:
        child.send_signal(signal.SIGCONT)
        child.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            place = line.split()[1]
            if place.startswith(f"{root}/"):
                subprocess.run(["umount", "--lazy", place], capture_output=True)
        shutil.rmtree(root, ignore_errors=True)
