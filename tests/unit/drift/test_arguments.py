from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from orchestrator.cli import app
from orchestrator.drift import evaluate
from orchestrator.drift.check import check
from orchestrator.errors import EnvironmentLacksError
from tests.unit.drift.matrices import matrix

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

BASE = """\
version: 1
image: acme/app
bake: {files: [docker-bake.hcl], targets: [app, big]}
arch_lists: {release: 8.0 9.0}
cuda: {"13.0": {version: 13.0.2}}
platforms: {linux/amd64: {}}
variants:
  arch_list: release
  args:
    CUDA_VERSION: "{cuda.version}"
    ARCHS: "{archs.torch}"
  tags: ["{image}:{target}"]
"""
BAKE = 'target "app" {}\ntarget "big" { inherits = ["app"] }\n'
LINKED = BAKE.replace("{}", '{ contexts = { a = "target:a" } }') + 'target "a" { context = "x" }\n'
LOST = "no stage of the target declares it with ARG: BuildKit ignores it silently"


def told(folder: Path, dockerfile: str, bake: str = BAKE, base: str = BASE) -> list[tuple[str, int, str]]:
    (folder / "Dockerfile").write_text(dockerfile)
    (folder / "docker-bake.hcl").write_text(bake)
    report = check(matrix("", root=folder, base=base))
    assert all((one.claim, one.edit, one.words) == (None, None, (LOST,)) for one in report.disagreements)
    return [(one.file, one.line, one.place) for one in report.disagreements]


def test_an_argument_of_the_matrix_that_no_stage_declares(tmp_path: Path) -> None:
    found = told(tmp_path, "FROM scratch\nARG CUDA_VERSION\nARG archs\n")
    assert found == [("matrix.yaml", 11, f"argument ARCHS of target {name}") for name in ("app", "big")]
    (one, _) = check(matrix("", root=tmp_path, base=BASE)).disagreements
    assert one.hint == "did you mean archs?"
    assert told(tmp_path, "FROM scratch\nARG CUDA_VERSION ARCHS=1\n") == []


@pytest.mark.parametrize(
    "dockerfile",
    [
        "ARG ARCHS\nFROM scratch\nARG CUDA_VERSION\n",  # before the first FROM: what reads it is preflight's to say
        "FROM scratch AS a\nARG ARCHS\nFROM scratch\nARG CUDA_VERSION\nCOPY --from=a / /\n",
        "FROM scratch AS a\nONBUILD ARG ARCHS CUDA_VERSION\nFROM a\n",
        "ARG CUDA_VERSION\nFROM scratch AS a\nARG ARCHS\nFROM base${CUDA_VERSION}\n",  # its value says which stages run
        "# syntax=example.com/other\nFROM scratch\n",
        "",
    ],
)
def test_what_may_consume_an_argument_is_no_drift(tmp_path: Path, dockerfile: str) -> None:
    assert told(tmp_path, dockerfile) == []


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"Dockerfile": "FROM scratch\n"}, "docker-bake.hcl: the file cannot be read: No such file or directory"),
        ({"docker-bake.hcl": 'target "app" {'}, "docker-bake.hcl: line 1: not HCL: a target is not closed"),
        (
            {"docker-bake.hcl": 'target "app" {}\ntarget "big" { dockerfile-inline = "FROM scratch" }\n'},
            "target app: Dockerfile: the file cannot be read: No such file or directory",
        ),
        (
            {"docker-bake.hcl": LINKED, "Dockerfile": "FROM a\nARG CUDA_VERSION ARCHS\n"},
            "target a: x/Dockerfile: the file cannot be read: No such file or directory",
        ),
    ],
)  # fmt: skip
def test_files_that_cannot_be_read_are_told(tmp_path: Path, files: Mapping[str, str], said: str) -> None:
    """Nothing was said, and all agreed."""
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert check(matrix("", root=tmp_path, base=BASE)).skipped == (f"bake arguments: {said}",)
    without = BASE.replace("  args:\n", "").replace("    CUDA_VERSION", "#").replace("    ARCHS", "#")
    assert check(matrix("", root=tmp_path, base=without)).skipped == ()


def test_a_stage_that_is_not_needed_consumes_nothing(tmp_path: Path) -> None:
    found = told(tmp_path, "FROM scratch AS a\nARG ARCHS\nFROM scratch\nARG CUDA_VERSION\n")
    assert [place for *_, place in found] == ["argument ARCHS of target app", "argument ARCHS of target big"]


def test_a_linked_target_consumes_what_its_targets_get(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile.base").write_text("FROM scratch\nARG ARCHS\n")
    base = 'target "base" { dockerfile = "Dockerfile.base" }\n'
    bake = base + 'target "app" { contexts = { base = "target:base" } }\ntarget "big" { inherits = ["app"] }\n'
    assert told(tmp_path, "FROM base\nARG CUDA_VERSION\n", bake) == []
    alone = base + BAKE
    assert len(told(tmp_path, "FROM ubuntu\nARG CUDA_VERSION\n", alone)) == 2


def test_the_arguments_of_overrides_count_for_the_targets_that_they_mean(tmp_path: Path) -> None:
    base = BASE + "overrides: [{when: {target: big}, args: {ARCHS: null, JOBS: 3}}]\n"
    found = told(tmp_path, "FROM scratch\nARG CUDA_VERSION\n", base=base)
    assert found == [
        ("matrix.yaml", 11, "argument ARCHS of target app"), ("matrix.yaml", 13, "argument JOBS of target big"),
    ]  # fmt: skip


def test_an_argument_of_a_bake_file_that_no_target_declares(tmp_path: Path) -> None:
    dockerfile = "FROM scratch AS one\nARG CUDA_VERSION ARCHS A\nFROM scratch AS two\nARG CUDA_VERSION ARCHS B HTTP\n"
    bake = (
        'target "_common" {\n  args = {\n    A = 1\n    B = 2\n    C = 3\n    http_proxy = ""\n  }\n}\n'
        'target "app" {\n  inherits = ["_common"]\n  target = "one"\n}\n'
        'target "big" {\n  inherits = ["_common"]\n  target = "two"\n}\n'
    )
    assert told(tmp_path, dockerfile, bake) == [("docker-bake.hcl", 5, "argument C of target _common")]
    content = {"target": {"app": {"args": {"C": "3"}}, "big": {"contexts": {"x": "y"}}}}
    (tmp_path / "bake.json").write_text(json.dumps(content))
    (tmp_path / "Dockerfile").write_text("FROM scratch\nARG CUDA_VERSION ARCHS\n")
    report = check(matrix("", root=tmp_path, base=BASE.replace("docker-bake.hcl", "bake.json")))
    assert [one.place for one in report.disagreements] == ["argument C of target app"]


class Resolved(evaluate.Buildx):
    def targets(self, files: Sequence[str], names: Sequence[str]) -> Mapping[str, Mapping[str, object]]:
        assert files
        if not (self._root / "there").exists():
            raise EnvironmentLacksError("there is no docker client")
        return {name: {"target": "computed"} for name in names}


def test_targets_that_are_computed_are_asked_for(tmp_path: Path) -> None:
    bake = 'target "app" { target = join("", ["computed"]) }\ntarget "big" { inherits = ["app"] }\n'
    assert told(tmp_path, "FROM scratch AS computed\nFROM scratch\nARG CUDA_VERSION ARCHS\n", bake) == []
    loaded = matrix("", root=tmp_path, base=BASE)
    assert check(loaded, buildx=Resolved(tmp_path)).skipped == ("bake arguments: there is no docker client",)
    (tmp_path / "there").write_text("")
    assert len(check(loaded, buildx=Resolved(tmp_path)).disagreements) == 4


@pytest.mark.parametrize(
    "words",
    [(), ("--format", "json"), ("--format", "github"), ("--format", "sarif"), ("--diff",),
     ("--diff", "--format", "json"), ("--fix",), ("--fix", "--format", "json")],
)  # fmt: skip
def test_every_form_shows_it_and_exits_with_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    (tmp_path / "matrix.yaml").write_text(BASE)
    told(tmp_path, "FROM scratch\nARG CUDA_VERSION\n")
    assert app.run(["check", "-C", str(tmp_path), *words]) == 3
    shown = capsys.readouterr()
    assert shown.out.count(LOST) == 2
    assert "2 places contradict the matrix" in shown.err
    assert "all agree" not in shown.out + shown.err


class Engine(evaluate.Buildx):
    """An engine that holds one image, whose ONBUILD declares an argument."""

    def onbuild(self, image: str) -> tuple[str, ...] | None:
        return ("RUN true", "ARG CUDA_VERSION JOBS=2", "arg ARCHS") if image.startswith("acme/here") else None


ONBUILD = (
    "bake arguments: no stage of target {} declares ARCHS, CUDA_VERSION; whether ONBUILD of {} does is not known: pull "
    "the base and check again (`orchestrate plan --preflight` asks the registry about the arguments of the matrix)"
)
LINKED = 'target "base" { dockerfile = "Dockerfile.base" }\ntarget "app" { contexts = { base = "target:base" } }\n'
NAMED = 'target "app" { contexts = { base = "docker-image://acme/away:1" } }\n'


@pytest.mark.parametrize(
    ("dockerfile", "bake", "image"),
    [
        ("FROM acme/away:1\n", BAKE, "acme/away:1"),
        ("ARG BASE=acme/away:1\nFROM ${BASE}\n", BAKE, "acme/away:1"),
        ("FROM acme/away:1 AS a\nFROM scratch\nCOPY --from=a / /\n", BAKE, "acme/away:1"),
        ("FROM ghcr.io/nvidia/cuda:13.0.2\n", BAKE, "ghcr.io/nvidia/cuda:13.0.2"),
        ("FROM built:1\n", BAKE, "built:1"),
        ("FROM python:3-onbuild\n", BAKE, "python:3-onbuild"),
        ("FROM base\n", NAMED + 'target "big" { inherits = ["app"] }\n', "acme/away:1"),
        ("FROM base\n", LINKED + 'target "big" { inherits = ["app"] }\n', "acme/away:2"),
        ("FROM acme/${CUDA_VERSION}:1\n", BAKE, "acme/13.0.2:1"),
    ],
)
def test_an_argument_that_only_a_base_may_declare_is_told_as_not_checked(
    tmp_path: Path, dockerfile: str, bake: str, image: str
) -> None:
    (tmp_path / "Dockerfile.base").write_text("FROM acme/away:2\n")
    used = "CUDA_VERSION" in dockerfile
    (tmp_path / "Dockerfile").write_text(f"ARG CUDA_VERSION\n{dockerfile}" if used else dockerfile)
    (tmp_path / "docker-bake.hcl").write_text(bake)
    loaded = matrix("", root=tmp_path, base=BASE)
    for asked in (None, Engine(tmp_path)):
        report = check(loaded, buildx=asked)
        assert report.disagreements == ()
        wanted = [ONBUILD.format(name, image) for name in ("app", "big")]
        assert list(report.skipped) == [one.replace("ARCHS, CUDA_VERSION", "ARCHS") if used else one for one in wanted]


@pytest.mark.parametrize(
    "base", ["nvidia/cuda:13.0.2-devel", "nvcr.io/nvidia/cuda:13", "ubuntu", "docker.io/library/debian:12"]
)
def test_images_that_have_no_onbuild_declare_nothing(tmp_path: Path, base: str) -> None:
    assert len(told(tmp_path, f"FROM {base}\n")) == 4


def test_what_an_image_of_the_engine_declares_is_no_drift_and_what_it_does_not_is(tmp_path: Path) -> None:
    assert len(told(tmp_path, "FROM scratch\n", BAKE.replace("{}", "{ args = { X = 1 } }"))) == 5
    (tmp_path / "Dockerfile").write_text("FROM acme/here:1\n")
    report = check(matrix("", root=tmp_path, base=BASE), buildx=Engine(tmp_path))
    assert [one.place for one in report.disagreements] == ["argument X of target app"]
    assert report.skipped == ()


def test_an_argument_in_other_letters_is_a_slip_whatever_the_base_declares(tmp_path: Path) -> None:
    assert len(told(tmp_path, "FROM acme/away:1\nARG cuda_version ARCHS\n")) == 2
