"""What a context holds: equal on every machine, different for every change that reaches an image."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.cache import statcache
from orchestrator.cache.contents import Contents, Listing
from orchestrator.cache.statcache import StatCache

if TYPE_CHECKING:
    from collections.abc import Callable


def listing(root: Path, context: str = ".", *, ours: tuple[Path, ...] = (), dockerfile: str = "") -> Listing:
    return Contents(root=root, cache=StatCache(root.parent / "stat.json"), ours=ours).of(context, dockerfile=dockerfile)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    (top / "src").mkdir(parents=True)
    (top / "src" / "a.cu").write_text("a")
    (top / "src" / "run.sh").write_text("run")
    (top / "link").symlink_to("src")
    (top / ".git").mkdir()
    (top / ".git" / "HEAD").write_text("1")
    return top


def relink(path: Path) -> None:
    path.unlink()
    path.symlink_to("elsewhere")


def write_state(tree: Path) -> None:
    (tree / ".orchestrate").mkdir()
    (tree / ".orchestrate" / "x").write_text("x")


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda tree: (tree / "src" / "a.cu").write_text("b"),
    "executable": lambda tree: (tree / "src" / "a.cu").chmod(0o755),
    "new file": lambda tree: (tree / "b").write_text(""),
    "link": lambda tree: relink(tree / "link"),
    "name": lambda tree: (tree / "src" / "a.cu").rename(tree / "src" / "b.cu"),
    "a file becomes a link": lambda tree: relink(tree / "src" / "a.cu"),
    "ignored": lambda tree: (tree / ".dockerignore").write_text("src/a.cu"),
    "a pipe": lambda tree: os.mkfifo(tree / "pipe"),
}
SAME: dict[str, Callable[[Path], object]] = {
    "time": lambda tree: os.utime(tree / "src" / "a.cu", ns=(1, 1)),
    "other mode bits": lambda tree: (tree / "src" / "a.cu").chmod(0o664),
    "mode of a directory": lambda tree: (tree / "src").chmod(0o700),
    "an empty directory": lambda tree: (tree / "empty").mkdir(),
    "a commit": lambda tree: (tree / ".git" / "HEAD").write_text("22"),
    "no .git": lambda tree: shutil.rmtree(tree / ".git"),
    "our own state": write_state,
    "a socket": lambda tree: socket_at(tree / "socket"),
}


def socket_at(path: Path) -> None:
    os.mknod(path, 0o140600) if os.geteuid() == 0 else None


@pytest.mark.parametrize("change", list(CHANGES))
def test_a_change_is_seen(tree: Path, change: str) -> None:
    before = listing(tree).digest
    assert before == listing(tree).digest != ""
    CHANGES[change](tree)
    assert listing(tree).digest not in {before, ""}


@pytest.mark.parametrize("change", list(SAME))
def test_what_no_checkout_shares_is_not_in_the_digest(tree: Path, change: str) -> None:
    before = listing(tree).digest
    SAME[change](tree)
    assert listing(tree).digest == before != ""


def test_another_place_has_the_same_digest(tree: Path) -> None:
    other = tree.parent / "elsewhere"
    shutil.copytree(tree, other, symlinks=True)
    assert listing(other).digest == listing(tree).digest


def test_what_buildkit_sees_beyond_the_digest_is_kept(tree: Path) -> None:
    before = listing(tree)
    assert before.git
    assert not before.state
    (tree / ".git" / "HEAD").write_text("22")
    (tree / ".orchestrate").mkdir()
    after = listing(tree)
    assert after.git != before.git
    assert after.state
    (tree / ".dockerignore").write_text(".git\n.orchestrate\n")
    assert (listing(tree).git, listing(tree).state) == ("", False)


def test_what_a_run_writes_itself_is_left_out(tree: Path) -> None:
    before = listing(tree, ours=(tree / "report.json", tree / "out")).digest
    (tree / "report.json").write_text("{}")
    (tree / "out").mkdir()
    (tree / "out" / "a.tar").write_text("")
    assert listing(tree, ours=(tree / "report.json", tree / "out")).digest == before
    assert listing(tree).digest != before


def test_a_file_in_a_directory_that_is_left_out_brings_the_directory(tree: Path) -> None:
    (tree / ".dockerignore").write_text("*\n!src/a.cu")
    assert [entry.path for entry in listing(tree).entries] == ["src", "src/a.cu"]


def test_the_file_beside_the_dockerfile_replaces_the_other(tree: Path) -> None:
    (tree / ".dockerignore").write_text("src")
    (tree / "app.Dockerfile.dockerignore").write_text("link")
    found = listing(tree, dockerfile=f"{tree}/app.Dockerfile")
    assert "src/a.cu" in {entry.path for entry in found.entries}
    assert found.ignored_by == "app.Dockerfile.dockerignore"


@pytest.mark.parametrize(
    ("context", "text", "said"),
    [
        ("nowhere", "", "nowhere: No such file"),
        ("a\0b", "", "null"),
        (".", "[", ".dockerignore: '['"),
        ("f", "", "f: is"),
    ],
)
def test_a_content_that_cannot_be_known_says_why(tree: Path, context: str, text: str, said: str) -> None:
    (tree / "f").touch()
    (tree / ".dockerignore").write_text(text)
    found = listing(tree, context)
    assert found.digest == ""
    assert said in found.unknown


def test_names_that_are_no_text_are_told_apart(tree: Path) -> None:
    Path(os.fsdecode(os.fsencode(tree) + b"/\xff")).touch()
    before = listing(tree).digest
    Path(os.fsdecode(os.fsencode(tree) + b"/\xff")).rename(os.fsdecode(os.fsencode(tree) + b"/\xfe"))
    assert listing(tree).digest != before


def digests(tree: Path, state: Path) -> tuple[str, int]:
    cache = StatCache(state / "stat.json")
    found = Contents(root=tree, cache=cache).of(".").digest
    cache.save()
    return found, cache.read


def age(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the files' times be long ago: changes of them cannot be planted, so the rule's span is moved."""
    del tree
    monkeypatch.setattr(statcache, "_SETTLED_NS", -(10**12))


def test_settled_files_are_read_once(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    age(tree, monkeypatch)
    first, read = digests(tree, tmp_path / "state")
    assert read == 2
    assert digests(tree, tmp_path / "state") == (first, 0)
    (tree / "src" / "a.cu").write_text("b")
    second, read = digests(tree, tmp_path / "state")
    assert (second != first, read) == (True, 1)


def test_a_file_that_was_just_written_is_read_again(tree: Path, tmp_path: Path) -> None:
    """A second write in the same tick of the clock leaves size and times as they were."""
    first, _ = digests(tree, tmp_path / "state")
    assert digests(tree, tmp_path / "state") == (first, 2)


def test_a_time_that_was_set_back_hides_no_change(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    age(tree, monkeypatch)
    file = tree / "src" / "a.cu"
    found = file.stat()
    first, _ = digests(tree, tmp_path / "state")
    file.write_text("b")
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert digests(tree, tmp_path / "state")[0] != first


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1, "files": {"x": 1}}', '{"schema": 2, "files": {}}'])
def test_a_damaged_cache_counts_as_empty(tree: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "stat.json").write_text(text)
    assert digests(tree, tmp_path)[1] == 2


RESTORED: dict[str, Callable[[Path], object]] = {
    "a time of the past": lambda path: os.utime(path, ns=(1, 1)),
    "a time to come": lambda path: os.utime(path, ns=(4 * 10**18 + 7,) * 2),
    "a file that took its place": lambda path: replaced(path, path.stat().st_mtime_ns),
    "whole seconds": lambda path: os.utime(path, ns=(10**18, 10**18)),
}


def replaced(path: Path, at: int) -> None:
    time.sleep(0.02)  # no build reads a file as fast
    path.with_name("new").write_text("z")
    os.utime(path.with_name("new"), ns=(at, at))
    path.with_name("new").rename(path)


@pytest.mark.parametrize("change", list(RESTORED))
def test_files_whose_times_were_set_are_told_by_their_content(tree: Path, change: str) -> None:
    file = tree / "src" / "a.cu"
    file.write_text("a")
    while file.stat().st_mtime_ns % 10**9 == 0:  # one in a million
        file.write_text("a")
    settled = listing(tree)
    RESTORED[change](file)
    before = listing(tree)
    file.write_text("b")
    os.utime(file, ns=(10**18, 10**18))
    after = listing(tree)
    assert before.restored not in {"", settled.restored, after.restored}
    os.utime(file, ns=(3, 3))
    assert listing(tree).restored == after.restored


def test_a_file_keeps_the_time_of_its_writing(tree: Path) -> None:
    assert listing(tree).restored == ""
    (tree / "src" / "a.cu").write_text("b")
    assert listing(tree).restored == ""
