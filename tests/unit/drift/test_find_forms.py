"""Forms in which projects write lists and versions: what `find` and `init` make of each, and what `--fix` leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.drift.adopt import propose
from orchestrator.drift.check import check
from orchestrator.drift.find import find
from orchestrator.drift.first import first_matrix
from orchestrator.drift.fix import fix
from orchestrator.drift.sights import Kind
from orchestrator.matrix import load
from orchestrator.ui.drift_view import unclaimed_lines

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orchestrator.matrix.model import Matrix

LIST = "8.0 9.0 10.0"
HCL = 'variable "U" { default = "22.04" }\ntarget "y" { args = { BASE = "nvidia/cuda:12.4.1-devel-ubuntu${U}" } }\n'
NAMED = f'TORCH_CUDA_ARCH_LIST="{LIST}"'
BAKE = {"docker-bake.hcl": 'target "x" {}\n'}


def write(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (root / name).write_text(text)


def first(root: Path, files: Mapping[str, str]) -> Matrix:
    write(root, {**BAKE, **files})
    made = first_matrix(root, find(root).groups).text
    return load.parse(made.encode(), path=root / "matrix.yaml", shown="matrix.yaml")


def wrong(matrix: Matrix, root: Path) -> list[tuple[str, int]]:
    return [(one.file, one.line) for one in check(matrix, root).disagreements]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Dockerfile", f"FROM x\nRUN <<EOF\nset -e\nexport {NAMED}\nEOF\n"),
        ("Dockerfile", f"FROM x\nRUN --network=none <<-'EOF'\n\texport {NAMED}\n\tEOF\n"),
        ("Dockerfile", f"FROM x\nRUN <<EOF bash -ex\n{NAMED} pip install .\nEOF\n"),
        ("Dockerfile", f"FROM x\nRUN apt-get update && bash <<EOF\n{NAMED} pip install .\nEOF\n"),
        ("Dockerfile", f"FROM x\nRUN <<EOF\n#!/usr/bin/env bash\nexport {NAMED}\nEOF\n"),
        ("Dockerfile", f"FROM x\nRUN <<A <<B\ntrue\nA\nexport {NAMED}\nB\n"),
        ("Dockerfile", f"# escape=`\nFROM x\nRUN <<EOF\nexport {NAMED}\nEOF\n"),
        ("b.sh", "cmake '-DCMAKE_CUDA_ARCHITECTURES=80-real;90-real;100-real' .\n"),
        ("b.sh", 'cmake "-DCMAKE_CUDA_ARCHITECTURES:STRING=80-real;90-real;100-real" .\n'),
        ("b.sh", "cmake -D'CMAKE_CUDA_ARCHITECTURES=80-real;90-real;100-real' .\n"),
        ("b.sh", f'docker build --build-arg="TORCH_CUDA_ARCH_LIST={LIST}" .\n'),
        ("b.sh", f"docker build '--build-arg=TORCH_CUDA_ARCH_LIST={LIST}' .\n"),
        ("b.yml", f"run: docker build --build-arg='TORCH_CUDA_ARCH_LIST={LIST}' .\n"),
    ],
)
def test_a_list_is_found_claimed_and_edited_in_its_form(tmp_path: Path, name: str, text: str) -> None:
    matrix = first(tmp_path, {name: text, "v.sh": "CUDA_VERSION=13.0.2\n"})
    assert check(matrix, tmp_path).clean
    write(tmp_path, {name: text.replace("10.0", "12.0").replace("100-real", "120-real")})
    assert [file for file, _ in wrong(matrix, tmp_path)] == [name]
    assert fix(matrix, tmp_path).texts == {name: text}


@pytest.mark.parametrize(
    "text",
    [
        f"RUN cat > /etc/list <<EOF\n{NAMED}\nEOF\n",
        f"RUN python3 - <<EOF\n{NAMED}\nEOF\n",
        f"RUN <<EOF\n#!/usr/bin/env python3\n{NAMED}\nEOF\n",
        f"RUN bash build.sh <<EOF\n{NAMED}\nEOF\n",
        f"COPY <<EOF /etc/list\n{NAMED}\nEOF\n",
    ],
)
def test_a_here_document_that_no_shell_runs_is_a_mention(tmp_path: Path, text: str) -> None:
    write(tmp_path, {"Dockerfile": f"FROM x\n{text}"})
    found = find(tmp_path)
    assert [group for group in found.groups if group.subject.kind is Kind.ARCH_LIST] == []
    assert LIST in {one.value for one in found.mentions}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Dockerfile", "ARG U=22.04\nARG BASE=nvidia/cuda:12.4.1-runtime-ubuntu${U}\nFROM ${BASE}\n"),
        ("Dockerfile", "ARG U=22.04\nFROM docker.io/nvidia/cuda:12.4.1-runtime-ubuntu$U AS a\n"),
        ("Dockerfile", "FROM x\nARG U\nENV BASE=nvidia/cuda:12.4.1-runtime-ubuntu${U}\n"),
        ("b.sh", 'BASE="nvidia/cuda:12.4.1-devel-ubuntu${U}"\n'),
        ("b.sh", "docker build --build-arg BASE=nvidia/cuda:12.4.1-devel-ubuntu$U .\n"),
        ("b.yml", "run: docker build --build-arg BASE=nvidia/cuda:12.4.1-devel-ubuntu${{ matrix.u }} .\n"),
        ("u.hcl", HCL),
    ],
)  # fmt: skip
def test_a_version_before_a_variable_is_compared(tmp_path: Path, name: str, text: str) -> None:
    same = "export CUDA_VERSION=12.4.1\nCUDA_VERSION=12.4.1\n"
    matrix = first(tmp_path, {name: text, "l.sh": 'ARCHS="8.0 9.0"\n', "c.sh": same})
    assert check(matrix, tmp_path).clean
    write(tmp_path, {name: text.replace("12.4.1", "12.4.0")})
    assert {file for file, _ in wrong(matrix, tmp_path)} == {name}
    (group,) = [group for group in find(tmp_path).groups if group.subject.kind is Kind.CUDA]
    assert [one.sight.file for one in group.contradictions] == [name]


def test_a_version_that_a_variable_completes_says_nothing(tmp_path: Path) -> None:
    write(tmp_path, {"b.sh": 'BASE="nvidia/cuda:12.4$PATCH-devel"\nOTHER="nvidia/cuda:${V}-devel"\n'})
    assert find(tmp_path).groups == []


def test_a_claim_on_one_image_means_no_other_stage(tmp_path: Path) -> None:
    text = (
        "ARG CUDA_VERSION=12.8.1\nFROM nvidia/cuda:${CUDA_VERSION}-devel-ubuntu24.04 AS build\n"
        "ARG TORCH_CUDA_ARCH_LIST='8.0 9.0'\nFROM nvidia/cuda:12.8.1-runtime-ubuntu24.04 AS run\n"
    )
    assert check(first(tmp_path, {"Dockerfile": text}), tmp_path).clean


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Dockerfile", "FROM nvidia/cuda:12.8.1-base@sha256:{} AS a\n"),
        ("Dockerfile", "ARG BASE=nvidia/cuda:12.8.1-base@sha256:{}\nFROM $BASE\n"),
        ("p.yaml", "image: nvidia/cuda:12.8.1-base@sha256:{}\n"),
    ],
)
def test_a_tag_in_front_of_a_digest_is_not_edited(tmp_path: Path, name: str, text: str) -> None:
    pinned = text.format("0" * 64)
    matrix = first(tmp_path, {name: pinned, "l.sh": 'ARCHS="8.0 9.0"\nCUDA_VERSION=12.8.1\n'})
    assert check(matrix, tmp_path).clean
    write(tmp_path, {name: pinned.replace("12.8.1", "12.8.0")})
    done = fix(matrix, tmp_path)
    assert done.texts == {}
    (left,) = {one.unfixable for one in done.after.disagreements}
    assert left == "a digest follows the tag: replace both"


BRANCHES = (
    'case "$CUDA_VERSION" in\n  12.4*) ARCHS="8.0 9.0" ;;\n  12.8.1|12.8.0) ARCHS="8.0 9.0 10.0 12.0" ;;\nesac\n'
    'if [[ $CUDA_VERSION == 12.4.1 ]]; then OTHER_ARCHS="8.0 9.0"; else OTHER_ARCHS="9.0 10.0"; fi\n'
)


def test_the_list_of_a_release_that_is_not_built_is_left_alone(tmp_path: Path) -> None:
    dockerfile = "ARG CUDA_VERSION=12.4.1\nFROM nvidia/cuda:${CUDA_VERSION}-devel\nARG TORCH_CUDA_ARCH_LIST='8.0 9.0'\n"
    matrix = first(tmp_path, {"Dockerfile": dockerfile, "case.sh": BRANCHES})
    assert check(matrix, tmp_path).clean
    made = first_matrix(tmp_path, find(tmp_path).groups).text
    assert "# Not claimed, as it is for a CUDA release that is not built: case.sh:3: ARCHS in branch" in made
    assert "which no release below compiles" not in made
    write(tmp_path, {"case.sh": BRANCHES.replace('12.4*) ARCHS="8.0 9.0"', '12.4*) ARCHS="8.0"')})
    assert fix(matrix, tmp_path).texts == {"case.sh": BRANCHES}


def test_the_list_of_a_release_that_is_built_is_claimed(tmp_path: Path) -> None:
    both = {"a.env": "CUDA_VER=12.4.1\n", "b.env": "CUDA_VER=12.8.1\n", "case.sh": BRANCHES}
    matrix = first(tmp_path, {**both, "Dockerfile": "FROM x\nARG TORCH_CUDA_ARCH_LIST='8.0 9.0'\n"})
    write(tmp_path, {"case.sh": BRANCHES.replace("10.0 12.0", "12.0")})
    assert wrong(matrix, tmp_path) == [("case.sh", 3)]


def test_an_argument_of_any_name_is_compared_with_the_default_of_its_dockerfile(tmp_path: Path) -> None:
    files = {
        "Dockerfile": "ARG CUDA_VERSION=12.6.3\nFROM nvidia/cuda:${CUDA_VERSION}-devel\nARG CUDA_ARCHS='80;90'\n",
        "b.yml": "script:\n  - docker build --build-arg CUDA_ARCHS='80;86;90' .\n"
        "  - docker build --build-arg CUDA_ARCHS='80;90' .\n",
    }
    matrix = first(tmp_path, files)
    assert wrong(matrix, tmp_path) == [("b.yml", 2)]
    assert list(fix(matrix, tmp_path).texts) == ["b.yml"]


def test_a_claim_on_a_command_means_no_other_that_takes_a_variable(tmp_path: Path) -> None:
    files = {
        "Dockerfile": "ARG CUDA_VERSION\nFROM nvidia/cuda:${CUDA_VERSION}-devel\nARG TORCH_CUDA_ARCH_LIST='8.0 9.0'\n",
        "b.yml": "variables: {CUDA_VERSION: 12.6.3}\nscript:\n"
        "  - docker build --build-arg CUDA_VERSION=$CUDA_VERSION .\n"
        "  - docker build --build-arg CUDA_VERSION=12.4.1 .\n",
    }
    assert check(first(tmp_path, files), tmp_path).clean
    assert "# line 4: the same name has another value too, narrow it by hand" in propose(find(tmp_path))


def test_the_default_of_cuda_version_counts_more_than_that_of_another_argument(tmp_path: Path) -> None:
    text = (
        "ARG RUN=nvidia/cuda:12.4.1-base\nARG CUDA_VERSION=12.4.0\nFROM nvidia/cuda:${CUDA_VERSION}-devel\n"
        "ARG TORCH_CUDA_ARCH_LIST='8.0 9.0'\nFROM $RUN\n"
    )
    assert wrong(first(tmp_path, {"Dockerfile": text}), tmp_path) == [("Dockerfile", 1)]


@pytest.mark.parametrize(
    ("name", "line", "value"),
    [
        ("Dockerfile", 'ARG CUDA_ARCHS="80 86 90 100"', "80 86 90 100"),
        ("Makefile", "CUDA_ARCHS := 80 86 90 \\\n  100", "80 86 90"),
        ("setup.py", 'flags = ["-gencode", "arch=compute_90a,code=sm_90a"]', "arch=compute_90a,code=sm_90a"),
        ("setup.py", "CUDA_ARCHS = [80, 90]", "80, 90"),
    ],
)
def test_a_list_in_a_form_that_no_reader_knows_is_told(tmp_path: Path, name: str, line: str, value: str) -> None:
    write(tmp_path, {name: f"{line}\n"})
    assert [one.value for one in find(tmp_path).mentions] == [value]


def test_how_many_places_init_cannot_claim_is_said(tmp_path: Path) -> None:
    write(tmp_path, {"Jenkinsfile": "CUDA_VERSION = '12.4.1'\n// CUDA_VERSION = '12.4.0'\n", "a.md": "CUDA 12.4.1\n"})
    (line,) = unclaimed_lines(find(tmp_path).mentions)
    assert line.startswith("note: 1 place in 1 file with an arch list or a CUDA version")
    assert [*unclaimed_lines([])] == []


EXEC = (
    "steps:\n  - name: docker\n    args: ['build', '--build-arg=TORCH_CUDA_ARCH_LIST=8.0;9.0;10.0', '-t', 'x', '.']\n"
)


def test_an_argument_in_a_list_is_read_whole(tmp_path: Path) -> None:
    matrix = first(tmp_path, {"cloudbuild.yaml": EXEC, "v.sh": "CUDA_VERSION=13.0.2\n"})
    assert check(matrix, tmp_path).clean
    write(tmp_path, {"cloudbuild.yaml": EXEC.replace("9.0;10.0", "9.0")})
    (one,) = check(matrix, tmp_path).disagreements
    assert (one.place, one.says) == ("--build-arg TORCH_CUDA_ARCH_LIST", "8.0;9.0")
    assert fix(matrix, tmp_path).texts == {"cloudbuild.yaml": EXEC}


@pytest.mark.parametrize(
    "text",
    ["extra_args: --build-arg=TORCH_CUDA_ARCH_LIST='8.0 9.0 10.0'\n",
     "options: --build-arg=TORCH_CUDA_ARCH_LIST=8.0\\;9.0\\;10.0 --build-arg=A=1\n"],
)  # fmt: skip
def test_arguments_in_a_text_are_those_of_a_shell(tmp_path: Path, text: str) -> None:
    matrix = first(tmp_path, {"b.yml": text, "v.sh": "CUDA_VERSION=13.0.2\n"})
    assert check(matrix, tmp_path).clean
    assert [str(arch) for arch in matrix.spec.arch_lists["release"].archs.split()] == ["8.0", "9.0", "10.0"]


def test_an_edit_that_is_refused_costs_no_other_of_its_file(tmp_path: Path) -> None:
    text = 'FROM x\nENV CUDA_VERSION=13.0.2 TORCH_CUDA_ARCH_LIST="8.0 9.0 \\\n10.0"\n'
    matrix = first(tmp_path, {"Dockerfile": text})
    assert check(matrix, tmp_path).clean
    write(tmp_path, {"Dockerfile": text.replace("13.0.2", "13.0.1").replace("8.0 9.0", "9.0")})
    done = fix(matrix, tmp_path)
    assert done.texts == {"Dockerfile": text.replace("8.0 9.0", "9.0")}
    assert [one.unfixable for one in done.after.disagreements] == ["it changes the lines of a script"]


@pytest.mark.parametrize("keyword", ["ARG", "ENV"])
def test_a_list_without_quotes_in_a_dockerfile_keeps_none(tmp_path: Path, keyword: str) -> None:
    text = f"FROM nvidia/cuda:13.0.2-devel\n{keyword} TORCH_CUDA_ARCH_LIST=8.0;9.0;12.0+PTX\n"
    matrix = first(tmp_path, {"Dockerfile": text})
    write(tmp_path, {"Dockerfile": text.replace("9.0;", "")})
    assert fix(matrix, tmp_path).texts == {"Dockerfile": text}


ANCHORS = (
    "x-args: &args\n  CUDA_VERSION: 12.4.1\n  MODE: a\n"
    "services:\n  a: {image: a, build: {context: ., args: *args}}\n"
    "  b:\n    image: b\n    build:\n      context: .\n      args:\n        <<: *args\n        MODE: b\n"
)


def test_an_anchor_is_edited_where_every_use_of_it_is_to_say_that(tmp_path: Path) -> None:
    dockerfile = "ARG CUDA_VERSION=12.4.1\nFROM nvidia/cuda:${CUDA_VERSION}-devel\nARG TORCH_CUDA_ARCH_LIST='8.0 9.0'\n"
    matrix = first(tmp_path, {"compose.yaml": ANCHORS, "Dockerfile": dockerfile})
    write(tmp_path, {"compose.yaml": ANCHORS.replace("12.4.1", "12.4.0")})
    assert fix(matrix, tmp_path).texts == {"compose.yaml": ANCHORS}
    lines = first_matrix(tmp_path, find(tmp_path).groups).text.splitlines(keepends=True)
    text = "".join(line for line in lines if "/services/a/build/args/CUDA_VERSION" not in line)
    fewer = load.parse(text.encode(), path=tmp_path / "matrix.yaml", shown="matrix.yaml")
    done = fix(fewer, tmp_path)
    assert done.texts == {}
    assert {one.unfixable for one in done.after.disagreements} == {"it changes other values as well"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("u.hcl", 'target "y" {\n  contexts = { cuda = "docker-image://nvidia/cuda:12.4.1-devel" }\n}\n'),
        ("u.json", '{"target": {"y": {"contexts": {"cuda": "docker-image://nvidia/cuda:12.4.1-devel"}}}}\n'),
    ],
)
def test_a_named_context_of_a_bake_file_is_a_place(tmp_path: Path, name: str, text: str) -> None:
    dockerfile = "ARG CUDA_VERSION=12.4.1\nFROM nvidia/cuda:${CUDA_VERSION}-devel\nARG TORCH_CUDA_ARCH_LIST='8.0 9.0'\n"
    matrix = first(tmp_path, {name: text, "Dockerfile": dockerfile})
    assert check(matrix, tmp_path).clean
    write(tmp_path, {name: text.replace("12.4.1", "12.4.0")})
    assert [file for file, _ in wrong(matrix, tmp_path)] == [name]
    assert fix(matrix, tmp_path).texts == {name: text}
