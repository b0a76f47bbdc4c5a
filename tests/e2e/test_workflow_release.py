"""`.github/workflows/release.yml` up to the index: its steps run here, signing and publishing are not ours."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator import __version__
from tests.support import actions
from tests.support.engine import call
from tests.support.images_workflow import tracked

pytestmark = pytest.mark.download

PATH = Path(__file__).parents[2] / ".github/workflows/release.yml"
TEXT = PATH.read_text(encoding="utf-8")
GIT = ("-c", "user.name=t", "-c", "user.email=t@example.org")


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This repository at GitHub: one commit on main, and one that is not."""
    folder = tracked(tmp_path_factory.mktemp("origin"))
    call("git", "init", "-q", "-b", "main", folder)
    call("git", "-C", folder, "add", "-A")
    call("git", "-C", folder, *GIT, "commit", "-q", "-m", "release")
    call("git", "-C", folder, "checkout", "-q", "-b", "other")
    call("git", "-C", folder, *GIT, "commit", "-q", "--allow-empty", "-m", "other")
    return folder


class Run:
    """One run of the workflow on a tag of a branch of the origin."""

    def __init__(self, origin: Path, folder: Path) -> None:
        self.origin, self.folder, self.workspace = origin, folder, folder / "workspace"
        self.workspace.mkdir()
        self.published: list[tuple[str, dict[str, Any], list[str]]] = []

    def __call__(self, text: str = TEXT, *, tag: str = f"v{__version__}", branch: str = "main") -> list[actions.Result]:
        def checkout(runner: actions.Runner, given: actions.Values) -> dict[str, str]:
            assert given["fetch-depth"] == 0
            assert given["persist-credentials"] is False
            shutil.rmtree(runner.workspace)
            call("git", "init", "-q", runner.workspace)
            git = ("git", "-C", runner.workspace)
            call(*git, "fetch", "-q", self.origin, "+refs/heads/*:refs/remotes/origin/*")
            call(*git, "checkout", "-q", "--detach", f"origin/{branch}")
            return {}

        def keep(name: str) -> Any:
            def act(runner: actions.Runner, given: actions.Values) -> dict[str, str]:
                files = sorted(path.name for path in (runner.workspace / "dist").iterdir())
                self.published.append((name, dict(given), files))
                return {}

            return act

        runner = actions.Runner(
            workspace=self.workspace, temporary=self.folder, artifacts=self.folder / "artifacts",
            github={"event_name": "push", "ref": f"refs/tags/{tag}", "ref_name": tag, "ref_type": "tag"},
            actions={
                "actions/checkout": checkout, "actions/upload-artifact": actions.upload,
                "actions/download-artifact": actions.download, "actions/attest": keep("attest"),
                "pypa/gh-action-pypi-publish": keep("publish"),
            },
        )  # fmt: skip
        return runner.workflow(yaml.safe_load(text), {}, event="push")


@pytest.fixture
def run(origin: Path, tmp_path: Path) -> Run:
    return Run(origin, tmp_path)


def test_a_tag_of_main_is_built_tried_attested_and_published(run: Run) -> None:
    jobs = run()
    assert [(one.job, one.failed) for one in jobs] == [("build", False), ("publish", False)], jobs[0].log
    assert f"orchestrate {__version__}" in jobs[0].log
    names = sorted(path.name for path in (run.folder / "artifacts/dist/dist").iterdir())
    assert names == [f"build_orchestrator-{__version__}-py3-none-any.whl", f"build_orchestrator-{__version__}.tar.gz"]
    assert [(name, given) for name, given, _ in run.published] == [
        ("attest", {"subject-path": "dist/*"}), ("publish", {})
    ]  # fmt: skip


def test_a_commit_beside_main_is_not_released(run: Run) -> None:
    jobs = run(branch="other")
    assert [(one.job, one.failed, one.ran[-1]) for one in jobs] == [("build", True, "A release is a commit of main")]
    assert run.published == []


def test_without_the_line_of_the_tag_or_with_another_tag_nothing_is_released(run: Run) -> None:
    text = TEXT.replace("        env:\n          TAG: ${{ github.ref_name }}\n", "")
    assert text.count("\n") == TEXT.count("\n") - 2
    for jobs in (run(text), run(tag="v9.9.9")):
        assert [(one.job, one.failed, one.ran[-1]) for one in jobs] == [("build", True, "The tag names the version")]
    assert "::error::the tag is v9.9.9" in jobs[0].log
    left = [step for job in yaml.safe_load(text)["jobs"].values() for step in job["steps"]]
    assert not [step for step in left if "if" in step or "env" in step]


def test_who_publishes_has_no_password_and_waits_for_a_maintainer() -> None:
    read = yaml.safe_load(TEXT)
    assert read["jobs"]["publish"]["environment"] == "release"
    assert read["jobs"]["publish"]["permissions"]["id-token"] == "write"
    assert "secrets." not in TEXT
    assert "password" not in str(read["jobs"])
