"""What a build prints acts neither on a terminal nor on a runner of GitHub Actions, and leaves no credential."""

from __future__ import annotations

import json
import re
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.support.project import write_project

if TYPE_CHECKING:
    from pathlib import Path

NOWHERE = "127.0.0.1:5000/unused"
# \043 is #, \072 is : for the shell's printf; so the name of the step holds no command.
SAYS = (
    r"\043\043[set-output name=digest]evil\n\043\043[add-mask]e\n\072:add-mask\072:e\n  \072:stop-commands\072:x\n"
    r"\033]0;own\145d\007\033[2J\043\043vso[task.setvariable variable=x]y\nhttps://ghp_\033[0mSECRET\124OKEN@github.com/a\n"
)
OURS = re.compile(
    r"::(?:error (?:file=Dockerfile,line=\d+,)?title=|group::log of |endgroup::$"
    r"|stop-commands::[0-9a-f]{32}$|[0-9a-f]{32}::$)"
)


@pytest.mark.parametrize("in_actions", ["true", ""])
def test_output_of_a_failed_step(engine: str, tmp_path: Path, in_actions: str) -> None:
    project = write_project(tmp_path, NOWHERE, app=f"RUN printf '{SAYS}' >&2; echo {uuid.uuid4().hex}; exit 3")
    summary = tmp_path / "summary.md"
    done = project.build(env={"GITHUB_ACTIONS": in_actions, "GITHUB_STEP_SUMMARY": str(summary)})
    assert done.returncode == 1
    log = project.log("app")
    assert log is not None
    texts = {
        "out": done.stdout, "err": done.stderr, "log": log.read_text(), "report": project.report.read_text(),
        "summary": summary.read_text(),
    }  # fmt: skip
    for name, text in texts.items():
        assert "SECRETTOKEN" not in text, name
        assert "owned" not in text, name
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]|##\[|##vso\[", text), name
        assert not [line for line in text.splitlines() if re.match(r"\s*::", line) and not OURS.match(line)], name
    assert "# #[add-mask]e" in texts["log"]
    assert bool([line for line in done.stderr.splitlines() if OURS.match(line)]) == bool(in_actions)


@pytest.mark.parametrize(
    "proxy", ["http://user:PROXY&PASSWORD@127.0.0.1:9/", "user:PROXYPASSWORD@127.0.0.1:9"], ids=["url", "bare"]
)
def test_the_password_of_a_proxy_is_in_no_file_of_the_run(engine: str, tmp_path: Path, proxy: str) -> None:
    home = tmp_path / "docker"
    home.mkdir()
    (home / "config.json").write_text(
        json.dumps({"proxies": {"default": {"httpProxy": proxy, "noProxy": "127.0.0.1"}}})
    )
    project = write_project(tmp_path / "project", NOWHERE, app=f"RUN echo {uuid.uuid4().hex}")
    done = project.build(env={"DOCKER_CONFIG": str(home)})
    assert done.returncode == 0, done.stdout + done.stderr
    metadata = list((project.root / ".orchestrate").rglob("*.metadata.json"))
    assert metadata
    assert "127.0.0.1:9" in metadata[0].read_text()  # it is there, without its password
    for path in (project.root / ".orchestrate").rglob("*"):
        if path.is_file():
            assert b"PASSWORD" not in path.read_bytes(), path
            assert path.stat().st_mode & 0o077 == 0, path
