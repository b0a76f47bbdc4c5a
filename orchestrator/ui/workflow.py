"""Writes the workflow of a project: its matrix's releases, registry, secrets and tags, and a call of images.yml."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from orchestrator.entries import read_entry
from orchestrator.reference import repository

if TYPE_CHECKING:
    from collections.abc import Collection

    from orchestrator.matrix.variants import Plan

PLACE = ".github/workflows/images.yml"
UNKNOWN_TOOL = "OWNER/REPOSITORY@SHA"
"""Stands for the repository of the tool, and a commit of it, where nobody named them."""
SIGNING_KEY = "env://COSIGN_PRIVATE_KEY"
"""The private key of `publish.sign` that images.yml hands on."""
TOOL = re.compile(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}")


def text(plan: Plan, *, tool: str, branch: str, facts: Collection[str]) -> str:
    """Return the workflow.

    Args:
        plan: The whole plan.
        tool: OWNER/REPOSITORY@SHA.
        branch: The branch whose pushes are built.
        facts: The `{git.…}` placeholders that the matrix uses: without a tag, a matrix with `{git.tag}` has no plan.
    """
    where, _, commit = tool.partition("@")
    tagged, on_branch = "git.tag" in facts, "git.branch" in facts
    branches = [] if tagged else [f"    branches: [{_scalar(branch)}]"]
    tags = [] if on_branch else ['    tags: ["v*"]']
    pulls = [] if tagged or on_branch else ["  pull_request:"]
    releases = ", ".join(["''", *(_scalar(name) for name in dict.fromkeys(one.cuda for one in plan.variants))])
    lines = [
        "# Written by `orchestrate init --workflow` from matrix.yaml; yours from now on.",
        "#",
        "# Pull requests are built and verified; what is pushed to the repository is pushed to the registry as well.",
        "name: images",
        "",
        "on:",
        "  push:",
        *branches,
        *tags,
        *pulls,
        "  workflow_dispatch:",
        "    inputs:",
        "      cuda:",
        "        description: CUDA release; empty for all",
        "        type: choice",
        f"        options: [{releases}]",
        "",
        "permissions: {}",
        "",
        "jobs:",
        "  images:",
        "    permissions:",
        "      contents: read",
        "      packages: write # for the jobs that push; GitHub asks for it before it knows which run",
        *(["    # The repository of orchestrate and a commit of it."] if tool == UNKNOWN_TOOL else []),
        f"    uses: {where}/.github/workflows/images.yml@{commit}",
        "    with:",
        "      cuda: ${{ inputs.cuda }}",
        *([] if plan.matrix.path.name == "matrix.yaml" else [f"      matrix: {_scalar(plan.matrix.path.name)}"]),
        "      push: ${{ github.event_name != 'pull_request' }}",
        *_publish(plan),
        *_secrets(plan),
    ]
    return "\n".join(lines) + "\n"


def _publish(plan: Plan) -> list[str]:
    if not any(one.index_tags or one.floating_tags for one in plan.variants):
        return []
    return ["      publish: ${{ github.event_name == 'push' }} # the tags of publish: in matrix.yaml"]


def _secrets(plan: Plan) -> list[str]:
    host = repository(plan.image).host
    given = [read_entry(secret.text) for variant in plan.variants for secret in variant.secrets]
    names = list(dict.fromkeys(one["env"] for one in given if one.get("env")))
    other = [] if host == "ghcr.io" else [f"      registry: {_scalar(host)}"]
    lines = [] if host == "ghcr.io" else [
        "      registry-username: ${{ secrets.REGISTRY_USERNAME }}",
        "      registry-password: ${{ secrets.REGISTRY_PASSWORD }}",
    ]  # fmt: skip
    publish = plan.matrix.spec.publish
    if publish is not None and publish.sign is not None and publish.sign.private_key == SIGNING_KEY:
        lines += [
            "      signing-key: ${{ secrets.COSIGN_PRIVATE_KEY }}",
            "      signing-password: ${{ secrets.COSIGN_PASSWORD }}",
        ]
    if names:
        lines += ["      build-secrets: |", *(f"        {name}=${{{{ secrets.{name} }}}}" for name in names)]
    return [*other, *(["    secrets:", *lines] if lines else [])]


def _scalar(value: str) -> str:
    """Return a value in YAML: plain where that is a text for every reader, quoted otherwise."""
    plain = re.fullmatch(r"[A-Za-z][\w./-]*", value) and value.lower() not in (
        "true",
        "false",
        "null",
        "yes",
        "no",
        "on",
        "off",
    )
    return value if plain else json.dumps(value)
