"""What git is asked, and what its answers mean; that git answers so is shown where it runs (tests/e2e)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator import process
from orchestrator.errors import EnvironmentLacksError, MatrixError, UsageError
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
        self.codes: dict[str, int] = {}
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
        code = self.codes.get(words, 0 if answer is not None else 128)
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


SHALLOW = "rev-parse --is-shallow-repository"


def test_the_revision_of_a_checkout_and_of_none(asked: Git, tmp_path: Path) -> None:
    assert git.revision(tmp_path) == ""
    asked.answers[ASKED_STATUS] = STATUS
    assert git.revision(tmp_path) == SHA
    asked.answers[ASKED_STATUS] = f"{STATUS}1 .M N... 100644 100644 100644 a b file\n"
    assert git.revision(tmp_path) == f"{SHA}-dirty"


def test_a_ref_is_a_commit_or_an_error_that_knows_shallow_clones(asked: Git, tmp_path: Path) -> None:
    words = "rev-parse -q --verify --end-of-options {}^{{commit}}"
    asked.answers[words.format("v1")] = f"{SHA}\n"
    assert git.resolved(tmp_path, "v1") == SHA
    with pytest.raises(UsageError) as caught:
        git.resolved(tmp_path, "v2")
    assert caught.value.message == f"v2: a commit of that name was not found in the checkout of {tmp_path}"
    assert caught.value.hint == "`git log REF` shows it"
    for said, shallow in (("true\n", True), ("false\n", False)):
        asked.answers[SHALLOW] = said
        with pytest.raises(UsageError) as caught:
            git.resolved(tmp_path, "v2")
        assert (caught.value.hint == "this clone is shallow: fetch the ref, or clone with the history") is shallow


def test_a_file_as_a_commit_has_it(asked: Git, tmp_path: Path) -> None:
    asked.answers[f"show {SHA}:./d/matrix.yaml"] = "é\n"
    assert git.file_at(tmp_path, SHA, "d/matrix.yaml") == "é\n".encode()
    assert git.file_at(tmp_path, SHA, "none") is None


def test_which_commit_is_older(asked: Git, tmp_path: Path) -> None:
    old, new, long = "a" * 40, "b" * 40, "c" * 64
    words = f"merge-base --is-ancestor {old} {new}"
    for older, newer in (("", new), (old, "main"), ("a" * 39, new), ("A" * 40, new), (old, "b" * 41)):
        assert git.is_ancestor(tmp_path, older, newer) is None
    assert git.is_ancestor(tmp_path, f"{old}-dirty", old) is True
    assert asked.asked == []
    assert git.is_ancestor(tmp_path, long, new) is None
    for code, told in ((0, True), (1, False), (128, None)):
        asked.codes[words] = code
        assert git.is_ancestor(tmp_path, old, f"{new}-dirty") is told
    asked.codes[words] = 1
    asked.answers[SHALLOW] = "true\n"
    assert git.is_ancestor(tmp_path, old, new) is None
    asked.codes[words] = 0
    assert git.is_ancestor(tmp_path, old, new) is True
    asked.answers[words] = EnvironmentLacksError("git was not found")
    assert git.is_ancestor(tmp_path, old, new) is None


def test_what_is_asked_of_the_checkout_in_one_line(asked: Git, tmp_path: Path) -> None:
    asked.answers["remote get-url origin"] = " https://h/x \n"
    asked.answers["rev-parse -q --verify HEAD~0"] = f"{SHA}\n"
    asked.answers["rev-parse -q --verify HEAD~1"] = f"{'b' * 40}\n"
    assert git.origin(tmp_path) == "https://h/x"
    assert (git.commit(tmp_path), git.commit(tmp_path, back=1), git.commit(tmp_path, back=2)) == (SHA, "b" * 40, "")
    asked.answers["remote get-url origin"] = EnvironmentLacksError("git was not found")
    assert git.origin(tmp_path) == ""
