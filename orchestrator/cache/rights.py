"""Finds out where a build stands (branch, pull request, fork) and what it may do with caches.

The CI system says so in the environment: GitHub Actions, GitLab CI, Buildkite; elsewhere git does. Any run of a pull
request can change this environment, so this protects from accidents: an attacker is kept from main's cache by a
token that cannot write it. Sources: GitHub's changelog of 2026-06-26 (read-only cache tokens of untrusted triggers) and
of 2026-09-10 (ACTIONS_CACHE_MODE).
"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from orchestrator.bake.ladder import MAIN, Kind, Scope, Standing
from orchestrator.matrix import git

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.matrix.schema_cache import CacheSpec

_MAX_EVENT = 8 << 20  # bytes; GitHub delivers at most 25 MB, an event of a push or a pull request has some 100 kB
_PULL = frozenset({"pull_request", "pull_request_review", "pull_request_review_comment"})
_UNTRUSTED = frozenset({"pull_request_target", "issue_comment", "issues", "discussion", "discussion_comment", "fork"})
_DETACHED = "no branch is checked out, and ORCHESTRATE_GIT_BRANCH names none"


class CacheUse(StrEnum):
    """What a build was asked to do with caches (`--cache`)."""

    READ_WRITE = "read-write"
    READ_ONLY = "read-only"
    OFF = "off"


class Place(Struct, frozen=True, kw_only=True):
    """Where a build runs.

    Attributes:
        branch, tag: What is checked out, "" where unknown.
        pull_request: Its number, "" for none.
        base: The branch that the pull request goes to.
        default: The repository's default branch, "" where unknown.
        untrusted: Why nothing may be written here, "" where it may.
        mode: ACTIONS_CACHE_MODE, which holds for the gha backend; "" where absent.
        commit, parent: The commit and its first parent, "" where unknown.
    """

    branch: str = ""
    tag: str = ""
    pull_request: str = ""
    base: str = ""
    default: str = ""
    untrusted: str = ""
    mode: str = ""
    commit: str = ""
    parent: str = ""


def here(policy: CacheSpec, root: Path, *, env: Mapping[str, str], use: CacheUse = CacheUse.READ_WRITE) -> Standing:
    """Return what a build of this checkout may do, as CI system, git, matrix and command line say.

    Args:
        policy: The matrix' section.
        root: The checkout.
        env: The environment.
        use: What the command line says.
    """
    place = place_of(env)
    if policy.backend != "off" and use is not CacheUse.OFF:
        if place == Place() and policy.branches:
            branch = git.branch(root)
            main = policy.main or "main"
            place = Place(branch=branch, default=git.default_branch(root) if branch not in ("", main) else "")
            if not branch and git.commit(root):  # as Azure and Jenkins check out a pull request
                place = replace(place, untrusted=_DETACHED)
        if policy.commits:
            place = replace(place, commit=place.commit or git.commit(root), parent=git.commit(root, back=1))
    return standing(place, policy, use)


def standing(place: Place, policy: CacheSpec, use: CacheUse = CacheUse.READ_WRITE) -> Standing:
    """Return what a build may do.

    Args:
        place: Where it runs.
        policy: The matrix' section.
        use: What the command line says.
    """
    found = _scopes(place, policy) if policy.branches else Standing()
    if policy.commits:
        also = (Scope(kind=Kind.COMMIT, name=place.commit),) if place.commit and found.own.kind is not Kind.TAG else ()
        parent = (Scope(kind=Kind.COMMIT, name=place.parent),) if place.parent else ()
        found = replace(found, also=also, below=(*found.below, *parent))
    if policy.backend == "off":
        return replace(found, unread="the cache is off in matrix.yaml", unwritten="the cache is off in matrix.yaml")
    unread, unwritten = _mode(place.mode) if policy.backend == "gha" else ("", "")
    if use is CacheUse.OFF:
        unread = unwritten = "--cache off"
    elif use is CacheUse.READ_ONLY:
        unwritten = "--cache read-only"
    elif not policy.write:
        unwritten = "cache.write is false in matrix.yaml"
    elif place.untrusted:
        unwritten = place.untrusted
    return replace(found, unread=unread, unwritten=unwritten)


def _scopes(place: Place, policy: CacheSpec) -> Standing:
    main = policy.main or place.default or "main"

    def branch(name: str) -> Scope:
        return MAIN if name == main else Scope(kind=Kind.BRANCH, name=name)

    base = (branch(place.base),) if place.base else ()
    if place.pull_request:
        return Standing(own=Scope(kind=Kind.PULL_REQUEST, name=place.pull_request), below=(*base, MAIN))
    if place.tag:
        return Standing(own=Scope(kind=Kind.TAG, name=place.tag), below=(*base, MAIN))
    if place.branch:
        return Standing(own=branch(place.branch), below=(*base, MAIN))
    return Standing()


def _mode(mode: str) -> tuple[str, str]:
    """Why the gha backend reads nothing and writes nothing, "" where it does."""
    why = f"ACTIONS_CACHE_MODE is {mode}"
    return (why if mode in ("none", "write-only") else "", why if mode in ("none", "read") else "")


def place_of(env: Mapping[str, str]) -> Place:
    """Return where a build runs, as its CI system says; an empty place outside of one."""
    if env.get("GITHUB_ACTIONS") == "true":
        return _github(env, _event(env.get("GITHUB_EVENT_PATH", "")))
    if env.get("GITLAB_CI") == "true":
        return _gitlab(env)
    return _buildkite(env) if env.get("BUILDKITE") == "true" else Place()


def _event(path: str) -> Any:
    """The event that started a workflow, None where it cannot be read."""
    try:
        with Path(path).open("rb") as stream:
            return json.loads(stream.read(_MAX_EVENT))
    except (OSError, ValueError, RecursionError):
        return None


def _github(env: Mapping[str, str], event: Any) -> Place:
    name = env.get("GITHUB_EVENT_NAME", "")
    place = Place(
        default=_text(event, "repository", "default_branch"),
        mode=env.get("ACTIONS_CACHE_MODE", ""),
        commit=env.get("GITHUB_SHA", ""),
    )
    if name in _PULL:
        pulled = _text(event, "pull_request", "number") or "".join(env.get("GITHUB_REF", "").split("/")[2:3])
        return replace(
            place, pull_request=pulled, base=env.get("GITHUB_BASE_REF", ""),
            untrusted=_foreign(env, event, pulled) if pulled else "the number of the pull request is unknown",
        )  # fmt: skip
    if name == "merge_group":
        base = _text(event, "merge_group", "base_ref").removeprefix("refs/heads/")
        return replace(place, branch=base, untrusted="GitHub deletes the branch of a merge queue")
    kind = env.get("GITHUB_REF_TYPE", "")
    what = env.get("GITHUB_REF_NAME", "")
    place = replace(place, tag=what) if kind == "tag" else replace(place, branch=what)
    if name in _UNTRUSTED:
        return replace(place, untrusted=f"anybody can start a workflow with {name}")
    if name == "workflow_run":
        head, ours = _text(event, "workflow_run", "head_repository", "full_name"), env.get("GITHUB_REPOSITORY", "")
        if head.lower() != ours.lower() or not ours:
            return replace(place, untrusted="the workflow_run event does not come from this repository")
    return place


def _foreign(env: Mapping[str, str], event: Any, number: str) -> str:
    """Why a pull request may write no cache, "" where it may."""
    if event is None:
        return f"the event of pull request {number} cannot be read"
    if _text(event, "action") == "closed":
        return f"pull request {number} is closed"
    head, ours = _text(event, "pull_request", "head", "repo", "full_name"), env.get("GITHUB_REPOSITORY", "")
    same = bool(ours) and head.lower() == ours.lower()  # a fork that was deleted has no name
    return "" if same else f"pull request {number} comes from a fork"


def _gitlab(env: Mapping[str, str]) -> Place:
    number = env.get("CI_MERGE_REQUEST_IID", "")
    source, target = env.get("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", ""), env.get("CI_MERGE_REQUEST_PROJECT_ID", "")
    return Place(
        branch=env.get("CI_COMMIT_BRANCH", ""),
        tag=env.get("CI_COMMIT_TAG", ""),
        pull_request=number,
        base=env.get("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", ""),
        default=env.get("CI_DEFAULT_BRANCH", ""),
        untrusted=f"merge request {number} comes from a fork" if number and (source != target or not source) else "",
        commit=env.get("CI_COMMIT_SHA", ""),
    )


def _buildkite(env: Mapping[str, str]) -> Place:
    number = env.get("BUILDKITE_PULL_REQUEST", "").replace("false", "")
    head, ours = env.get("BUILDKITE_PULL_REQUEST_REPO", ""), env.get("BUILDKITE_REPO", "")
    foreign = bool(number) and _path(head) != _path(ours)
    return Place(
        branch=env.get("BUILDKITE_BRANCH", ""),
        tag=env.get("BUILDKITE_TAG", ""),
        pull_request=number,
        base=env.get("BUILDKITE_PULL_REQUEST_BASE_BRANCH", "") if number else "",
        default=env.get("BUILDKITE_PIPELINE_DEFAULT_BRANCH", ""),
        untrusted=f"pull request {number} comes from a fork" if foreign else "",
        commit=env.get("BUILDKITE_COMMIT", ""),
    )


def _path(url: str) -> str:
    """Owner and name of a repository, from any form of its address."""
    words = url.lower().removesuffix("/").removesuffix(".git").replace(":", "/").split("/")
    return "/".join(words[-2:])


def _text(value: Any, *path: str) -> str:
    """A text or number deep in an event, "" where there is none."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return str(value) if isinstance(value, (str, int)) else ""
