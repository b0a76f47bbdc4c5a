"""The replay of vLLM #39233 with three of vLLM's own units: `examples/vllm-kernels/replay`, reduced to fit in a test.

The script, the build command, the Dockerfile, nvcc, vLLM's CMakeLists.txt and its sources are the real ones. torch is
not installed, which takes 2.8 GB of packages: what compiles is its own (headers, CMake files, flags), what would run is
left out, and so is the import at the end of the build.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.artifacts import download, downloads
from tests.support.engine import ROOT
from tests.support.toolchain import host_compiler

pytestmark = [pytest.mark.download, pytest.mark.usefixtures("engine")]

BIN = Path(sys.executable).parent
BEFORE, AFTER = "9.0 10.0 12.0", "9.0 10.0 11.0 12.0"
# Of each kind of family one: for the whole list, for the newer part of it, for 9.0 alone.
UNITS = "permute_cols.cu,nvfp4_quant_kernels.cu,w4a8_utils.cu"
TORCH = "7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a"
BUILDS_WITH = ("cmake", "jinja2", "markupsafe", "ninja")
SITE = "vllm-kernels/site"
TIMEOUT_S = 1500
LOADED = ("torch_cpu", "torch_cuda", "torch_cuda_linalg", "torch_nvshmem", "torch_python", "caffe2_nvrtc")
CUDA = ("cublas", "cublasLt", "cudnn", "cufft", "cuFile", "curand", "cusolver", "cusparse", "cusparseLt", "nvrtc")


def torch_that_compiles(site: Path) -> None:
    """The half of torch that a compiler reads, from its own wheel; empty libraries in the place of the others."""
    wheel = download("torch==2.11.0", platform="manylinux_2_28_x86_64", python="3.11", digest=TORCH)
    own = ("torch/include/", "torch/share/cmake/", "torch/lib/libc10", "torch/lib/libtorch.so")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site, [name for name in archive.namelist() if name.startswith(own)])
        flags = next(
            ast.literal_eval(node.value)
            for node in ast.parse(archive.read("torch/utils/cpp_extension.py")).body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "COMMON_NVCC_FLAGS"
        )
    (site / "torch/utils").mkdir()
    (site / "torch/__init__.py").write_text("import torch.utils\n")
    path = '__import__("os").path.dirname(__path__[0]) + "/share/cmake"'
    (site / "torch/utils/__init__.py").write_text(f"cmake_prefix_path = {path}\n")
    (site / "torch/utils/cpp_extension.py").write_text(f"COMMON_NVCC_FLAGS = {flags}\n")
    beside = site / "nvidia" / "cu13" / "lib"
    beside.mkdir(parents=True)
    for library in (
        *(site / f"torch/lib/lib{name}.so" for name in LOADED),
        *(beside / f"lib{name}.so" for name in CUDA),
    ):
        subprocess.run(
            ["gcc", "-shared", "-o", library, f"-Wl,-soname,{library.name}", "-x", "c", "/dev/null"], check=True
        )


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example, prepared by its own script, whose builds install no torch."""
    root = tmp_path_factory.mktemp("replay")
    for name in ("docker", "scripts", "examples/axpy"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns(".*", "build", "dist"))
    copy = root / "examples" / "vllm-kernels"
    copy.mkdir()
    listed = [
        "git",
        "-C",
        str(ROOT / "examples/vllm-kernels"),
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
    ]
    for name in subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split():
        shutil.copy(ROOT / "examples/vllm-kernels" / name, copy / name)
    host_compiler()
    downloads.made_available("vLLM's kernels", copy / "prepare", env=environment(copy))
    source = copy / ".inputs" / "source"
    torch_that_compiles(source / SITE)

    locked = json.loads((copy / "wheels.lock.json").read_text())["wheelhouses"][0]["wheels"]
    names = [re.match(r"(\w+)-([\d.]+)-", one["name"]) for one in locked]
    pins = [f"{name[1]}=={name[2]}" for name in names if name and name[1] in BUILDS_WITH]
    assert len(pins) == len(BUILDS_WITH)
    (source / "requirements/build/cuda.txt").write_text("\n".join(pins))
    text = (copy / "docker-bake.hcl").read_text()
    command = '"python3 vllm-kernels/build.py '
    assert command in text
    text = text.replace(command, f'"PYTHONPATH=$PWD/{SITE} python3 vllm-kernels/build.py ')
    (copy / "docker-bake.hcl").write_text(text)
    downloads.made_available("cmake and ninja", BIN / "orchestrate", "wheels", "lock", cwd=copy, env=environment(copy))
    return copy


def environment(example: Path) -> dict[str, str]:
    store = {"ORCHESTRATE_WHEELS_STORE": str(example / ".inputs" / "wheels")}
    return {**os.environ, **store, "PATH": f"{BIN}:{os.environ['PATH']}", "NO_COLOR": "1"}


def test_the_replay_names_thor_then_compiles_it_alone(
    example: Path, mount_name: str, tmp_image: str, tmp_path: Path
) -> None:
    kernels = f"--units _C_stable_libtorch={UNITS} --no-import"
    done = subprocess.run(
        [example / "replay", "--kernels", kernels, "--namespace", mount_name, "--image", tmp_image], cwd=example,
        env=environment(example), capture_output=True, text=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr
    before, after = done.stdout.split("# One edit: ")
    thor = r"_C_stable_libtorch\.abi3\.so: 11\.0 \(Jetson Thor[^)]*\) is not served: no machine code and no PTX in any "
    assert re.search(f"{thor}of 3 translation units", " ".join(before.split())), before[-4000:]
    assert "6 places contradict the matrix" in after
    versions = json.loads((example / ".replay/docker/versions.json").read_text())
    assert versions["variable"]["TORCH_CUDA_ARCH_LIST"]["default"] == AFTER
    # an image of each unit, and one of CMake's own, which looks at the compiler
    assert "device code: 0 of 14 from cache (PTX 0/7, cubin 0/7)" in before
    assert "device code: 14 of 18 from cache (PTX 7/9, cubin 7/9)" in after

    table = tmp_path / "units.json"
    assert units(example, tmp_image, AFTER, "--json", str(table)) == 0
    found = {Path(one["source"]).name: (one["families"], one["asked"]) for one in json.loads(table.read_text())}
    assert found == {
        "permute_cols.cu": (["whole list"], ["sm_100", "sm_110", "sm_120", "sm_90"]),
        "nvfp4_quant_kernels.cu": (["FP4_ARCHS"], ["sm_100f", "sm_110f", "sm_120f"]),
        "w4a8_utils.cu": (["W4A8_ARCHS"], ["sm_90a"]),
    }
    assert units(example, tmp_image, BEFORE) == 4, "each object holds more than that list plans"


def units(example: Path, image: str, archs: str, *words: str) -> int:
    """The status of the program that joins plan, compile commands and bytes."""
    argv = [sys.executable, str(example / "units"), f"{image}:cu130-amd64", "--archs", archs, *words]
    done = subprocess.run(argv, env=environment(example), capture_output=True, text=True, timeout=120, check=False)
    print(done.stdout, done.stderr)
    return done.returncode


def test_a_download_that_fails_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    copy = tmp_path / "examples" / "vllm-kernels"
    shutil.copytree(ROOT / "examples/vllm-kernels", copy, ignore=shutil.ignore_patterns(".*"))
    killed = copy / ".inputs" / "work-of-a-run-that-was-killed"
    killed.mkdir(parents=True)
    nothing = {**os.environ, "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": str(tmp_path)}
    for script in ("prepare", "replay"):
        done = subprocess.run(
            [sys.executable, copy / script], check=False, env=nothing, capture_output=True, text=True, timeout=120
        )
        assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
        assert f"prepare: pip could not download what {copy / 'source.txt'} names" in done.stderr
        assert list((copy / ".inputs").iterdir()) == []
