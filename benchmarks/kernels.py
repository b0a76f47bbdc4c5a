"""Reading device code: against cuobjdump for one library, against gzip and zstd for a whole image.

python -m benchmarks.kernels [RUNS]

Downloads wheels of 2 GB in all (once, into the cache of the tests), and writes an image of 4 GB three times over: 6 GB
in a temporary directory ($TMPDIR), removed at the end.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

from benchmarks.timing import best, row
from orchestrator.image.sources.local import open_file
from tests.support.artifacts import download
from tests.support.toolchain import cuobjdump

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

COMMAND = str(Path(sys.executable).parent / "orchestrate")
LAYERS = (
    (("torch==2.14.1", "manylinux_2_28_x86_64", "3.12"),),
    (("vllm==0.33.0", "manylinux_2_28_x86_64", ""), ("triton==3.9.0", "manylinux_2_27_x86_64", "3.12")),
    (("nvidia-cublas==13.10.0.20", "", ""), ("nvidia-nccl-cu13==2.32.3", "", "")),
)
"""What a serving image holds: requirement, platform and Python of the wheels of each layer."""

LIBRARIES = ("libtorch_cuda.so", "_C_stable_libtorch.abi3.so", "_vllm_fa2_C.abi3.so", "libcublasLt.so.13")
REFERENCE = {"gzip": ("gzip", "-dc"), "zstd": ("zstd", "-dcq")}
MEDIA = "application/vnd.oci.image"
CORES = os.cpu_count() or 1


def write_layer(wheels: Sequence[Path], out: IO[bytes]) -> None:
    """The files of wheels as a tar archive, as pip would have installed them."""
    with tarfile.open(fileobj=out, mode="w|") as archive:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as packed:
                for member in packed.infolist():
                    info = tarfile.TarInfo(f"usr/lib/python3/dist-packages/{member.filename}")
                    info.size, info.mode = member.file_size, 0o755
                    with packed.open(member) as content:
                        archive.addfile(info, content)


def blob(layout: Path, data: bytes) -> dict[str, object]:
    """Put a small blob into a layout; its descriptor without media type."""
    digest = hashlib.sha256(data).hexdigest()
    (layout / "blobs/sha256" / digest).write_bytes(data)
    return {"digest": f"sha256:{digest}", "size": len(data)}


def make_layout(layout: Path, compress: Sequence[str], kind: str, tars: Sequence[Path]) -> list[Path]:
    """An OCI layout whose layers are the archives, compressed by a command; the paths of its layers."""
    (layout / "blobs/sha256").mkdir(parents=True)

    def one(tar: Path) -> Path:
        part = layout / tar.name
        with tar.open("rb") as source, part.open("wb") as target:
            subprocess.run(compress, stdin=source, stdout=target, check=True)
        with part.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return part.rename(layout / "blobs/sha256" / digest)

    with ThreadPoolExecutor(CORES) as pool:
        paths = list(pool.map(one, tars))
    config = blob(layout, json.dumps({"os": "linux", "architecture": "amd64", "config": {}}).encode())
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{MEDIA}.manifest.v1+json",
        "config": {"mediaType": f"{MEDIA}.config.v1+json", **config},
        "layers": [
            {"mediaType": f"{MEDIA}.layer.v1.{kind}", "digest": f"sha256:{path.name}", "size": path.stat().st_size}
            for path in paths
        ],
    }
    entry = {"mediaType": manifest["mediaType"], **blob(layout, json.dumps(manifest).encode())}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return paths


def unpack(command: Sequence[str], layers: Sequence[Path]) -> None:
    """Decompress layers to nowhere with the reference tool, as many at once as there are cores, the largest first."""

    def one(path: Path) -> None:
        with path.open("rb") as stream:
            subprocess.run(command, stdin=stream, stdout=subprocess.DEVNULL, check=True)

    with ThreadPoolExecutor(CORES) as pool:
        list(pool.map(one, sorted(layers, key=lambda path: -path.stat().st_size)))


def processor(work: Callable[[], object]) -> float:
    """Seconds of processor time that a piece of work takes in its child processes: steadier than a clock."""
    before = os.times()
    work()
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def quiet(*words: str | Path, cache: Path | None = None) -> None:
    """Run a command; its output is thrown away. 0 and 4 (the image holds less than asked for) are both an answer."""
    env = os.environ | ({"XDG_CACHE_HOME": str(cache)} if cache else {})
    code = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env, check=False).returncode
    if code not in (0, 4):
        raise SystemExit(f"{' '.join(map(str, words))}: status {code}")


def peak(*words: str | Path) -> float:
    """Peak memory in MB of a command, all its processes together, sampled.

    Not the kernel's own ru_maxrss: that of a child counts what its parent held when it started it.
    """
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    most = 0
    while child.poll() is None:
        most = max(most, sum(map(resident, family(child.pid))))
        time.sleep(0.01)
    return most / 1e6


def family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for one in found:
        try:
            tasks = list(Path(f"/proc/{one}/task").iterdir())
            found += [int(word) for task in tasks for word in (task / "children").read_text().split()]
        except OSError:  # gone in between
            continue
    return found


def resident(pid: int) -> int:
    """Resident bytes of a process, 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * mmap.PAGESIZE
    except (OSError, IndexError):
        return 0


def read(path: Path) -> None:
    """The product's reader on one file."""
    open_file(path)


def libraries(wheels: Sequence[Path], folder: Path, runs: int) -> None:
    """The row of one shared object, for several."""
    tool = cuobjdump()
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.rpartition("/")[2] not in LIBRARIES:
                    continue
                path = Path(archive.extract(name, folder))
                size = f"{path.name} ({path.stat().st_size / 1e6:.0f} MB)"
                verify = (COMMAND, "verify", path, "--format", "json", "--no-cache")
                against = "cuobjdump --list-elf --list-ptx"
                reader, whole, theirs = best(
                    runs,
                    partial(read, path),
                    partial(quiet, *verify),
                    partial(quiet, tool, "--list-elf", "--list-ptx", path),
                )
                row(f"{size}, the reader", reader, theirs, against, "0.10x")
                row(f"{size}, orchestrate verify, whole process", whole, theirs, against, "none")
                print(f"{'':<58} peak {peak(*verify):.0f} MB, cuobjdump {peak(tool, '--list-elf', path):.0f} MB")
                shutil.rmtree(folder / name.split("/")[0])


def images(tars: Sequence[Path], folder: Path, runs: int) -> None:
    """The rows of a whole image."""
    total = sum(tar.stat().st_size for tar in tars) / 1e9
    for packing, compress, kind, goal in (
        ("gzip", ("gzip", "-6", "-c"), "tar+gzip", "1.5x"),
        ("zstd", ("zstd", "-3", "-q", "-c"), "tar+zstd", "2.2x"),
    ):
        layout = folder / packing
        layers = make_layout(layout, compress, kind, tars)
        stored = sum(layer.stat().st_size for layer in layers) / 1e9
        verify = (COMMAND, "verify", layout, "--archs", "9.0", "--format", "json")
        unpack(REFERENCE[packing], layers)  # into the page cache
        works = (partial(quiet, *verify, "--no-cache"), partial(unpack, REFERENCE[packing], layers))
        ours, theirs = best(runs, *works)
        name = f"image of {total:.1f} GB, 3 {packing} layers of {stored:.1f} GB"
        row(name, ours, theirs, f"{' '.join(REFERENCE[packing])}, {CORES} at once", goal)
        ours, theirs = map(processor, works)
        row(f"{name}, processor time", ours, theirs, " ".join(REFERENCE[packing]), goal)
        print(f"{'':<58} peak {peak(*verify, '--no-cache'):.0f} MB")
        cache = folder / "cache"
        quiet(*verify, cache=cache)
        again, start = best(
            5,
            partial(quiet, *verify, cache=cache),
            partial(quiet, COMMAND, "--version"),
        )
        row(f"{name}, the second time", again, start, "orchestrate --version", "under 0.2 s")
        shutil.rmtree(layout)


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    wheels = [[download(name, platform=platform, python=python) for name, platform, python in one] for one in LAYERS]
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        libraries([wheel for one in wheels for wheel in one], here, runs)
        tars = []
        for number, one in enumerate(wheels):
            tars.append(here / f"{number}.tar")
            with tars[-1].open("wb") as out:
                write_layer(one, out)
        begun = time.perf_counter()
        images(tars, here, runs)
        print(f"({time.perf_counter() - begun:.0f} s for the images)")


if __name__ == "__main__":
    main()
