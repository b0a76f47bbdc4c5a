"""`plan --network-report`: every access of a build by line and stage, and its cure; what `init` proposes."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.artifacts import download, extract_all

COMMAND = str(Path(sys.executable).parent / "orchestrate")
MATRIX = """\
version: 1
image: e.test/app
bake: {files: [docker-bake.hcl], targets: [app, other]}
arch_lists: {all: "9.0"}
cuda: {"13.0": {version: 13.0.2}}
platforms: {linux/amd64: {}}
variants: {arch_list: all, tags: ["{image}:{variant.id}"]}
cache: {backend: "off"}
"""
BAKE = """\
target "app" { target = "app" }
target "other" {
  target = "other"
  contexts = { wheelhouse = "." }
}
"""
DOCKERFILE = """\
FROM scratch AS helpers
COPY <<"SHELL" /env.sh
install() {
    apt-get update
}
unused() {
    git clone https://e.test/x
}
SHELL
FROM scratch AS wheelhouse
FROM debian:12 AS app
ADD https://e.test/file /file
RUN . /run/env.sh; install x
RUN sh tools/setup.sh
RUN pip install torch
FROM app AS other
RUN . /run/env.sh; install y
RUN --mount=type=bind,from=wheelhouse,target=/w pip install numpy
RUN cmake -S . -B build
FROM app AS never
RUN curl https://e.test/never
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "matrix.yaml").write_text(MATRIX)
    (tmp_path / "docker-bake.hcl").write_text(BAKE)
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "setup.sh").write_text("curl -O https://e.test/tool\n# wget no\n")
    (tmp_path / "CMakeLists.txt").write_text("FetchContent_Declare(cutlass GIT_REPOSITORY https://e.test/c)\n")
    return tmp_path


def orchestrate(root: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [COMMAND, *words], cwd=root, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def accesses(root: Path, *words: str) -> list[tuple[str, str, str]]:
    told: dict[str, Any] = json.loads(orchestrate(root, "plan", "--network-report", "--format", "json", *words).stdout)
    assert told["schema"] == 1
    assert all(one["cure"] for one in told["accesses"])
    return [(one["place"], one["kind"], one["name"]) for one in told["accesses"]]


def test_every_access_has_its_line_and_stage(project: Path) -> None:
    of_app = [
        ("Dockerfile:11", "base image", "debian:12"),
        ("Dockerfile:12", "remote file", "https://e.test/file"),
        ("Dockerfile:13 (app)", "network step", "apt-get update in env.sh"),
        ("Dockerfile:14 (app)", "network step", "curl in tools/setup.sh"),
        ("Dockerfile:15 (app)", "network step", "pip install"),
    ]
    assert accesses(project, "--target", "app") == of_app
    of_other = [
        ("Dockerfile:17 (other)", "network step", "apt-get update in env.sh"),
        ("Dockerfile:18 (other)", "network step", "pip install"),
        ("Dockerfile:19 (other)", "network step", "cmake FetchContent: cutlass in CMakeLists.txt"),
    ]
    assert accesses(project, "--target", "other") == [*of_app, *of_other]
    (project / "matrix.yaml").write_text(f"{MATRIX}wheels: {{python: 3.12, packages: [numpy], targets: [other]}}\n")
    assert accesses(project, "--target", "other") == [*of_app, of_other[0], of_other[2]], "the wheelhouse has numpy"
    assert not [one for one in accesses(project) if "never" in one[2] or "git" in one[2]]


# what vLLM 0.33.0's docker/Dockerfile fetches for its target openai, read by hand: line, and a word of the access
VLLM = [
    (103, "pytorch/manylinux2_28-builder"), (741, "nvidia/cuda:13.0.3-base"), (135, "dnf"), (288, "dnf"), (569, "dnf"),
    (147, "curl"), (168, "curl"), (168, "uv venv"), (218, "uv pip"), (920, "uv pip"), (295, "uv pip"), (360, "uv pip"),
    (608, "uv pip"), (844, "pip install"), (981, "uv pip"), (1008, "uv pip"), (1038, "uv pip"), (315, "curl"),
    (315, "rustup"), (315, "cargo"), (331, "cargo"), (417, "uv venv"), (423, "cutlass"), (423, "vllm-flash-attn"),
    (423, "flashmla"), (423, "deepgemm"), (423, "deepselect"), (423, "qutlass"), (423, "flashkda"), (423, "fmha_sm100"),
    (423, "tml_fa4"), (423, "triton_kernels"), (498, "curl"), (498, "git clone"), (762, "apt-get update"),
    (762, "curl"), (801, "apt-get install"), (834, "curl"), (951, "flashinfer download-kernels"), (965, "curl"),
]  # fmt: skip


@pytest.mark.download
def test_the_accesses_of_vllm_are_those_that_were_read_by_hand(tmp_path: Path) -> None:
    with tarfile.open(download("vllm==0.33.0", sdist=True)) as archive:
        extract_all(archive, tmp_path)
    root = tmp_path / "vllm-0.33.0"
    (root / "matrix.yaml").write_text(
        MATRIX.replace("docker-bake", "docker/docker-bake").replace("app, other", "openai")
    )
    told = [(place.partition(":")[2].split()[0], name) for place, _, name in accesses(root)]
    assert not [(line, word) for line, word in VLLM if not any(at == str(line) and word in name for at, name in told)]
    wrong = [at for at, name in told if "FetchContent" in name and at in {"218", "295", "360", "608"}]
    assert not wrong, "these install packages alone"


def test_the_report_as_text_says_what_satisfies_each(project: Path) -> None:
    done = orchestrate(project, "plan", "--network-report")
    lines = done.stdout.splitlines()
    at = lines.index("Dockerfile:11  base image  debian:12")
    assert lines[at + 1].startswith("    offline: docker pull debian:12 (online), docker save, docker load")
    of_other = "Dockerfile:19 (other)  network step  cmake FetchContent: cutlass in CMakeLists.txt  [other-cu130-amd64]"
    assert of_other in lines
    assert done.stderr.strip().endswith("8 accesses of 2 variants")
    orchestrate(project, "plan", "--network-report", "--format", "bake", code=2)


def test_init_proposes_headers_where_it_finds_flashinfer(project: Path) -> None:
    (project / "matrix.yaml").unlink()
    start = "ARG CUDA_VERSION=13.0.2\nFROM debian:12 AS app\nARG CUDA_VERSION\n"
    (project / "Dockerfile").write_text(start)
    assert "headers:" not in orchestrate(project, "init", "--print").stdout
    (project / "Dockerfile").write_text(
        f"{start}ARG FLASHINFER_VERSION=0.6.13\nRUN pip install flashinfer-python==${{FLASHINFER_VERSION}}\n"
    )
    said = orchestrate(project, "init", "--print").stdout
    proposed = '# headers:\n#   version_from: "Dockerfile#FLASHINFER_VERSION"\n'
    assert proposed in said
    assert wanted(project, proposed)
    # vLLM 0.33 names it in a requirement file alone
    (project / "Dockerfile").write_text(f"{start}RUN pip install -r requirements/cuda.txt\n")
    (project / "requirements").mkdir()
    (project / "requirements" / "cuda.txt").write_text("torch\nflashinfer-python==0.6.13  # why\n")
    (project / "matrix.yaml").unlink()
    said = orchestrate(project, "init", "--print").stdout
    proposed = '# headers:\n#   version_from: "requirements/cuda.txt#flashinfer-python"\n'
    assert proposed in said
    assert wanted(project, proposed)


def wanted(project: Path, proposed: str) -> bool:
    """Whether a proposal is a valid section once its comment signs are gone."""
    (project / "matrix.yaml").write_text(f"{MATRIX}{proposed.replace('#   ', '  ').replace('# ', '')}")
    done = orchestrate(project, "headers", "status")
    return "no FlashInfer lock file" in done.stdout
