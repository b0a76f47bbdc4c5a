"""The values of `{git.…}` placeholders: facts of the checkout that has the matrix.yaml.

ORCHESTRATE_GIT_SHA, _BRANCH, _TAG and _DIRTY win over git, for source trees
that are not a checkout (a source distribution) and for CI systems that build a detached commit.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from orchestrator import process
from orchestrator.errors import EnvironmentLacksError, MatrixError, OrchestrateError, UsageError
from orchestrator.reference import tag_slug

if TYPE_CHECKING:
    from pathlib import Path

DIRTY = "-dirty"
"""The value of {git.dirty} for a checkout with changes."""

# One question for commit, branch and changes; files that git does not track are no change, as for `git describe`.
_STATUS = ("status", "--porcelain=v2", "--branch", "--untracked-files=no")
_TAG = ("describe", "--tags", "--exact-match", "HEAD")
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_QUIET = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}


class Checkout:
    """The checkout of a directory; git is asked when a value is first needed, once for each question.

    Args:
        root: The directory of matrix.yaml.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._status: dict[str, str] | None = None
        self._why = ""

    def fact(self, name: str) -> str:
        """The value of one placeholder.

        Args:
            name: "git.sha", "git.short", "git.branch", "git.tag" or "git.dirty".

        Raises:
            MatrixError: There is no checkout, no commit, no branch or no such tag.
        """
        wanted = name.removeprefix("git.")
        base = "sha" if wanted == "short" else wanted
        if base == "dirty":
            return self._dirty()
        variable = f"ORCHESTRATE_GIT_{base.upper()}"
        value, why = os.environ.get(variable, "").strip(), ""
        if not value:
            value, why = self._tag() if base == "tag" else self._of_status(base)
        if not value:
            raise MatrixError(f"{{{name}}} has no value: {why}", hint=f"run inside a checkout, or set {variable}")
        return value[:12] if wanted == "short" else tag_slug(value) if wanted == "branch" else value

    def _dirty(self) -> str:
        """`-dirty` or "", and "" where the environment names the commit or there is no checkout."""
        said = os.environ.get("ORCHESTRATE_GIT_DIRTY")
        if said is not None:
            return DIRTY if said.strip() not in ("", "0", "false") else ""
        if os.environ.get("ORCHESTRATE_GIT_SHA", "").strip():
            return ""
        return self._of_status("dirty")[0]

    def _of_status(self, key: str) -> tuple[str, str]:
        """The value, or "" and the reason."""
        if self._status is None:
            done, self._why = self._ask(_STATUS)
            self._status = _read_status(done.stdout) if done is not None and done.ok else {}
        value = self._status.get(key, "")
        if value or self._why:
            return value, self._why
        if key == "branch" and self._status:
            return "", f"the checkout in {self._root} is on no branch (detached)"
        return "", f"{self._root} is not a git checkout with a commit"

    def _tag(self) -> tuple[str, str]:
        done, why = self._ask(_TAG)
        if done is None or done.ok:
            return (done.stdout.strip() if done is not None else ""), why
        if "no tag exactly matches" in done.stderr or "No names found" in done.stderr:
            return "", f"no tag points at the commit that is checked out in {self._root}"
        return "", why

    def _ask(self, command: tuple[str, ...]) -> tuple[process.Completed | None, str]:
        """What git answers, and why it failed; nothing at all where there is no git."""
        try:
            # core.fsmonitor names a program, and the configuration that names it may be the checkout's own
            whole = ("git", "-c", "core.fsmonitor=false", *command)
            done = process.run(whole, cwd=self._root, timeout=30, env={"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"})
        except EnvironmentLacksError as error:
            return None, str(error)
        if done.ok:
            return done, ""
        lines = done.stderr.splitlines()
        said = next((line.removeprefix("fatal: ") for line in lines if line.startswith("fatal: ")), "")
        if not said or said.startswith(("not a git repository", "ambiguous argument", "Not a valid object name")):
            return done, f"{self._root} is not a git checkout with a commit"
        return done, f"git says: {said}"


def revision(root: Path) -> str:
    """The commit of a checkout, with `-dirty` where files were changed; "" where there is none."""
    try:
        checkout = Checkout(root)
        return checkout.fact("git.sha") + checkout.fact("git.dirty")
    except OrchestrateError:
        return ""


def branch(root: Path) -> str:
    """The branch that is checked out, as git names it; "" where there is none."""
    given = os.environ.get("ORCHESTRATE_GIT_BRANCH", "").strip()
    return given or _line(("symbolic-ref", "-q", "--short", "HEAD"), root)


def default_branch(root: Path) -> str:
    """The branch that a clone of the origin begins with; "" where it is not known here."""
    return _line(("symbolic-ref", "-q", "--short", "refs/remotes/origin/HEAD"), root).partition("/")[2]


def origin(root: Path) -> str:
    """The address of the origin; "" where there is none."""
    return _line(("remote", "get-url", "origin"), root)


def commit(root: Path, *, back: int = 0) -> str:
    """The commit that is checked out, or its first parent (`back=1`); "" where it is not here (a shallow clone)."""
    return _line(("rev-parse", "-q", "--verify", f"HEAD~{back}"), root)


def resolved(root: Path, ref: str) -> str:
    """The commit that a ref, a tag or a hash names.

    Raises:
        UsageError: There is none of that name in the checkout.
        EnvironmentLacksError: git was not found.
    """
    words = ("git", "rev-parse", "-q", "--verify", "--end-of-options", f"{ref}^{{commit}}")
    done = process.run(words, cwd=root, timeout=30, env=_QUIET)
    if not done.ok:
        shallow = _line(("rev-parse", "--is-shallow-repository"), root) == "true"
        hint = (
            "this clone is shallow: fetch the ref, or clone with the history" if shallow else "`git log REF` shows it"
        )
        raise UsageError(f"{ref}: a commit of that name was not found in the checkout of {root}", hint=hint)
    return done.stdout.strip()


def file_at(root: Path, commit: str, name: str) -> bytes | None:
    """A file of the directory as a commit has it; None where the commit does not have it.

    Args:
        root: A directory of the checkout.
        commit: A full hash.
        name: The file's path from `root`.
    """
    done = process.run(("git", "show", f"{commit}:./{name}"), cwd=root, timeout=30, env=_QUIET)
    return done.stdout.encode() if done.ok else None


def is_ancestor(root: Path, older: str, newer: str) -> bool | None:
    """Whether one commit is the other, or an ancestor of it; None where that is not known here (a shallow clone).

    Args:
        root: A directory of the checkout.
        older: A full hash, `-dirty` after it ignored; everything else is not known.
        newer: As `older`.
    """
    names = [text.removesuffix(DIRTY) for text in (older, newer)]
    if not all(_HASH.fullmatch(name) for name in names):
        return None
    if names[0] == names[1]:
        return True
    try:
        done = process.run(("git", "merge-base", "--is-ancestor", *names), cwd=root, timeout=60, env=_QUIET)
    except EnvironmentLacksError:
        return None
    if done.returncode == 1 and _line(("rev-parse", "--is-shallow-repository"), root) == "true":
        return None  # the history ends before the older one may come
    return {0: True, 1: False}.get(done.returncode)


def branches(root: Path) -> tuple[str, ...] | None:
    """The branches of the origin, asked for over the network; None where it does not answer."""
    try:
        done = process.run(("git", "ls-remote", "--heads", "origin"), cwd=root, timeout=60, env=_QUIET)
    except EnvironmentLacksError:
        return None
    found = [line.partition("refs/heads/")[2] for line in done.stdout.splitlines()]
    return tuple(name for name in found if name) if done.ok else None


def _line(words: tuple[str, ...], root: Path) -> str:
    try:
        done = process.run(("git", *words), cwd=root, timeout=30, env=_QUIET)
    except EnvironmentLacksError:
        return ""
    return done.stdout.strip() if done.ok else ""


def _read_status(text: str) -> dict[str, str]:
    """Commit, branch and `-dirty` of `git status --porcelain=v2 --branch`; without a commit nothing."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("# branch.oid ") and not line.endswith("(initial)"):
            found["sha"] = line.rpartition(" ")[2]
        elif line.startswith("# branch.head ") and not line.endswith("(detached)"):
            found["branch"] = line.removeprefix("# branch.head ")
        elif line and not line.startswith("#"):
            found["dirty"] = DIRTY
    return found if "sha" in found else {}
