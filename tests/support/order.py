"""In which order files of tests begin: what takes longest first, so that no worker is left with it at the end.

pytest-xdist by itself begins with the files that hold most tests, and ended with those that build for minutes in one.
Unit tests come last: in small portions they fill what is left of every worker's time. `make test` prints the files that
took longest; a file that belongs into `SECONDS` or has left it shows there.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

TESTS = Path(__file__).resolve().parents[1]

SECONDS = {
    "e2e/test_vllm_kernels.py": 300,
    "e2e/test_compile_cache.py": 180,
    "e2e/test_verify_wheels.py": 180,
    "e2e/test_fleet.py": 170,
    "e2e/test_transcripts.py": 150,
    "engine/test_compile_cache.py": 120,
    "engine/test_emulation.py": 110,
    "e2e/test_airgap_build.py": 110,
    "e2e/test_axpy.py": 100,
    "e2e/test_vllm.py": 100,
    "differential/test_kernels_generated.py": 90,
    "differential/test_fatbin_wheels.py": 90,
    "differential/test_fatbin_nvcc.py": 80,
    "e2e/test_real_projects.py": 80,
    "e2e/test_cache_prune.py": 70,
    "e2e/test_publish_vllm.py": 70,
    "e2e/test_real_stacks.py": 60,
    "e2e/test_new_project.py": 60,
    "e2e/test_fleet_given_up.py": 60,
    "e2e/test_full_disk.py": 60,
    "engine/test_stall.py": 60,
}
"""About what the longest files take, below tests/, judged from what they build and download; only the order matters."""

# Of a file that is not listed, by its kind: seconds for each of its tests.
_EACH = {"e2e": 4.0, "engine": 2.0, "differential": 1.0}
_UNIT = 0.02


def seconds(file: Path, tests: int) -> float:
    """About how long a file takes.

    Args:
        file: Its path.
        tests: How many tests of it run.
    """
    if not file.is_relative_to(TESTS):
        return 0
    name = file.relative_to(TESTS)
    return SECONDS.get(name.as_posix(), tests * _EACH.get(name.parts[0], _UNIT))


def longest_first(files: Iterable[Path]) -> dict[Path, int]:
    """Return the rank of each file, 0 for the one that begins.

    Args:
        files: The file of each test.
    """
    tests = Counter(files)
    ordered = sorted(tests, key=lambda file: (-seconds(file, tests[file]), str(file)))
    return {file: rank for rank, file in enumerate(ordered)}
