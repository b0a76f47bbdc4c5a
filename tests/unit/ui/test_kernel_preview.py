"""What the project's own CMake will make of a list: lines of `plan --explain`, and `plan --kernels`."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from orchestrator.errors import UsageError
from orchestrator.matrix import expand, load
from orchestrator.ui.kernel_preview import filter_lines, show_kernels
from tests.unit.matrix.support import SMALL, fact, planned

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.matrix.variants import Plan

CMAKE = """\
cuda_archs_loose_intersection(MARLIN_ARCHS "8.0+PTX" "${CUDA_ARCHS}")
if (${CMAKE_CUDA_COMPILER_VERSION} VERSION_GREATER_EQUAL 12.8)
  cuda_archs_loose_intersection(FP4_ARCHS "10.0a" "${CUDA_ARCHS}")
endif()
"""


def plan_in(root: Path, filter_: str) -> Plan:
    text = SMALL.replace("8.0 9.0", "8.0 9.0 10.0") + f'filter: "{filter_}"\n'
    matrix = load.parse(text.encode(), path=root / "matrix.yaml", shown="matrix.yaml")
    return expand.plan(matrix, fact=fact)


def test_without_a_filter_nothing_is_said() -> None:
    plan = planned(SMALL)
    assert filter_lines(plan, plan.variants[0]) == []


def test_what_the_filter_keeps_is_said(tmp_path: Path) -> None:
    plan = plan_in(tmp_path, "vllm-0.20")
    ((title, lines),) = filter_lines(plan, plan.variants[0])
    assert title == "kernels"
    assert lines[0] == "8.0 9.0 10.0    kept by filter vllm-0.20 (CUDA_ARCHS)"


def test_each_kernel_family_is_shown(tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(CMAKE)
    stream = io.StringIO()
    show_kernels(plan_in(tmp_path, "vllm-0.20"), Console(file=stream, width=120))
    lines = [" ".join(line.split()) for line in stream.getvalue().splitlines()]
    assert lines[0] == "CUDA 13.0, 8.0 9.0 10.0 -> 8.0 9.0 10.0 (app-cu130-amd64)"
    assert "MARLIN_ARCHS 8.0+PTX 8.0+PTX 1" in lines
    assert "FP4_ARCHS 10.0a 10.0a 3" in lines


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_without_a_readable_cmakelists(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "CMakeLists.txt").write_bytes(content)
    with pytest.raises(UsageError, match=r"CMakeLists\.txt: cannot be read"):
        show_kernels(plan_in(tmp_path, "vllm-0.20"), Console(file=io.StringIO()))
    with pytest.raises(UsageError, match="--kernels needs `filter:` in the matrix"):
        show_kernels(planned(SMALL), Console(file=io.StringIO()))
