"""`resources:` with the installed command: jobs that change no layer, memory that runs out, small disks."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.isolated_engine import isolated_engine, limited_memory
from tests.support.project import write_project

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.project import Project

JOBS = "RUN --mount=type=secret,id=max-jobs "
HUNGRY = JOBS + "--mount=type=tmpfs,target=/m head -c $(cat /run/secrets/max-jobs)00m /dev/zero >/m/big"
"""A step that takes about 100 MB for each compile job."""


def written(folder: Path, resources: str, **stages: str) -> Project:
    project = write_project(folder, "registry.invalid/app", **stages)
    bake = {"target": {name: {"context": ".", "target": name, "network": "none"} for name in stages}}
    (project.root / ".dockerignore").write_text(".orchestrate\nmatrix.yaml\n")
    (project.root / "docker-bake.json").write_text(json.dumps(bake))
    matrix = project.root / "matrix.yaml"
    matrix.write_text(f"{matrix.read_text()}resources: {{{resources}}}\n")
    return project


def resources(project: Project, text: str) -> None:
    matrix = project.root / "matrix.yaml"
    matrix.write_text(f"{matrix.read_text().partition('resources:')[0]}resources: {{{text}}}\n")


def log(project: Project, target: str) -> str:
    found = project.log(target)
    assert found is not None
    return found.read_text()


def peak(project: Project, size: int) -> None:
    """Let the journal say that the variant took so many bytes."""
    path = project.root / ".orchestrate/journal.jsonl"
    row = json.loads(path.read_text().strip().splitlines()[-1])
    path.write_text(json.dumps({**row, "peak": size}) + "\n")


@pytest.mark.usefixtures("engine")
def test_another_number_of_jobs_changes_neither_layer_nor_key(tmp_path: Path) -> None:
    project = written(tmp_path, "max_jobs: 3", app=f"{JOBS}echo jobs=$(cat /run/secrets/max-jobs)")
    assert project.build().returncode == 0
    assert "jobs=3" in log(project, "app")
    first: dict[str, Any] = project.reported()["app"]
    for text in ("max_jobs: 5", "max_jobs: auto", "max_jobs: off"):
        resources(project, text)
        done = project.build()
        assert done.returncode == 0, done.stderr
        found = project.reported()["app"]
        assert found["key"] == first["key"]
        assert found["steps"]["cached"] == found["steps"]["total"]
    resources(project, "max_jobs: auto, unit_memory: 1MB")
    done = project.build()
    assert f"max_jobs {os.cpu_count()} (default, {os.cpu_count()} processors, " in done.stderr
    shared = written(tmp_path / "two", "max_jobs: auto, unit_memory: 1MB", a=f"{JOBS}echo a", b=f"{JOBS}echo b")
    done = shared.build("--jobs", "2")
    assert f"max_jobs {max(1, (os.cpu_count() or 1) // 2)} for each of 2 variants at once" in done.stderr
    explained = shared.run("plan", "--explain", "a-cu130-amd64")
    assert f"max_jobs {os.cpu_count()} with --jobs 1 on this machine" in explained.stdout


@pytest.mark.usefixtures("engine")
def test_a_secret_that_no_step_mounts_is_refused_before_the_build(tmp_path: Path) -> None:
    project = written(tmp_path, "max_jobs: 3", app="RUN echo fine")
    done = project.build()
    assert done.returncode == 2, done.stdout
    assert "max-jobs" in done.stdout
    checked = project.run("plan", "--preflight")
    assert checked.returncode == 2, checked.stderr
    assert "does not mount the secret max-jobs" in checked.stdout
    resources(project, "max_jobs: 3, targets: []")
    assert project.build().returncode == 0


@pytest.mark.usefixtures("engine")
def test_memory_that_runs_out_is_told_with_what_fits_and_adapted(tmp_path: Path) -> None:
    with limited_memory(360 << 20) as group, isolated_engine(cgroup=group) as own:
        env = {"DOCKER_HOST": own.host}
        project = written(tmp_path, "max_jobs: 4", app=HUNGRY)
        done = project.build(env=env)
        assert done.returncode == 1, done.stdout + done.stderr
        (note,) = [note for note in project.reported()["app"]["notes"] if "killed" in note]
        assert note.startswith("a compiler was killed for lack of memory with max_jobs 4 on ")
        assert note.endswith(": set max_jobs 2, or build with --adapt")
        done = project.build("--adapt", env=env)
        assert done.returncode == 0, done.stdout + done.stderr
        found = project.reported()["app"]
        assert found["attempts"] == 2
        assert [note for note in found["notes"] if note.endswith("tried again with max_jobs 2")]
        resources(project, "max_jobs: 9")  # half of it is too much as well: tried once more and not again
        assert project.build("--adapt", env=env).returncode == 0  # the step is cached: another number is no other step
        dockerfile = project.root / "Dockerfile"
        dockerfile.write_text(dockerfile.read_text().replace(">/m/big", ">/m/more"))
        done = project.build("--adapt", env=env)
        assert done.returncode == 1
        found = project.reported()["app"]
        assert found["attempts"] == 2
        assert any("max_jobs 4" in note and "set max_jobs 2" in note for note in found["notes"])


@pytest.mark.usefixtures("engine")
def test_variants_wait_for_room_on_the_disk_and_a_known_peak_is_compared(tmp_path: Path) -> None:
    project = written(tmp_path, "min_free: 900TB", a="RUN echo a", b="RUN echo b")
    done = project.build("--jobs", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    notes = [note for found in project.reported().values() for note in found["notes"]]
    assert sum(note.startswith("held back for ") for note in notes) == 1
    peak(project, 10**15)
    assert "took 909.5 TiB" in project.build().stderr
    resources(project, "disk: refuse")
    done = project.build()
    assert done.returncode == 5
    assert "took 909.5 TiB (resources.disk: refuse)" in done.stderr


@pytest.mark.usefixtures("engine")
def test_a_small_disk_is_pruned_of_what_no_build_needs(tmp_path: Path) -> None:
    with isolated_engine(disk="3g") as own:
        env = {"DOCKER_HOST": own.host}
        fill = "ARG SALT\nRUN head -c 400m /dev/zero >/big && echo {}"
        project = written(tmp_path, "disk: prune", app=fill.format("$SALT"))
        matrix = project.root / "matrix.yaml"
        text = matrix.read_text()
        for salt in ("a", "b", "c"):
            matrix.write_text(text.replace("  args:\n", f"  args:\n    SALT: {salt}\n"))
            done = project.build(env=env)
            assert done.returncode == 0, done.stdout + done.stderr
            assert "of its build cache removed" not in done.stderr
        done = project.build(env=env)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "the engine's disk was too full for this build: " in done.stderr
        found = project.reported()["app"]
        assert found["steps"]["cached"] == found["steps"]["total"]  # what the build needs was spared
