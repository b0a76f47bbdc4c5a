"""What an added architecture costs with and without a compile cache, with a real nvcc 13.0 on examples/axpy, enlarged.

    python -m benchmarks.compile_cache [UNITS]

UNITS generated units of plain kernels (default 4), one more that includes thrust and one that includes CUB, each of 20
seconds or more of nvcc for seven architectures; the two small units of the example stay. Each row is one
`orchestrate build`; seconds are those of the compile command alone: wall time, and the processor time of its container,
which a busy machine changes less. One compiler at a time (max_jobs: 1).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

from benchmarks.timing import COMMAND
from tests.support.engine import remove_cache_mounts
from tests.support.toolchain import axpy

LIST = "7.5 8.0 8.6 8.9 9.0 10.0 12.0+PTX"
ADDED = "7.5 8.0 8.6 8.9 9.0 10.0 11.0 12.0+PTX"
GOAL = 0.40

PLAIN = """\
namespace {{
template <int Order>
__global__ void polynomial(int n, const float* __restrict__ x, float* __restrict__ y) {{
  __shared__ float tile[256];
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += blockDim.x * gridDim.x) {{
    tile[threadIdx.x] = x[i];
    float sum = {number}.0f;
#pragma unroll
    for (int k = 0; k < Order; ++k) {{
      sum = fmaf(sum, tile[(threadIdx.x + k) & 255], sinf(sum) * (k + {number}));
    }}
    y[i] = sum;
  }}
}}
}}  // namespace
extern "C" void unit{number}(int n, const float* x, float* y) {{
{calls}
}}
"""
CALL = "  polynomial<{order}><<<64, 256>>>(n, x, y);"
THRUST = """\
#include <thrust/device_ptr.h>
#include <thrust/sort.h>
extern "C" void unit_thrust(float* x, double* y, int n) {
  thrust::sort(thrust::device_pointer_cast(x), thrust::device_pointer_cast(x) + n);
  thrust::sort(thrust::device_pointer_cast(y), thrust::device_pointer_cast(y) + n);
}
"""
CUB = """\
#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_reduce.cuh>
#include <cub/device/device_scan.cuh>
extern "C" void unit_cub(void* space, size_t& bytes, const int* in, int* out, const double* from, double* to, int n) {
  cub::DeviceRadixSort::SortKeys(space, bytes, in, out, n);
  cub::DeviceRadixSort::SortKeys(space, bytes, from, to, n);
  cub::DeviceScan::ExclusiveSum(space, bytes, in, out, n);
  cub::DeviceReduce::Sum(space, bytes, from, to, n);
}
"""


class Project:
    """The enlarged example in a directory of its own.

    Args:
        folder: An empty directory.
        units: How many plain units it gets.
    """

    def __init__(self, folder: Path, units: int) -> None:
        self.root = axpy(folder, "13.0").root
        self.units = units
        self._matrix = (self.root / "matrix.yaml").read_text().replace("max_jobs: 2", "max_jobs: 1")
        for number in range(1, units + 1):
            self.write(number)
        (self.root / "csrc" / "unit_thrust.cu").write_text(THRUST)
        (self.root / "csrc" / "unit_cub.cu").write_text(CUB)
        self.touch()  # a run before this one left the same layers in BuildKit's cache

    def write(self, number: int, more: int = 0) -> None:
        """Write a plain unit; `more` changes it."""
        calls = "\n".join(CALL.format(order=order + more) for order in ORDERS)
        text = PLAIN.format(number=number, calls=calls)
        (self.root / "csrc" / f"unit{number}.cu").write_text(text)

    def touch(self) -> None:
        """Change the layer above the compile step and no unit."""
        (self.root / "csrc" / "unused.h").write_text(f"// {uuid.uuid4()}\n")

    def build(self, archs: str, cache: str) -> dict[str, Any]:
        """Build with an arch list and a `compile_cache` section; what the compile step said of itself."""
        text = self._matrix.replace(ADDED, archs)
        (self.root / "matrix.yaml").write_text(text + (f"\ncompile_cache: {{{cache}}}\n" if cache else ""))
        done = subprocess.run(
            [COMMAND, "build", "--cuda", "13.0", "--format", "json", "--allow", f"fs.read={self.root.parents[1]}"],
            cwd=self.root, env=os.environ, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"{done.stdout}{done.stderr}")
        (variant,) = json.loads(done.stdout)["variants"]
        said: dict[str, Any] = variant["compile_cache"] or {}
        return said


ORDERS = (120, 152)


def row(what: str, said: dict[str, Any], cold: dict[str, Any]) -> None:
    """Print one line of the table."""
    if not said:
        print(f"| {what} | the layer came from BuildKit's cache | | | | |", flush=True)
        return
    counts = " | ".join(f"{said[kind]['hits']} + {said[kind]['misses']}" for kind in ("ptx", "cubin"))
    wall, cpu = said["seconds"], said["cpu_seconds"] or 0.0
    share = f"{cpu / cold['cpu_seconds']:.2f}" if cold.get("cpu_seconds") else "-"
    print(f"| {what} | {wall:.0f} s | {cpu:.0f} s | {share} | {counts} |", flush=True)


def main() -> None:
    units = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    name = uuid.uuid4().hex[:8]
    print("| build | wall | processor | of cold | PTX hits + misses | cubin hits + misses |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder), units)
        # A server that cannot be reached: the same step and the same measure, without a cache.
        off = "backend: redis, endpoint: 'redis://127.0.0.1:1'"
        cold = project.build(LIST, off)
        row("no cache: cold", cold, cold)
        fixed = f"namespace: bench-{name}-fixed, fixed_cccl_namespaces: true"
        row("cache, fixed namespaces: cold", project.build(LIST, fixed), cold)
        fixed_added = project.build(ADDED, fixed)
        row("cache, fixed namespaces: 11.0 added", fixed_added, cold)
        project.write(1, more=1)
        row("cache, fixed namespaces: one unit edited", project.build(ADDED, fixed), cold)
        project.touch()
        row("cache, fixed namespaces: everything warm", project.build(ADDED, fixed), cold)
        row("no cache: 11.0 added", project.build(ADDED, off), cold)
        cache = f"namespace: bench-{name}"
        row("cache: cold", project.build(LIST, cache), cold)
        added = project.build(ADDED, cache)
        row("cache: 11.0 added", added, cold)
    remove_cache_mounts(f"bench-{name}")
    for label, said in (("as it is", added), ("fixed namespaces", fixed_added)):
        ratio = said["cpu_seconds"] / cold["cpu_seconds"]
        misses = said["cubin"]["misses"]
        print(f"{label}: 11.0 added is {ratio:.2f} of cold (goal {GOAL}); {misses} CUBIN misses of {units + 4} units")


if __name__ == "__main__":
    main()
