"""Without `bake.files`, the targets are those of plain `bake --print`, whichever of its files are there."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.engine.bake_files import NAMES
from orchestrator.errors import MatrixError
from orchestrator.matrix import expand, load
from orchestrator.runs.targets import bake_call, resolved
from tests.support.project import COMMAND

if TYPE_CHECKING:
    from pathlib import Path

MATRIX = """\
version: 1
image: acme/app
bake: {targets: [app]}
arch_lists: {all: 8.0 9.0}
cuda: {"13.0": {version: 13.0.2}}
platforms: {linux/amd64: {}}
variants: {arch_list: all}
cache: {backend: "off"}
"""
OTHERS = ("compose.override.yaml", "compose.override.yml", "docker-compose.override.yml", "docker-bake.override.yaml")
"""Names that bake does not read by itself, though Compose reads some of them."""

SETS = {
    "all": (*NAMES, *OTHERS),
    "an override in HCL": ("docker-bake.hcl", "docker-bake.override.hcl"),
    "an override in JSON": ("docker-bake.hcl", "docker-bake.override.json"),
    "an override of JSON": ("docker-bake.json", "docker-bake.override.hcl"),
    "two overrides": ("docker-bake.hcl", "docker-bake.override.hcl", "docker-bake.override.json"),
    "an override alone": ("docker-bake.override.hcl",),
    "Compose": ("compose.yaml", "compose.override.yaml"),
    "Compose, other names": ("docker-compose.yml", "docker-compose.override.yml", "compose.yml"),
    "Compose and an override of bake": ("docker-compose.yaml", "docker-bake.override.json"),
    "HCL and JSON": ("docker-bake.hcl", "docker-bake.json"),
}


def write(root: Path, name: str) -> None:
    """A bake file that gives the target an argument of its own, and one that the last file decides."""
    own = name.replace(".", "_").replace("-", "_")
    args = {own: "1", "LAST": own}
    if name.endswith(".json"):
        text = json.dumps({"target": {"app": {"args": args, "tags": [f"{own}:1"], "contexts": {own: "."}}}})
    elif name.endswith(".hcl"):
        text = f'target "app" {{\n  args = {{ {own} = "1", LAST = "{own}" }}\n  contexts = {{ {own} = "." }}\n}}\n'
    else:
        text = f'services:\n  app:\n    build:\n      context: .\n      args: {{{own}: "1", LAST: "{own}"}}\n'
    (root / name).write_text(text)


def ours(root: Path) -> Any:
    plan = expand.plan(
        load.parse(MATRIX.encode(), path=root / "matrix.yaml", shown="matrix.yaml"), fact=lambda name: name
    )
    return resolved(plan, bake_call(plan, ("docker",)))["app"]


def plain(root: Path) -> Any:
    done = subprocess.run(["docker", "buildx", "bake", "--print", "app"], cwd=root, capture_output=True, check=True)
    return json.loads(done.stdout)["target"]["app"]


def same(root: Path) -> None:
    expected = plain(root)
    expected.pop("tags", None)
    found = {name: value for name, value in ours(root).items() if name not in {"tags", "output"}}
    assert found == expected


@pytest.mark.parametrize("names", SETS)
def test_the_files_are_those_of_bake(engine: str, tmp_path: Path, names: str) -> None:
    for name in SETS[names]:
        write(tmp_path, name)
    same(tmp_path)


def test_the_values_of_compose_come_from_its_env_file(engine: str, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {app: {build: {context: ., args: {A: '${ELSEWHERE}'}}}}\n")
    (tmp_path / ".env").write_text("ELSEWHERE=there\n")
    same(tmp_path)
    assert ours(tmp_path)["args"] == {"A": "there"}


@pytest.mark.parametrize("separator", ["", ";"])
def test_the_variable_of_bake_names_them(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, separator: str
) -> None:
    for name in ("docker-bake.hcl", "docker-bake.override.hcl", "a.hcl", "b.json"):
        write(tmp_path, name)
    monkeypatch.setenv("BUILDX_BAKE_FILE", (separator or os.pathsep).join(["a.hcl", "b.json"]))
    if separator:
        monkeypatch.setenv("BUILDX_BAKE_PATH_SEPARATOR", separator)
    same(tmp_path)
    assert ours(tmp_path)["args"]["LAST"] == "b_json"


def test_named_files_are_read_without_their_overrides(engine: str, tmp_path: Path) -> None:
    for name in ("docker-bake.hcl", "docker-bake.override.hcl"):
        write(tmp_path, name)
    text = MATRIX.replace("bake: {", "bake: {files: docker-bake.hcl, ")
    (tmp_path / "matrix.yaml").write_text(text)
    done = subprocess.run([str(COMMAND), "plan", "--format", "bake"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["target"]["app-cu130-amd64"]["args"]["LAST"] == "docker_bake_hcl"


def test_init_names_the_override_that_bake_reads(engine: str, tmp_path: Path) -> None:
    for name in ("docker-bake.hcl", "docker-bake.override.hcl"):
        write(tmp_path, name)
    done = subprocess.run([str(COMMAND), "init"], cwd=tmp_path, capture_output=True, text=True)
    assert "files: [docker-bake.hcl, docker-bake.override.hcl]" in (tmp_path / "matrix.yaml").read_text(), done.stderr


def test_no_file_at_all_is_an_error_of_the_matrix(tmp_path: Path) -> None:
    write(tmp_path, "compose.override.yaml")
    with pytest.raises(MatrixError) as caught:
        ours(tmp_path)
    (problem,) = caught.value.problems
    assert (problem.file, problem.line) == ("matrix.yaml", 3)
    assert "a bake file was not found" in problem.what
