"""The commands that python-on-whales lacks; what docker makes of them is tests/engine's."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest

from orchestrator import process
from orchestrator.engine import beyond, client
from orchestrator.process import Completed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What was asked of a docker client that the user names, without the client."""
    found: list[tuple[str, ...]] = []
    mine = tmp_path / "docker"
    mine.touch(mode=0o755)
    monkeypatch.setenv(client.CLIENT_VARIABLE, str(mine))

    def run(argv: Sequence[str], *, timeout: float, env: Mapping[str, str] | None) -> Completed:
        assert argv[0] == str(mine)
        assert 0 < timeout <= 300
        assert env is None
        found.append(tuple(argv[1:]))
        return Completed(argv=tuple(argv), returncode=0, stdout="", stderr="")

    monkeypatch.setattr(process, "run", run)
    return found


def test_tags_are_copies_of_one_digest(asked: list[tuple[str, ...]]) -> None:
    beyond.copy_to_tags("r/a@sha256:1", ["r/a:x", "r/a:y"])
    assert asked == [
        ("buildx", "imagetools", "create", "--prefer-index=false", "--tag", "r/a:x", "--tag", "r/a:y", "r/a@sha256:1")
    ]


def test_questions_go_to_the_client_that_the_user_names(asked: list[tuple[str, ...]]) -> None:
    beyond.system_info()
    beyond.list_builders(timeout=60)
    beyond.inspect_images(["a", "b"])
    assert [words[:2] for words in asked] == [("info", "--format"), ("buildx", "ls"), ("image", "inspect")]
    assert asked[-1][2:] == ("a", "b")


def test_python_on_whales_still_lacks_what_is_asked_here() -> None:
    """A version that has it makes a function of this module needless."""
    # Imported here as in test_client.py: every worker imports every file, and this package takes 0.25 s.
    from python_on_whales.components.buildx.imagetools.cli_wrapper import ImagetoolsCLI
    from python_on_whales.components.buildx.models import BuilderInspectResult
    from python_on_whales.components.image.models import ImageInspectResult
    from python_on_whales.components.system.models import SystemInfo

    assert "prefer_index" not in inspect.signature(ImagetoolsCLI.create).parameters
    assert {"current", "err"}.isdisjoint(BuilderInspectResult.model_fields)
    assert "server_errors" not in SystemInfo.model_fields
    assert "descriptor" not in ImageInspectResult.model_fields


def test_a_builder_is_named_where_there_is_one(asked: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    beyond.cache_usage()
    beyond.cache_usage("farm")
    beyond.inspect_builder()
    beyond.inspect_builder("farm")
    assert asked == [
        ("buildx", "du", "--format", "json"), ("buildx", "du", "--builder", "farm", "--format", "json"),
        ("buildx", "inspect"), ("buildx", "inspect", "farm"),
    ]  # fmt: skip


def test_a_prune_takes_ids_or_an_age_and_leaves_mounts_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def docker(*words: str, timeout: float) -> Completed:
        assert timeout == 1800
        asked.append(words)
        return Completed(argv=words, returncode=0, stdout="", stderr="")

    monkeypatch.setattr(client, "docker", docker)
    beyond.prune_cache(["a", "b$"])
    beyond.prune_older(90, "farm")
    assert asked == [
        ("buildx", "prune", "--all", "--force", "--filter", "id=^(a|b$)"),
        ("buildx", "prune", "--builder", "farm", "--all", "--force", "--filter", "until=90s", "--filter",
         "type!=exec.cachemount"),
    ]  # fmt: skip
