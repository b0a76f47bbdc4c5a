from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import yaml

from orchestrator.drift.adopt import name_lists, propose
from orchestrator.drift.check import check
from orchestrator.drift.files import walk
from orchestrator.drift.find import Group, find
from orchestrator.drift.first import UNKNOWN, first_matrix
from orchestrator.drift.fix import fix
from orchestrator.drift.readers.tree import join_pointer
from orchestrator.drift.sights import Kind
from orchestrator.errors import MatrixError, UsageError
from orchestrator.matrix import load
from orchestrator.matrix.expand import plan
from tests.unit.drift.matrices import matrix

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FILES = {
    "docker/Dockerfile": (
        "ARG CUDA_VERSION=13.0.2\nFROM nvidia/cuda:${CUDA_VERSION}-devel AS base\n"
        "ARG torch_cuda_arch_list='7.0 8.0 9.0 12.0'\nARG max_jobs=2\nARG PYTHON=3.12\nARG FLASHINFER_VERSION=0.6.8\n"
        "FROM base\nARG torch_cuda_arch_list='7.0 8.0 9.0 12.0'\n"
    ),
    "docker-bake.hcl": (
        'variable "TORCH_CUDA_ARCH_LIST" { default = "8.0 9.0" }\nvariable "MAX_JOBS" { default = 16 }\n'
        'group "default" { targets = ["app"] }\ntarget "_base" { args = { max_jobs = MAX_JOBS } }\n'
        'target "app" {\n  inherits = ["_base"]\n  tags = ["registry.example.com/team/app:latest"]\n}\n'
    ),
    "ci/pipeline.yaml": (
        "env:\n  LIST_ARM: 8.0 8.7 9.0 11.0\nsteps:\n"
        "  - id: a\n    run: docker build -f docker/Dockerfile --build-arg CUDA_VERSION=12.9.0"
        " --build-arg torch_cuda_arch_list='8.0 9.0 10.0' --platform linux/arm64 .\n"
        "  - id: b\n    run: docker build -f docker/Dockerfile --build-arg CUDA_VERSION=12.9.1"
        " --build-arg torch_cuda_arch_list='9.0 10.0' --build-arg max_jobs=66 .\n"
        "  - id: c\n    run: docker build -f docker/Dockerfile.cpu --build-arg max_jobs=4"
        " --build-arg CUDA_VERSION=12.6.3 .\n"
    ),
    "tools/build.sh": 'if [[ "$V" == 12.* ]]; then FI_LIST="8.0 9.0a 10.0a"; else FI_LIST="9.0a 10.0f 12.0f"; fi\n',
    "versions.txt": "3.9 3.10 3.11\n",
    "docs/build.md": "Set `TORCH_CUDA_ARCH_LIST`:\n\n```console\n$ export TORCH_CUDA_ARCH_LIST='8.0 9.0 12.1'\n```\n",
    "requirements/cuda.txt": "flashinfer-python==0.6.8\nflashinfer-cubin==0.6.7\n",
    "versions.json": '{"variable": {"FLASHINFER_VERSION": {"default": "0.6.8"}}, "note": "8.0 8.6 9.0"}',
    "cmake.json": '{"configurePresets": [{"cacheVariables": {"CMAKE_CUDA_ARCHITECTURES": "80-real;90a"}}]}',
    "setup.toml": 'python = "3.8 3.9 4.1"\n',
    "broken.yaml": "torch_cuda_arch_list: [8.0 9.0\n",
    "node_modules/x/build.sh": 'TORCH_CUDA_ARCH_LIST="8.0 9.0 9.9"\n',
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def subject(groups: Sequence[Group], name: str) -> Group:
    (group,) = [group for group in groups if str(group.subject) == name]
    return group


def test_every_list_is_found_with_its_line(repository: Path) -> None:
    lists = subject(find(repository).groups, "arch list")
    found = {(value, sight.file, sight.line) for value, sights in lists.values.items() for sight in sights}
    assert found == {
        ("7.0 8.0 9.0 12.0", "docker/Dockerfile", 3),
        ("7.0 8.0 9.0 12.0", "docker/Dockerfile", 8),
        ("8.0 9.0 12.1", "docs/build.md", 4),
        ("8.0 9.0a+PTX", "cmake.json", 1),
        ("8.0 9.0", "docker-bake.hcl", 1),
        ("8.0 8.7 9.0 11.0", "ci/pipeline.yaml", 2),
        ("8.0 9.0 10.0", "ci/pipeline.yaml", 5),
        ("9.0 10.0", "ci/pipeline.yaml", 7),
        ("8.0 9.0a 10.0a", "tools/build.sh", 1),
        ("9.0a 10.0f 12.0f", "tools/build.sh", 1),
    }


def test_contradictions_come_first(repository: Path) -> None:
    groups = find(repository).groups
    assert [(str(group.subject), group.contradicts) for group in groups] == [
        ("arch list", True),
        ("CUDA 12.9", True),
        ("CUDA 12.6", False),
        ("CUDA 13.0", False),
        ("argument flashinfer_version", False),
        ("argument max_jobs", False),
    ]
    against = {(one.sight.file, one.sight.line): (one.file, one.line, one.words) for one in groups[0].contradictions}
    missing = ("missing 7.0 (V100, TITAN V)", "missing 12.0 (RTX 50, RTX PRO 6000 Blackwell)")
    assert against == {("docker-bake.hcl", 1): ("docker/Dockerfile", 3, missing)}  # the others are for one machine
    jobs = subject(groups, "argument max_jobs")
    assert {value: [sight.file for sight in sights] for value, sights in jobs.values.items()} == {
        "2": ["docker/Dockerfile"], "16": ["docker-bake.hcl"], "66": ["ci/pipeline.yaml"],
    }  # fmt: skip


def test_proposed_claims_are_yaml_that_means_the_found_places(repository: Path) -> None:
    proposed = yaml.safe_load(propose(find(repository)))
    assert proposed["arch_lists"]["release"] == "7.0 8.0 9.0 12.0"
    arm = {
        claim.get("pointer"): claim["says"]
        for claim in proposed["claims"]
        if claim.get("build_arg", "").endswith("list")
    }
    assert set(arm) == {"/steps/id=a", "/steps/id=b"}  # the same name says two things: the step tells them apart
    dialects = {claim["branch"]: claim.get("dialect") for claim in proposed["claims"] if claim.get("name") == "FI_LIST"}
    assert dialects == {"12.*": "flashinfer", "else": "flashinfer"}


def test_names_of_lists_are_unique(repository: Path) -> None:
    names = name_lists(find(repository).groups)
    assert len(set(names.values())) == len(names)
    assert names["8.0 8.7 9.0 11.0"] == "arm"


def test_a_first_matrix_loads_and_plans_and_shows_the_drift(repository: Path) -> None:
    text = first_matrix(repository, find(repository).groups).text
    path = repository / "matrix.yaml"
    path.write_text(text)
    matrix = load.load(path)
    planned = plan(matrix, fact=lambda _: "0" * 12)
    assert matrix.spec.image == "registry.example.com/team/app"
    assert list(matrix.spec.cuda) == ["13.0", "12.9"]  # 12.6 goes to another Dockerfile
    assert {variant.target for variant in planned.variants} == {"app"}
    assert {variant.platform for variant in planned.variants} == {"linux/amd64", "linux/arm64"}
    report = check(matrix)
    assert {(one.file, one.line) for one in report.disagreements} == {("docker-bake.hcl", 1), ("ci/pipeline.yaml", 7)}
    assert find(repository).groups == find(repository).groups
    assert all(
        sight.file != "matrix.yaml" for group in find(repository).groups for v in group.values.values() for sight in v
    )


def test_architectures_that_nothing_compiles_stay_out_of_a_first_matrix(repository: Path) -> None:
    (repository / "ci/pipeline.yaml").unlink()
    text = first_matrix(repository, find(repository).groups).text
    assert "release: 8.0 9.0 12.0  # without 7.0, which no release below compiles" in text
    load.parse(text.encode(), path=repository / "matrix.yaml", shown="matrix.yaml")


def test_commands_of_a_page_are_told_apart_by_a_word(tmp_path: Path) -> None:
    text = (
        "```\ndocker build --build-arg CUDA_VERSION=13.0.2 --tag image-thirteen .\n```\n"
        "```\ndocker build --build-arg CUDA_VERSION=12.9.1 --tag image-twelve .\n```\n"
    )
    (tmp_path / "b.md").write_text(text)
    claims = {one["says"]: one.get("where") for one in yaml.safe_load(propose(find(tmp_path)))["claims"]}
    assert claims == {"{cuda[13.0].version}": r"image\-thirteen", "{cuda[12.9].version}": r"image\-twelve"}


def test_what_no_file_says_is_unknown_and_refused(tmp_path: Path) -> None:
    (tmp_path / "docker-bake.hcl").write_text('target "x" {}\n')
    first = first_matrix(tmp_path, find(tmp_path).groups)
    assert first.unknown == ("the CUDA release, which no file names", "the architectures, which no file lists")
    with pytest.raises(MatrixError) as refused:
        load.parse(first.text.encode(), path=tmp_path / "matrix.yaml", shown="matrix.yaml")
    lines = first.text.splitlines()
    problems = refused.value.problems
    assert problems
    assert all(UNKNOWN in lines[problem.line - 1] for problem in problems)


@pytest.mark.parametrize(
    ("name", "text", "version"),
    [
        ("Dockerfile", "FROM nvidia/cuda:12.4.1-devel-ubuntu22.04\n", "12.4.1"),
        ("Dockerfile", "ARG BASE=nvidia/cuda:12.6.3-runtime\nFROM $BASE\n", "12.6.3"),
        ("Dockerfile", 'ARG TAG="12.5.0-devel"\nFROM nvidia/cuda:${TAG}\n', "12.5.0"),
        ("ci.yml", "strategy: {matrix: {cuda: ['12.8.1']}}\n", "12.8.1"),
        ("ci.yml", "strategy:\n  matrix:\n    include:\n      - cuda-version: 12.8.1\n", "12.8.1"),
        ("build.sh", "CUDA_VER=12.9.1\n", "12.9.1"),
        ("versions.env", "CUDA_VERSION=12.9.1\n", "12.9.1"),
        ("Makefile", "CUDA_VERSION ?= 12.9.1\n", "12.9.1"),
        ("docker-bake.json", '{"variable": {"CUDA_VERSION": {"default": "13.0.2"}}}', "13.0.2"),
    ],
)
def test_a_release_is_found_wherever_it_stands(tmp_path: Path, name: str, text: str, version: str) -> None:
    (tmp_path / "docker-bake.hcl").write_text('target "x" {}\n')
    (tmp_path / name).write_text(text)
    first = first_matrix(tmp_path, find(tmp_path).groups)
    assert f"version: {version}," in first.text
    assert first.unknown == ("the architectures, which no file lists",)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("CMakeLists.txt", 'set(CMAKE_CUDA_ARCHITECTURES "80-real;90-real;120")\n'),
        ("Dockerfile", "FROM x\nRUN cmake -DCMAKE_CUDA_ARCHITECTURES='80-real;90-real;120' .\n"),
        ("Dockerfile", 'FROM x\nRUN A=1 && TORCH_CUDA_ARCH_LIST="8.0 9.0 12.0+PTX" pip install .\n'),
        ("b.sh", "ARCHS=(8.0 9.0)\nARCHS+=(12.0+PTX)\n"),
        ("b.sh", ': "${TORCH_CUDA_ARCH_LIST:=8.0;9.0;12.0+PTX}"\n'),
        ("docs/b.rst", "x\n\n.. code-block:: bash\n\n   export TORCH_CUDA_ARCH_LIST='8.0 9.0 12.0+PTX'\n\ny\n"),
        ("docs/b.md", "```\nexport TORCH_CUDA_ARCH_LIST='8.0 9.0 12.0+PTX'\n```\n"),
        ("Makefile", "CUDA_ARCH_LIST = 8.0 9.0 12.0+PTX\n"),
        ("b.yml", "with:\n  build-args: |\n    TORCH_CUDA_ARCH_LIST=8.0 9.0 12.0+PTX\n"),
        ("b.yml", "env:\n  CIBW_ENVIRONMENT: 'TORCH_CUDA_ARCH_LIST=\"8.0;9.0;12.0+PTX\" A=1'\n"),
        ("compose.yaml", "services: {a: {build: {args: ['TORCH_CUDA_ARCH_LIST=8.0 9.0 12.0+PTX']}}}\n"),
        ("b.yml", "with:\n  set: |\n    *.cache-to=\n    a.args.TORCH_CUDA_ARCH_LIST=8.0;9.0;12.0+PTX\n"),
        ("b.yml", "run: docker buildx bake --set '*.args.TORCH_CUDA_ARCH_LIST=8.0 9.0 12.0+PTX' a\n"),
        ("b.sh", 'docker buildx bake a --set *.args.TORCH_CUDA_ARCH_LIST="8.0 9.0 12.0+PTX"\n'),
        ("b.sh", "docker buildx bake --set=a.args.TORCH_CUDA_ARCH_LIST='8.0 9.0 12.0+PTX' --set a.output=x\n"),
        ("CMakeLists.txt", "set(CMAKE_CUDA_ARCHITECTURES 80-real 90-real 120)\n"),
        ("Makefile", "i:\n\tdocker build --build-arg TORCH_CUDA_ARCH_LIST='8.0 9.0 12.0+PTX' \\\n\t  -t x .\n"),
        ("Makefile", 'i:\n\tdocker buildx bake --set "*.args.TORCH_CUDA_ARCH_LIST=8.0 9.0 12.0+PTX"\n'),
        ("CMakeLists.txt", "set(CMAKE_CUDA_ARCHITECTURES\n  80-real\n  90-real\n  120 CACHE STRING x)\n"),
    ],
)
def test_a_list_is_found_in_every_dialect_and_place(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "docker-bake.hcl").write_text('target "x" {}\n')
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    lists = [value for group in find(tmp_path).groups if group.subject.kind is Kind.ARCH_LIST for value in group.values]
    assert lists in (["8.0 9.0 12.0+PTX"], ["8.0;9.0;12.0+PTX"])
    first = first_matrix(tmp_path, find(tmp_path).groups)
    text = first.text.replace(f"{UNKNOWN}: {{version: {UNKNOWN}}}", '"13.0": {version: 13.0.2}')
    matrix = load.parse(text.encode(), path=tmp_path / "matrix.yaml", shown="matrix.yaml")
    assert check(matrix, tmp_path).clean
    assert check(matrix, tmp_path).places == 1


@pytest.mark.parametrize(
    ("name", "line", "value"),
    [
        ("CMakeLists.txt", "set_property(TARGET k PROPERTY CUDA_ARCHITECTURES 80 90)", "80 90"),
        ("CMakeLists.txt", "list(APPEND CMAKE_CUDA_ARCHITECTURES 90)", "90"),
        ("Makefile", "\tnvcc -gencode arch=compute_80,code=sm_80 -gencode=arch=compute_90,code=sm_90 k.cu",
         "-gencode arch=compute_80,code=sm_80 -gencode=arch=compute_90,code=sm_90"),
        ("build.md", "Compile it with `nvcc -arch=sm_90 k.cu`.", "-arch=sm_90"),
        ("meson.build", "cuda_args += ['--generate-code=arch=compute_90,code=sm_90']",
         "--generate-code=arch=compute_90,code=sm_90']"),
    ],
)  # fmt: skip
def test_a_list_that_no_reader_understands_is_told(tmp_path: Path, name: str, line: str, value: str) -> None:
    (tmp_path / name).write_text(f"# arch\n{line}\n")
    found = find(tmp_path)
    assert [(one.line, one.value) for one in found.mentions] == [(2, value)]
    assert found.groups == []


@pytest.mark.parametrize("name", ["b.sh", "Makefile", "p.yaml"])
def test_an_argument_that_a_command_takes_from_elsewhere_says_nothing_beside_one_that_says_it(
    tmp_path: Path, name: str
) -> None:
    lines = ["docker build --build-arg CUDA_VERSION=$(V) .", "docker build --build-arg CUDA_VERSION=12.8.1 ."]
    inner = {"b.sh": "{}\n{}\n", "Makefile": "i:\n\t{}\n\t{}\n", "p.yaml": "a:\n  - {}\n  - {}\n"}[name].format(*lines)
    write = {"docker-bake.hcl": 'target "x" {}\n', name: inner, "Dockerfile": "ARG CUDA_VERSION=12.8.1\nFROM x\n"}
    for path, text in {**write, "c.sh": "TORCH_CUDA_ARCH_LIST='8.0 9.0'\n"}.items():
        (tmp_path / path).write_text(text)
    made = first_matrix(tmp_path, find(tmp_path).groups).text
    assert f"file: {name}, build_arg: CUDA_VERSION" in made
    assert check(load.parse(made.encode(), path=tmp_path / "matrix.yaml", shown="matrix.yaml"), tmp_path).clean


BAKE = {
    "docker/ci-rocm.hcl": 'group "default" { targets = ["ci"] }\ntarget "ci" { dockerfile = "Dockerfile.rocm" }\n',
    "docker/Dockerfile": "FROM nvidia/cuda:13.0.2-devel\nARG CUDA_ARCH_LIST='8.0 9.0'\n",
    "docker/release.hcl": 'target "other" { dockerfile = "docker/Dockerfile.cpu" }\n',
    "deep/down/docker-bake.hcl": (
        'group "all" { targets = ["app", "app-cpu"] }\n'
        'target "app" {\n dockerfile = "docker/Dockerfile"\n tags = ["ghcr.io/a/b:1"]\n}\ntarget "app-cpu" {}\n'
    ),
}


def test_the_bake_file_of_the_cuda_image_is_chosen(tmp_path: Path) -> None:
    for name, text in {
        **BAKE,
        "docker/Dockerfile": "FROM nvidia/cuda:13.0.2-devel\nARG CUDA_ARCH_LIST='8.0 9.0'\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    matrix = load.parse(
        first_matrix(tmp_path, find(tmp_path).groups).text.encode(), path=tmp_path / "matrix.yaml", shown="matrix.yaml"
    )
    assert matrix.spec.bake.files == ["deep/down/docker-bake.hcl"]
    assert list(matrix.spec.bake.targets) == ["app"]  # a CPU target has no CUDA releases
    assert matrix.spec.image == "ghcr.io/a/b"


def test_a_repository_without_a_bake_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a bake file with a target was not found"):
        first_matrix(tmp_path, find(tmp_path).groups)


def test_an_empty_repository_proposes_nothing(tmp_path: Path) -> None:
    assert yaml.safe_load(propose(find(tmp_path))) == {"claims": []}


def test_files_that_are_not_what_their_name_says_are_named(repository: Path) -> None:
    (repository / "deep.json").write_text('{"cuda_version": ' + "[" * 3000)
    (repository / "deep.sh").write_text("# cuda_version\n" + "if x; then\n" * 200)
    (repository / "other.json").write_text("[" * 3000)  # nothing in it looks like a value of a matrix
    found = {problem.file: (problem.line, problem.what) for problem in find(repository).skipped}
    assert found == {
        "broken.yaml": (2, "not YAML: while parsing a flow sequence did not find expected ',' or ']'"),
        "deep.json": (1, "nested too deeply, expected at most 100 levels"),
        "deep.sh": (102, "nested too deeply, expected at most 100 levels"),
    }
    assert find(repository).groups


def test_a_claim_names_the_stage_only_where_stages_differ(tmp_path: Path) -> None:
    same = "FROM x AS a\nARG CUDA_VERSION=13.0.2\nFROM y AS b\nARG CUDA_VERSION=13.0.2\n"
    (tmp_path / "Dockerfile").write_text(same)
    sights = [sight for group in find(tmp_path).groups for sights in group.values.values() for sight in sights]
    assert {sight.locator.stage for sight in sights} == {""}
    (tmp_path / "Dockerfile").write_text(same.replace("13.0.2\nFROM", "12.9.1\nFROM"))
    sights = [sight for group in find(tmp_path).groups for sights in group.values.values() for sight in sights]
    assert {sight.locator.stage for sight in sights} == {"a", "b"}


def test_what_is_no_regular_file_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.sh")  # opening it waits for a writer
    (tmp_path / "b.sh").write_text("CUDA_VERSION=13.0.2\n")
    (tmp_path / "c.sh").symlink_to("c.sh")
    assert [path.name for path in walk(tmp_path)] == ["b.sh"]


def test_the_image_of_cuda_may_come_from_any_registry(tmp_path: Path) -> None:
    dockerfile = (
        "ARG REG=mirror.acme:5000/library\n"
        "FROM nvcr.io/nvidia/cuda:13.0.2-devel AS a\n"
        "FROM docker.io/nvidia/cuda:13.0.1-devel AS b\n"
        "FROM ${REG}/nvidia/cuda:12.9.1-base AS c\n"
        "FROM acme/nvidia-cuda:12.8.0-base\n"
    )
    (tmp_path / "Dockerfile").write_text(dockerfile)
    (tmp_path / "docker-bake.hcl").write_text('target "x" {}\n')
    sights = [sight for group in find(tmp_path).groups for sight in group.sights]
    assert sorted((sight.line, sight.locator.image, sight.value) for sight in sights) == [
        (2, "nvcr.io/nvidia/cuda", "13.0.2"),
        (3, "docker.io/nvidia/cuda", "13.0.1"),
        (4, "mirror.acme:5000/library/nvidia/cuda", "12.9.1"),
    ]
    claims = (
        '  - {file: Dockerfile, image: nvidia/cuda, says: "13.0.3-devel"}\n'
        '  - {file: Dockerfile, image: nvcr.io/nvidia/cuda, says: "13.0.3-devel"}\n'
        '  - {file: Dockerfile, image: mirror.acme:5000/library/nvidia/cuda, says: "12.9.2-base"}\n'
    )
    found = fix(matrix(claims, root=tmp_path))
    after = dockerfile.replace("13.0.2", "13.0.3").replace("13.0.1", "13.0.3").replace("12.9.1", "12.9.2")
    assert found.texts == {"Dockerfile": after}


LISTS = """\
variable "CUDA_ARCHS" { default = ["8.0", "9.0", "12.0+PTX"] }
variable "CUDA_VERSIONS" { default = ["12.9.1", "13.0.2"] }
target "app" {
  name   = "app-${replace(row.cuda, ".", "-")}"
  matrix = {
    row = [
      { cuda = "12.9.1", archs = "8.0 9.0" }, # the old one
      { cuda = "13.0.2", archs = "8.0 9.0 12.0+PTX" },
    ]
    cuda = [for one in ["12.9"] : one]
  }
  args = { CUDA_VERSION = row.cuda, TORCH_CUDA_ARCH_LIST = row.archs }
}
"""


def test_the_lists_of_a_bake_file_are_places(tmp_path: Path) -> None:
    (tmp_path / "docker-bake.hcl").write_text(LISTS)
    found = find(tmp_path)
    sights = {join_pointer(sight.locator.pointer): sight.value for group in found.groups for sight in group.sights}
    assert sights == {
        "/variable/CUDA_ARCHS/default": "8.0 9.0 12.0+PTX",
        "/variable/CUDA_VERSIONS/default/0": "12.9.1",
        "/variable/CUDA_VERSIONS/default/1": "13.0.2",
        "/target/app/matrix/row/0/cuda": "12.9.1",
        "/target/app/matrix/row/0/archs": "8.0 9.0",
        "/target/app/matrix/row/1/cuda": "13.0.2",
        "/target/app/matrix/row/1/archs": "8.0 9.0 12.0+PTX",
    }
    assert [(one.line, one.value) for one in found.mentions] == [(10, "12.9")]  # buildx computes it
    claims = (
        '  - {file: docker-bake.hcl, pointer: /target/app/matrix/row/0/cuda, says: "{cuda[12.9].version}"}\n'
        '  - {file: docker-bake.hcl, pointer: /target/app/matrix/row/1/archs, says: "{arch_lists.x86}"}\n'
        '  - {file: docker-bake.hcl, pointer: /target/app/matrix/cuda, says: "12.9"}\n'
        '  - {file: docker-bake.hcl, pointer: /variable/CUDA_ARCHS/default, says: "{arch_lists.x86}"}\n'
    )
    (tmp_path / "docker-bake.hcl").write_text(before := LISTS.replace("12.9.1", "12.9.0"))
    done = fix(matrix(claims, root=tmp_path))
    after = before.replace('{ cuda = "12.9.0"', '{ cuda = "12.9.1"')
    after = after.replace('"13.0.2", archs = "8.0 9.0 12.0+PTX"', '"13.0.2", archs = "8.0 8.6 9.0 10.0 12.0"')
    assert done.texts["docker-bake.hcl"] == after
    assert [(one.place, one.unfixable) for one in done.after.disagreements] == [
        ("/variable/CUDA_ARCHS/default", "it is a list: its items are edited by hand"),
        ("/target/app/matrix/cuda", 'it is the expression [for one in ["12.9"] : one]'),
    ]


COMPOSE = """\
services:
  app:
    image: nvidia/cuda:${CUDA_VERSION:-13.0.1}-runtime
    build:
      context: .
      args:
        CUDA_VERSION: ${CUDA_VERSION:-13.0.1}
        TORCH_CUDA_ARCH_LIST: "${LIST-8.0 9.0}"
        PRICE: $$5
        OTHER: ${NOBODY}
"""


def test_the_defaults_of_a_compose_file_are_places(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    sights = {sight.line: sight.value for group in find(tmp_path).groups for sight in group.sights}
    assert sights == {3: "13.0.1", 7: "13.0.1", 8: "8.0 9.0"}
    args = "/services/app/build/args"
    claims = (
        '  - {file: compose.yaml, pointer: /services/app/image, says: "nvidia/cuda:{cuda[13.0].version}-runtime"}\n'
        f'  - {{file: compose.yaml, pointer: {args}/CUDA_VERSION, says: "{{cuda[13.0].version}}"}}\n'
        f'  - {{file: compose.yaml, pointer: {args}/TORCH_CUDA_ARCH_LIST, says: "{{arch_lists.x86}}"}}\n'
        f'  - {{file: compose.yaml, pointer: {args}/PRICE, says: "$6"}}\n'
        f'  - {{file: compose.yaml, pointer: {args}/OTHER, says: "${{NOBODY}}"}}\n'
    )
    done = fix(matrix(claims, root=tmp_path))
    after = COMPOSE.replace("ION:-13.0.1}\n", "ION:-13.0.2}\n").replace("8.0 9.0", "8.0 8.6 9.0 10.0 12.0")
    assert done.texts == {"compose.yaml": after.replace("$$5", '"$$6"')}
    assert [(one.line, one.unfixable) for one in done.after.disagreements] == [
        (3, "it comes from ${CUDA_VERSION:-13.0.1}")
    ]


BAKED = 'variable "CUDA_VERSION" {{ default = "{}" }}\ntarget "app" {{ args = {{ CUDA_VERSION = CUDA_VERSION }} }}\n'
COMPOSED = "services: {{{}: {{build: {{context: ., args: {{CUDA_VERSION: {}}}}}}}}}\n"


@pytest.mark.parametrize(
    ("baked", "service", "composed", "words"),
    [
        ("12.9.1", "app", "12.9.0", ["another patch of 12.9"]),
        ("13.0.2", "app", "12.9.0", ["names 12.9.0"]),
        ("13.0.2", "app", "'${CUDA_VERSION:-12.9.0}'", ["names 12.9.0"]),
        ("13.0.2", "app", "13.0", []),
        ("13.0.2", "app", "13.0.2", []),
        ("13.0.2", "older", "12.9.0", []),  # another image
    ],
)
def test_an_argument_of_one_target_has_one_value_in_compose_and_bake(
    tmp_path: Path, baked: str, service: str, composed: str, words: list[str]
) -> None:
    (tmp_path / "Dockerfile").write_text("ARG CUDA_VERSION\nFROM nvidia/cuda:${CUDA_VERSION}-devel\n")
    (tmp_path / "docker-bake.hcl").write_text(BAKED.format(baked))
    (tmp_path / "compose.yaml").write_text(COMPOSED.format(service, composed))
    found = find(tmp_path)
    told = [one for group in found.groups for one in group.contradictions]
    assert [(one.sight.file, one.file, *one.words) for one in told] == [
        ("compose.yaml", "docker-bake.hcl", one) for one in words
    ]
    made = first_matrix(tmp_path, found.groups).text.replace("UNKNOWN  # for", "8.0  # for")
    report = check(load.parse(made.encode(), path=tmp_path / "matrix.yaml", shown="matrix.yaml"), tmp_path)
    assert [(one.file, *one.words) for one in report.disagreements] == [("compose.yaml", one) for one in words]


def test_a_list_of_compose_contradicts_that_of_the_bake_file(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nARG TORCH_CUDA_ARCH_LIST\n")
    (tmp_path / "docker-bake.hcl").write_text('target "app" { args = { TORCH_CUDA_ARCH_LIST = "8.0 9.0" } }\n')
    (tmp_path / "compose.yaml").write_text("services: {b: {build: {args: [TORCH_CUDA_ARCH_LIST=9.0 10.0]}}}\n")
    (tmp_path / "build.sh").write_text("TORCH_CUDA_ARCH_LIST='8.0 9.0 10.0'\n")
    found = find(tmp_path)
    told = [one for group in found.groups for one in group.contradictions]
    assert [(one.sight.file, one.file) for one in told] == [
        ("build.sh", "docker-bake.hcl"), ("compose.yaml", "docker-bake.hcl"),
    ]  # fmt: skip
    made = first_matrix(tmp_path, found.groups).text.replace("UNKNOWN: {version: UNKNOWN}", '"13.0": {version: 13.0.2}')
    report = check(load.parse(made.encode(), path=tmp_path / "matrix.yaml", shown="matrix.yaml"), tmp_path)
    assert [one.file for one in report.disagreements] == ["build.sh", "compose.yaml"]
