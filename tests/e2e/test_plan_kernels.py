"""`orchestrate plan --kernels` on vLLM 0.20.0's real CMakeLists.txt: kernel family x architecture, before a build.

The expected values were measured by running vLLM's own CMake function on these lists.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from orchestrator.cuda.cmake import read_kernels
from orchestrator.cuda.toolkit import toolkit_for
from tests.support.artifacts import download

pytestmark = pytest.mark.download

COMMAND = Path(sys.executable).parent / "orchestrate"
MATRIX = Path(__file__).parent / "vllm/matrix-0.20.0.yaml"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kernels")
    with tarfile.open(download("vllm==0.20.0", sdist=True)) as archive:
        member = archive.getmember("vllm-0.20.0/CMakeLists.txt")
        stream = archive.extractfile(member)
        assert stream is not None
        (root / "CMakeLists.txt").write_bytes(stream.read())
    text = MATRIX.read_text()
    (root / "matrix.yaml").write_text(text.partition("claims:")[0] + "filter: vllm-0.20\n")
    return root


def preview(tree: Path, cuda: str, archs: str) -> tuple[str, dict[str, str]]:
    """CUDA_ARCHS, and what each family is built for (of families that share a name: the first)."""
    argv = [str(COMMAND), "plan", "--kernels", "--cuda", cuda, "--platform", "linux/arm64", "--target", "openai"]
    done = subprocess.run(
        [*argv, "--archs", archs], cwd=tree, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    head, *lines = done.stdout.splitlines()
    rows = [re.split(r" {2,}", line.strip()) for line in lines if re.match(r"[A-Z0-9_]+_ARCHS ", line)]
    built: dict[str, str] = {}
    for name, _, kept, line in rows:
        assert line.isdecimal()
        built.setdefault(name, kept)
    return head.split(" -> ")[1].split(" (")[0], built


COLUMNS = (
    "MACHETE_ARCHS", "ES_MXFP8_GROUPED_MM_ARCHS", "FP4_ARCHS", "MARLIN_BF16_ARCHS", "MARLIN_FP8_ARCHS",
    "MARLIN_OTHER_ARCHS",
)  # fmt: skip


@pytest.mark.parametrize(
    ("cuda", "archs", "kept", "families"),
    [
        ("13.0", "7.5 8.0 8.6 8.9 9.0 10.0 11.0 12.0+PTX", "7.5 8.0 8.6 8.9 9.0 10.0 11.0 12.0",
         ["9.0a", "10.0f 11.0f", "12.0f", "8.0+PTX 9.0+PTX", "8.9 12.0", "7.5 8.0+PTX"]),
        ("13.0", "8.0 8.7 8.9 9.0 10.0 11.0 12.0+PTX", "8.0 8.7 8.9 9.0 10.0 11.0 12.0",
         ["9.0a", "10.0f 11.0f", "12.0f", "8.0+PTX 9.0+PTX", "8.9 12.0", "8.0+PTX"]),
        ("13.0", "10.0 10.3", "10.0", ["nothing", "10.0f", "nothing", "9.0+PTX", "nothing", "8.0+PTX"]),
        ("13.0", "11.0", "11.0", ["nothing", "11.0f", "nothing", "9.0+PTX", "nothing", "8.0+PTX"]),
        ("13.0", "12.0 12.1", "12.0", ["nothing", "nothing", "12.0f", "9.0+PTX", "12.0", "8.0+PTX"]),
        ("13.0", "9.0 9.0a", "9.0a", ["9.0a", "nothing", "nothing", "9.0a", "nothing", "8.0+PTX"]),
        ("12.9", "7.5 8.0 8.6 8.9 9.0 10.0 11.0 12.0+PTX", "7.5 8.0 8.6 8.9 9.0 10.0 12.0",
         ["9.0a", "10.0a", "12.0a", "8.0+PTX 9.0+PTX", "8.9 12.0", "7.5 8.0+PTX"]),
        ("12.9", "8.0 8.6 8.9 9.0 10.0 10.3 12.0 12.1", "8.0 8.6 8.9 9.0 10.0 10.3 12.0 12.1",
         ["9.0a", "10.0a 10.3a", "12.0a 12.1a", "8.0+PTX 9.0+PTX", "8.9 12.0 12.1", "8.0+PTX"]),
    ],
)  # fmt: skip
def test_kernel_by_architecture(tree: Path, cuda: str, archs: str, kept: str, families: list[str]) -> None:
    cuda_archs, built = preview(tree, cuda, archs)
    assert cuda_archs == kept
    assert [built[name] for name in COLUMNS] == families


LISTS = {
    # family: (CUDA >= 13, CUDA < 13), as vLLM 0.20.0's CMakeLists.txt has them
    "MARLIN_ARCHS": ("8.0+PTX", "8.0+PTX"),
    "MLA_ARCHS": ("10.0f 11.0f 12.0f", "10.0a 10.1a 10.3a 12.0a 12.1a"),
    "ES_MXFP8_GROUPED_MM_ARCHS": ("10.0f 11.0f", "10.0a 10.1a 10.3a"),
    "DSV3_FUSED_A_GEMM_ARCHS": ("9.0a 10.0f 11.0f", "9.0a 10.0a 10.1a 10.3a"),
    "DSV3_ROUTER_GEMM_ARCHS": ("9.0a 10.0f 11.0f", "9.0a 10.0a 10.1a 10.3a"),
    "CUTLASS_MOE_DATA_ARCHS": ("9.0a 10.0f 11.0f 12.0f", "9.0a 10.0a 10.1a 10.3a 12.0a 12.1a"),
    "SCALED_MM_2X_ARCHS": ("7.5 8.0 8.7 8.9+PTX", "7.5 8.0 8.7 8.9+PTX"),
    "ALLSPARK_ARCHS": ("8.0 8.6 8.7 8.9", "8.0 8.6 8.7 8.9"),
    "HADACORE_ARCHS": ("8.0+PTX 9.0+PTX", "8.0+PTX 9.0+PTX"),
    "W4A8_ARCHS": ("9.0a", "9.0a"),
}


@pytest.mark.parametrize(("cuda", "column"), [("13.0", 0), ("12.9", 1)])
def test_the_lists_of_the_real_file(tree: Path, cuda: str, column: int) -> None:
    text = (tree / "CMakeLists.txt").read_text()
    found = read_kernels(text, toolkit_for(cuda)).families
    lists = {family.name: " ".join(map(str, family.archs)) for family in found}
    assert {name: lists[name] for name in LISTS} == {name: both[column] for name, both in LISTS.items()}
    for family in found:
        assert family.name in text.splitlines()[family.line - 1]
    # every call of the file is met by one of the two releases, but the first, which filters by a variable
    both = {family.line for release in ("13.0", "12.9") for family in read_kernels(text, toolkit_for(release)).families}
    assert len(both) == len(re.findall(r"(?m)^\s*cuda_archs_loose_intersection\(", text)) - 1


def test_without_a_source_tree_it_says_so(tmp_path: Path) -> None:
    shutil.copy(MATRIX, tmp_path / "matrix.yaml")
    done = subprocess.run(
        [str(COMMAND), "plan", "--kernels"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "filter" in done.stderr
