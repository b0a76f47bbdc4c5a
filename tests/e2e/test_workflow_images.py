"""`.github/workflows/images.yml` as a runner would run it, on a small matrix and the real engine and registry."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.support import actions
from tests.support.base import write_rootfs

if TYPE_CHECKING:
    from tests.support.engine import Registry

ROOT = Path(__file__).parents[2]
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/images.yml").read_text(encoding="utf-8"))

MATRIX = """\
version: 1
image: IMAGE
bake: {files: [small.hcl], targets: [small]}
arch_lists: {release: 9.0 11.0}
cuda: {"12.9": {version: 12.9.1}, "13.0": {version: 13.0.2}}
platforms: {linux/amd64: {runner: ubuntu-24.04}}
variants: {arch_list: release, args: {archs: "{archs.torch}"}, tags: ["{image}:{cuda}"]}
cache: {backend: "off"}
"""
BAKE = 'target "small" {\n  context = "small"\n}\n'
DOCKERFILE = "FROM scratch\nADD rootfs.tar /\nARG archs\nRUN echo archs are ${archs}\n"


# GHCR is out of reach: this docker keeps what a login says, and passes everything else on.
DOCKER = """\
#!/bin/sh
case "$1" in
login) printf '%s ' "$@" >> LOGINS; cat >> LOGINS ;;
*) exec REAL "$@" ;;
esac
"""


@dataclass(frozen=True, kw_only=True)
class Ran:
    """How the workflow ended: its jobs, the directory of their artifacts, and what `docker login` was told."""

    plan: actions.Result
    builds: list[actions.Result]
    artifacts: Path
    logins: str

    def report(self, variant: str) -> dict[str, Any]:
        """The first row of the report that a job left as an artifact."""
        text = (self.artifacts / f"report-{variant}" / "report.json").read_text(encoding="utf-8")
        row: dict[str, Any] = json.loads(text)["variants"][0]
        return row


Dispatch = Callable[..., Ran]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Path:
    """A copy of what git tracks, with a small project in the place of the real one; set up once, by the first job."""
    folder = tmp_path_factory.mktemp("checkout")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    for name in filter(None, names.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    (folder / "small.hcl").write_text(BAKE, encoding="utf-8")
    write_rootfs(folder / "small")
    return folder


@pytest.fixture
def dispatch(checkout: Path, tmp_path: Path, tmp_image: str) -> Dispatch:
    """Runs the workflow as its button does, with these inputs."""
    (checkout / "matrix.yaml").write_text(MATRIX.replace("IMAGE", tmp_image), encoding="utf-8")
    (checkout / "report.json").unlink(missing_ok=True)
    shutil.rmtree(checkout / ".orchestrate", ignore_errors=True)
    programs, temporary, logins = tmp_path / "bin", tmp_path / "temporary", tmp_path / "logins"
    programs.mkdir()
    temporary.mkdir()
    real = shutil.which("docker")
    assert real
    (programs / "docker").write_text(DOCKER.replace("LOGINS", str(logins)).replace("REAL", real), encoding="utf-8")
    (programs / "docker").chmod(0o755)

    def run(*, dockerfile: str = DOCKERFILE, **given: Any) -> Ran:
        (checkout / "small/Dockerfile").write_text(dockerfile, encoding="utf-8")
        runner = actions.Runner(
            workspace=checkout, temporary=temporary, artifacts=tmp_path / "artifacts",
            github={"event_name": "workflow_dispatch", "workflow": "images", "ref": "main", "actor": "octocat"},
            secrets={"GITHUB_TOKEN": "ghs_token"}, env={"PATH": f"{programs}:{os.environ['PATH']}"},
            actions={
                "actions/checkout": actions.nothing, "docker/setup-buildx-action": actions.nothing,
                "actions/upload-artifact": actions.upload,
            },
        )  # fmt: skip
        plan, *builds = runner.workflow(WORKFLOW, given)
        said = logins.read_text(encoding="utf-8") if logins.exists() else ""
        return Ran(plan=plan, builds=builds, artifacts=tmp_path / "artifacts", logins=said)

    return run


def test_one_release_is_built_and_nothing_is_pushed(
    dispatch: Dispatch, tmp_path: Path, tmp_image: str, registry: Registry
) -> None:
    done = dispatch(cuda="13.0")
    assert not done.plan.failed, done.plan.log
    assert [row["archs"] for row in json.loads(done.plan.outputs["matrix"])["include"]] == ["9.0 11.0"]
    assert [(job.name, job.runner, job.failed) for job in done.builds] == [
        ("small-cu130-amd64", "ubuntu-24.04", False)
    ], done.builds
    summary = (tmp_path / "temporary/github_step_summary").read_text(encoding="utf-8")
    assert ("small-cu130-amd64" in summary, "small-cu129-amd64" in summary) == (True, False)
    row = done.report("small-cu130-amd64")
    assert (row["id"], row["status"]) == ("small-cu130-amd64", "built")
    assert list(done.artifacts.glob("report-*/.orchestrate/runs/**/*.log"))
    assert done.logins == ""
    assert registry.tags(tmp_image.partition("/")[2]) == []


def test_every_release_is_pushed_after_a_login(dispatch: Dispatch, tmp_image: str, registry: Registry) -> None:
    done = dispatch(push=True)
    assert [(job.name, job.failed) for job in done.builds] == [
        ("small-cu129-amd64", False), ("small-cu130-amd64", False)
    ], done.builds  # fmt: skip
    assert sorted(registry.tags(tmp_image.partition("/")[2])) == ["12.9", "13.0"]
    assert done.logins == "login ghcr.io --username octocat --password-stdin ghs_token" * 2


def test_a_failing_build_fails_its_job_and_leaves_its_report(dispatch: Dispatch) -> None:
    done = dispatch(cuda="13.0", dockerfile=DOCKERFILE + "RUN exit 7\n")
    assert [job.failed for job in done.builds] == [True]
    assert done.report("small-cu130-amd64")["status"] == "failed"


def test_actions_are_pinned_and_permissions_least() -> None:
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert workflow["permissions"] == {"contents": "read"}, path.name
        for job in workflow["jobs"].values():
            assert set(job.get("permissions", {})) <= {"contents", "packages"}
            for step in job["steps"]:
                assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", step.get("uses", "a@" + "0" * 40)), (path.name, step)
