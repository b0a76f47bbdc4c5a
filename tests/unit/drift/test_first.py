"""`orchestrate init` on projects of several targets: rows that can exist, arguments that each target declares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.drift.adopt import propose
from orchestrator.drift.check import check
from orchestrator.drift.evaluate import Buildx, Shipped
from orchestrator.drift.find import find
from orchestrator.drift.first import first_matrix
from orchestrator.errors import UsageError
from orchestrator.matrix import load
from orchestrator.matrix.expand import plan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from orchestrator.matrix.model import Matrix

LIST = "TORCH_CUDA_ARCH_LIST"


class Resolved(Buildx):
    """Answers with targets that buildx printed."""

    def __init__(self, root: Path, targets: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(root)
        self.printed = targets

    def shipped(self, files: Sequence[str], names: Sequence[str]) -> tuple[Shipped | None, str]:
        assert list(names)
        assert all((self._root / name).is_file() for name in files)
        return Shipped(names=tuple(self.printed), targets=self.printed), ""

    def targets(self, files: Sequence[str], names: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        assert list(names)
        assert all((self._root / name).is_file() for name in files)
        return self.printed


def write(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def first(root: Path, targets: Mapping[str, Mapping[str, Any]] | None = None) -> Matrix:
    """The first matrix of a repository, which `check` agrees with."""
    asked = None if targets is None else Resolved(root, targets)
    made = first_matrix(root, find(root).groups, asked)
    (root / "matrix.yaml").write_text(made.text)
    matrix = load.parse(made.text.encode(), path=root / "matrix.yaml", shown="matrix.yaml")
    report = check(matrix, root, buildx=asked)
    assert report.disagreements == (), made.text
    return matrix


def rows(matrix: Matrix) -> dict[str, dict[str, str]]:
    """The variants, each with its arguments."""
    planned = plan(matrix, fact=lambda _: "0" * 12)
    return {one.id: {name: value.text for name, value in one.args.items()} for one in planned.variants}


BAKE = (
    'group "default" { targets = ["app"] }\ntarget "app" {\n  name = "app"\n  matrix = {}\n}\n'  # buildx alone knows it
)
TWO = (
    "ARG CUDA_VERSION=12.4.1\nFROM nvidia/cuda:${CUDA_VERSION}-devel AS full\nARG CUDA_VERSION\n"
    f"ARG {LIST}\nFROM nvidia/cuda:${{CUDA_VERSION}}-base AS tool\nARG CUDA_VERSION\n"
)
ARCHS = f"export {LIST}='8.0 9.0'\n"


def body(stage: str, **more: Any) -> dict[str, Any]:
    return {"context": ".", "dockerfile": "Dockerfile", "target": stage, **more}


def test_a_target_gets_the_arguments_that_it_declares_with_or_without_a_default(tmp_path: Path) -> None:
    write(tmp_path, {"Dockerfile": TWO, "docker-bake.hcl": BAKE, "build.sh": ARCHS})
    matrix = first(tmp_path, {"full": body("full"), "tool": body("tool")})
    assert rows(matrix) == {
        "full-cu124-amd64": {"CUDA_VERSION": "12.4.1", LIST: "8.0 9.0"},
        "tool-cu124-amd64": {"CUDA_VERSION": "12.4.1"},
    }


def test_a_target_that_names_its_release_is_built_for_it_alone(tmp_path: Path) -> None:
    write(tmp_path, {"Dockerfile": TWO, "docker-bake.hcl": BAKE, "build.sh": ARCHS})
    old, new = ({"CUDA_VERSION": version} for version in ("12.4.1", "12.6.3"))
    matrix = first(tmp_path, {"old": body("full", args=old), "new": body("full", args=new)})
    assert list(rows(matrix)) == ["old-cu124-amd64", "new-cu126-amd64"]
    assert {one.why for one in matrix.spec.exclude} == {
        f"docker-bake.hcl builds it for CUDA {release}" for release in ("12.4", "12.6")
    }


def test_one_release_for_all_targets_is_a_default(tmp_path: Path) -> None:
    script = "docker build --build-arg CUDA_VERSION=12.6.3 .\n" + ARCHS
    write(tmp_path, {"Dockerfile": TWO, "docker-bake.hcl": BAKE, "build.sh": script})
    args = {"CUDA_VERSION": "12.4.1"}
    matrix = first(tmp_path, {"a": body("full", args=args), "b": body("tool", args=args)})
    assert len(rows(matrix)) == 4
    assert matrix.spec.exclude == []


def test_what_no_argument_changes_is_built_for_its_own_release(tmp_path: Path) -> None:
    fixed = f"FROM nvidia/cuda:12.4.1-devel\nARG {LIST}='8.0 9.0'\n"
    workflow = "jobs: {b: {strategy: {matrix: {cuda: ['12.6.3']}}}}\n"
    write(tmp_path, {"Dockerfile": fixed, "docker-bake.hcl": BAKE, ".github/workflows/b.yml": workflow})
    assert list(rows(first(tmp_path, {"app": body("")}))) == ["app-cu124-amd64"]


@pytest.mark.parametrize(
    ("dockerfile", "args", "given"),
    [
        ("ARG BASE\nFROM ${BASE}\n", {"BASE": "nvidia/cuda:12.6.3-devel-ubuntu24.04"},
         {"BASE": "nvidia/cuda:12.6.3-devel-ubuntu24.04"}),
        ("ARG TAG=12.6.3-devel\nFROM nvidia/cuda:${TAG}\n", {}, {"TAG": "12.6.3-devel"}),
        ("ARG CUDA\nFROM scratch\nARG CUDA\n", {"CUDA": "12.6.3"}, {"CUDA": "12.6.3"}),
        ("FROM nvidia/cuda:12.6.3-base\nARG CUDA_RELEASE=12.6\n", {}, {"CUDA_RELEASE": "12.6"}),
        ("FROM nvidia/cuda:12.6.3-base\nARG CUDA_MAJOR=12\n", {}, {}),
        ("ARG CUDA_VERSION=12.6.3\nFROM nvidia/cuda:${CUDA_VERSION}\nARG GDRCOPY_CUDA_VERSION=12.4\n", {},
         {"CUDA_VERSION": "12.6.3"}),
        ("FROM nvidia/cuda:12.6.3-base\nARG GPU_ARCHS\n", {"GPU_ARCHS": "8.0;9.0"}, {"GPU_ARCHS": "8.0 9.0"}),
        ("FROM nvidia/cuda:12.6.3-base\nARG CMAKE_CUDA_ARCHITECTURES\n", {},
         {"CMAKE_CUDA_ARCHITECTURES": "80-real;90-real"}),
        ("FROM nvidia/cuda:12.6.3-base\nARG DEEP_ARCH_LIST\n", {"DEEP_ARCH_LIST": "9.0 10.0"}, {}),
    ],
)  # fmt: skip
def test_an_argument_carries_what_the_matrix_owns_in_its_own_form(
    tmp_path: Path, dockerfile: str, args: dict[str, str], given: dict[str, str]
) -> None:
    write(tmp_path, {"Dockerfile": dockerfile, "docker-bake.hcl": BAKE, "build.sh": ARCHS})
    (found,) = rows(first(tmp_path, {"app": body("", args=args)})).values()
    assert found == given


def test_a_named_context_that_is_cuda_carries_the_release(tmp_path: Path) -> None:
    write(tmp_path, {"Dockerfile": f"FROM base\nARG {LIST}\n", "docker-bake.hcl": BAKE, "build.sh": ARCHS})
    contexts = {"base": "docker-image://nvcr.io/nvidia/cuda:12.6.3-devel"}
    matrix = first(tmp_path, {"app": body("", contexts=contexts)})
    assert list(matrix.spec.cuda) == ["12.6"]
    assert matrix.spec.variants.contexts == {"base": "docker-image://nvcr.io/nvidia/cuda:{cuda.version}-devel"}


def test_a_linked_target_gets_what_its_targets_declare(tmp_path: Path) -> None:
    files = {"base.Dockerfile": TWO, "Dockerfile": "FROM base\nRUN true\n", "docker-bake.hcl": BAKE, "b.sh": ARCHS}
    write(tmp_path, files)
    targets = {"app": body("", contexts={"base": "target:base"}), "base": body("full", dockerfile="base.Dockerfile")}
    found = rows(first(tmp_path, targets))
    assert found["app-cu124-amd64"] == {"CUDA_VERSION": "12.4.1", LIST: "8.0 9.0"}


def test_a_target_without_anything_of_cuda_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, {"Dockerfile": TWO + "FROM scratch AS docs\n", "docker-bake.hcl": BAKE, "build.sh": ARCHS})
    matrix = first(tmp_path, {"docs": body("docs"), "app": body("full")})
    assert list(matrix.spec.bake.targets) == ["app"]
    assert "# without docs: not built for CUDA" in (tmp_path / "matrix.yaml").read_text()


def test_platforms_are_those_of_each_target(tmp_path: Path) -> None:
    write(tmp_path, {"Dockerfile": TWO, "docker-bake.hcl": BAKE, "build.sh": ARCHS})
    amd, arm = "linux/amd64", "linux/arm64"
    matrix = first(tmp_path, {"a": body("full", platforms=[amd, arm]), "b": body("tool", platforms=[amd])})
    assert list(rows(matrix)) == ["a-cu124-amd64", "a-cu124-arm64", "b-cu124-amd64"]
    assert [one.why for one in matrix.spec.exclude] == [f"docker-bake.hcl does not build it for {arm}"]


@pytest.mark.parametrize(
    ("named", "ids", "platforms"),
    [
        (["linux/amd64", "linux/arm64/v8"], ["amd64", "arm64"], ["linux/amd64", "linux/arm64"]),
        (["linux/x86_64", "aarch64", "linux/aarch64"], ["amd64", "arm64"], ["linux/amd64", "linux/arm64"]),
        (["linux/amd64/v2", "linux/amd64"], ["amd64v2", "amd64"], ["linux/amd64/v2", "linux/amd64"]),
        (["local"], ["amd64"], ["linux/amd64"]),
        (["linux/amd64", "windows/amd64"], ["amd64"], ["linux/amd64"]),
    ],
)
def test_platforms_are_named_as_a_matrix_names_them(
    tmp_path: Path, named: list[str], ids: list[str], platforms: list[str]
) -> None:
    write(tmp_path, {"Dockerfile": TWO, "docker-bake.hcl": BAKE, "build.sh": ARCHS})
    matrix = first(tmp_path, {"app": body("full", platforms=named)})
    assert list(matrix.spec.platforms) == platforms
    assert list(rows(matrix)) == [f"app-cu124-{one}" for one in ids]
    text = (tmp_path / "matrix.yaml").read_text()
    assert ("# Without windows/amd64: not a platform of Linux." in text) == ("windows/amd64" in named)


def test_targets_with_lists_of_their_own_keep_them(tmp_path: Path) -> None:
    script = f"{LIST}='8.0 9.0'\n{LIST}_THOR='11.0 12.0'\n"
    write(tmp_path, {"Dockerfile": TWO.replace("12.4.1", "13.0.2"), "docker-bake.hcl": BAKE, "build.sh": script})
    matrix = first(
        tmp_path, {"a": body("full", args={LIST: "8.0 9.0"}), "thor": body("full", args={LIST: "11.0;12.0"})}
    )
    assert {name: args[LIST] for name, args in rows(matrix).items()} == {
        "a-cu130-amd64": "8.0 9.0", "thor-cu130-amd64": "11.0 12.0"
    }  # fmt: skip


def test_a_release_that_compiles_nothing_of_a_list_has_no_row(tmp_path: Path) -> None:
    script = f"{LIST}='10.0 12.0'\n{LIST}_OLD='8.0 9.0'\nCUDA_VER=12.4.1\n"
    workflow = "strategy: {matrix: {cuda: ['12.4.1', '13.0.2']}}\n"
    files = {"Dockerfile": TWO.replace("=12.4.1", ""), "docker-bake.hcl": BAKE, "b.sh": script, "c.yml": workflow}
    write(tmp_path, files)
    one, two = body("full", args={LIST: "10.0 12.0"}), body("full", args={LIST: "8.0 9.0"})
    assert list(rows(first(tmp_path, {"new": one}))) == ["new-cu130-amd64"]
    assert "# Without CUDA 12.4: CUDA 12.4 compiles none of 10.0 12.0." in (tmp_path / "matrix.yaml").read_text()
    matrix = first(tmp_path, {"new": one, "old": two})
    assert list(rows(matrix)) == ["new-cu130-amd64", "old-cu130-amd64", "old-cu124-amd64"]
    assert [row.why for row in matrix.spec.exclude] == ["CUDA 12.4 compiles none of 10.0 12.0"]


def test_a_target_keeps_the_list_of_its_own_dockerfile(tmp_path: Path) -> None:
    old, new = TWO, TWO.replace("12.4.1", "13.0.2")
    files = {
        "Dockerfile.cu12": old.replace(f"ARG {LIST}", f"ARG {LIST}='8.0 9.0'"),
        "Dockerfile.cu13": new.replace(f"ARG {LIST}", f"ARG {LIST}='9.0 11.0 12.0+PTX'"),
        "docker-bake.hcl": BAKE,
    }
    write(tmp_path, files)
    matrix = first(tmp_path, {name: body("full", dockerfile=f"Dockerfile.{name}") for name in ("cu12", "cu13")})
    assert {name: args[LIST] for name, args in rows(matrix).items()} == {
        "cu12-cu124-amd64": "8.0 9.0", "cu13-cu130-amd64": "9.0 11.0 12.0+PTX"
    }  # fmt: skip
    assert list(matrix.spec.arch_lists) == ["release", "cu13"]


def test_the_image_is_that_of_the_target_with_the_kernels(tmp_path: Path) -> None:
    write(tmp_path, {"Dockerfile": TWO, "docker-bake.hcl": BAKE, "build.sh": ARCHS})
    tool, full = body("tool", tags=["acme/tool:1"]), body("full", tags=["acme/full:1"])
    assert first(tmp_path, {"tool": tool, "full": full}).spec.image == "acme/full"


COMPOSE = (
    "services:\n  worker:\n    image: acme/worker:dev\n    build:\n      context: .\n      target: full\n      args:\n"
    f'        CUDA_VERSION: 12.4.1\n        {LIST}: "8.0 9.0"\n'
    "  db: {image: 'postgres:16'}\n"
)


@pytest.mark.parametrize("name", ["compose.yaml", "docker-compose.yml", "deploy/docker-compose.gpu.yaml"])
def test_a_compose_file_is_a_bake_file(tmp_path: Path, name: str) -> None:
    write(tmp_path, {"Dockerfile": TWO, name: COMPOSE})
    matrix = first(tmp_path)
    assert (matrix.spec.bake.files, list(matrix.spec.bake.targets), matrix.spec.image) == (
        [name], ["worker"], "acme/worker"
    )  # fmt: skip
    assert rows(matrix) == {"worker-cu124-amd64": {"CUDA_VERSION": "12.4.1", LIST: "8.0 9.0"}}


def test_an_argument_of_compose_that_no_stage_declares_is_told_with_its_line(tmp_path: Path) -> None:
    write(tmp_path, {"Dockerfile": TWO, "compose.yaml": COMPOSE})
    matrix = first(tmp_path)
    write(tmp_path, {"compose.yaml": COMPOSE.replace("  db:", "        NOBODY: 1\n  db:")})
    report = check(matrix, tmp_path, buildx=Resolved(tmp_path, {"worker": body("full")}))
    assert [(one.file, one.line, one.place) for one in report.disagreements] == [
        ("compose.yaml", 10, "argument NOBODY of target worker")
    ]


def test_the_files_that_bake_merges_are_read_together(tmp_path: Path) -> None:
    override = 'variable "CUDA" { default = "12.6.3" }\ntarget "app" { tags = ["acme/app:1"] }\n'
    main = (
        'variable "CUDA" { default = "12.4.1" }\ngroup "default" { targets = ["app"] }\n'
        'target "app" {\n  target = "full"\n  args = { CUDA_VERSION = CUDA }\n}\n'
    )
    files = {"Dockerfile": TWO.replace("=12.4.1", ""), "docker-bake.hcl": main, "docker-bake.override.hcl": override}
    write(tmp_path, {**files, "build.sh": ARCHS, "compose.yaml": "services: {db: {build: ./db}}\n"})
    matrix = first(tmp_path, {"app": body("full", args={"CUDA_VERSION": "12.6.3"}, tags=["acme/app:1"])})
    assert matrix.spec.bake.files == ["docker-bake.hcl", "docker-bake.override.hcl"]  # Compose adds nothing to app
    assert list(matrix.spec.cuda) == ["12.6"]
    findings = find(tmp_path)
    assert [(one.sight.value, one.by) for one in findings.replaced] == [("12.4.1", "docker-bake.override.hcl")]
    assert "docker-bake.hcl:1: CUDA says 12.4.1, which docker-bake.override.hcl replaces" in propose(findings)


def test_a_bake_file_that_is_written_for_its_own_directory_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"a/Dockerfile": TWO, "a/docker-bake.hcl": BAKE, "b/Dockerfile": TWO, "b/docker-bake.hcl": BAKE})
    with pytest.raises(UsageError, match=r"a/docker-bake\.hcl: its Dockerfiles were not found") as refused:
        first_matrix(tmp_path, find(tmp_path).groups)
    assert str(tmp_path / "a") in refused.value.hint
    write(tmp_path / "a", {"b.sh": ARCHS})
    assert list(rows(first(tmp_path / "a"))) == ["app-cu124-amd64"]


def test_other_bake_files_are_named(tmp_path: Path) -> None:
    write(tmp_path, {"Dockerfile": TWO, "docker-bake.hcl": BAKE, "ci/ci.hcl": BAKE, "build.sh": ARCHS})
    first(tmp_path)
    assert "# Not read: ci/ci.hcl." in (tmp_path / "matrix.yaml").read_text()
