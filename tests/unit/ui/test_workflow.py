"""The workflow that `init --workflow` writes: what of it follows from the matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.ui import workflow
from tests.unit.matrix.support import SMALL, planned

TOOL = "acme/tool@" + "a" * 40
IMAGES = yaml.safe_load((Path(__file__).parents[3] / workflow.PLACE).read_text(encoding="utf-8"))


def written(text: str, *facts: str, tool: str = TOOL, branch: str = "main") -> Any:
    return yaml.safe_load(workflow.text(planned(text), tool=tool, branch=branch, facts=facts))


def test_it_calls_images_yml_with_what_that_takes() -> None:
    read = written(SMALL.replace("acme/app", "ghcr.io/acme/app"))
    job = read["jobs"]["images"]
    assert job["uses"] == f"acme/tool/.github/workflows/images.yml@{'a' * 40}"
    assert job["permissions"] == {"contents": "read", "packages": "write"}
    assert set(job["with"]) <= set(IMAGES[True]["workflow_call"]["inputs"])
    assert "secrets" not in job
    assert read["permissions"] == {}
    assert read[True]["workflow_dispatch"]["inputs"]["cuda"]["options"] == ["", "13.0"]


@pytest.mark.parametrize(
    ("facts", "push", "pulls"),
    [
        ((), {"branches": ["trunk"], "tags": ["v*"]}, True),
        (("git.tag",), {"tags": ["v*"]}, False),  # without a tag this matrix has no plan
        (("git.branch",), {"branches": ["trunk"]}, False),  # a tag or a pull request is on no branch
        (("git.sha", "git.dirty"), {"branches": ["trunk"], "tags": ["v*"]}, True),
    ],
)
def test_it_runs_on_events_for_which_the_matrix_has_a_plan(facts: tuple[str, ...], push: object, pulls: bool) -> None:
    events = written(SMALL, *facts, branch="trunk")[True]
    assert (events["push"], "pull_request" in events) == (push, pulls)


def test_registry_secrets_and_publish_follow_from_the_matrix() -> None:
    more = SMALL.replace(
        "variants:\n",
        'publish: {tags: ["{image}:1"], sign: {private_key: "env://COSIGN_PRIVATE_KEY", public_key: c.pub}}\n'
        "variants:\n"
        '  secrets: ["id=a,env=HF_TOKEN", "id=b,src=file", "id=c,env=B_2"]\n',
    )
    job = written(more)["jobs"]["images"]
    assert job["with"]["registry"] == "docker.io"
    assert job["with"]["push"] == "${{ github.event_name != 'pull_request' }}"
    assert job["with"]["publish"] == "${{ github.event_name == 'push' }}"
    assert job["secrets"] == {
        "registry-username": "${{ secrets.REGISTRY_USERNAME }}",
        "registry-password": "${{ secrets.REGISTRY_PASSWORD }}",
        "signing-key": "${{ secrets.COSIGN_PRIVATE_KEY }}",
        "signing-password": "${{ secrets.COSIGN_PASSWORD }}",
        "build-secrets": "HF_TOKEN=${{ secrets.HF_TOKEN }}\nB_2=${{ secrets.B_2 }}\n",
    }
    assert set(job["secrets"]) == set(IMAGES[True]["workflow_call"]["secrets"])
    assert "publish" not in written(SMALL)["jobs"]["images"]["with"]
    named = more.replace("env://COSIGN_PRIVATE_KEY", "cosign.key")  # a file, which no secret stands for
    assert "signing-key" not in written(named)["jobs"]["images"]["secrets"]


@pytest.mark.parametrize("branch", ["main", "1.0", "on", "a: b", "#x", "feature/*", "'"])
def test_a_branch_stays_the_text_that_it_is(branch: str) -> None:
    assert written(SMALL, branch=branch)[True]["push"]["branches"] == [branch]


def test_a_tool_that_is_not_known_is_marked() -> None:
    text = workflow.text(planned(SMALL), tool=workflow.UNKNOWN_TOOL, branch="main", facts=())
    assert "uses: OWNER/REPOSITORY/.github/workflows/images.yml@SHA" in text
    assert "# The repository of orchestrate and a commit of it." in text
    assert not workflow.TOOL.fullmatch(workflow.UNKNOWN_TOOL)
