"""Inputs of a variant that are missing on this machine, and the SSH agent that a target needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.bake.file import BakeFile
from orchestrator.engine.buildx import is_git_over_ssh, is_remote
from orchestrator.errors import EnvironmentLacksError
from orchestrator.runs.inputs import missing_inputs, require_agent

if TYPE_CHECKING:
    from pathlib import Path


def file(**member: Any) -> BakeFile:
    return BakeFile(target="v", members={"v": member}, origins={"v": "app"})


@pytest.mark.parametrize(
    ("context", "found"),
    [
        (".", ""),
        ("inside", ""),
        ("cwd://inside", ""),
        ("nowhere", "nowhere"),
        ("cwd://nowhere", "cwd://nowhere"),
        ("nowhere.git", "nowhere.git"),
        ("~/nowhere", "~/nowhere"),
        ("file", "file is not a directory"),
        ("cwd://file", "cwd://file is not a directory"),
        ("-", "-"),
        ("host:path", "host:path"),
        ("git+ssh://host/path", "git+ssh://host/path"),
        ("git@host", "git@host"),
        ("https://host/a.git#main", ""),
        ("HTTPS://host/a.git", ""),
        ("me@host:a.git", ""),
        ("oci-layout://inside", ""),
        ("oci-layout://inside:tag@sha256:00", ""),
        ("oci-layout://nowhere:tag", "oci-layout://nowhere:tag"),
        ("docker-image://nowhere", ""),
        ("target:nowhere", ""),
    ],
)
def test_a_context_is_a_directory_here_or_elsewhere(tmp_path: Path, context: str, found: str) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "file").touch()
    for member, what in (({"context": context}, "the context"), ({"contexts": {"x": context}}, "the named context x")):
        told = [problem.what for problem in missing_inputs(tmp_path, file(**member), {}, variant="v")]
        assert told == ([f"v: {what} of target app was not found: {found}"] if found else [])


@pytest.mark.parametrize("secret", ["id=a,src=~/file", "id=a,src=nowhere", "id=a,src=inside"])
def test_a_secret_is_a_file_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "inside").mkdir()
    (tmp_path / "file").touch()
    (problem,) = missing_inputs(tmp_path, file(secret=[secret]), {}, variant="v")
    assert problem.what == f"v: the secret a of target app was not found: {secret.partition('src=')[2]}"
    assert not missing_inputs(tmp_path, file(secret=["id=a,src=file"]), {}, variant="v")


AGENTS: dict[str, tuple[dict[str, Any], bool]] = {
    "nothing": ({}, False),
    "the agent": ({"ssh": ["default"]}, True),
    "a key": ({"ssh": ["default=key"]}, False),
    "a key and the agent": ({"ssh": ["default=key", {"id": "other"}]}, True),
    "a repository": ({"context": "git@host:a/b"}, True),
    "a repository with a key": ({"context": "git@host:a/b", "ssh": ["other=key"]}, False),
    "a repository over https": ({"context": "https://git@host/a/b"}, False),
    "a repository beside the context": ({"contexts": {"x": "git@host:a/b"}}, False),
}


@pytest.mark.parametrize("name", AGENTS)
def test_who_needs_an_agent(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    member, needed = AGENTS[name]
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    if not needed:
        require_agent(file(**member), variant="v")
        return
    with pytest.raises(EnvironmentLacksError, match="the SSH agent that target app forwards was not found"):
        require_agent(file(**member), variant="v")


@pytest.mark.parametrize(
    ("context", "remote", "ssh"),
    [
        ("git@host:a/b.git#main:sub", True, True), ("a-b_c@1.2.3.4:/x", True, True), ("me@host:", True, True),
        ("ssh://host/x", True, True), ("SSH://u:p@host:22/x", True, True), ("git://host/x", True, False),
        ("http://host/x.git", True, False), ("github.com/a/b", True, False), ("host:x", False, False),
        ("git@host", False, False), ("git@[::1]:x", False, False), (" git@host:x", False, False),
        ("git+ssh://host/x", False, False), ("file:///x", False, False), ("cwd://x", False, False),
        ("sub/git@host:x", False, False),
    ],
)  # fmt: skip
def test_what_buildx_fetches_and_what_it_fetches_over_ssh(context: str, *, remote: bool, ssh: bool) -> None:
    """Measured with buildx 0.29 and an agent; tests/engine/test_privileges.py asks it again."""
    assert (is_remote(context), is_git_over_ssh(context)) == (remote, ssh)
