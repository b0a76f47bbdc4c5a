"""What a build may do with caches, from what its CI system says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.bake.ladder import MAIN, Kind, Scope, Standing
from orchestrator.cache.rights import CacheUse, Place, here, place_of, standing
from orchestrator.matrix import git
from orchestrator.matrix.schema_cache import CacheSpec

if TYPE_CHECKING:
    from pathlib import Path

PULL = {"number": 12, "head": {"repo": {"full_name": "Acme/App"}}}
GITHUB = {"GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "acme/app", "GITHUB_BASE_REF": "release/1"}


def github(tmp_path: Path, name: str, event: Any, **env: str) -> Place:
    path = tmp_path / "event.json"
    path.write_text(event if isinstance(event, str) else json.dumps(event))
    return place_of({**GITHUB, "GITHUB_EVENT_NAME": name, "GITHUB_EVENT_PATH": str(path), **env})


def branch(name: str) -> Scope:
    return Scope(kind=Kind.BRANCH, name=name)


def test_a_pull_request_of_the_repository_writes_its_own(tmp_path: Path) -> None:
    event = {"pull_request": PULL, "repository": {"default_branch": "trunk"}}
    found = standing(github(tmp_path, "pull_request", event), CacheSpec())
    own = Scope(kind=Kind.PULL_REQUEST, name="12")
    assert found == Standing(own=own, below=(branch("release/1"), MAIN))


@pytest.mark.parametrize(
    ("name", "event", "why"),
    [
        ("pull_request", {"pull_request": {"number": 12, "head": {"repo": {"full_name": "eve/app"}}}}, "from a fork"),
        ("pull_request", {"pull_request": {"number": 12, "head": {"repo": None}}}, "from a fork"),
        ("pull_request", {"action": "closed", "pull_request": PULL}, "is closed"),
        ("pull_request", "{", "cannot be read"),
        ("pull_request", "[" * 100_000, "cannot be read"),
        ("pull_request", [], "from a fork"),
        ("pull_request_target", {"pull_request": PULL}, "anybody can start"),
        ("issue_comment", {}, "anybody can start"),
        ("merge_group", {"merge_group": {"base_ref": "refs/heads/main"}}, "GitHub deletes"),
        ("workflow_run", {"workflow_run": {"head_repository": {"full_name": "eve/app"}}}, "not come from"),
        ("workflow_run", {}, "not come from"),
    ],
)
def test_what_others_can_start_writes_nothing(tmp_path: Path, name: str, event: Any, why: str) -> None:
    found = standing(github(tmp_path, name, event, GITHUB_REF="refs/pull/12/merge"), CacheSpec())
    assert why in found.unwritten
    assert found.unread == ""


def test_pushes_of_branches_and_tags(tmp_path: Path) -> None:
    event = {"repository": {"default_branch": "trunk"}}
    for name, kind, own in (
        ("trunk", "branch", MAIN),
        ("main", "branch", branch("main")),
        ("v1", "tag", Scope(kind=Kind.TAG, name="v1")),
    ):
        place = github(tmp_path, "push", event, GITHUB_REF_TYPE=kind, GITHUB_REF_NAME=name)
        assert standing(place, CacheSpec()) == Standing(own=own, below=(MAIN,))
        assert standing(place, CacheSpec(branches=False)) == Standing()
    place = github(tmp_path, "workflow_run", {"workflow_run": {"head_repository": {"full_name": "acme/app"}}})
    assert standing(place, CacheSpec()).unwritten == ""


@pytest.mark.parametrize(
    ("mode", "reads", "writes"),
    [("read", True, False), ("write", True, True), ("write-only", False, True), ("none", False, False)],
)
def test_the_mode_of_the_actions_cache(tmp_path: Path, mode: str, *, reads: bool, writes: bool) -> None:
    place = github(tmp_path, "push", {}, ACTIONS_CACHE_MODE=mode, GITHUB_REF_NAME="main", GITHUB_REF_TYPE="branch")
    found = standing(place, CacheSpec(backend="gha"))
    assert (not found.unread, not found.unwritten) == (reads, writes)
    assert standing(place, CacheSpec()) == Standing(below=(MAIN,))  # a registry has rights of its own


def test_gitlab_and_buildkite() -> None:
    merge = {
        "GITLAB_CI": "true", "CI_MERGE_REQUEST_IID": "7", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
        "CI_MERGE_REQUEST_PROJECT_ID": "1", "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "1", "CI_DEFAULT_BRANCH": "main",
    }  # fmt: skip
    own = Scope(kind=Kind.PULL_REQUEST, name="7")
    assert standing(place_of(merge), CacheSpec()) == Standing(own=own, below=(MAIN, MAIN))
    forked = place_of({**merge, "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "2"})
    assert "fork" in standing(forked, CacheSpec()).unwritten
    build = {
        "BUILDKITE": "true", "BUILDKITE_PULL_REQUEST": "false", "BUILDKITE_BRANCH": "main",
        "BUILDKITE_PULL_REQUEST_BASE_BRANCH": "", "BUILDKITE_PIPELINE_DEFAULT_BRANCH": "main",
        "BUILDKITE_REPO": "git@github.com:acme/app.git",
    }  # fmt: skip
    assert standing(place_of(build), CacheSpec()) == Standing(below=(MAIN,))
    pull = {**build, "BUILDKITE_PULL_REQUEST": "7", "BUILDKITE_PULL_REQUEST_REPO": "https://github.com/acme/app.git"}
    assert standing(place_of(pull), CacheSpec()).unwritten == ""
    pull["BUILDKITE_PULL_REQUEST_REPO"] = "https://github.com/eve/app.git"
    assert "fork" in standing(place_of(pull), CacheSpec()).unwritten


def test_the_command_line_and_the_matrix_take_rights_away() -> None:
    place = Place(branch="main", default="main")
    assert standing(place, CacheSpec(), CacheUse.READ_ONLY).unwritten == "--cache read-only"
    off = standing(place, CacheSpec(), CacheUse.OFF)
    assert off.unread == off.unwritten == "--cache off"
    assert standing(place, CacheSpec(write=False)).unwritten == "cache.write is false in matrix.yaml"
    assert "matrix.yaml" in standing(place, CacheSpec(backend="off")).unread


def test_a_reference_for_each_commit() -> None:
    place = Place(branch="main", default="main", commit="a" * 40, parent="b" * 40)
    found = standing(place, CacheSpec(commits=True))
    assert found.also == (Scope(kind=Kind.COMMIT, name="a" * 40),)
    assert found.below == (MAIN, Scope(kind=Kind.COMMIT, name="b" * 40))


def test_outside_of_a_ci_system_the_environment_says_nothing() -> None:
    assert place_of({"GITHUB_EVENT_NAME": "pull_request"}) == Place()
    assert standing(Place(), CacheSpec()) == Standing()


@pytest.mark.parametrize(
    ("branch_", "commit", "written"),
    [("", "0" * 40, "no branch is checked out"), ("", "", ""), ("main", "0" * 40, "")],
)
def test_a_checkout_on_no_branch_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, branch_: str, commit: str, written: str
) -> None:
    monkeypatch.setattr(git, "branch", lambda _: branch_)
    monkeypatch.setattr(git, "commit", lambda *_, **__: commit)
    found = here(CacheSpec(), tmp_path, env={})
    assert found.unwritten.startswith(written)
    assert bool(found.unwritten) == bool(written)
    assert (found.own, found.unread) == (MAIN, "")
    assert here(CacheSpec(branches=False), tmp_path, env={}).unwritten == ""
