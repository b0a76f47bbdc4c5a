"""Files written whole: content, mode, links, and what is left after a failure."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from orchestrator import files
from orchestrator.files import (
    LEFTOVER,
    PRIVATE,
    close_tree,
    making,
    move_whole,
    scratch,
    swap,
    write_all,
    write_whole,
    writing,
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_content_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_whole(path, "ä\r\n")
    umask = os.umask(0o022)
    os.umask(umask)
    assert (path.read_bytes(), mode(path)) == ("ä\r\n".encode(), 0o666 & ~umask)
    path.chmod(0o750)
    write_whole(path, b"\0")
    assert (path.read_bytes(), mode(path)) == (b"\0", 0o750)
    write_whole(path, b"", mode=PRIVATE)
    assert mode(path) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")

    def fail() -> None:
        with writing(path) as stream:
            stream.write(b"half")
            stream.flush()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "real" / "f"
    target.parent.mkdir()
    link = tmp_path / "link"
    link.symlink_to(target)
    write_whole(link, b"new")  # also where the target is not there yet
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_a_device_is_written_in_place() -> None:
    read, write = os.pipe()
    try:
        write_whole(Path(f"/dev/fd/{write}"), b"through")
        assert os.read(read, 100) == b"through"
    finally:
        os.close(read)
        os.close(write)


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        write_whole(tmp_path / "no" / "f", b"")


def test_a_finished_file_is_moved_with_its_mode(tmp_path: Path) -> None:
    source, target = tmp_path / "part", tmp_path / "whole"
    source.write_bytes(b"new")
    target.write_bytes(b"old")
    move_whole(source, target, mode=0o444)
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o444
    assert not source.exists()


def test_a_tree_is_closed_to_others(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("x")
    outside.chmod(0o644)
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "b" / "file").write_text("x")
    (tree / "a" / "link").symlink_to(outside)
    for path in (tree, tree / "a", tree / "a" / "b"):
        path.chmod(0o755)
    close_tree(tree)
    modes = {str(path.relative_to(tmp_path)): path.lstat().st_mode & 0o777 for path in tree.rglob("*")}
    del modes["tree/a/link"]
    assert modes == {"tree/a": 0o700, "tree/a/b": 0o700, "tree/a/b/file": 0o600}
    assert tree.stat().st_mode & 0o777 == 0o700
    assert outside.stat().st_mode & 0o777 == 0o644


def test_a_directory_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "d"
    with making(target) as folder:
        (folder / "f").write_text("1")
        assert list(target.parent.glob(LEFTOVER)) == [folder]
        assert (folder.parent, mode(folder), target.exists()) == (target.parent, 0o700, False)
    assert (target / "f").read_text() == "1"
    assert list(target.parent.iterdir()) == [target]


def test_a_directory_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(target: Path) -> None:
        with making(target) as folder:
            (folder / "f").write_text("1")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail(tmp_path / "d")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "theirs").write_text("kept")
    with pytest.raises(OSError, match="not empty"), making(tmp_path / "d"):
        pass
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["theirs"]
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_a_scratch_directory_goes(tmp_path: Path) -> None:
    with scratch(tmp_path / "new" / "x") as folder:
        (folder / "f").write_text("1")
        assert folder.parent == tmp_path / "new"
    assert list((tmp_path / "new").iterdir()) == []


def _tree(path: Path, content: str) -> None:
    path.mkdir()
    (path / "index.json").write_text(content)


def test_a_new_cache_takes_the_place_of_the_old(tmp_path: Path) -> None:
    new, final = tmp_path / "c.new", tmp_path / "c"
    _tree(new, "1")
    swap(new, final)
    assert (final / "index.json").read_text() == "1"
    _tree(new, "2")
    swap(new, final)
    assert (final / "index.json").read_text() == "2"
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_what_a_killed_swap_left_is_cleared(tmp_path: Path) -> None:
    new, final = tmp_path / "c.new", tmp_path / "c"
    _tree(new, "3")
    _tree(final, "2")
    _tree(tmp_path / "c.old", "1")
    swap(new, final)
    assert (final / "index.json").read_text() == "3"
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_without_a_new_cache_the_old_one_stays(tmp_path: Path) -> None:
    _tree(tmp_path / "c", "1")
    swap(tmp_path / "c.new", tmp_path / "c")
    assert (tmp_path / "c" / "index.json").read_text() == "1"


def test_a_swap_that_fails_keeps_the_old_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new, final = tmp_path / "c.new", tmp_path / "c"
    _tree(new, "2")
    _tree(final, "1")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self == new:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    swap(new, final)
    assert (final / "index.json").read_text() == "1"


def test_what_is_private_does_not_go_through_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("old")
    link = tmp_path / "link"
    link.symlink_to(outside)
    with pytest.raises(OSError, match="symbolic links"):
        files.append(link, "new\n")
    files.write_whole(link, "new", mode=files.PRIVATE)
    assert (outside.read_text(), link.read_text(), link.is_symlink()) == ("old", "new", False)
    assert stat.S_IMODE(link.stat().st_mode) == 0o600


def test_an_error_without_a_place_gets_one(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left") as caught, files.named(tmp_path / "x"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "x")


def test_files_are_all_written_or_none_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path in paths:
        path.write_text("old")
    wanted = dict.fromkeys((tmp_path / "none", *paths, tmp_path), b"new")
    replace = Path.replace

    def stops_at_b(self: Path, target: Path) -> Path:
        if target.name == "b":
            monkeypatch.undo()
            raise error
        return replace(self, target)

    for error in (OSError(errno.EPERM, "not permitted"), KeyboardInterrupt()):
        monkeypatch.setattr(Path, "replace", stops_at_b)
        if isinstance(error, OSError):
            failed = write_all(wanted)
            assert set(failed) == set(wanted)
            assert failed[paths[1]] is error
            why = f"{paths[1]} cannot be replaced (not permitted), so that all stay as they were"
            assert {failed[path].strerror for path in (paths[0], paths[2])} == {why}
        else:
            with pytest.raises(KeyboardInterrupt):
                write_all(wanted)
        assert [path.read_text() for path in paths] == ["old"] * 3
        assert sorted(tmp_path.iterdir()) == paths  # and nothing beside them
    assert set(write_all(wanted)) == {tmp_path / "none", tmp_path}  # what cannot be prepared costs no other
    assert [path.read_text() for path in paths] == ["new"] * 3
