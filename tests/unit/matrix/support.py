"""The example of the design as text, and short ways to read and expand a matrix."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import MatrixError
from orchestrator.matrix import expand, load

if TYPE_CHECKING:
    from orchestrator.matrix.layers import CommandLine
    from orchestrator.matrix.model import Matrix
    from orchestrator.matrix.variants import Plan

EXAMPLE = """\
version: 1
image: ghcr.io/acme/vllm-openai
bake:
  files: [docker/docker-bake.hcl]
  targets: {openai: {}, openai-ubuntu2404: {tag_suffix: -ubuntu2404}}

arch_lists:
  release: 7.5 8.0 8.6 8.9 9.0 10.0 11.0 12.0+PTX
  thor: 8.0 8.7 8.9 9.0 10.0 11.0 12.0+PTX

cuda:
  "12.9": {version: 12.9.1, tag_suffix: -cu129}
  "13.0": {version: 13.0.2}

platforms:
  linux/amd64: {runner: ubuntu-24.04}
  linux/arm64: {runner: ubuntu-24.04-arm, arch_list: thor}

axes:
  python: {"3.12": {}, "3.13": {}}

variants:
  arch_list: release
  args:
    CUDA_VERSION: "{cuda.version}"
    torch_cuda_arch_list: "{archs.torch}"
    PYTHON_VERSION: "{python}"
  tags: ["{image}:{git.sha}-py{python}-{platform.machine}{cuda.tag_suffix}{target.tag_suffix}"]

overrides:
  - when: {cuda: "13.0", platform: linux/arm64}
    args: {max_jobs: 8}
exclude:
  - when: {cuda: "12.9", platform: linux/arm64}
    why: no GB10 support below 13.0

publish:
  tags: ["{image}:{git.sha}-py{python}{cuda.tag_suffix}{target.tag_suffix}"]

cache: {backend: registry}
headers: {policy: optional, version: 0.6.13}
verify: {require: [{glob: "**/*.so", archs: 9.0}]}
claims:
  - {file: docker/Dockerfile, arg: CUDA_VERSION, says: "{cuda[13.0].version}"}
"""

SMALL = """\
version: 1
image: acme/app
bake: {files: bake.hcl, targets: [app]}
arch_lists: {all: 8.0 9.0}
cuda:
  "13.0": {version: 13.0.2}
platforms:
  linux/amd64:
variants:
  arch_list: all
  tags: ["{image}:{variant.id}"]
"""


def parse(text: str | bytes) -> Matrix:
    """The matrix of a text, as `matrix.yaml`."""
    data = text.encode() if isinstance(text, str) else text
    return load.parse(data, path=Path("matrix.yaml"), shown="matrix.yaml")


def fact(name: str) -> str:
    """What git would say."""
    return {
        "git.sha": "0" * 40, "git.short": "0" * 12, "git.branch": "main", "git.tag": "v1", "git.dirty": "",
    }[name]  # fmt: skip


def planned(text: str | bytes, given: CommandLine | None = None) -> Plan:
    """The plan of a text."""
    return expand.plan(parse(text), given=given, fact=fact)


def problems(text: str | bytes) -> list[str]:
    """Every problem of a text, as it is printed; none for a good one."""
    try:
        planned(text)
    except MatrixError as error:
        return [str(problem) for problem in error.problems]
    return []


def changed(old: str, new: str, text: str = EXAMPLE) -> str:
    """The example with one text replaced by another."""
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times"
    return text.replace(old, new)
