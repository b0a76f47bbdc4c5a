"""FlashInfer headers: our fetch against FlashInfer's own downloader, our verification against `sha256sum --check`.

    python -m benchmarks.headers [--latency 0.020] [--runs 5]

The real artifacts of FlashInfer 0.6.13 (37 files, 18 MB) come from one local HTTP server that waits `--latency` seconds
before every answer. FlashInfer's own code, from the real wheel, fetches the 34 headers and their manifests as it does
at run time: its loader, called by its `gen_*` functions. Ours fetches the same files from the same server. Each runs in
a fresh process and is timed there from the first call to the last byte on the disk; starting Python and importing
modules (torch, requests, httpx) is left out of both. They take turns, and the best run of each counts.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.timing import best, row, seconds
from orchestrator.headers import bundle, pins, sources, work
from orchestrator.headers.store import Store
from tests.support import flashinfer
from tests.support.mirror import HostileMirror

if TYPE_CHECKING:
    from orchestrator.headers.lock import Lock

VERSION = "0.6.13"
OURS = """
import sys, time
from pathlib import Path
from orchestrator.headers import bundle, sources, transfer, work
from orchestrator.headers.store import Store
lock = bundle.read_lock(Path(sys.argv[1]))
begun = time.perf_counter()
work.obtain_lock(lock, Store(Path(sys.argv[3])), [sources.source_of(sys.argv[2])])
print(time.perf_counter() - begun)
"""


def prepare(root: Path) -> tuple[Lock, Store, dict[str, bytes]]:
    """Lock and store of the real bundle, and its files by path."""
    store = Store(root / "all")
    mirror = sources.source_of(str(flashinfer.cubin_wheel(VERSION)))
    lock, _ = work.make_lock(pins.read(flashinfer.wheel(VERSION)), store, [mirror])
    bundle.write_lock(lock, root / "flashinfer.lock.json")
    return lock, store, {file.path: store.read(file.sha256) for file in lock.files}


def ours(root: Path, url: str, store: Path) -> float:
    """Seconds of our fetch."""
    argv = [sys.executable, "-c", OURS, str(root / "flashinfer.lock.json"), url, str(store)]
    return float(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)


def theirs(root: Path, url: str, cubins: Path) -> float:
    """Seconds of FlashInfer's fetch."""
    workspace = root / "workspace"
    workspace.mkdir(exist_ok=True)
    found = flashinfer.run(VERSION, cubins, workspace, repository=url)
    if any(found["results"][0].values()):
        raise SystemExit(f"FlashInfer failed: {found['results'][0]}")
    return float(found["seconds"])


def fetching(root: Path, files: dict[str, bytes], latency: float, runs: int) -> None:
    """The first two rows."""
    own, other, whole = [], [], []
    again_bytes = again_requests = 0
    command = [str(Path(sys.executable).with_name("orchestrate")), "headers", "fetch", "--store", str(root / "store")]
    with HostileMirror(files, latency=latency) as mirror:
        for _ in range(runs):
            other.append(theirs(root, mirror.url, root / "cubins"))
            own.append(ours(root, mirror.url, root / "store"))
            sent, asked = mirror.sent, len(mirror.requests)
            whole.append(
                seconds(
                    lambda: subprocess.run(
                        [*command, "--mirror", mirror.url], cwd=root, check=True, capture_output=True
                    )
                )
            )
            again_bytes += mirror.sent - sent
            again_requests += len(mirror.requests) - asked
            shutil.rmtree(root / "store")
            shutil.rmtree(root / "cubins")
    what = f"headers: cold fetch, {latency * 1000:.0f} ms latency"
    row(what, min(own), min(other), "FlashInfer's own downloader", "<= 0.2x")
    what = "headers: second fetch, whole command"
    print(f"{what:<58} {min(whole):7.3f} s   {again_bytes} bytes, {again_requests} requests")


def verifying(root: Path, lock: Lock, store: Store, runs: int) -> None:
    """The rows of verification."""
    tree = root / "tree"
    bundle.materialise(lock, store, tree)
    listed = tree / "headers.sums"
    listed.write_text("".join(f"{file.sha256}  {file.path}\n" for file in lock.headers))
    argv = ["sha256sum", "--check", "--quiet", listed.name]
    headers = [file.sha256 for file in lock.headers]
    by_sum, in_store, in_tree = best(
        runs * 4,
        lambda: subprocess.run(argv, cwd=tree, check=True),
        lambda: list(store.verify(headers)),
        lambda: bundle.verify_directory(lock, tree),
    )
    row("headers: verify 34 headers in the store", in_store, by_sum, "sha256sum --check", "<= 1.5x")
    row("headers: verify a placed bundle, every file", in_tree, by_sum, "sha256sum --check", "<= 1.5x")


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(
        description="fetch and verify FlashInfer headers, against FlashInfer and sha256sum"
    )
    parser.add_argument("--latency", type=float, default=0.020, help="seconds before every answer")
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="orchestrate-bench-") as folder:
        root = Path(folder)
        lock, store, files = prepare(root)
        fetching(root, files, given.latency, given.runs)
        verifying(root, lock, store, given.runs)


if __name__ == "__main__":
    main()
