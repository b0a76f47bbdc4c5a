"""Layer caches with a real registry: a pull request finds main's and writes its own; no export costs an image."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import pytest

from orchestrator.reference import Tag, repository
from orchestrator.registry.client import Registry as Client
from tests.support.actions_cache import READ, READ_AND_WRITE, actions_cache
from tests.support.engine import call
from tests.support.faults import Fault
from tests.support.project import write_project

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.engine import MakeFaulty, Registry
    from tests.support.project import Project

ID = "app-cu130-amd64"


def project_with(folder: Path, image: str, cache: str) -> Project:
    project = write_project(folder, image, app="RUN echo compiled > /out")
    matrix = project.root / "matrix.yaml"
    matrix.write_text(matrix.read_text().replace('cache: {backend: "off"}', f"cache: {{{cache}}}"))
    return project


def event(folder: Path, name: str, head: str, **more: str) -> dict[str, str]:
    path = folder / f"{name}-{head.partition('/')[0]}.json"
    pull = {"number": 12, "head": {"repo": {"full_name": head}}}
    path.write_text(json.dumps({"pull_request": pull, "repository": {"default_branch": "main"}}))
    return {
        "GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": name, "GITHUB_EVENT_PATH": str(path),
        "GITHUB_REPOSITORY": "acme/app", "GITHUB_BASE_REF": "main", **more,
    }  # fmt: skip


def tags(name: str) -> list[str]:
    with Client(repository(name)) as client:
        return sorted(map(str, client.tags()))


def imports(project: Project) -> list[str]:
    log = project.log("app")
    assert log is not None
    return [line for line in log.read_text().splitlines() if "importing cache manifest from" in line]


def test_a_pull_request_finds_the_cache_of_main_and_writes_only_its_own(
    registry: Registry, tmp_image: str, tmp_path: Path
) -> None:
    project = project_with(tmp_path, tmp_image, "backend: registry")
    push = event(tmp_path, "push", "acme/app", GITHUB_REF_TYPE="branch", GITHUB_REF_NAME="main")
    assert project.build("--push", env=push).returncode == 0
    assert tags(f"{tmp_image}-cache") == [ID]
    with Client(repository(f"{tmp_image}-cache")) as client:
        before = client.head(Tag(ID))

    foreign = event(tmp_path, "pull_request", "eve/app")
    done = project.build("--push", env=foreign)
    assert done.returncode == 0, done.stderr
    assert "read and not written: pull request 12 comes from a fork" in done.stderr
    assert tags(f"{tmp_image}-cache-pr") == []

    own = event(tmp_path, "pull_request", "acme/app")
    done = project.build("--push", env=own)
    assert done.returncode == 0, done.stderr
    assert tags(f"{tmp_image}-cache-pr") == [f"{ID}-pr-12"]
    assert tags(f"{tmp_image}-cache") == [ID]
    with Client(repository(f"{tmp_image}-cache")) as client:
        assert client.head(Tag(ID)) == before
    notes = " ".join(project.reported()["app"]["notes"])
    assert f"no cache at {tmp_image}-cache-pr:{ID}-pr-12 yet" in notes
    sources = {one["ref"]: one["state"] for one in project.reported()["app"]["cache_sources"]}
    assert sources == {f"{tmp_image}-cache-pr:{ID}-pr-12": "empty", f"{tmp_image}-cache:{ID}": "found"}
    explained = project.run("cache", "explain", ID).stdout
    assert f"  cache {tmp_image}-cache:{ID}: found\n" in explained
    assert f"{tmp_image}-cache:{ID}" not in notes  # main's was found
    asked = imports(project)
    assert any(f"{tmp_image}-cache-pr:{ID}-pr-12" in line for line in asked)
    assert any(f"{tmp_image}-cache:{ID}" in line for line in asked)

    shown = project.run("plan", "--explain", ID, env=foreign)
    assert f"read  {tmp_image}-cache-pr:{ID}-pr-12    pull request 12" in shown.stdout
    assert "write nothing: pull request 12 comes from a fork" in shown.stdout
    off = project.build("--push", "--cache", "off", env=push)
    assert off.returncode == 0
    assert imports(project) == []


def test_a_registry_that_takes_no_cache_costs_no_image(
    faulty_registry: MakeFaulty, tmp_image: str, tmp_path: Path
) -> None:
    proxy = faulty_registry(Fault(path="-cache/(manifests|blobs)", method="PUT", status=403, times=-1),
                            Fault(path="-cache/blobs/uploads", method="POST", status=403, times=-1))  # fmt: skip
    image = f"{proxy.address}/{tmp_image.partition('/')[2]}"
    project = project_with(tmp_path, image, "backend: registry")
    done = project.build("--push", env={"ORCHESTRATE_GIT_BRANCH": "main"})
    assert done.returncode == 0, done.stderr
    row = project.reported()["app"]
    assert row["status"] == "built"
    assert any("the cache was not written" in note for note in row["notes"]), row["notes"]
    with Client(repository(tmp_image)) as client:
        assert str(client.manifest(Tag("app-amd64")).digest) == row["digest"]


def forget(mark: str) -> None:
    """Remove the steps from the builder whose text has this mark."""
    call("docker", "buildx", "prune", "--force", "--all", "--filter", f"description~={mark}")


def ran(project: Project, mark: str) -> bool:
    """Whether the last build ran the step whose text has this mark, instead of taking it from a cache."""
    log = project.log("app")
    assert log is not None
    lines = log.read_text().splitlines()
    (number,) = {line.split()[0] for line in lines if mark in line and line.startswith("#") and " RUN " in line}
    return f"{number} CACHED" not in lines


def test_actions_give_the_next_runner_what_was_built(registry: Registry, tmp_image: str, tmp_path: Path) -> None:
    mark = f"mark-{uuid.uuid4().hex}"
    project = write_project(tmp_path, tmp_image, app=f"RUN echo {mark} > /out")
    matrix = project.root / "matrix.yaml"
    matrix.write_text(matrix.read_text().replace('cache: {backend: "off"}', "cache: {backend: gha}"))
    main = {"ORCHESTRATE_GIT_BRANCH": "main"}
    with actions_cache() as service:
        env = {**service.environment(), **main}
        done = project.build("--push", env=env)
        assert done.returncode == 0, done.stderr
        assert not any("was not written" in note for note in project.reported()["app"]["notes"])
        assert any(key.startswith("index-") for key in service.entries), service.asked
        first = project.reported()["app"]["digest"]

        forget(mark)  # another runner: the builder has nothing of it
        assert project.build("--push", "--cache", "off", env=env).returncode == 0
        assert ran(project, mark), "the builder still had it: what follows proves nothing"

        forget(mark)
        service.asked.clear()
        done = project.build("--push", env=env)
        assert done.returncode == 0, done.stderr
        assert not ran(project, mark)
        assert any(one.startswith("GET buildkit-blob") for one in service.asked), service.asked
        row = project.reported()["app"]
        assert {one["state"] for one in row["cache_sources"]} == {"asked"}
        with Client(repository(tmp_image)) as client:
            assert str(client.manifest(Tag("app-amd64")).digest) == row["digest"]
        assert first


@pytest.mark.parametrize("given", ["read-only", "refused", "malformed"])
def test_a_token_that_cannot_write_costs_no_image(tmp_image: str, tmp_path: Path, given: str) -> None:
    project = project_with(tmp_path, tmp_image, "backend: gha")
    with actions_cache(refuses=True) as service:
        env = service.environment(READ if given == "read-only" else READ_AND_WRITE)
        if given == "malformed":
            env["ACTIONS_RUNTIME_TOKEN"] = "not-a-token"
        done = project.build("--push", env={**env, "ORCHESTRATE_GIT_BRANCH": "main"})
    assert done.returncode == 0, done.stderr
    assert ("GetCacheEntryDownloadURL" in service.asked) == (given != "malformed"), service.asked
    row = project.reported()["app"]
    assert any("the cache was not written" in note for note in row["notes"]), row["notes"]
    with Client(repository(tmp_image)) as client:
        assert str(client.manifest(Tag("app-amd64")).digest) == row["digest"]


@pytest.mark.parametrize(
    "cache",
    ["backend: s3, options: {bucket: b, region: eu-west-1}",
     "backend: azblob, options: {account_url: 'https://a.example'}", "backend: local, dir: Dockerfile/cache"],
    ids=["s3", "azblob", "local"],
)  # fmt: skip
def test_an_exporter_that_cannot_be_configured_costs_no_image(tmp_image: str, tmp_path: Path, cache: str) -> None:
    project = project_with(tmp_path, tmp_image, cache)
    done = project.build("--push", env={"ORCHESTRATE_GIT_BRANCH": "main"})
    assert done.returncode == 0, done.stderr
    row = project.reported()["app"]
    assert row["status"] == "built"
    assert "the cache" in done.stderr + " ".join(row["notes"])
