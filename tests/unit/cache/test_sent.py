"""Main contexts get a name of their own for the files that times do not tell apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.bake.file import BakeFile
from orchestrator.cache.sent import renamed

if TYPE_CHECKING:
    from pathlib import Path


def names(root: Path, restored: str, **members: dict[str, Any]) -> dict[str, Any]:
    (root / "run").mkdir(parents=True, exist_ok=True)
    file = BakeFile(target="v", members=members)
    return dict(renamed(file, root, root / "run", restored).members)


def test_each_context_and_each_content_has_a_name(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    members: dict[str, dict[str, Any]] = {"v": {"contexts": {"x": "base"}}, "b": {"context": "cwd://base"}}
    first, same, other = (names(tmp_path, restored, **members) for restored in ("1", "1", "2"))
    assert first == same
    found = [one[name]["context"] for one in (first, other) for name in members]
    assert len({context.rpartition("/")[2] for context in found}) == 4
    for one in (first, other):
        assert (tmp_path / one["v"]["context"]).resolve() == tmp_path
        assert (tmp_path / one["b"]["context"]).resolve() == tmp_path / "base"
        assert one["v"]["contexts"] == {"x": "base"}


def test_checkouts_of_the_same_files_share_what_was_sent(tmp_path: Path) -> None:
    found = [names(tmp_path / name / "app", "1", v={"context": "."})["v"]["context"] for name in ("a", "b")]
    assert found[0] != found[1]
    assert len({one.rpartition("/")[2] for one in found}) == 1


def test_the_dockerfile_stays_the_one_it_was(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "dockerfile").touch()
    written = {"plain": {}, "above": {"context": "base", "dockerfile": "../x/Dockerfile"}, "own": {"dockerfile": "d"},
               "cwd": {"context": "base", "dockerfile": "cwd://d"}}  # fmt: skip
    found = names(tmp_path, "1", **written)
    assert {name: one["dockerfile"] for name, one in found.items()} == {
        "plain": f"{tmp_path}/dockerfile", "above": f"{tmp_path}/x/Dockerfile", "own": f"{tmp_path}/d",
        "cwd": f"{tmp_path}/d",
    }  # fmt: skip


def test_what_is_not_on_this_machine_stays_as_it_is(tmp_path: Path) -> None:
    members = {
        "inline": {"dockerfile-inline": "FROM scratch"},
        "remote": {"context": "https://github.com/a/b.git"},
        "far": {"dockerfile": "https://example.com/Dockerfile"},
    }
    found = names(tmp_path, "1", **members)
    assert found["remote"] == members["remote"]
    assert "dockerfile" not in found["inline"]
    assert found["far"]["dockerfile"] == members["far"]["dockerfile"]
