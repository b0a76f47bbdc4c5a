"""What a bake process is started with and leaves behind; that it is followed and ended is tests/engine's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.bake.process import BakeCommand, bake_argv, dropped_gha_caches

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """No workflow around the tests."""
    for name in ("ACTIONS_RUNTIME_TOKEN", "ACTIONS_RESULTS_URL", "ACTIONS_CACHE_URL"):
        monkeypatch.delenv(name, raising=False)


def command(root: Path, content: Any = None, **env: str) -> BakeCommand:
    return BakeCommand(
        id="v",
        argv=("docker", "buildx", "bake", "-f", "v.json"),
        bake_json=content if isinstance(content, str) else json.dumps(content),
        target="t",
        cwd=root,
        log=root / "v.log",
        metadata=root / "kept" / "v.metadata.json",
        env=env,
        file=root / "made" / "v.json",
    )


def test_the_target_is_the_last_word(tmp_path: Path) -> None:
    assert bake_argv(command(tmp_path)) == (
        "docker", "buildx", "bake", "-f", "v.json",
        "--progress", "rawjson", "--metadata-file", f"{tmp_path}/kept/v.metadata.json", "t",
    )  # fmt: skip


def test_it_shows_no_secret(tmp_path: Path) -> None:
    shown = repr(command(tmp_path, TOKEN="secret"))
    assert shown == "BakeCommand(id='v', argv=('docker', 'buildx', 'bake', '-f', 'v.json'))"


def test_what_somebody_removed_is_written_again_and_nothing_else(tmp_path: Path) -> None:
    one = command(tmp_path, {"target": {}})
    one.restore()
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o700
    file = tmp_path / "made" / "v.json"
    assert file.read_text() == '{"target": {}}'
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("theirs")
    one.restore()
    assert file.read_text() == "theirs"


def asking(*entries: object, key: str = "cache-from") -> dict[str, Any]:
    return {"target": {"t": {key: list(entries)}, "other": {"cache-to": None}}}


@pytest.mark.parametrize("content", [asking("type=gha,scope=x"), asking({"type": "gha"}, key="cache-to")])
def test_a_cache_that_buildx_leaves_out_is_named(tmp_path: Path, content: dict[str, Any]) -> None:
    (line,) = dropped_gha_caches(command(tmp_path, content))
    assert line.startswith("type=gha cache was left out by buildx: ACTIONS_RUNTIME_TOKEN and ACTIONS_RESULTS_URL ")
    for env in ({"ACTIONS_RUNTIME_TOKEN": "t"}, {"ACTIONS_RESULTS_URL": "u"}, {"ACTIONS_CACHE_URL": "u"}):
        assert dropped_gha_caches(command(tmp_path, content, **env)) == (line,)
    for name in ("ACTIONS_RESULTS_URL", "ACTIONS_CACHE_URL"):
        assert dropped_gha_caches(command(tmp_path, content, ACTIONS_RUNTIME_TOKEN="t", **{name: "u"})) == ()


@pytest.mark.parametrize(
    "content", [asking("type=registry,ref=gha"), asking(), {}, [], {"target": []}, {"target": {"t": 1}}, "no JSON"]
)
def test_a_bake_file_that_asks_for_none_loses_none(tmp_path: Path, content: Any) -> None:
    assert dropped_gha_caches(command(tmp_path, content)) == ()
