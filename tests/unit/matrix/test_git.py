"""What git is asked, and what its answers mean; that git answers so is shown where it runs (tests/e2e)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator import process
from orchestrator.errors import EnvironmentLacksError, MatrixError
from orchestrator.matrix import git
from orchestrator.process import Completed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SHA = "0123456789abcdef0123456789abcdef01234567"
STATUS = f"# branch.oid {SHA}\n# branch.head feature/x\n"
ASKED_STATUS = "status --porcelain=v2 --branch --untracked-files=no"
ASKED_TAG = "describe --tags --exact-match HEAD"


class Git:
    """git, with answers by its arguments: text, or the standard error of a failure."""

    def __init__(self) -> None:
        self.answers: dict[str, str | Exception] = {}
        self.failures: dict[str, str] = {}
        self.asked: list[str] = []

    def __call__(
        self, argv: Sequence[str], *, cwd: Path, timeout: float, env: Mapping[str, str] | None = None
    ) -> Completed:
        assert (argv[0], env is None or env["LC_ALL"]) in {("git", "C"), ("git", True)}
        assert cwd.is_dir()
        assert 0 < timeout <= 60
        words = " ".join(word for word in argv[1:] if word not in {"-c", "core.fsmonitor=false"})
        self.asked.append(words)
        answer = self.answers.get(words)
        if isinstance(answer, Exception):
            raise answer
        failed = self.failures.get(words, "")
        code = 0 if answer is not None else 128
        return Completed(argv=tuple(argv), returncode=code, stdout=answer or "", stderr=failed)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Git:
    for name in ("SHA", "BRANCH", "TAG", "DIRTY"):
        monkeypatch.delenv(f"ORCHESTRATE_GIT_{name}", raising=False)
    fake = Git()
    monkeypatch.setattr(process, "run", fake)
    return fake


def why(root: Path, name: str) -> str:
    with pytest.raises(MatrixError) as caught:
        git.Checkout(root).fact(name)
    return caught.value.message


def test_one_question_for_commit_branch_and_changes(asked: Git, tmp_path: Path) -> None:
    asked.answers[ASKED_STATUS] = STATUS
    checkout = git.Checkout(tmp_path)
    assert checkout.fact("git.sha") == SHA
    assert checkout.fact("git.short") == SHA[:12]
    assert checkout.fact("git.branch") == "feature-x"
    assert checkout.fact("git.dirty") == ""
    assert asked.asked == [ASKED_STATUS]
    asked.answers[ASKED_STATUS] = STATUS + "1 .M N... 100644 100644 100644 1 2 matrix.yaml\n"
    assert git.Checkout(tmp_path).fact("git.dirty") == "-dirty"


def test_the_tag_of_the_commit(asked: Git, tmp_path: Path) -> None:
    asked.answers[ASKED_TAG] = "v1.2.3\n"
    assert git.Checkout(tmp_path).fact("git.tag") == "v1.2.3"
    del asked.answers[ASKED_TAG]
    none = f"no tag points at the commit that is checked out in {tmp_path}"
    for said in ("fatal: no tag exactly matches 'abc'", "fatal: No names found, cannot describe anything."):
        asked.failures[ASKED_TAG] = said
        assert why(tmp_path, "git.tag") == f"{{git.tag}} has no value: {none}"
    asked.failures[ASKED_TAG] = "fatal: detected dubious ownership in repository"
    assert why(tmp_path, "git.tag").endswith("git says: detected dubious ownership in repository")


def test_a_value_that_is_not_there_says_why(asked: Git, tmp_path: Path) -> None:
    asked.answers[ASKED_STATUS] = f"# branch.oid {SHA}\n# branch.head (detached)\n"
    assert why(tmp_path, "git.branch").endswith(f"the checkout in {tmp_path} is on no branch (detached)")
    asked.answers[ASKED_STATUS] = "# branch.oid (initial)\n# branch.head main\n"
    nothing = f"{tmp_path} is not a git checkout with a commit"
    assert why(tmp_path, "git.sha").endswith(nothing)
    del asked.answers[ASKED_STATUS]
    for said in ("", "fatal: not a git repository (or any parent)", "fatal: ambiguous argument 'HEAD'"):
        asked.failures[ASKED_STATUS] = said
        assert why(tmp_path, "git.sha").endswith(nothing)
    asked.failures[ASKED_STATUS] = "warning: x\nfatal: bad config line 1\n"
    assert why(tmp_path, "git.sha").endswith("git says: bad config line 1")
    asked.answers[ASKED_STATUS] = EnvironmentLacksError("git is not installed or not on PATH")
    assert why(tmp_path, "git.sha").endswith("git is not installed or not on PATH")


def test_the_environment_wins(asked: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked.answers[ASKED_STATUS] = STATUS + "1 .M N... a\n"
    monkeypatch.setenv("ORCHESTRATE_GIT_SHA", " abc ")
    monkeypatch.setenv("ORCHESTRATE_GIT_BRANCH", "release/1")
    monkeypatch.setenv("ORCHESTRATE_GIT_TAG", "v9")
    checkout = git.Checkout(tmp_path)
    facts = [checkout.fact(f"git.{name}") for name in ("sha", "branch", "tag", "dirty")]
    assert facts == ["abc", "release-1", "v9", ""]
    assert git.branch(tmp_path) == "release/1"
    for said, value in (("1", "-dirty"), ("true", "-dirty"), ("0", ""), ("false", ""), ("", "")):
        monkeypatch.setenv("ORCHESTRATE_GIT_DIRTY", said)
        assert git.Checkout(tmp_path).fact("git.dirty") == value
    assert asked.asked == []


def test_branches_and_commits(asked: Git, tmp_path: Path) -> None:
    asked.answers["symbolic-ref -q --short HEAD"] = "topic/a\n"
    asked.answers["symbolic-ref -q --short refs/remotes/origin/HEAD"] = "origin/trunk/main\n"
    asked.answers["rev-parse -q --verify HEAD~0"] = SHA + "\n"
    assert git.branch(tmp_path) == "topic/a"
    assert git.default_branch(tmp_path) == "trunk/main"
    assert (git.commit(tmp_path), git.commit(tmp_path, back=1)) == (SHA, "")


def test_the_branches_of_the_origin(asked: Git, tmp_path: Path) -> None:
    asked.answers["ls-remote --heads origin"] = f"{SHA}\trefs/heads/main\n{SHA}\trefs/heads/a/b\n{SHA}\tHEAD\n"
    assert git.branches(tmp_path) == ("main", "a/b")
    asked.answers["ls-remote --heads origin"] = ""
    assert git.branches(tmp_path) == ()
    del asked.answers["ls-remote --heads origin"]
    assert git.branches(tmp_path) is None
    asked.answers["ls-remote --heads origin"] = EnvironmentLacksError("no answer within 60 s")
    assert git.branches(tmp_path) is None
