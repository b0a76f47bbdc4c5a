"""images.yml where the matrix signs: cosign itself verifies what is published, with the key of a secret."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.support import images_workflow
from tests.support.artifacts import debian_program
from tests.support.engine import call
from tests.support.images_workflow import MATRIX, PASSWORD, Caller

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.download

SIGN = "sign: {private_key: env://COSIGN_PRIVATE_KEY, public_key: cosign.pub, transparency_log: false}"
ONE = {"check": False, "cuda": "12.9", "platform": "linux/amd64"}


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[Caller]:
    assert engine
    for made in images_workflow.caller(tmp_path_factory.mktemp("caller")):
        made.cosign = debian_program("cosign")
        made.write(f"{made.registry}/signed", matrix=signing())
        yield made


def signing() -> str:
    """The matrix of one platform, whose publish signs."""
    text = MATRIX.replace(", linux/arm64: {runner: [self-hosted, arm64]}", "")
    return text.replace('publish: {tags: ["{image}', f'publish: {{{SIGN}, tags: ["{{image}}')


def without(name: str) -> dict[Any, Any]:
    """The workflow without one line."""
    text = images_workflow.PATH.read_text(encoding="utf-8")
    kept = [line for line in text.splitlines(keepends=True) if not line.strip().startswith(f"{name}:")]
    assert len(kept) == text.count("\n") - 1
    read: dict[Any, Any] = yaml.safe_load("".join(kept))
    return read


def test_what_is_published_is_signed_with_the_key_of_a_secret(caller: Caller, tmp_path: Path) -> None:
    env = {
        **os.environ, "COSIGN_PASSWORD": PASSWORD, "DOCKER_CONFIG": str(tmp_path / "docker"),
        "PATH": f"{debian_program('cosign').parent}:{os.environ['PATH']}",
    }  # fmt: skip
    subprocess.run(["cosign", "generate-key-pair"], cwd=tmp_path, env=env, check=True, capture_output=True)
    (caller.project / "cosign.pub").write_bytes((tmp_path / "cosign.pub").read_bytes())
    git = ("git", "-C", str(caller.project), "-c", "user.name=t", "-c", "user.email=t@example.org")
    call(*git, "add", "-A")
    call(*git, "commit", "-q", "-m", "sign")
    key = (tmp_path / "cosign.key").read_text(encoding="utf-8")
    secrets = {"signing-key": key, "signing-password": PASSWORD}
    built = caller.run(images_workflow.read(), {**ONE, "push": True, "publish": False}, secrets=secrets)
    assert not any(one.failed for one in built.jobs), built.log
    report = json.loads((built.artifacts / "orchestrate-report/orchestrate-report.json").read_text(encoding="utf-8"))
    plan = {"matrix": built.outputs["matrix"], "image": caller.image, "publishes": "true", "push": "true"}
    assert built.job("plan")[0].outputs["signs"] == "true"

    def publish(read: dict[Any, Any], **given: str) -> images_workflow.Done:
        needs = {
            "plan": {"outputs": {**plan, "signs": "true"}, "result": "success"},
            **{name: {"outputs": {}, "result": "success"} for name in ("build", "push", "results")},
        }
        return caller.run(
            read, {**ONE, "push": True}, secrets=given, only="publish", needs=needs, report=report,
        )  # fmt: skip

    # without a line, or without the secret, nothing is signed and so no tag moves
    for read, given in (
        (without("COSIGN_PRIVATE_KEY"), secrets), (without("COSIGN_PASSWORD"), secrets), (images_workflow.read(), {}),
    ):  # fmt: skip
        (job,) = publish(read, **given).jobs
        assert job.failed
        assert "was not signed" in job.log, job.log
    done = publish(images_workflow.read(), **secrets)
    assert not done.jobs[0].failed, done.log
    assert "PRIVATE KEY" not in done.log
    assert PASSWORD not in done.log
    login = ["docker", "login", caller.registry.address, "--username", "me", "--password-stdin"]
    subprocess.run(login, input=PASSWORD, text=True, env=env, check=True, capture_output=True)
    verify = ["cosign", "verify", "--key", "cosign.pub", "--insecure-ignore-tlog=true", f"{caller.image}:1-cu129"]
    said = subprocess.run(verify, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
