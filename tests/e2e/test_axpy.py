"""The main job with the installed command: examples/axpy from its matrix to images in a registry, with real nvcc's.

What is promised by the plan is looked for in the registry's bytes, and the code in them with NVIDIA's own reader.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine import ROOT, Registry, call
from tests.support.toolchain import FULL, Axpy, Pushed, axpy, device_code, promised

pytestmark = pytest.mark.download

COMMAND = Path(sys.executable).parent / "orchestrate"


def orchestrate(root: Path, *words: str, timeout: float = 500) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(COMMAND), *words], cwd=root, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Axpy:
    return axpy(tmp_path_factory.mktemp("project"), *FULL)


def planned(project: Axpy, *words: str) -> dict[str, dict[str, Any]]:
    """Variant id -> what the plan says of it."""
    done = orchestrate(project.root, "plan", "--format", "json", *words)
    assert done.returncode == 0, done.stderr
    return {variant["id"]: variant for variant in json.loads(done.stdout)["variants"]}


def built(project: Axpy, image: str, report: Path, *words: str) -> dict[str, dict[str, Any]]:
    """Variant id -> what the report of a pushed build says of it."""
    done = orchestrate(
        project.root,
        "build",
        "--allow",
        "fs.read=../../docker",
        "--image",
        image,
        "--push",
        "--report",
        str(report),
        *words,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {variant["id"]: variant for variant in json.loads(report.read_text())["variants"]}


def test_pushed_images_match_the_plan(project: Axpy, registry: Registry, tmp_image: str, tmp_path: Path) -> None:
    variants = planned(project, "--image", tmp_image)
    report = built(project, tmp_image, tmp_path / "report.json")
    assert set(variants) == set(report) == {"axpy-cu124-amd64", "axpy-cu130-amd64"}
    for name, variant in variants.items():
        (tag,) = variant["tags"]
        repository = tmp_image.partition("/")[2]
        assert report[name]["status"] == "built"
        assert report[name]["tags"] == [tag]
        assert report[name]["digest"] == registry.digest(repository, tag.rpartition(":")[2]) != ""

        image = Pushed.read(registry, repository, report[name]["digest"], variant["platform"])
        effective = " ".join(variant["archs"]["effective"])
        assert image.labels["com.orchestrate.variant"] == name
        assert image.labels["com.orchestrate.cuda"] == variant["cuda_version"] == FULL[variant["cuda"]]
        assert image.labels["com.orchestrate.archs"] == effective
        assert image.labels["com.orchestrate.archs.requested"] == " ".join(variant["archs"]["requested"])
        assert image.environment["TORCH_CUDA_ARCH_LIST"] == effective == variant["args"]["torch_cuda_arch_list"]
        steps = " ".join(step.get("created_by", "") for step in image.history)
        assert f"CUDA_VERSION={variant['args']['CUDA_VERSION']}" in steps
        assert device_code(image.library(), tmp_path) == promised(effective)
        (runtime,) = [path for path, _ in image.files(r".*/axpy/libcudart\.so\.\d+")]
        assert runtime.endswith(f".so.{variant['cuda'].partition('.')[0]}")


def test_the_list_of_the_command_line_is_the_list_in_the_image(
    project: Axpy, registry: Registry, tmp_image: str, tmp_path: Path
) -> None:
    report = built(project, tmp_image, tmp_path / "report.json", "--cuda", "13.0", "--archs", "8.9 9.0a 11.0+PTX")
    image = Pushed.read(registry, tmp_image.partition("/")[2], report["axpy-cu130-amd64"]["digest"])
    assert device_code(image.library(), tmp_path) == {"sm_89": 2, "sm_90a": 2, "sm_110": 2, "compute_110": 2}


def test_what_a_toolkit_cannot_compile_is_in_the_plan_with_its_reason(project: Axpy) -> None:
    dropped = {
        entry["arch"]: entry["why"]
        for entry in planned(project, "--cuda", "12.4")["axpy-cu124-amd64"]["archs"]["dropped"]
    }
    assert set(dropped) == {"10.0", "11.0", "12.0+PTX"}
    assert "sm_110 needs CUDA 13.0 or later" in dropped["11.0"]
    refused = orchestrate(project.root, "plan", "--cuda", "12.4", "--archs", "11.0")
    assert refused.returncode == 2
    assert "sm_110 needs CUDA 13.0 or later" in refused.stderr


def test_an_argument_that_arrives_nowhere_stops_the_build(tmp_path: Path, engine: str) -> None:
    project = axpy(tmp_path, "13.0")
    matrix = project.root / "matrix.yaml"
    matrix.write_text(matrix.read_text().replace("    torch_cuda_arch_list:", "    TORCH_CUDA_ARCH_LIST:"))
    done = orchestrate(project.root, "build", "--allow", "fs.read=../../docker", "--cuda", "13.0")
    assert done.returncode == 2
    assert "does not consume TORCH_CUDA_ARCH_LIST" in done.stdout
    assert "did you mean torch_cuda_arch_list?" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_kernel_that_does_not_compile_fails_its_variant_alone(
    tmp_path: Path, registry: Registry, tmp_image: str
) -> None:
    project = axpy(tmp_path, *FULL)
    kernel = project.root / "csrc/reduce.cu"
    kernel.write_text(kernel.read_text() + "#if __CUDACC_VER_MAJOR__ == 12\n#error no kernel for CUDA 12\n#endif\n")
    report = tmp_path / "report.json"
    done = orchestrate(
        project.root,
        "build",
        "--allow",
        "fs.read=../../docker",
        "--image",
        tmp_image,
        "--push",
        "--report",
        str(report),
    )
    assert done.returncode == 1, done.stderr
    found = {variant["id"]: variant for variant in json.loads(report.read_text())["variants"]}
    assert found["axpy-cu124-amd64"]["status"] == "failed"
    assert found["axpy-cu124-amd64"]["attempts"] == 1
    assert "error: #error no kernel for CUDA 12" in done.stdout
    assert found["axpy-cu130-amd64"]["status"] == "built"
    assert registry.tags(tmp_image.partition("/")[2]) == ["cu130-amd64"]


def test_the_demo_shows_what_is_in_the_registry(registry: Registry, tmp_image: str) -> None:
    done = call(ROOT / "scripts" / "demo", "--image", tmp_image, timeout=500)
    digest = registry.digest(tmp_image.partition("/")[2], "cu130-amd64")
    assert f"  {tmp_image}:cu130-amd64  {digest}\n" in done.stdout
    assert "11.0 on CUDA 12.4: sm_110 needs CUDA 13.0 or later" in done.stdout
