"""What `clean` lists and removes: names of ours alone, no link followed, no record of a publish."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.cli import app
from orchestrator.runs import leftovers

if TYPE_CHECKING:
    from pathlib import Path

MATRIX = 'version: 1\nimage: r.example/x\nbake: {files: [b.hcl], targets: [x]}\narch_lists: {r: "9.0"}\n'


def write(state: Path) -> None:
    (state / "runs" / "a").mkdir(parents=True)
    (state / "runs" / "a" / "x.log").write_text("x" * 1000)
    (state / "journal.jsonl").write_text("y" * 10)
    (state / "notes.txt").write_text("the user's own")
    (state / "publish").mkdir()


def test_names_of_ours_are_listed_with_their_sizes_and_removed(tmp_path: Path) -> None:
    write(tmp_path)
    found = list(leftovers.of_project(tmp_path))
    assert [(one.path.name, one.size, one.kept) for one in found] == [
        ("runs", 1000, ""),
        ("journal.jsonl", 10, ""),
        ("publish", 0, ""),
    ]
    for one in found:
        leftovers.remove(one)
        leftovers.remove(one) if one.path.name == "journal.jsonl" else None
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert list(leftovers.of_project(tmp_path / "nowhere")) == []


def test_a_link_goes_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    state, other = tmp_path / "state", tmp_path / "other"
    for path in (state, other):
        path.mkdir()
    (other / "file").write_text("precious")
    (state / "runs").symlink_to(other)
    (state / "journal.jsonl").symlink_to(tmp_path / "nowhere")
    for one in leftovers.of_project(state):
        leftovers.remove(one)
    assert (other / "file").read_text() == "precious"
    assert list(state.iterdir()) == []


def test_records_of_publishes_are_kept(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "publish" / "r.json").write_text("{}")
    (found,) = (one for one in leftovers.of_project(tmp_path) if one.kept)
    assert found.path.name == "publish"
    assert "--rollback" in found.kept


def test_a_store_that_is_a_link_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "store")
    places = {"headers": tmp_path / "store", "wheels": tmp_path / "link", "scans": tmp_path / "missing"}
    assert [one.path.name for one in leftovers.of_user(places)] == ["store"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "orchestrate" / "headers").mkdir(parents=True)
    (tmp_path / "home" / "orchestrate" / "headers" / "h").write_text("z" * 5)
    (tmp_path / "matrix.yaml").write_text(MATRIX)
    write(tmp_path / ".orchestrate")
    (tmp_path / ".orchestrate" / "publish" / "r.json").write_text("{}")
    return tmp_path


def test_the_command_removes_with_yes_alone(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state, store = project / ".orchestrate", project / "home" / "orchestrate" / "headers"
    assert app.run(["clean", "-C", str(project)]) == 0
    said = capsys.readouterr().out
    assert "1.0 kB can go: orchestrate clean --yes removes it" in said
    assert str(store) not in said
    assert (state / "runs").is_dir()
    assert app.run(["clean", "-C", str(project), "--yes"]) == 0
    assert "1.0 kB removed" in capsys.readouterr().out
    assert {path.name for path in state.iterdir()} == {"notes.txt", "publish", "lock"}
    assert app.run(["clean", "-C", str(project), "--stores", "--yes"]) == 0
    assert not store.exists()
    assert "5 B removed" in capsys.readouterr().out
    assert app.run(["clean", "-C", str(project)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "nothing to remove"


def test_a_state_directory_that_leads_out_of_the_project_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "runs").mkdir(parents=True)
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "matrix.yaml").write_text(MATRIX)
    (tmp_path / "p" / ".orchestrate").symlink_to(tmp_path / "elsewhere")
    assert app.run(["clean", "-C", str(tmp_path / "p"), "--yes"]) == 5
    assert (tmp_path / "elsewhere" / "runs").is_dir()
