"""`.github/workflows/images.yml` as runners would run it, for another repository, on the real engine and a registry."""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.support import images_workflow
from tests.support.engine import call, request
from tests.support.images_workflow import DOCKERFILE, IDS, MATRIX, PASSWORD, READER, WRITER, Caller

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
WORKFLOW = images_workflow.read()
ONE: dict[str, Any] = {"variant": "small-cu130-amd64", "check": False}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[Caller]:
    assert engine
    yield from images_workflow.caller(tmp_path_factory.mktemp("caller"))


@pytest.fixture
def caller(home: Caller) -> Caller:
    home.write(f"{home.registry}/t-{uuid.uuid4().hex[:12]}")
    return home


def tags(caller: Caller, suffix: str = "") -> list[str]:
    """What anybody sees in the registry."""
    path = caller.image.partition("/")[2] + suffix
    status, headers, body = request("GET", f"http://{caller.registry}/v2/{path}/tags/list")
    if status == 401:
        realm, scope = (re.search(rf'{key}="([^"]+)"', headers["www-authenticate"]) for key in ("realm", "scope"))
        assert realm
        assert scope
        _, _, said = request("GET", f"{realm[1]}?scope={scope[1]}&service=registry")
        token = json.loads(said)["token"]
        wanted = urllib.request.Request(f"http://{caller.registry}/v2/{path}/tags/list")
        wanted.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(wanted, timeout=30) as answer:
                body = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                body = error.read()
    return sorted(json.loads(body).get("tags") or [])


def test_everything_is_pushed_verified_and_published_as_a_terminal_does(caller: Caller, tmp_path: Path) -> None:
    done = caller.run(WORKFLOW, {"push": True})
    assert [(one.job, one.name, one.failed) for one in done.jobs] == [
        ("plan", "plan", False), *(("push", name, False) for name in IDS), ("results", "results", False),
        ("publish", "publish", False),
    ], done.log  # fmt: skip
    assert [one.runner for one in done.job("push")[:2]] == ["ubuntu-24.04", '["self-hosted", "arm64"]']
    assert [one.group for one in done.job("push")] == [f"{caller.image} {name}" for name in IDS]
    assert [one.group for one in done.job("publish")] == [caller.image]
    # the token of the jobs that push can write, and no other
    assert [line.rpartition(" ")[2] for line in done.logins] == [READER, *[WRITER] * 4, WRITER]
    assert done.logins[0] == f"login ghcr.io --username octocat --password-stdin {READER}"
    short = call("git", "-C", caller.project, "rev-parse", "HEAD").stdout[:12]
    own = [f"{short}-{name}" for name in IDS]
    found = tags(caller)
    assert set(found) >= {*own, "1", "1-cu129", "latest", "latest-cu129"}
    assert tags(caller, "-cache") == IDS
    assert json.loads(done.outputs["digests"]).keys() == set(IDS)
    assert json.loads(done.outputs["tags"]) == [f"{caller.image}:{tag}" for tag in own]
    assert done.outputs["image"] == caller.image
    assert [row["variant"] for row in json.loads(done.outputs["matrix"])["include"]] == IDS
    assert all(done.report(name)["verified"] for name in IDS)
    assert "small-cu130-arm64" in done.summary
    assert sorted(path.name for path in done.artifacts.iterdir()) == [
        "orchestrate-report",
        *(f"report-{name}" for name in IDS),
    ]
    kept = [path.read_bytes() for path in done.artifacts.rglob("*") if path.is_file()]
    assert kept
    assert not [word for word in (PASSWORD, READER, WRITER) if any(word.encode() in text for text in kept)]
    # the same from a terminal: the registry holds what its build would make, and its publish has nothing to move
    env = {**os.environ, "DOCKER_CONFIG": str(tmp_path / "docker"), "CI": ""}
    call_login = subprocess.run(
        ["docker", "login", caller.registry.address, "--username", "me", "--password-stdin"], input=PASSWORD, text=True,
        env=env, check=True, capture_output=True,
    )  # fmt: skip
    assert call_login.returncode == 0
    program = ROOT / ".venv/bin/orchestrate"
    status = subprocess.run(
        [program, "plan", "--status", "--format", "json"], cwd=caller.project, env=env, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    rows = json.loads(status.stdout)["variants"]
    assert {row["id"]: (row["status"], row["digest"]) for row in rows} == {
        name: ("built", digest) for name, digest in json.loads(done.outputs["digests"]).items()
    }
    again = subprocess.run(
        [program, "publish", "--from-registry", "--dry-run", "--format", "json"], cwd=caller.project, env=env,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert again.returncode == 0, again.stdout + again.stderr
    assert json.loads(again.stdout)["moves"] == []
    assert len(json.loads(again.stdout)["settled"]) == 4


def test_a_run_that_is_started_again_takes_from_the_registry_what_is_there(caller: Caller, tmp_path: Path) -> None:
    first = caller.run(WORKFLOW, {**ONE, "push": True, "publish": False})
    assert first.report(ONE["variant"])["status"] == "built", first.log
    again = caller.run(WORKFLOW, {**ONE, "push": True, "publish": False})
    assert again.report(ONE["variant"])["status"] == "skipped"
    assert again.outputs["digests"] == first.outputs["digests"]
    assert again.outputs["tags"] == first.outputs["tags"]
    assert "not compared" not in again.log
    digest = json.loads(first.outputs["digests"])[ONE["variant"]]
    env = {**os.environ, "DOCKER_CONFIG": str(tmp_path)}
    login = ["docker", "login", caller.registry.address, "--username", "me", "--password-stdin"]
    subprocess.run(login, input=PASSWORD, text=True, env=env, check=True, capture_output=True)
    move = ["docker", "buildx", "imagetools", "create", "--tag", f"{caller.image}:latest", f"{caller.image}@{digest}"]
    subprocess.run(move, env=env, check=True, capture_output=True)
    given = {**ONE, "push": True, "publish": False, "resume": False, "compare": True}
    anew = caller.run(WORKFLOW, given, event="tag")
    assert anew.report(ONE["variant"])["status"] == "built"
    assert f"### Device code: `{caller.image}:latest` -> `{caller.image}@sha256:" in anew.summary
    assert "Every library holds the same architectures." in anew.summary
    assert not anew.job("publish")


@pytest.mark.parametrize("event", ["pull request", "fork", "deleted fork"])
def test_a_pull_request_is_built_and_verified_and_never_pushed_from_a_fork(caller: Caller, event: str) -> None:
    ours = event == "pull request"
    done = caller.run(WORKFLOW, {"cuda": "13", "push": True, "publish": False}, event=event)
    assert not any(one.failed for one in done.jobs), done.log
    assert [one.name for one in done.job("push" if ours else "build")] == IDS[2:]
    assert not done.job("build" if ours else "push")
    assert {done.report(name)["status"] for name in IDS[2:]} == {"built"}
    assert all(done.report(name)["verified"] for name in IDS[2:])
    assert {line.rpartition(" ")[2] for line in done.logins} == ({READER, WRITER} if ours else {READER})
    assert (len([tag for tag in tags(caller) if not tag.startswith("sha256-")]) == 2) is ours
    assert bool(tags(caller)) is ours
    assert [tag for tag in tags(caller, "-cache") if tag in IDS] == []  # main's


def test_a_fork_that_rewrites_the_workflow_is_refused_by_the_registry(caller: Caller) -> None:
    text = images_workflow.PATH.read_text(encoding="utf-8")
    text = re.sub(r"push: \$\{\{ inputs\.push && .*\}\}", "push: true", text)
    done = caller.run(yaml.safe_load(text), ONE, event="fork")
    (job,) = done.job("push")
    assert job.failed
    assert "access is denied" in job.log, job.log
    assert tags(caller) == tags(caller, "-cache") == []


def test_a_read_only_account_writes_no_cache_and_costs_no_build(caller: Caller) -> None:
    given = {**ONE, "registry": caller.registry.address}
    done = caller.run(WORKFLOW, given, secrets={"registry-username": "me", "registry-password": READER})
    assert not any(one.failed for one in done.jobs), done.log
    assert done.logins[0] == f"login {caller.registry} --username me --password-stdin {READER}"
    assert tags(caller) == tags(caller, "-cache") == []


def test_a_registry_without_a_password_is_read_as_anybody_reads_it(caller: Caller) -> None:
    done = caller.run(WORKFLOW, {**ONE, "registry": caller.registry.address, "verify": False}, event="fork")
    assert not any(one.failed for one in done.jobs), done.log
    assert done.logins == []
    assert f"no password for {caller.registry}" in done.jobs[0].log
    assert not done.report(ONE["variant"]).get("verified")


def test_the_button_does_what_a_call_does(caller: Caller) -> None:
    done = caller.run(WORKFLOW, {**ONE, "push": True, "args": "--limit step=1h"}, event="dispatch", called=False)
    assert [one.job for one in done.jobs] == ["plan", "push", "results", "publish"]
    assert not any(one.failed for one in done.jobs[:3]), done.log
    # one platform of two: the family is refused, and nothing moves
    assert done.jobs[3].failed
    assert "latest" not in tags(caller)


def test_a_variant_that_fails_costs_only_its_own_family(caller: Caller) -> None:
    failing = DOCKERFILE + "ARG TARGETARCH\nARG CUDA\nCOPY only-$CUDA-$TARGETARCH /\n"
    matrix = MATRIX.replace('archs: "{archs.torch}"', 'archs: "{archs.torch}", CUDA: "{cuda}"')
    caller.write(caller.image, matrix=matrix, dockerfile=failing)
    for name in ("12.9-amd64", "13.0-amd64", "13.0-arm64"):
        (caller.project / f"small/only-{name}").write_text("")
    git = ("git", "-C", str(caller.project), "-c", "user.name=t", "-c", "user.email=t@example.org")
    call(*git, "add", "-A")
    call(*git, "commit", "-q", "-m", "files")
    done = caller.run(WORKFLOW, {"push": True})
    assert [one.failed for one in done.job("push")] == [False, True, False, False], done.log
    assert done.report("small-cu129-arm64")["status"] == "failed"
    assert set(json.loads(done.outputs["digests"])) == set(IDS) - {"small-cu129-arm64"}
    (publish,) = done.job("publish")
    assert publish.failed
    assert {"1", "latest"} <= set(tags(caller))
    assert not {"1-cu129", "latest-cu129"} & set(tags(caller))


def test_a_build_secret_arrives_and_is_found_nowhere(caller: Caller) -> None:
    token = "ghp_" + "Qw7" * 12
    step = 'ADD rootfs.tar /\nRUN --mount=type=secret,id=token,env=TOKEN test -n "$TOKEN" && echo got ${#TOKEN}'
    step += f" {uuid.uuid4().hex}\n"  # a step that the engine has in its cache prints nothing
    matrix = MATRIX.replace("variants: {", 'variants: {secrets: ["id=token,env=HF_TOKEN"], ')
    caller.write(caller.image, matrix=matrix, dockerfile=DOCKERFILE + step)
    done = caller.run(
        WORKFLOW, {**ONE, "push": True, "publish": False}, secrets={"build-secrets": f"HF_TOKEN={token}\n"}
    )
    assert not any(one.failed for one in done.jobs), done.log
    assert f"::add-mask::{token}" in done.log
    assert token not in done.log.replace(f"::add-mask::{token}", "")
    held = [path for path in done.artifacts.rglob("*") if path.is_file()]
    assert len(held) > 2
    assert [path for path in held if token.encode() in path.read_bytes()] == []
    assert any(b"got 40" in path.read_bytes() for path in held)
    for wrong in ("PATH=/tmp", "no name", "=x", "A B=c"):
        done = caller.run(WORKFLOW, ONE, secrets={"build-secrets": f"\n{wrong}"})
        assert "build secrets, line 2: expected NAME=VALUE" in done.job("plan")[0].log


def test_files_that_disagree_end_the_run_before_anything_is_built(caller: Caller) -> None:
    (caller.project / "small.hcl").write_text(
        'variable "ARCHS" {\n  default = "9.0"\n}\ntarget "small" {\n  context = "small"\n}\n'
    )
    call("git", "-C", caller.project, "-c", "user.name=t", "-c", "user.email=t@x", "commit", "-qam", "drift")
    done = caller.run(WORKFLOW, {})
    assert [(one.job, one.failed) for one in done.jobs] == [("plan", True)]
    assert "::error file=small.hcl" in done.log
    assert not caller.run(WORKFLOW, {**ONE, "check": False}).jobs[0].failed


def test_more_jobs_than_github_starts_are_an_error_with_the_cure(caller: Caller) -> None:
    many = ", ".join(f'"{number}": {{}}' for number in range(65))
    matrix = MATRIX.replace("variants: {", f"axes: {{part: {{{many}}}}}\nvariants: {{").replace(
        ":1{cuda", ":1-{part}{cuda"
    )
    matrix = matrix.replace(":latest{cuda", ":latest-{part}{cuda")
    caller.write(caller.image, matrix=matrix)
    done = caller.run(WORKFLOW, {"check": False})
    assert [(one.job, one.failed) for one in done.jobs] == [("plan", True)]
    assert "260 variants" in done.log
    assert "select fewer with --cuda" in done.log
    assert (
        not caller.run(WORKFLOW, {"check": False, "cuda": "13.0", "platform": "linux/amd64"}, only="plan")
        .jobs[0]
        .failed
    )


def test_labels_of_the_caller_win(caller: Caller) -> None:
    given = {**ONE, "runner": '["self-hosted"]', "runners": '{"linux/amd64": ["gpu", "big"]}'}
    done = caller.run(WORKFLOW, given)
    assert [one.runner for one in done.jobs] == ['["self-hosted"]', '["gpu", "big"]', '["self-hosted"]'], done.log


def test_free_disk_removes_only_on_machines_that_github_hosts(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sudo").write_text('#!/bin/sh\nexec "$@"\n')
    (tmp_path / "bin/sudo").chmod(0o755)
    (tmp_path / "root/opt/ghc/lib").mkdir(parents=True)
    (tmp_path / "root/opt/other").mkdir()
    said = []
    for where in ("self-hosted", "github-hosted"):
        env = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "RUNNER_ENVIRONMENT": where}
        argv = [str(ROOT / "scripts/free-disk"), str(tmp_path / "root")]
        said.append(subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout)
        assert (tmp_path / "root/opt/ghc").exists() is (where == "self-hosted")
    assert "nothing was removed" in said[0]
    assert "opt/ghc was removed" in said[1]
    assert (tmp_path / "root/opt/other").exists()


def test_actions_are_pinned_and_permissions_least() -> None:
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert workflow["permissions"] in ({"contents": "read"}, {}), path.name
        for job in workflow["jobs"].values():
            assert job["timeout-minutes"], path.name
            for step in job["steps"]:
                assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", step.get("uses", "a@" + "0" * 40)), (path.name, step)
    writes = {
        name: job["permissions"] for name, job in WORKFLOW["jobs"].items() if "write" in job["permissions"].values()
    }
    assert writes == {name: {"contents": "read", "packages": "write"} for name in ("push", "publish")}
