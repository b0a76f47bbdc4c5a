"""Trees as they are found: monorepos, several Dockerfiles, Makefiles, GitLab, Jenkins, meson, CRLF, latin-1, links.

Each gets a first matrix, shows its contradictions and no other, and takes a new architecture with one edit and one fix.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.drift import fix as fixing
from orchestrator.drift.check import check
from orchestrator.drift.find import find
from orchestrator.drift.first import first_matrix
from orchestrator.matrix import load
from orchestrator.matrix.expand import plan

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.matrix.model import Matrix

LIST = "8.0 9.0 10.0+PTX"
DOCKERFILE = (
    "ARG CUDA_VERSION=12.8.1\nFROM nvidia/cuda:${CUDA_VERSION}-devel-ubuntu22.04 AS build\n"
    f'ARG TORCH_CUDA_ARCH_LIST="{LIST}"\nRUN make\n'
)
BAKE = (
    'group "default" { targets = ["app"] }\ntarget "app" {\n  dockerfile = "Dockerfile"\n  tags = ["acme/app:1"]\n}\n'
)
TREES: dict[str, dict[str, str]] = {
    "monorepo": {
        **{f"services/{one}/Dockerfile": DOCKERFILE for one in "ab"},
        **{f"services/{one}/docker-bake.hcl": BAKE.replace('"D', f'"services/{one}/D') for one in "ab"},
        "services/a/build.sh": "docker build --build-arg CUDA_VERSION=12.6.3 .\n",
    },
    "several Dockerfiles": {
        "docker/Dockerfile.cu12": DOCKERFILE,
        "docker/Dockerfile.cu13": DOCKERFILE.replace("12.8.1", "13.0.2").replace(LIST, "9.0 11.0 12.0+PTX"),
        "docker-bake.hcl": "".join(
            f'target "{one}" {{ dockerfile = "docker/Dockerfile.{one}" }}\n' for one in ("cu12", "cu13")
        ),
    },
    "ROCm beside CUDA": {
        "Dockerfile": DOCKERFILE,
        "Dockerfile.rocm": 'FROM rocm/dev-ubuntu-22.04:6.3\nARG PYTORCH_ROCM_ARCH="gfx90a;gfx942"\n',
        "docker-bake.hcl": BAKE + 'target "app-rocm" { dockerfile = "Dockerfile.rocm" }\n',
    },
    "Makefile": {
        "Makefile": (
            "CUDA_VERSION ?= 12.8.1\nCUDA_ARCH_LIST = 8.0 \\\n  9.0 \\\n  10.0+PTX\nimage:\n"
            "\tdocker buildx build --build-arg CUDA_VERSION=$(CUDA_VERSION) -t acme/app .\nbake:\n"
            f'\tdocker buildx bake app --set "*.args.CUDA_VERSION=12.6.3" --set "*.args.TORCH_CUDA_ARCH_LIST={LIST}"\n'
        ),
        "Dockerfile": DOCKERFILE,
        "docker-bake.hcl": BAKE,
    },
    "meson": {
        "meson.build": "cuda = import('unstable-cuda')\nflags = cuda.nvcc_arch_flags('12.8.1', '8.0', '9.0', '10.0')\n",
        "meson_options.txt": f"option('cuda_arch_list', type: 'string', value: '{LIST}')\n",
        "Dockerfile": DOCKERFILE,
        "docker-bake.hcl": BAKE,
    },
    ".env": {
        ".env": f'CUDA_VERSION=12.8.1 # one\nTORCH_CUDA_ARCH_LIST="{LIST}"\nTAG=dev\n',
        "compose.yaml": (
            "services:\n  app:\n    image: acme/app:${TAG}\n    build:\n      context: .\n      args:\n"
            "        CUDA_VERSION: ${CUDA_VERSION:-12.8.1}\n        TORCH_CUDA_ARCH_LIST: ${TORCH_CUDA_ARCH_LIST}\n"
        ),
        "Dockerfile": DOCKERFILE.replace("=12.8.1", "").replace(f'="{LIST}"', ""),
    },
    "GitLab": {
        ".gitlab-ci.yml": (
            f'variables:\n  CUDA_VERSION: "12.8.1"\n  TORCH_CUDA_ARCH_LIST: "{LIST.replace(" ", ";")}"\nbuild:\n'
            "  image: nvidia/cuda:12.6.3-devel-ubuntu22.04\n  parallel:\n    matrix:\n"
            '      - CUDA: ["12.6.3", "12.8.1"]\n  script:\n    - |\n'
            f'      export TORCH_CUDA_ARCH_LIST="{LIST}"\n      python setup.py bdist_wheel\n'
        ),
        "Dockerfile": DOCKERFILE,
        "docker-bake.hcl": BAKE,
    },
    "Jenkins": {
        "Jenkinsfile": (
            f"environment {{ TORCH_CUDA_ARCH_LIST = '{LIST}' }}\nsh 'docker build --build-arg CUDA_VERSION=12.6.3 .'\n"
        ),
        "Dockerfile": DOCKERFILE,
        "docker-bake.hcl": BAKE,
    },
    "CRLF": {
        name: text.replace("\n", "\r\n")
        for name, text in {
            "Dockerfile": DOCKERFILE,
            "docker-bake.hcl": BAKE + 'variable "CUDA_VERSION" { default = "12.8.1" }\n',
            "build.sh": f'export TORCH_CUDA_ARCH_LIST="{LIST}"\n',
            "CMakeLists.txt": "set(CMAKE_CUDA_ARCHITECTURES\n  80-real\n  90-real\n  100)\n",
            ".env": "CUDA_VERSION=12.8.0\n",
            "ci.yml": "jobs:\n  a:\n    steps:\n    - with:\n        build-args: |\n          CUDA_VERSION=12.8.0\n",
        }.items()
    },
    "latin-1": {
        "Dockerfile": "# caf\udce9\n" + DOCKERFILE,
        "docker-bake.hcl": BAKE,
        "build.sh": f'# \udcfcber\nexport TORCH_CUDA_ARCH_LIST="{LIST}"\n',
        "README.md": f'# \udce9\n```\nexport TORCH_CUDA_ARCH_LIST="{LIST}"\n```\n',
        "docs/caf\u00e9.md": f'```\nTORCH_CUDA_ARCH_LIST="{LIST}"\n```\n',
    },
    "links": {
        "docker/Dockerfile": DOCKERFILE,
        "docker/docker-bake.hcl": BAKE.replace('"D', '"docker/D'),
    },
    "read-only": {"Dockerfile": DOCKERFILE, "docker-bake.hcl": BAKE, "b.sh": f'TORCH_CUDA_ARCH_LIST="{LIST}"\n'},
}
VARIANTS = {
    "monorepo": ["app-cu128-amd64", "app-cu126-amd64"],
    "several Dockerfiles": ["cu12-cu128-amd64", "cu13-cu130-amd64"],
    "Makefile": ["app-cu128-amd64", "app-cu126-amd64"],
    "GitLab": ["app-cu128-amd64", "app-cu126-amd64"],
}
CONTRADICT = {"CRLF": [(".env", 1), ("ci.yml", 6)]}


@pytest.fixture(params=TREES)
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    for name, text in TREES[request.param].items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        if request.param == "read-only":
            path.chmod(0o444)
    if request.param == "links":
        (tmp_path / "Dockerfile").symlink_to("docker/Dockerfile")
        (tmp_path / "docker-bake.hcl").symlink_to("docker/docker-bake.hcl")
        (tmp_path / "loop").symlink_to("loop")
    return tmp_path


def loaded(root: Path, text: str) -> Matrix:
    return load.parse(text.encode(), path=root / "matrix.yaml", shown="matrix.yaml")


def test_a_first_matrix_of_a_tree_and_one_more_architecture(tree: Path, request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.params["tree"]
    found = find(tree)
    assert found.skipped == ()
    text = first_matrix(tree, found.groups).text
    matrix = loaded(tree, text)
    variants = [one.id for one in plan(matrix, fact=lambda _: "0" * 12).variants]
    assert variants == VARIANTS.get(name, ["app-cu128-amd64"])
    report = check(matrix, tree)
    assert [(one.file, one.line) for one in report.disagreements] == CONTRADICT.get(name, [])
    more = text.replace(f"release: {LIST}", "release: 8.0 9.0 10.0 12.0+PTX")
    assert more != text
    before = {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    wanted = loaded(tree, more)
    fixed = fixing.carry_out(wanted, fixing.fix(wanted, tree), tree)
    assert fixed.after.clean, [str(one) for one in fixed.after.disagreements]
    assert check(wanted, tree).clean
    assert fixing.fix(wanted, tree).texts == {}
    for path, content in before.items():
        changed = path.read_bytes()
        assert len(changed.splitlines()) == len(content.splitlines()) or path.name in {"Makefile", "CMakeLists.txt"}
        assert (b"\r\n" in changed) == (b"\r\n" in content)
        if not any(word in content for word in (b"10.0", b"100)", b"12.8.0")):
            assert changed == content
