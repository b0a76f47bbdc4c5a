"""The compile cache's script with a real sccache and a real nvcc on this machine: a broken cache fails no compile."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.cache import compile_tool
from orchestrator.cache.compile_statistics import MARK, CompileStatistics, Counts, read
from tests.support.artifacts import cache_dir
from tests.support.compile_servers import PASSWORD, redis, s3, webdav
from tests.support.toolchain import installed, newest_toolkit, toolkit

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.download

SOURCE = """\
__global__ void scale(float* x) { x[threadIdx.x] *= 2; }
void run(float* x) { scale<<<1, 32>>>(x); }
"""
NINE, ELEVEN = ("-gencode arch=compute_90,code=sm_90", "-gencode arch=compute_110,code=sm_110")
MOUNT = "COMPILE_CACHE_TOOL=sccache\nCOMPILE_CACHE_BACKEND=mount\nSCCACHE_CACHE_SIZE=1G\n"
REFUSED = "COMPILE_CACHE_TOOL=sccache\nCOMPILE_CACHE_BACKEND=redis\nSCCACHE_REDIS_ENDPOINT=redis://127.0.0.1:1\n"
SERVER = r"""for p in $(pgrep -x sccache); do
    tr '\0' '\n' </proc/$p/environ | grep -q "^SCCACHE_SERVER_UDS=$COMPILE_CACHE_STATE/" && kill -9 $p; done"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A directory with a source, the scripts, and a cache."""

    root: Path
    scripts: Path
    toolkit: Path

    @property
    def mount(self) -> Path:
        return self.root / "mount"

    def run(self, command: str, settings: str = MOUNT) -> tuple[subprocess.CompletedProcess[str], CompileStatistics]:
        """Run a shell command below the script; what it printed, and its statistics."""
        (self.root / "settings").write_text(settings)
        env = {
            **os.environ,
            "PATH": f"{self.toolkit}/bin:{os.environ['PATH']}",
            "COMPILE_CACHE_SETTINGS": str(self.root / "settings"),
            "COMPILE_CACHE_MOUNT": str(self.mount),
        }
        done = subprocess.run(
            [str(self.scripts / "run"), "sh", "-c", command],
            cwd=self.root / "source", env=env, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        found = read([line for line in done.stdout.splitlines() if line.startswith(MARK)])
        assert found is not None, done.stdout + done.stderr
        return done, found

    def compile(self, *archs: str, settings: str = MOUNT) -> tuple[str, CompileStatistics]:
        """Compile the source; what was told, and the statistics. The object must be there."""
        target = self.root / "source" / "out.o"
        target.unlink(missing_ok=True)
        done, found = self.run(f"sccache nvcc {' '.join(archs)} -c a.cu -o out.o", settings)
        assert done.returncode == 0, done.stderr
        assert target.stat().st_size > 1000
        return done.stderr, found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    tool = compile_tool.program(cache_dir() / "compile-cache", "linux/amd64", fetch=True)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.cu").write_text(SOURCE)
    (tmp_path / "mount").mkdir()
    scripts = compile_tool.context(tmp_path / "store", tool)
    return Place(root=tmp_path, scripts=scripts, toolkit=toolkit("13.0", tmp_path / "toolkit"))


@pytest.fixture
def small(place: Place) -> Iterator[Path]:
    """The cache's mount as a file system of its own of one megabyte."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", place.mount], check=True)
    yield place.mount
    with contextlib.suppress(subprocess.CalledProcessError):
        subprocess.run(["umount", "--lazy", place.mount], check=True)


def test_an_added_architecture_compiles_alone(place: Place) -> None:
    _, cold = place.compile(NINE)
    assert (cold.on, cold.cubin, cold.ptx) == (True, Counts(misses=1), Counts(misses=1))
    _, added = place.compile(NINE, ELEVEN)
    assert (added.cubin, added.ptx) == (Counts(hits=1, misses=1), Counts(hits=1, misses=1))
    _, warm = place.compile(NINE, ELEVEN)
    assert (warm.cubin, warm.ptx, warm.units) == (Counts(hits=2), Counts(hits=2), Counts(hits=1))


@pytest.mark.parametrize("option", ["-t0", "--threads=2"])
def test_threads_of_nvcc_defeat_nothing(place: Place, option: str) -> None:
    _, cold = place.compile(NINE, option)
    assert cold.cubin == Counts(misses=1)
    _, added = place.compile(NINE, ELEVEN, option)
    assert (added.cubin, added.ptx) == (Counts(hits=1, misses=1), Counts(hits=1, misses=1))


def test_two_builds_that_share_a_namespace_at_the_same_time(place: Place) -> None:
    other = Place(root=place.root / "other", scripts=place.scripts, toolkit=place.toolkit)
    (other.root / "source").mkdir(parents=True)
    (other.root / "source" / "a.cu").write_text(SOURCE.replace("scale", "other"))
    other.mount.symlink_to(place.mount)
    with ThreadPoolExecutor(2) as both:
        told = list(both.map(lambda one: one.compile(NINE, ELEVEN), (place, other)))
    assert [(found.on, found.fallbacks, found.write_errors) for _, found in told] == [(True, 0, 0)] * 2
    assert [found.cubin.misses for _, found in told] == [2, 2]
    for one in (place, other):
        _, warm = one.compile(NINE, ELEVEN)
        assert (warm.cubin, warm.ptx) == (Counts(hits=2), Counts(hits=2))


def test_a_missing_program(place: Place) -> None:
    (place.scripts / "sccache").unlink()
    told, found = place.compile(NINE)
    assert "compile-cache: sccache is missing; compiling without a cache" in told
    assert not found.on


def test_missing_settings(place: Place) -> None:
    told, found = place.compile(NINE, settings="")
    assert "the secret compile-cache is empty" in told
    assert not found.on


def test_a_backend_that_refuses(place: Place) -> None:
    told, found = place.compile(NINE, settings=REFUSED)
    assert "the server of sccache does not start (redis)" in told
    assert (found.on, found.cubin) == (False, Counts())


def test_a_server_that_is_killed(place: Place) -> None:
    compiles = "; ".join(f"sccache nvcc {NINE} -DN={n} -c a.cu -o out{n}.o || exit 9; {SERVER}" for n in range(3))
    done, found = place.run(f"{SERVER}; {compiles}; exit 0")
    assert done.returncode == 0, done.stderr
    assert found.on
    assert all((place.root / "source" / f"out{n}.o").stat().st_size > 1000 for n in range(3))


def test_a_full_cache(place: Place, small: Path) -> None:
    (small / "sccache").mkdir()
    with contextlib.suppress(OSError):
        (small / "fill").write_bytes(bytes(2 << 20))
    told, _ = place.compile(NINE, ELEVEN)
    assert "the cache mount is full or read-only" in told


def test_a_read_only_cache_is_read(place: Place, small: Path) -> None:
    place.compile(NINE)
    subprocess.run(["mount", "-o", "remount,ro", small], check=True)
    told, _ = place.compile(NINE)
    assert "the cache mount is full or read-only" in told


def test_a_toolkit_that_sccache_does_not_know(place: Place) -> None:
    newer = newest_toolkit(place.root / "newer")
    told, found = Place(root=place.root, scripts=place.scripts, toolkit=newer).compile(NINE)
    assert "a probe with nvcc 13.5 failed through sccache (status 254)" in told
    assert not found.on


def test_a_source_that_does_not_compile_fails_with_the_compilers_own_words(place: Place) -> None:
    (place.root / "source" / "a.cu").write_text("this is no C++;\n")
    done, found = place.run(f"sccache nvcc {NINE} -c a.cu -o out.o")
    assert done.returncode != 0
    assert "a.cu(1): error" in done.stderr
    assert found.fallbacks == 0


def test_sources_that_include_cccl_are_named(place: Place) -> None:
    (place.root / "source" / "b.cu").write_text("#include <thrust/sort.h>\n")
    copied = place.root / "source" / "build" / "toolkit" / "include" / "cccl" / "cub"
    copied.mkdir(parents=True)  # a toolkit beside the sources holds hundreds of headers that include each other
    (copied / "block.cuh").write_text("#include <cub/config.cuh>\n")
    _, found = place.run("true")
    assert (found.cccl, found.cccl_named, found.requests) == (1, "b.cu", 0)


REDUCE = """\
#include <cub/device/device_reduce.cuh>
extern "C" int sum(void* space, size_t& bytes, const int* from, int* to, int n) {
  return cub::DeviceReduce::Sum(space, bytes, from, to, n);
}
"""
"""A unit that calls one of CUB's device algorithms, whose dispatch names the arch list."""


def test_with_fixed_namespaces_an_added_architecture_compiles_alone_in_a_unit_that_calls_cub(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.root / "source" / "a.cu").write_text(REDUCE)
    monkeypatch.setenv("COMPILE_CACHE_FIXED_CCCL", "1")
    _, cold = place.compile(NINE)
    assert (cold.fixed, cold.cubin, cold.ptx) == (True, Counts(misses=1), Counts(misses=1))
    _, added = place.compile(NINE, ELEVEN)
    assert (added.cubin, added.ptx) == (Counts(hits=1, misses=1), Counts(hits=1, misses=1))
    (header,) = place.mount.glob("archs-*.h")
    newest = header.read_text()
    header.write_text("#error another build was killed while it wrote this\n")
    _, warm = place.compile(NINE, ELEVEN)
    assert (warm.cubin, warm.ptx, warm.fallbacks) == (Counts(hits=2), Counts(hits=2), 0)
    assert header.read_text() == newest
    assert "#define __CUDA_ARCH_LIST__ 750,800,860,870,880,890,900,1000,1030,1100,1200,1210\n" in newest


CCACHE = "COMPILE_CACHE_TOOL=ccache\nCOMPILE_CACHE_BACKEND=mount\nCCACHE_MAXSIZE=1G\n"


def test_ccache_keeps_whole_units(place: Place) -> None:
    installed("ccache", "ccache")
    words = f"ccache nvcc {NINE} -c a.cu -o out.o && test -s out.o"
    for expected in (Counts(misses=1), Counts(hits=1)):
        (place.root / "source" / "out.o").unlink(missing_ok=True)
        done, found = place.run(words, CCACHE)
        assert done.returncode == 0, done.stderr
        assert (found.tool, found.on, found.why, found.units) == ("ccache", True, "", expected)
    _, added = place.run(words.replace(NINE, f"{NINE} {ELEVEN}"), CCACHE)
    assert added.units == Counts(misses=1), "a unit with an added architecture is another unit"
    assert added.device.all == 0


def test_ccache_compiles_without_a_mount_that_is_full_or_read_only(place: Place, small: Path) -> None:
    installed("ccache", "ccache")
    words = f"ccache nvcc {NINE} -c a.cu -o out.o && test -s out.o"
    place.run(words, CCACHE)
    subprocess.run(["mount", "-o", "remount,ro", small], check=True)
    done, found = place.run(words, CCACHE)
    assert done.returncode == 0, done.stderr
    assert "the cache mount is full or read-only" in done.stderr
    assert not found.on, "ccache makes its temporary files in its cache"
    assert "a probe with nvcc 13.0 failed through ccache" in done.stderr
    subprocess.run(["mount", "-o", "remount,rw", small], check=True)
    with contextlib.suppress(OSError):
        (small / "fill").write_bytes(bytes(2 << 20))
    done, found = place.run(words.replace(NINE, ELEVEN), CCACHE)
    assert done.returncode == 0, done.stderr
    assert found.units.hits == 0


def test_a_missing_ccache(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = place.root / "bin"
    hidden.mkdir()
    for folder in os.environ["PATH"].split(os.pathsep):
        for program in Path(folder).glob("*"):
            if program.name != "ccache" and not (hidden / program.name).exists():
                (hidden / program.name).symlink_to(program)
    monkeypatch.setenv("PATH", str(hidden))
    done, found = place.run(f"nvcc {NINE} -c a.cu -o out.o", CCACHE)
    assert done.returncode == 0, done.stderr
    assert "compile-cache: ccache is missing; compiling without a cache" in done.stderr
    assert not found.on


SERVERS = {"redis": redis, "webdav": webdav, "s3": s3}


@pytest.mark.parametrize("backend", SERVERS)
def test_a_server_gives_an_added_architecture_what_another_machine_compiled(place: Place, backend: str) -> None:
    with SERVERS[backend](place.root / "held") as server:
        settings = f"COMPILE_CACHE_TOOL=sccache\n{server.settings}"
        _, cold = place.compile(NINE, settings=settings)
        assert (cold.on, cold.why, cold.cubin, cold.write_errors) == (True, "", Counts(misses=1), 0)
        shutil.rmtree(place.mount)  # nothing is taken from this machine
        place.mount.mkdir()
        _, added = place.compile(NINE, ELEVEN, settings=settings)
        assert (added.cubin, added.ptx) == (Counts(hits=1, misses=1), Counts(hits=1, misses=1))
        read_only = f"{settings}SCCACHE_{backend.upper()}_RW_MODE=READ_ONLY\n"
        _, reading = place.compile(NINE, "-gencode arch=compute_80,code=sm_80", settings=read_only)
        assert reading.cubin.hits == 1
        _, again = place.compile(NINE, "-gencode arch=compute_80,code=sm_80", settings=read_only)
        assert again.cubin == Counts(hits=1, misses=1), "a cache that is read is not written"
        told, wrong = place.compile(NINE, settings=settings.replace(PASSWORD, "wrong"))
        if backend != "s3":  # moto lets everybody in
            assert not wrong.on
            assert "compiling without a cache" in told
            assert PASSWORD not in told
    told, gone = place.compile(NINE, settings=settings)
    assert not gone.on
    assert f"the server of sccache does not start ({backend})" in told
