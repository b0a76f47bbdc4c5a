"""What `{git.…}` placeholders stand for: facts of the checkout that matrix.yaml lies in.

It asks git and the environment, nothing else. ORCHESTRATE_GIT_SHA, _BRANCH and _TAG win over git, for source trees
that are no checkout (a source distribution) and for CI systems that build a detached commit.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orchestrator import process
from orchestrator.errors import MatrixError, OrchestrateError

if TYPE_CHECKING:
    from pathlib import Path

_COMMANDS = {
    "sha": ("rev-parse", "HEAD"),
    "branch": ("rev-parse", "--abbrev-ref", "HEAD"),
    "tag": ("describe", "--tags", "--exact-match", "HEAD"),
}


def fact(name: str, root: Path) -> str:
    """The value of one placeholder.

    Args:
        name: "git.sha", "git.short", "git.branch" or "git.tag".
        root: The directory of matrix.yaml.

    Raises:
        MatrixError: There is no checkout, no commit or no such tag.
    """
    wanted = name.removeprefix("git.")
    base = "sha" if wanted == "short" else wanted
    variable = f"ORCHESTRATE_GIT_{base.upper()}"
    value = os.environ.get(variable, "").strip() or _ask(base, root)
    if not value:
        raise MatrixError(
            f"{{{name}}} has no value: {root} is no git checkout"
            + (" with a tag on its commit" if base == "tag" else " with a commit"),
            hint=f"run inside a checkout, or set {variable}",
        )
    return value[:12] if wanted == "short" else value.replace("/", "-") if wanted == "branch" else value


def _ask(base: str, root: Path) -> str:
    try:
        done = process.run(("git", *_COMMANDS[base]), cwd=root, timeout=30, env={"GIT_OPTIONAL_LOCKS": "0"})
    except OrchestrateError:
        return ""
    return done.stdout.strip() if done.ok else ""
