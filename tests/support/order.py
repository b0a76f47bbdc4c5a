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
    "engine/test_publish_faults.py": 332,
    "differential/test_headers_loader.py": 303,
    "e2e/test_fleet.py": 301,
    "e2e/test_vllm_kernels.py": 295,
    "engine/test_compile_cache.py": 244,
    "e2e/test_workflow_lines.py": 203,
    "e2e/test_transcripts.py": 178,
    "e2e/test_find_truth.py": 161,
    "e2e/test_workflow_images.py": 138,
    "differential/test_headers_users.py": 125,
    "e2e/test_compile_cache.py": 118,
    "engine/test_stall.py": 109,
    "e2e/test_verify_wheels.py": 101,
    "e2e/test_action.py": 98,
    "e2e/test_airgap_build.py": 97,
    "differential/test_drift_fix.py": 95,
    "engine/test_privileges.py": 92,
    "e2e/test_build_registry.py": 75,
    "differential/test_fatbin_wheels.py": 72,
    "e2e/test_cache_explain.py": 71,
    "engine/test_dockerfile.py": 68,
    "e2e/test_content_keys.py": 66,
    "e2e/test_axpy.py": 61,
}
"""Of the files that take a minute and more, below tests/, on a new Debian 12 with two cores; only the order matters."""

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
