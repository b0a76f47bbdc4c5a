"""images.yml in another repository: a caller's project, new runners for each job, and a registry with accounts.

What of GitHub is a stand-in: checkout copies, artifacts are directories, `docker login ghcr.io` logs in to the local
registry. Its token can push where the job's `permissions:` and the event allow it, and the registry itself decides.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.support import actions, fatbins
from tests.support.accounts import READ, WRITE, accounts_registry
from tests.support.base import write_rootfs
from tests.support.engine import call

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.support.actions import Result, Values
    from tests.support.engine import Registry

ROOT = Path(__file__).parents[2]
PATH = ROOT / ".github/workflows/images.yml"
READER, WRITER, PASSWORD = "ghs_reader", "ghs_writer", "p4ss word"

MATRIX = """\
version: 1
image: IMAGE
bake: {files: [small.hcl], targets: [small]}
arch_lists: {release: 9.0 11.0}
cuda: {"12.9": {version: 12.9.1, tag_suffix: -cu129}, "13.0": {version: 13.0.2}}
platforms: {linux/amd64: {runner: ubuntu-24.04}, linux/arm64: {runner: [self-hosted, arm64]}}
variants: {arch_list: release, args: {archs: "{archs.torch}"}, tags: ["{image}:{git.short}-{variant.id}"]}
publish: {tags: ["{image}:1{cuda.tag_suffix}"], floating: ["{image}:latest{cuda.tag_suffix}"]}
cache: {backend: registry, ref: "{image}-cache:{variant.id}"}
claims: [{file: small.hcl, variable: ARCHS, says: "{arch_lists.release}"}]
"""
BAKE = 'variable "ARCHS" {\n  default = "9.0 11.0"\n}\ntarget "small" {\n  context = "small"\n}\n'
DOCKERFILE = "FROM scratch\nARG archs\nLABEL archs=$archs\nCOPY kernels.so /\n"
IDS = ["small-cu129-amd64", "small-cu129-arm64", "small-cu130-amd64", "small-cu130-arm64"]

# It keeps what a login says; GHCR is the registry of the test.
DOCKER = """\
#!/bin/sh
if [ "$1" != login ]; then exec REAL "$@"; fi
password=$(cat)
printf '%s %s\\n' "$*" "$password" >> LOGINS
host=$2; [ "$host" = ghcr.io ] && host=REGISTRY
shift 2
printf %s "$password" | REAL login "$host" "$@"
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """What starts a workflow.

    Attributes:
        name: The event.
        github: What the `github` context says of it.
        payload: The event's file.
        trusted: Whether the token can write.
    """

    name: str
    github: Mapping[str, str] = field(default_factory=dict)
    payload: Mapping[str, Any] = field(default_factory=dict)
    trusted: bool = True


def _pull(head: str) -> dict[str, Any]:
    base = {"repo": {"full_name": "acme/app"}, "ref": "main"}
    return {
        "action": "synchronize", "repository": {"full_name": "acme/app", "default_branch": "main"},
        "pull_request": {
            "number": 7, "base": base,
            "head": {"ref": "work", "repo": {"full_name": head, "fork": head != "acme/app"} if head else None},
        },
    }  # fmt: skip


_REPOSITORY = {"repository": {"full_name": "acme/app", "default_branch": "main"}}
_MAIN = {"ref": "refs/heads/main", "ref_name": "main", "ref_type": "branch"}
_PULL = {"ref": "refs/pull/7/merge", "ref_name": "7/merge", "ref_type": "branch", "base_ref": "main"}
EVENTS = {
    "push": Event(name="push", github=_MAIN, payload=_REPOSITORY),
    "dispatch": Event(name="workflow_dispatch", github=_MAIN, payload=_REPOSITORY),
    "tag": Event(name="push", github={"ref": "refs/tags/v1", "ref_name": "v1", "ref_type": "tag"}, payload=_REPOSITORY),
    "pull request": Event(name="pull_request", github=_PULL, payload=_pull("acme/app")),
    "fork": Event(name="pull_request", github=_PULL, payload=_pull("octocat/app"), trusted=False),
    "deleted fork": Event(name="pull_request", github=_PULL, payload=_pull(""), trusted=False),
}


@dataclass
class Done:
    """How a run of the workflow ended: its jobs, its outputs, and what `docker login` was told."""

    jobs: list[Result]
    outputs: dict[str, str]
    artifacts: Path
    logins: list[str]
    summary: str

    def job(self, name: str) -> list[Result]:
        """The runs of one job."""
        return [one for one in self.jobs if one.job == name]

    def report(self, variant: str) -> dict[str, Any]:
        """The first row of the report that a job left as an artifact."""
        text = (self.artifacts / f"report-{variant}" / "orchestrate-report.json").read_text(encoding="utf-8")
        row: dict[str, Any] = json.loads(text)["variants"][0]
        return row

    @property
    def log(self) -> str:
        """What all steps printed."""
        return "\n".join(f"--- {one.job} {one.name}\n{one.log}" for one in self.jobs)


@dataclass
class Caller:
    """A repository that calls images.yml, and the runners that it gets.

    Attributes:
        folder: Of everything.
        tool: This repository as a commit holds it.
        registry: What stands for GHCR.
        image: The repository of this test.
        cosign: The program that sigstore/cosign-installer leaves on PATH, None for none.
    """

    folder: Path
    tool: Path
    registry: Registry
    image: str = ""
    cosign: Path | None = None

    @property
    def project(self) -> Path:
        """The caller's own files."""
        return self.folder / "project"

    def write(self, image: str, *, matrix: str = MATRIX, dockerfile: str = DOCKERFILE) -> None:
        """A new project: one commit."""
        self.image = image
        shutil.rmtree(self.project, ignore_errors=True)
        (self.project / "small").mkdir(parents=True)
        (self.project / "matrix.yaml").write_text(matrix.replace("IMAGE", image), encoding="utf-8")
        (self.project / "small.hcl").write_text(BAKE, encoding="utf-8")
        (self.project / "small/kernels.so").write_bytes(fatbins.library([["90", "110"]]))
        if "rootfs" in dockerfile:
            write_rootfs(self.project / "small")
        (self.project / "small/Dockerfile").write_text(dockerfile, encoding="utf-8")
        git = ("git", "-C", str(self.project), "-c", "user.name=t", "-c", "user.email=t@example.org")
        call(*git, "init", "-q", "-b", "main")
        call(*git, "add", "-A")
        call(*git, "commit", "-q", "-m", "first")

    def run(
        self, read: Mapping[Any, Any], given: Values, *, event: str = "push", called: bool = True,
        secrets: Mapping[str, str] | None = None, only: str = "", needs: Mapping[str, Any] | None = None,
        report: Mapping[str, Any] | None = None,
    ) -> Done:  # fmt: skip
        """Run the workflow, or one job of it.

        Args:
            read: Its YAML.
            given: Its inputs.
            event: A key of EVENTS.
            called: Whether another workflow calls it, else its own button.
            secrets: What the caller hands on; a fork has none.
            only: The one job that runs.
            needs: What the jobs before that one gave.
            report: The report of all that they left as an artifact, None for none.
        """
        shutil.rmtree(self.folder / "artifacts", ignore_errors=True)
        if report is not None:
            (self.folder / "artifacts/orchestrate-report").mkdir(parents=True)
            (self.folder / "artifacts/orchestrate-report/orchestrate-report.json").write_text(json.dumps(report))
        (self.folder / "logins").unlink(missing_ok=True)
        (self.folder / "summary").unlink(missing_ok=True)
        what = EVENTS[event]
        (self.folder / "event.json").write_text(json.dumps(what.payload), encoding="utf-8")
        sha = call("git", "-C", self.project, "rev-parse", "HEAD").stdout.strip()
        runner = actions.Runner(
            workspace=self.folder / "workspace", temporary=self.folder / "temporary",
            artifacts=self.folder / "artifacts",
            github={
                "event_name": what.name, "event": dict(what.payload), "event_path": str(self.folder / "event.json"),
                "repository": "acme/app", "actor": "octocat", "sha": sha, "workflow": "release", **what.github,
            },
            secrets=dict(secrets or {}), env=self._environment(),
            actions={
                "actions/checkout": self._checkout, "docker/setup-buildx-action": actions.nothing,
                "actions/upload-artifact": actions.upload, "actions/download-artifact": actions.download,
                "sigstore/cosign-installer": self._cosign,
            },
            job={"workflow_repository": "tool/repository", "workflow_sha": "f" * 40},
            token=lambda permissions: (
                WRITER if what.trusted and dict(permissions).get("packages") == "write" else READER
            ),
            cleaned=self._clean, only=only, given_needs=dict(needs or {}),
        )  # fmt: skip
        self._clean(runner)
        jobs = runner.workflow(read, given, event="workflow_call" if called else "workflow_dispatch")
        said, summary = self.folder / "logins", self.folder / "summary"
        return Done(
            jobs=jobs, outputs=runner.outputs, artifacts=self.folder / "artifacts",
            logins=said.read_text(encoding="utf-8").splitlines() if said.exists() else [],
            summary=summary.read_text(encoding="utf-8") if summary.exists() else "",
        )  # fmt: skip

    def _environment(self) -> dict[str, str]:
        programs = self.folder / "bin"
        if not programs.exists():
            programs.mkdir()
            real = shutil.which("docker")
            assert real
            text = DOCKER.replace("LOGINS", str(self.folder / "logins")).replace("REAL", real)
            (programs / "docker").write_text(text.replace("REGISTRY", self.registry.address), encoding="utf-8")
            (programs / "docker").chmod(0o755)
        return {
            "PATH": f"{programs}:{os.environ['PATH']}", "DOCKER_CONFIG": str(self.folder / "temporary/docker"),
        }  # fmt: skip

    def _cosign(self, _runner: actions.Runner, _given: Values) -> dict[str, str]:
        if self.cosign is not None:
            (self.folder / "bin/cosign").symlink_to(self.cosign)
        return {}

    def _clean(self, runner: actions.Runner) -> None:
        """A new machine, but for the environment of the tool: it is made once, which saves minutes."""
        shutil.rmtree(runner.workspace, ignore_errors=True)
        runner.workspace.mkdir(parents=True)
        runner.temporary.mkdir(exist_ok=True)
        (self.folder / "bin/cosign").unlink(missing_ok=True)
        for one in runner.temporary.iterdir():
            if one.name == "github_step_summary":
                with (self.folder / "summary").open("a", encoding="utf-8") as file:
                    file.write(one.read_text(encoding="utf-8"))
            if one.is_dir() and one.name != "build-orchestrator":
                shutil.rmtree(one)
            elif not one.is_dir():
                one.unlink()

    def _checkout(self, runner: actions.Runner, given: Values) -> dict[str, str]:
        if given.get("repository") == "tool/repository" and given.get("ref") == "f" * 40:
            shutil.copytree(self.tool, runner.workspace / given["path"])
            return {}
        if "repository" in given or "path" in given:
            raise actions.UnknownError(f"checkout of {dict(given)}")
        wanted = actions.text(given.get("fetch-depth", 1))
        depth = [] if wanted == "0" else ["--depth", wanted]
        for one in runner.workspace.iterdir():
            shutil.rmtree(one) if one.is_dir() else one.unlink()
        call("git", "clone", "-q", *depth, f"file://{self.project}", runner.workspace)
        return {}


def read() -> dict[Any, Any]:
    """The workflow."""
    found = yaml.safe_load(PATH.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def tracked(folder: Path) -> Path:
    """This repository as a commit holds it: what git tracks or would."""
    argv = ["git", "ls-files", "-z", "-co", "--exclude-standard"]
    names = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0")
    for name in names:
        if name and (ROOT / name).is_file() and not name.startswith("tests/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def caller(folder: Path) -> Iterator[Caller]:
    """A caller with a registry of its own."""
    with accounts_registry(folder / "registry", {READER: READ, WRITER: WRITE, PASSWORD: WRITE}) as registry:
        yield Caller(folder=folder, tool=tracked(folder / "tool"), registry=registry)
