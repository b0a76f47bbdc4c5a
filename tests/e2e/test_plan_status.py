"""`orchestrate plan --status` with the installed command: what a registry holds, and why it is stale."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.support.project import write_project

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.engine import Registry
    from tests.support.project import Project


def status(project: Project) -> dict[str, dict[str, Any]]:
    done = project.run("plan", "--status", "--format", "json")
    assert done.returncode == 0, done.stderr
    return {row["id"].partition("-")[0]: row for row in json.loads(done.stdout)["variants"]}


def words(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: row["status"] for name, row in found.items()}


def test_built_stale_because_and_never(registry: Registry, tmp_image: str, tmp_path: Path) -> None:
    project = write_project(tmp_path, tmp_image, one="COPY one /src", two="COPY two /src")
    matrix = project.root / "matrix.yaml"
    for name in ("one", "two"):
        (project.root / name).mkdir()
        (project.root / name / "data").write_text("first")
    before = sorted(project.root.rglob("*"))
    assert words(status(project)) == {"one": "never", "two": "never"}
    made = {str(path.relative_to(project.root)) for path in set(project.root.rglob("*")) - set(before)}
    assert made <= {".orchestrate", ".orchestrate/files.json"}, made

    assert project.build("--push", "--target", "one").returncode == 0
    found = status(project)
    assert words(found) == {"one": "built", "two": "never"}
    assert found["one"]["digest"] == registry.digest(tmp_image.partition("/")[2], "one-amd64")
    assert found["one"]["tags"] == [f"{tmp_image}:one-amd64"]

    (project.root / "one" / "data").write_text("second")
    found = status(project)
    assert words(found) == {"one": "stale", "two": "never"}
    assert "was built from other inputs; since " in found["one"]["why"]
    assert found["one"]["why"].endswith("one/data changed")
    assert project.run("plan", "--status").stdout.splitlines()[-1] == "1 stale, 1 never"

    (project.root / "one" / "data").write_text("first")
    assert words(status(project))["one"] == "built"
    registry.forget(tmp_image.partition("/")[2])
    lost = status(project)["one"]
    assert lost["status"] == "stale"
    assert "was not found in the registry; last built here at 20" in lost["why"]

    matrix.write_text(matrix.read_text().replace(tmp_image, "127.0.0.1:9/nobody/app"))
    assert words(status(project)) == {"one": "unknown", "two": "unknown"}
