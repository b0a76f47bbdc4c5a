"""`orchestrate cache ls` and `prune --keep` on an engine of their own: what goes, and what a build still finds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.engine import build_cache
from orchestrator.engine.build_cache import RecordType
from tests.support.engine import call
from tests.support.isolated_engine import isolated_engine
from tests.support.project import write_project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orchestrator.engine.build_cache import CacheRecord
    from tests.support.isolated_engine import Isolated
    from tests.support.project import Project

FILL = "RUN --mount=type=cache,id=kept,target=/kept head -c 3000000 /dev/zero >/big && echo $SALT >/kept/{}"


@pytest.fixture(scope="module")
def own(engine: str) -> Iterator[Isolated]:
    assert engine
    with isolated_engine() as found:
        yield found


def build(project: Project, env: dict[str, str]) -> dict[str, Any]:
    done = project.build(env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return {target: row["steps"] for target, row in project.reported().items()}


def listed(project: Project, env: dict[str, str]) -> dict[str, Any]:
    done = project.run("cache", "ls", "--format", "json", env=env)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_budget_keeps_mounts_and_what_the_next_build_takes(own: Isolated, tmp_path: Path) -> None:
    env = {"DOCKER_HOST": own.host, "XDG_CACHE_HOME": str(tmp_path / "home")}
    project = write_project(
        tmp_path, "registry.invalid/app",
        one=f"ARG SALT\n{FILL.format('one')}\nRUN echo last", two=f"ARG SALT\n{FILL.format('two')}",
    )  # fmt: skip
    bake = {"target": {name: {"context": ".", "target": name, "network": "none"} for name in ("one", "two")}}
    (project.root / "docker-bake.json").write_text(json.dumps(bake))
    matrix = project.root / "matrix.yaml"
    text = matrix.read_text().replace('cache: {backend: "off"}', "cache: {backend: local}")
    for salt in ("a", "b", "c"):  # three generations, of which the first two are needed by nobody
        matrix.write_text(text.replace("  args:\n", f"  args:\n    SALT: {salt}\n"))
        build(project, env)
    stray = project.root / ".orchestrate/cache/registry.invalid-app-cache-one-cu130-amd64-branch-gone"
    stray.mkdir()
    (stray / "index.json").write_bytes(b"x" * 1_000_000)
    other = project.root / ".orchestrate/cache/notes"  # whatever this is, it is no cache of ours
    other.mkdir()
    (other / "index.json").write_text("{}")

    before = listed(project, env)
    rows = {(row["where"], row["kind"]): row for row in before["holdings"]}
    assert rows["builder", "cache mount"]["name"].strip("/") == "kept"
    assert 12_000_000 <= rows["builder", "layers"]["reclaimable"] < rows["builder", "layers"]["size"]
    own_caches = {row["name"]: row for row in before["holdings"] if row["where"] == "directory"}
    assert {row["reclaimable"] > 0 for row in own_caches.values() if row["name"] != str(stray)} == {False}
    assert own_caches[str(stray)]["reclaimable"] == 1_000_000
    assert own_caches[str(stray)]["variants"] == ["one-cu130-amd64"]
    assert before["total"] == sum(row["size"] for row in before["holdings"])

    dry = project.run("cache", "prune", "--keep", "1kB", env=env)
    assert dry.returncode == 0, dry.stderr
    assert "--yes removes it" in dry.stdout
    assert "the limit is missed by " in dry.stderr
    assert ": the rest is cache mounts" in dry.stderr
    assert stray.exists()
    assert listed(project, env)["total"] == before["total"]

    done = project.run("cache", "prune", "--keep", "1kB", "--yes", env=env)
    assert done.returncode == 0, done.stderr
    assert not stray.exists()
    assert other.exists()
    after = listed(project, env)
    freed = before["total"] - after["total"]
    assert freed > 12_000_000
    assert done.stdout.splitlines()[-1].endswith(" freed")
    assert float(done.stdout.splitlines()[-1].split()[0]) * 1_000_000 == pytest.approx(freed, rel=0.05)
    assert ("builder", "cache mount") in {(row["where"], row["kind"]) for row in after["holdings"]}
    again = build(project, env)
    assert {name: steps["cached"] for name, steps in again.items()} == {
        name: steps["total"] for name, steps in again.items()
    }

    enough = project.run("cache", "prune", "--keep", "60GB", "--min-free", "1MB", "--yes", env=env)
    assert enough.stdout.rstrip().endswith("0 B can go")
    assert project.run("cache", "prune", "--keep", "much").returncode == 2
    assert project.run("cache", "prune", "--keep", "1GB", "--closed-pr", "1").returncode == 2


def test_what_was_chosen_goes_and_nothing_else(own: Isolated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", own.host)
    copies = "".join(f"COPY f{number} /\n" for number in range(12))
    (tmp_path / "Dockerfile").write_text(f"FROM scratch\n{copies}")

    def held(salt: str) -> list[CacheRecord]:
        for number in range(12):
            (tmp_path / f"f{number}").write_text(salt)
        call("docker", "buildx", "build", "--quiet", tmp_path)
        return [one for one in build_cache.records() if not one.in_use]

    before = held("a")
    parents = {parent for one in before for parent in one.parents}
    layers = [one for one in before if one.type is not RecordType.MOUNT]
    some = [one for one in layers if one.id not in parents][:1]
    assert build_cache.only_chosen_after(some, before) is None  # by its id
    build_cache.remove(some, before)
    left = {one.id for one in build_cache.records()}
    assert {one.id for one in before} - left == {some[0].id}

    heard: list[tuple[int, int]] = []
    before = held("b")
    layers = [one for one in before if one.type is not RecordType.MOUNT]
    assert build_cache.only_chosen_after(layers, before) is not None  # in one call, by age
    build_cache.remove(layers, before, told=lambda *numbers: heard.append(numbers))
    assert heard[-1] == (len(layers), len(layers))
    assert {one.type for one in build_cache.records()} <= {RecordType.MOUNT}
