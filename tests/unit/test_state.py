"""The state directory is the project's own: links out of it are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.bake.events import PlainLine
from orchestrator.bake.log import LogFile
from orchestrator.errors import EnvironmentLacksError
from orchestrator.state import STATE, require_own

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "elsewhere").mkdir()
    root = tmp_path / "project"
    root.mkdir()
    return root


def test_one_that_is_not_there_or_holds_no_link_is_taken(project: Path) -> None:
    assert require_own(project) == project / STATE
    (project / STATE / "runs").mkdir(parents=True)
    assert require_own(project) == project / STATE


def test_a_link_within_the_project_is_taken(project: Path) -> None:
    (project / "state").mkdir()
    (project / STATE).symlink_to("state")
    assert require_own(project) == project / STATE


@pytest.mark.parametrize("name", ["", "runs", "journal.jsonl", "inputs"])
def test_a_link_out_of_the_project_is_refused(project: Path, name: str) -> None:
    link = project / STATE / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(project.parent / "elsewhere")
    with pytest.raises(EnvironmentLacksError, match="expected no link out of the project") as caught:
        require_own(project)
    assert caught.value.hint == f"remove it: rm {link}"


def test_a_link_to_nothing_is_refused_as_well(project: Path) -> None:
    (project / STATE).symlink_to(project.parent / "none")
    with pytest.raises(EnvironmentLacksError):
        require_own(project)


def test_a_checkout_that_is_reached_through_a_link_is_taken(project: Path) -> None:
    (project / STATE / "runs").mkdir(parents=True)
    link = project.parent / "link"
    link.symlink_to(project)
    assert require_own(link) == link / STATE


def test_a_log_that_is_removed_while_it_is_written_comes_back(project: Path) -> None:
    path = project / STATE / "runs" / "one" / "app.log"
    with LogFile(path) as log:
        log.write(PlainLine(text="before"))
        path.unlink()
        path.parent.rmdir()
        log.write(PlainLine(text="after"))
        log.write(PlainLine(text="and more"))
    assert path.read_text() == "after\nand more\n"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_a_log_is_not_written_through_a_link(project: Path) -> None:
    outside = project.parent / "elsewhere" / "victim"
    outside.write_text("mine")
    link = project / "app.log"
    link.symlink_to(outside)
    with pytest.raises(OSError, match="symbolic links"):
        LogFile(link)
    assert outside.read_text() == "mine"
