"""The whole text of a first matrix, for repositories of several kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec import Struct

from orchestrator.drift.find import find
from orchestrator.drift.first import first_matrix
from tests.unit.drift.test_first import Resolved, write

if TYPE_CHECKING:
    from pathlib import Path

HEAD = """\
# The first matrix of this repository, written by `orchestrate init` from what its files say today.
# Read it once: from now on change CUDA versions, platforms and architecture lists only here.
"""
LAST = "# What the other files of the repository must say: `orchestrate check` compares, `check --fix` repairs.\n"


class Case(Struct, frozen=True, kw_only=True):
    """A repository, and its first matrix between `HEAD` and, in place of a line LAST, `LAST`."""

    files: dict[str, str]
    targets: dict[str, dict[str, Any]] | None
    unknown: tuple[str, ...]
    text: str


CASES = {
    "targets of two releases, one that is not for CUDA, and a platform of another system": Case(
        files={
            "Dockerfile": (
                "ARG CUDA_VERSION=12.8.1\n"
                "FROM nvidia/cuda:${CUDA_VERSION}-devel-ubuntu24.04 AS full\n"
                "ARG TORCH_CUDA_ARCH_LIST='8.0 9.0 10.0'\n"
                "ARG FLASHINFER_VERSION=0.6.13\n"
                "FROM nvidia/cuda:${CUDA_VERSION}-base AS tool\n"
                "ARG CUDA_VERSION\n"
                "FROM debian AS cpu\n"
            ),
            "docker-bake.hcl": (
                'group "default" { targets = ["app"] }\ntarget "app" {\n  name = "app"\n  matrix = {}\n}\n'
            ),
            "build.sh": (
                "export ARCHS_X86='8.0 9.0'\n"
                "docker build --build-arg CUDA_VERSION=13.0.2 --build-arg TORCH_CUDA_ARCH_LIST='8.0 9.0 10.0' .\n"
            ),
            "notes.md": ("CUDA 12.8.1 and 8.0 9.0\n"),
        },
        targets={
            "full": {
                "context": ".",
                "target": "full",
                "tags": ["ghcr.io/acme/app:x"],
                "platforms": ["linux/amd64", "linux/arm64", "windows/amd64"],
                "args": {"TORCH_CUDA_ARCH_LIST": "8.0 9.0 10.0", "CUDA_VERSION": "12.8.1"},
            },
            "tool": {
                "context": ".",
                "target": "tool",
                "tags": ["ghcr.io/acme/tool:x"],
                "platforms": ["linux/amd64"],
                "args": {"CUDA_VERSION": "13.0.2"},
                "contexts": {"base": "docker-image://nvidia/cuda:13.0.2-base"},
            },
            "cpu": {"context": ".", "target": "cpu"},
        },
        unknown=(),
        text="""\
# Without windows/amd64: not a platform of Linux.
version: 1
image: ghcr.io/acme/app
bake:
  files: [docker-bake.hcl]
  targets: [full, tool]  # without cpu: not built for CUDA
arch_lists:
  release: 8.0 9.0 10.0
  x86: 8.0 9.0
cuda:
  "13.0": {version: 13.0.2, tag_suffix: -cu130}
  "12.8": {version: 12.8.1, tag_suffix: -cu128}
platforms:
  linux/amd64: {}
  linux/arm64: {}
variants:
  arch_list: release
  args:
    CUDA_VERSION: "{cuda.version}"
  tags: ["{image}:{target}-{platform.arch}{cuda.tag_suffix}"]
overrides:
  - when: {target: full}
    args:
      TORCH_CUDA_ARCH_LIST: "{archs.torch}"
  - when: {target: tool}
    contexts:
      base: "docker-image://nvidia/cuda:{cuda.version}-base"
exclude:
  - when: {target: full, cuda: "13.0"}
    why: docker-bake.hcl builds it for CUDA 12.8
  - when: {target: tool, cuda: "12.8"}
    why: docker-bake.hcl builds it for CUDA 13.0
  - when: {target: tool, platform: linux/arm64}
    why: docker-bake.hcl does not build it for linux/arm64
# FlashInfer downloads headers at run time. To carry them in the images (docs/air-gapped.md):
# headers:
#   version_from: "Dockerfile#FLASHINFER_VERSION"
LAST
claims:
  - {file: Dockerfile, arg: TORCH_CUDA_ARCH_LIST, says: "{arch_lists.release}"}
  - {file: build.sh, build_arg: TORCH_CUDA_ARCH_LIST, says: "{arch_lists.release}"}
  - {file: build.sh, name: ARCHS_X86, says: "{arch_lists.x86}"}
  - {file: Dockerfile, arg: CUDA_VERSION, says: "{cuda[12.8].version}"}
  - {file: build.sh, build_arg: CUDA_VERSION, says: "{cuda[13.0].version}"}
""",
    ),
    "nothing is known": Case(
        files={
            "docker-bake.hcl": ('target "My App" {}\ntarget "b" {}\n'),
            "Dockerfile": ("FROM debian\nARG CUDA_VERSION\n"),
        },
        targets=None,
        unknown=("the CUDA release, which no file names", "the architectures, which no file lists"),
        text="""\
# Not known, write it in place of UNKNOWN: the CUDA release, which no file names.
# Not known, write it in place of UNKNOWN: the architectures, which no file lists.
version: 1
image: my-project
bake:
  files: [docker-bake.hcl]
  targets: [My App, b]
arch_lists:
  release: UNKNOWN  # for example 8.0 9.0 12.0+PTX
cuda:
  UNKNOWN: {version: UNKNOWN}  # for example "13.0": {version: 13.0.2}
platforms:
  linux/amd64: {}
variants:
  arch_list: release
  args:
    CUDA_VERSION: "{cuda.version}"
  tags: ["{image}:{target}-{platform.arch}{cuda.tag_suffix}"]
LAST
""",
    ),
    "a list for one machine beside that of the image": Case(
        files={
            "docker-bake.hcl": ('target "app" { args = { CUDA_VERSION = "12.4.1" } }\n'),
            "requirements.txt": ("flashinfer-python==0.6.13\n"),
            "ci-arm64.sh": ("TORCH_CUDA_ARCH_LIST='8.7 12.0'\nCUDA_VERSION=12.4.1\n"),
            "Dockerfile": (
                "ARG CUDA_VERSION=12.4.1\nFROM nvidia/cuda:${CUDA_VERSION}-devel\nARG TORCH_CUDA_ARCH_LIST=8.0 9.0\n"
            ),
        },
        targets=None,
        unknown=(),
        text="""\
version: 1
image: my-project
bake:
  files: [docker-bake.hcl]
  targets: [app]
arch_lists:
  release: 8.0
  ci-arm64: 8.7  # without 12.0, which no release below compiles
cuda:
  "12.4": {version: 12.4.1, tag_suffix: -cu124}
platforms:
  linux/amd64: {}
  linux/arm64: {}
variants:
  arch_list: release
  args:
    CUDA_VERSION: "{cuda.version}"
    TORCH_CUDA_ARCH_LIST: "{archs.torch}"
  tags: ["{image}:{target}-{platform.arch}{cuda.tag_suffix}"]
# FlashInfer downloads headers at run time. To carry them in the images (docs/air-gapped.md):
# headers:
#   version_from: "requirements.txt#flashinfer-python"
LAST
claims:
  - {file: Dockerfile, arg: TORCH_CUDA_ARCH_LIST, says: "{arch_lists.release}"}
  - {file: ci-arm64.sh, name: TORCH_CUDA_ARCH_LIST, says: "{arch_lists.ci-arm64}"}
  - {file: Dockerfile, arg: CUDA_VERSION, says: "{cuda[12.4].version}"}
  - {file: ci-arm64.sh, name: CUDA_VERSION, says: "{cuda[12.4].version}"}
  - {file: docker-bake.hcl, target: app, arg: CUDA_VERSION, says: "{cuda[12.4].version}"}
""",
    ),
    "targets with lists of their own, a release without a patch, a second bake file": Case(
        files={
            "docker-bake.hcl": (
                'target "a" {\n'
                '  args = { TORCH_CUDA_ARCH_LIST = "8.0 9.0", CUDA_VERSION = "12.8" }\n'
                '  platforms = ["linux/arm/v7", "linux/arm/v6", "local"]\n'
                "}\n"
                'target "b" {\n'
                '  args = { TORCH_CUDA_ARCH_LIST = "9.0 10.0", CUDA_VERSION = "12.8" }\n'
                '  platforms = ["linux/arm/v7", "linux/arm/v6", "local"]\n'
                "}\n"
            ),
            "x/docker-bake.hcl": ('target "z" {}'),
            "Dockerfile": ("FROM nvidia/cuda:12.8-devel\nARG CUDA_VERSION\nARG TORCH_CUDA_ARCH_LIST\n"),
        },
        targets=None,
        unknown=("the version of CUDA 12.8, of which no file names the patch",),
        text="""\
# Not known, write it in place of UNKNOWN: the version of CUDA 12.8, of which no file names the patch.
# Not read: x/docker-bake.hcl.
version: 1
image: my-project
bake:
  files: [docker-bake.hcl]
  targets:
    a: {}
    b: {arch_list: docker-bake}
arch_lists:
  release: 8.0 9.0
  docker-bake: 9.0 10.0
cuda:
  "12.8": {version: UNKNOWN, tag_suffix: -cu128}
platforms:
  linux/amd64: {}
variants:
  arch_list: release
  args:
    TORCH_CUDA_ARCH_LIST: "{archs.torch}"
    CUDA_VERSION: "{cuda}"
  tags: ["{image}:{target}-{platform.arch}{cuda.tag_suffix}"]
LAST
claims:
  - {file: docker-bake.hcl, target: a, arg: TORCH_CUDA_ARCH_LIST, says: "{arch_lists.release}"}
  - {file: docker-bake.hcl, target: b, arg: TORCH_CUDA_ARCH_LIST, says: "{arch_lists.docker-bake}"}
""",
    ),
    "a release that compiles nothing of the list, and branches": Case(
        files={
            "docker-bake.hcl": ('target "a" { args = { CUDA_ARCH_LIST = "11.0 12.1", CUDA_VERSION = "13.0.2" } }\n'),
            "Dockerfile": ("FROM debian\nARG CUDA_VERSION=12.4.1\nARG CUDA_ARCH_LIST\n"),
            "b.sh": (
                'case "$CUDA_VERSION" in\n'
                '12.4*) CUDA_ARCH_LIST="8.0 9.0";;\n'
                '12.8*) CUDA_ARCH_LIST="8.0 10.1";;\n'
                '*) CUDA_ARCH_LIST="8.0 11.0 12.1";;\n'
                "esac\n"
                "CUDA_VERSION=12.4.1\n"
            ),
        },
        targets=None,
        unknown=(),
        text="""\
# Without CUDA 12.4: CUDA 12.4 compiles none of 11.0 12.1.
version: 1
image: my-project
bake:
  files: [docker-bake.hcl]
  targets: [a]
arch_lists:
  b-12-4: 8.0 9.0
  b: 8.0 11.0 12.1
  release: 11.0 12.1
cuda:
  "13.0": {version: 13.0.2, tag_suffix: -cu130}
platforms:
  linux/amd64: {}
variants:
  arch_list: release
  args:
    CUDA_ARCH_LIST: "{archs.torch}"
    CUDA_VERSION: "{cuda.version}"
  tags: ["{image}:{target}-{platform.arch}{cuda.tag_suffix}"]
LAST
claims:
  - {file: b.sh, name: CUDA_ARCH_LIST, branch: "12.4*", says: "{arch_lists.b-12-4}"}
  - {file: b.sh, name: CUDA_ARCH_LIST, branch: "*", says: "{arch_lists.b}"}
  - {file: docker-bake.hcl, target: a, arg: CUDA_ARCH_LIST, says: "{arch_lists.release}"}
  - {file: docker-bake.hcl, target: a, arg: CUDA_VERSION, says: "{cuda[13.0].version}"}
# Not claimed, as it is for a CUDA release that is not built: b.sh:3: CUDA_ARCH_LIST in branch 12.8*: 8.0 10.1.
""",
    ),
    "a repository from a tag, platforms that differ in their variant": Case(
        files={
            "docker-bake.hcl": ('target "a" { tags = ["r.test/x:1"] }\n'),
            "docker/Dockerfile.z": (
                "FROM scratch\nARG FLASHINFER_VERSION=1\nENV TORCH_CUDA_ARCH_LIST='8.0 9.0'\nENV CUDA_VERSION=13.0.2\n"
            ),
            "requirements/x.txt": ("flashinfer-python==1\n"),
        },
        targets={
            "a": {
                "context": ".",
                "dockerfile": "docker/Dockerfile.z",
                "tags": ["r.test/x:1"],
                "platforms": ["linux/arm/v7", "linux/arm/v6", "local", "linux/s390x"],
            }
        },
        unknown=(),
        text="""\
version: 1
image: r.test/x
bake:
  files: [docker-bake.hcl]
  targets: [a]
arch_lists:
  release: 8.0 9.0
cuda:
  "13.0": {version: 13.0.2, tag_suffix: -cu130}
platforms:
  linux/arm: {}
  linux/arm/v6: {tag_suffix: -v6}
  linux/s390x: {}
variants:
  arch_list: release
  tags: ["{image}:{target}-{platform.arch}{platform.tag_suffix}{cuda.tag_suffix}"]
# FlashInfer downloads headers at run time. To carry them in the images (docs/air-gapped.md):
# headers:
#   version_from: "docker/Dockerfile.z#FLASHINFER_VERSION"
LAST
claims:
  - {file: docker/Dockerfile.z, env: TORCH_CUDA_ARCH_LIST, says: "{arch_lists.release}"}
  - {file: docker/Dockerfile.z, env: CUDA_VERSION, says: "{cuda[13.0].version}"}
""",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_text_of_a_first_matrix(name: str, tmp_path: Path) -> None:
    case, root = CASES[name], tmp_path / "My Project!"
    write(root, case.files)
    asked = None if case.targets is None else Resolved(root, case.targets)
    made = first_matrix(root, find(root).groups, asked)
    assert made.text == HEAD + case.text.replace("LAST\n", LAST)
    assert (made.unknown, made.note) == (case.unknown, "")
