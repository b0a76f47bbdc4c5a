"""The machine is judged once: what `doctor` shows is what a build does."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import pytest
from msgspec.structs import replace

from orchestrator.engine import machine
from orchestrator.engine.info import EngineInfo, parse_info
from orchestrator.sizes import GIB

RECORDED = Path(__file__).parent / "recorded"


@pytest.fixture
def info() -> EngineInfo:
    return parse_info((RECORDED / "info.json").read_text(), "")


@pytest.mark.parametrize(
    ("free", "status"),
    [
        (20 * GIB, "ok"),
        (20 * GIB - 1, "warn"),
        (3 * GIB, "warn"),
        (2 * GIB, "warn"),
        (2 * GIB - 1, "fail"),
        (0, "fail"),
        (None, "ok"),
    ],
)
def test_the_free_disk(free: int | None, status: str) -> None:
    check = machine.check_disk(free)
    assert (check.name, check.status) == ("disk", status)
    assert bool(check.hint) == (status != "ok")
    assert not check.hint or f"`{machine.prune_command()}`" in check.hint


def test_what_frees_the_disk_frees_as_much_as_builds_took() -> None:
    assert machine.prune_command() == "orchestrate cache prune --min-free 20GiB --yes"
    assert machine.prune_command(70 * GIB + 1) == "orchestrate cache prune --min-free 71GiB --yes"


def test_what_is_remembered_of_the_variants_decides_on_the_warning() -> None:
    assert machine.check_disk(3 * GIB, [GIB, GIB], parallel=2).status == "ok"
    assert machine.check_disk(3 * GIB, [GIB, 0], parallel=2).status == "warn"  # nothing is known of the second
    assert machine.check_disk(50 * GIB, [30 * GIB, 40 * GIB], parallel=1).status == "ok"
    assert machine.check_disk(35 * GIB, [30 * GIB, 40 * GIB], parallel=1).status == "warn"  # the largest counts
    both = machine.check_disk(50 * GIB, [30 * GIB, 40 * GIB], parallel=2)
    assert both.status == "warn"
    assert "50 GiB free" in both.detail
    assert "the 2 largest variants took 70 GiB" in both.detail
    assert "the largest variant took 60 GiB" in machine.check_disk(50 * GIB, [60 * GIB]).detail
    assert machine.check_disk(2 * GIB - 1, [1, 1]).status == "fail"


def test_memory_is_weighed_against_all_compile_jobs() -> None:
    assert machine.check_memory(32 * GIB, 16).status == "ok"
    tight = machine.check_memory(32 * GIB - 1, 16)
    assert tight.status == "warn"
    assert "32 GiB to 64 GiB" in tight.detail
    assert "about 7" in tight.hint
    assert "enough for 8 large compile jobs" in machine.check_memory(32 * GIB, None).detail
    assert "1 compile job may" in machine.check_memory(32 * GIB, 1).detail
    assert machine.check_memory(0, 16).status == "ok"


def test_more_compile_jobs_than_processors_are_a_warning() -> None:
    assert machine.check_processors(16, 16).status == "ok"
    many = machine.check_processors(16, 17)
    assert many.status == "warn"
    assert "about 16" in many.hint
    assert machine.check_processors(0, 99).status == "ok"
    assert machine.check_processors(16, None).detail == "16"


def test_the_disk_of_an_engine_of_this_machine_alone(tmp_path: Path, info: EngineInfo) -> None:
    here = replace(info, root=str(tmp_path), host_name=platform.node(), containerd_store=False)
    assert machine.engine_disk(here) == tmp_path
    assert machine.engine_disk(replace(here, root="")) is None
    assert machine.engine_disk(replace(here, host_name="somewhere-else")) is None
    assert json.loads((RECORDED / "info.json").read_text())["Name"] == info.host_name


def test_the_fuller_of_two_disks_counts(tmp_path: Path, info: EngineInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    containerd = tmp_path / "containerd"
    containerd.mkdir()
    free = {tmp_path: 9, containerd: 5}
    monkeypatch.setattr(machine, "_CONTAINERD", containerd)
    monkeypatch.setattr(machine, "free_bytes", lambda path: free[path])
    here = replace(info, root=str(tmp_path), host_name=platform.node(), containerd_store=True)
    assert machine.engine_disk(here) == containerd
    free[containerd] = 10
    assert machine.engine_disk(here) == tmp_path
    free[containerd] = 5
    assert machine.engine_disk(replace(here, containerd_store=False)) == tmp_path


def test_free_space_is_measured_where_a_directory_will_be(tmp_path: Path) -> None:
    found = machine.free_bytes(tmp_path / "not" / "yet")
    assert found is not None
    assert found > 0
    assert machine.free_bytes(None) is None


@pytest.mark.parametrize(
    ("memory", "jobs", "status", "said"),
    [
        (0, 4, "ok", "not checked: the engine does not say"),
        (64 * GIB, None, "ok", "64 GiB, enough for"),
        (64 * GIB, 2, "ok", "64 GiB; 2 "),
        (GIB, 400, "warn", "400 "),
    ],
)
def test_memory_is_judged_by_its_jobs(memory: int, jobs: int | None, status: str, said: str) -> None:
    check = machine.check_memory(memory, jobs)
    assert (check.name, check.status, bool(check.hint)) == ("memory", status, status == "warn")
    assert said in check.detail
