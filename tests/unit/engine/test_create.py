"""Builders that the matrix describes."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest

from orchestrator.engine.builders import Builder, Node
from orchestrator.engine.create import Wanted, create, gc_config, known, require_same
from orchestrator.errors import EnvironmentLacksError
from orchestrator.matrix.schema_builders import FleetBuilder, GcSpec
from orchestrator.runs.sites import asked_for

if TYPE_CHECKING:
    from pathlib import Path


def test_the_policy_is_written_in_bytes() -> None:
    written = tomllib.loads(gc_config({"reserved": "20GB", "max_used": "1TiB", "min_free": "512M"}))
    sizes = {"reservedSpace": "20000000000", "maxUsedSpace": "1099511627776", "minFreeSpace": "512000000"}
    assert written == {"worker": {"oci": {"gc": True, **sizes}}}


@pytest.mark.parametrize(
    ("driver", "endpoint", "words"),
    [
        ("remote", "tcp://b:1", "expected tcp://a:1, found tcp://b:1"),
        ("docker-container", "x", "expected driver remote, found docker-container"),
    ],
)
def test_another_builder_of_that_name_is_not_used(driver: str, endpoint: str, words: str) -> None:
    node = Node(name="farm0", endpoint=endpoint, running=True)
    found = Builder(name="farm", driver=driver, platforms=(), running=True, nodes=(node,))
    with pytest.raises(EnvironmentLacksError, match=words):
        require_same(Wanted(name="farm", driver="remote", endpoint="tcp://a:1"), found)
    require_same(Wanted(name="farm", driver=""), found)
    require_same(Wanted(name="farm", driver=driver, endpoint=endpoint), found)


def test_files_are_looked_for_beside_the_matrix(tmp_path: Path) -> None:
    spec = FleetBuilder(
        driver="remote", endpoint="tcp://a:1", options={"cacert": "ca.pem", "key": "/k", "servername": "a"},
        gc=GcSpec(max_used="1GB"),
    )  # fmt: skip
    wanted = asked_for("farm", spec, tmp_path)
    assert wanted.options == {"cacert": str(tmp_path / "ca.pem"), "key": "/k", "servername": "a"}
    assert (wanted.config, wanted.gc) == ("", {"max_used": "1GB"})
    with pytest.raises(EnvironmentLacksError, match=r"builder farm: cacert .*ca\.pem was not found"):
        create(wanted)
    assert asked_for("farm", FleetBuilder(driver="kubernetes", config="b.toml"), tmp_path).config.endswith("/b.toml")


def test_what_buildx_knows_is_read_from_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILDX_CONFIG", str(tmp_path))
    assert not known("farm")
    (tmp_path / "instances").mkdir()
    (tmp_path / "instances" / "farm").write_text("{}")
    assert known("farm")
