"""A project that publishes: its matrix, stand-ins of what it means, and reports that name them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.matrix import expand, load
from orchestrator.registry.client import Registry as Client
from orchestrator.runs.planned import planned
from tests.support.engine import call
from tests.support.project import Project
from tests.support.publishing import StandIn, push

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from orchestrator.reference import Digest, Repository

USER, PASSWORD = "me", "s3:cret"
HTPASSWD = f"{USER}:$2b$05$Oizmo2nWyuhk6OH6SpCOSO/9RDKyCLCCCXQ2El5cwjWcFhX6QSfeq"
BRIDGE = "172.17.0.1"
"""The engine's own network: an address of this machine for which nobody speaks plain HTTP."""

AMD, ARM = "app-cu130-amd64", "app-cu130-arm64"

MATRIX = """\
version: 1
image: {image}
bake:
  files: [docker-bake.json]
  targets: {{app: {{}}, app-slim: {{tag_suffix: -slim}}}}
arch_lists:
  release: 8.0 9.0
cuda:
  "12.9": {{version: 12.9.1, tag_suffix: -cu129}}
  "13.0": {{version: 13.0.2}}
platforms:
  linux/amd64:
  linux/arm64:
variants:
  arch_list: release
  args: {{CUDA_VERSION: "{{cuda.version}}"}}
  tags: ["{{image}}:{{git.short}}-{{variant.id}}"]
publish:
  to: [{to}]
  tags:
{tags}
  floating:
    - "{{image}}:nightly{{cuda.tag_suffix}}{{target.tag_suffix}}"
    - "{{image}}:latest{{cuda.tag_suffix}}{{target.tag_suffix}}"
  require_platforms: [linux/amd64, linux/arm64]
{more}
cache: {{backend: "off"}}
"""
DOCKERFILE = """\
FROM scratch AS app
ARG CUDA_VERSION
LABEL com.acme.cuda=$CUDA_VERSION
COPY data /data

FROM app AS app-slim
ARG CUDA_VERSION
LABEL com.acme.slim=$CUDA_VERSION
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """A project that publishes, and where to."""

    project: Project
    source: Repository
    env: Mapping[str, str]

    def run(self, *words: str, code: int = 0) -> str:
        """`orchestrate publish WORDS`; what it prints."""
        done = self.project.run("publish", *words, env=self.env)
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def commit(self, text: str) -> str:
        """Change the project and commit it; the commit."""
        (self.project.root / "data").write_text(text)
        git = ("git", "-C", str(self.project.root), "-c", "user.name=t", "-c", "user.email=t@example.org")
        call(*git, "add", "-A")
        call(*git, "commit", "-q", "-m", text)
        return call(*git, "rev-parse", "HEAD").stdout.strip()


def write(
    folder: Path, source: Repository, *, to: Sequence[object] = (), tags: Sequence[str] = ("v1",), more: str = ""
) -> Project:
    root = folder / "project"
    root.mkdir(parents=True)
    (root / "Dockerfile").write_text(DOCKERFILE)
    (root / ".gitignore").write_text(".orchestrate\n")
    bake = {"target": {name: {"context": ".", "target": name} for name in ("app", "app-slim")}}
    (root / "docker-bake.json").write_text(json.dumps(bake))
    lines = "\n".join(f'    - "{{image}}:{tag}{{cuda.tag_suffix}}{{target.tag_suffix}}"' for tag in tags)
    (root / "matrix.yaml").write_text(
        MATRIX.format(image=source, to=", ".join(f'"{one}"' for one in to), tags=lines, more=more)
    )
    call("git", "init", "-q", root)
    return Project(root=root, report=folder / "report.json")


def stand_ins(release: Release, revision: str) -> dict[str, StandIn]:
    """Variant -> the image that this plan means: nobody built it, but it carries the key."""
    plan = expand.plan(load.load(release.project.root / "matrix.yaml"))
    keys = planned(plan, tell=print).inputs
    return {
        variant.id: StandIn(variant=variant.id, platform=variant.platform, key=keys[variant.id].key, revision=revision)
        for variant in plan.variants
    }


def report(release: Release, digests: Mapping[str, object], name: str = "report.json") -> str:
    """A build report that names these digests."""
    rows = [{"id": id_, "status": "built", "digest": str(digest)} for id_, digest in digests.items()]
    path = release.project.root.parent / name
    path.write_text(json.dumps({"schema": 1, "variants": rows}))
    return str(path)


def pushed(release: Release, images: Mapping[str, StandIn]) -> dict[str, Digest]:
    with Client(release.source) as client:
        return {id_: push(client, image) for id_, image in images.items()}
