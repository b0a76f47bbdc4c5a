"""The values of `{git.…}` placeholders: facts of the checkout that has the matrix.yaml.

ORCHESTRATE_GIT_SHA, _BRANCH and _TAG win over git, for source trees
that are not a checkout (a source distribution) and for CI systems that build a detached commit.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orchestrator import process
from orchestrator.errors import EnvironmentLacksError, MatrixError

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
        MatrixError: There is no checkout, no commit, no branch or no such tag.
    """
    wanted = name.removeprefix("git.")
    base = "sha" if wanted == "short" else wanted
    variable = f"ORCHESTRATE_GIT_{base.upper()}"
    value, why = os.environ.get(variable, "").strip(), ""
    if not value:
        value, why = _ask(base, root)
    if not value:
        raise MatrixError(f"{{{name}}} has no value: {why}", hint=f"run inside a checkout, or set {variable}")
    return value[:12] if wanted == "short" else value.replace("/", "-") if wanted == "branch" else value


def _ask(base: str, root: Path) -> tuple[str, str]:
    """The value, or "" and the reason."""
    try:
        done = process.run(
            ("git", *_COMMANDS[base]), cwd=root, timeout=30, env={"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
        )
    except EnvironmentLacksError as error:
        return "", str(error)
    value = done.stdout.strip()
    if done.ok and base == "branch" and value == "HEAD":
        return "", f"the checkout in {root} is on no branch (detached)"
    if done.ok:
        return value, ""
    said = next((line.removeprefix("fatal: ") for line in done.stderr.splitlines() if line.startswith("fatal: ")), "")
    if base == "tag" and said.startswith(("no tag", "No names")):
        return "", f"no tag points at the commit that is checked out in {root}"
    if not said or said.startswith(("not a git repository", "ambiguous argument")):
        return "", f"{root} is not a git checkout with a commit"
    return "", f"git says: {said}"
