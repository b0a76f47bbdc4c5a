"""Places in the files of pipelines, charts, recipes and build tools that have no bake file in mind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from orchestrator.drift.check import check
from orchestrator.drift.find import find
from orchestrator.drift.first import first_matrix
from orchestrator.drift.fix import fix
from orchestrator.drift.readers.tree import join_pointer
from orchestrator.matrix import load
from tests.unit.drift.matrices import matrix

if TYPE_CHECKING:
    from pathlib import Path

PLACES = [
    (".gitlab-ci.yml", 'variables: {CUDA_VERSION: "13.0.2"}\n', ["/variables/CUDA_VERSION 13.0.2"]),
    (".gitlab-ci.yml", 'b: {parallel: {matrix: [{CUDA: ["12.9.1", "13.0.2"]}]}}\n', [
        "/b/parallel/matrix/0/CUDA/0 12.9.1", "/b/parallel/matrix/0/CUDA/1 13.0.2",
    ]),
    (".gitlab-ci.yml", "b: {script: [export CUDA_TAG=12.9.0-devel-ubuntu22.04]}\n", ["CUDA_TAG 12.9.0"]),
    ("Taskfile.yml", "tasks: {b: {cmds: [cmd: CUDA_ARCHITECTURES='80;90' make]}}\n", [
        "CUDA_ARCHITECTURES 8.0+PTX 9.0+PTX"
    ]),
    (".circleci/config.yml", 'parameters: {cuda_version: {type: string, default: "13.0.2"}}\n', [
        "/parameters/cuda_version/default 13.0.2"
    ]),
    ("azure-pipelines.yml", "variables: [{name: CUDA_VERSION, value: 13.0.2}, {name: arch_list, value: 8.0 9.0}]\n", [
        "/variables/name=CUDA_VERSION/value 13.0.2", "/variables/name=arch_list/value 8.0 9.0",
    ]),
    ("azure-pipelines.yml", 'strategy: {matrix: {a: {cuda.version: "12.9.1"}}}\n', [
        "/strategy/matrix/a/cuda.version 12.9.1"
    ]),
    ("helm/values.yaml", "image: {repository: nvidia/cuda, tag: 13.0.2-runtime}\nother: {tag: 13.0.2}\n", [
        "/image/tag 13.0.2"
    ]),
    ("helm/values.yaml", "archs: [8.0, 9.0]\nversions: [8.0, 9.0, 10.0]\n", ["/archs 8.0 9.0"]),
    ("tekton/task.yaml", 'spec: {params: [{name: cuda-arch-list, type: array, default: ["8.0", "9.0"]}]}\n', [
        "/spec/params/name=cuda-arch-list/default 8.0 9.0"
    ]),
    ("conda/conda_build_config.yaml", 'cuda_compiler_version:\n  - 12.9\n  - "13.0"\n', [
        "/cuda_compiler_version/0 12.9", "/cuda_compiler_version/1 13.0",
    ]),
    ("pixi.toml", "[tasks]\nb = { cmd = \"cmake -DCMAKE_CUDA_ARCHITECTURES='80;90' ..\" }\n", [
        "CMAKE_CUDA_ARCHITECTURES 8.0+PTX 9.0+PTX"
    ]),
    ("package.json", '{"scripts": {"b": "docker build --build-arg CUDA_VERSION=13.0.2 ."}}\n', ["CUDA_VERSION 13.0.2"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "expected"), PLACES)
def test_what_these_files_say_is_a_place_that_a_fix_writes(
    tmp_path: Path, name: str, text: str, expected: list[str]
) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    sights = [sight for group in find(tmp_path).groups for sight in group.sights]
    told = [
        f"{join_pointer(sight.locator.pointer) or sight.locator.name or sight.locator.build_arg} {sight.value}"
        for sight in sights
    ]
    assert sorted(told) == sorted(expected)
    for sight in sights:
        if sight.value == "13.0.2":
            claim = {**sight.locator.keys(), "says": sight.whole.replace("13.0.2", "{cuda[12.9].version}")}
            done = fix(matrix(f"  - {yaml.safe_dump(claim, default_flow_style=True, width=1000)}", root=tmp_path))
            assert done.after.clean
            assert done.texts[name].count("12.9.1") == text.count("12.9.1") + 1
            assert len(done.texts[name]) == len(text)


@pytest.mark.parametrize(
    ("name", "line", "values"),
    [
        ("noxfile.py", 'CUDA_VERSIONS = ["12.9.1", "13.0.2"]', ["12.9.1", "13.0.2"]),
        (".github/scripts/matrix.py", 'CUDA_ARCHES = ["12.9", "13.0"]', ["12.9", "13.0"]),
        ("app/model.py", 'CUDA_VERSIONS = ["12.9.1", "13.0.2"]', []),
        (".bazelrc", "build --@rules_cuda//cuda:archs=sm_80;sm_90", ["sm_80;sm_90"]),
        (".bazelrc", 'build --repo_env=X_CUDA_CAPABILITIES="sm_80,compute_120"', ["sm_80,compute_120"]),
        ("Earthfile", 'ARG TORCH_CUDA_ARCH_LIST="8.0 9.0"', ["8.0 9.0"]),
        ("justfile", 'cuda_version := "13.0.2"', ["13.0.2"]),
        ("tox.ini", "    cu129: CUDA_VERSION = 12.9.1", ["12.9.1"]),
        ("Jenkinsfile", "axis { name 'CUDA'; values '12.9.1', '13.0.2' }", ["12.9.1", "13.0.2"]),
        ("templates/job.yaml", "    - {{ if .x }}CUDA_VERSION: 13.0.2", ["13.0.2"]),
    ],
)
def test_lines_of_other_languages_are_told(tmp_path: Path, name: str, line: str, values: list[str]) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{line}\n")
    found = find(tmp_path)
    assert (found.groups, [one.value for one in found.mentions]) == ([], values)


@pytest.mark.parametrize(
    ("begin", "otherwise", "end"),
    [("{% if arm %}", "{% else %}", "{% endif %}"), ("{{- if .Arm }}", "{{ else }}", "{{ end }}"), ("#", "#", "#")],
)
def test_branches_of_a_template_differ_by_design(tmp_path: Path, begin: str, otherwise: str, end: str) -> None:
    first, second = 'ARG TORCH_CUDA_ARCH_LIST="9.0 10.0"', 'ARG TORCH_CUDA_ARCH_LIST="8.0 9.0 12.0"'
    (tmp_path / "Dockerfile.j2").write_text(f"FROM scratch\n{begin}\n{first}\n{otherwise}\n{second}\n{end}\n")
    told = [one for group in find(tmp_path).groups for one in group.contradictions]
    assert len(told) == (begin == "#")


def test_a_contradiction_of_a_release_that_is_not_built_stays_one(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM nvidia/cuda:12.9.1-devel\nARG TORCH_CUDA_ARCH_LIST='8.0 9.0'\n")
    (tmp_path / "docker-bake.hcl").write_text('target "app" {}\n')
    (tmp_path / "values.yaml").write_text(
        "a: {cuda: 13.0.2}\nb: {cuda: 13.0.2}\nc: {image: 'nvidia/cuda:13.0.1-base'}\n"
    )
    made = first_matrix(tmp_path, find(tmp_path).groups)
    report = check(load.parse(made.text.encode(), path=tmp_path / "matrix.yaml", shown="matrix.yaml"), tmp_path)
    assert [(one.file, one.line, one.expected) for one in report.disagreements] == [
        ("values.yaml", 3, "nvidia/cuda:13.0.2-base")
    ]
