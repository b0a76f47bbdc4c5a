"""Whether a variant's inputs are those of before."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from orchestrator.runs import fingerprints
from orchestrator.runs.fingerprints import STATE, Fingerprints

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def of(root: Path, context: str = ".", *, ours: tuple[Path, ...] = ()) -> str:
    return Fingerprints(root, ours=ours).of(context)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.cu").write_text("a")
    (tmp_path / "link").symlink_to("src")
    return tmp_path


def relink(path: Path) -> None:
    path.unlink()
    path.symlink_to("elsewhere")


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda tree: (tree / "src" / "a.cu").write_text("ab"),
    "mode": lambda tree: (tree / "src" / "a.cu").chmod(0o700),
    "time": lambda tree: os.utime(tree / "src" / "a.cu", ns=(1, 1)),
    "new file": lambda tree: (tree / "b").write_text(""),
    "new empty directory": lambda tree: (tree / "empty").mkdir(),
    "mode of a directory": lambda tree: (tree / "src").chmod(0o700),
    "a link to a directory leads elsewhere": lambda tree: relink(tree / "link"),
    "name": lambda tree: (tree / "src" / "a.cu").rename(tree / "src" / "b.cu"),
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_a_change_is_seen(tree: Path, change: str) -> None:
    before = of(tree)
    assert before == of(tree) != ""
    CHANGES[change](tree)
    assert of(tree) != before


def test_names_that_are_no_text_are_told_apart(tree: Path) -> None:
    name = os.fsencode(tree) + b"/\xff"
    with open(name, "w"):  # noqa: PTH123 - a Path cannot be made of bytes
        pass
    os.utime(name, ns=(1, 1))
    before = of(tree)
    os.rename(name, os.fsencode(tree) + b"/\xfe")  # noqa: PTH104 - as above
    assert of(tree) != before


def test_what_the_run_writes_itself_is_no_input(tree: Path) -> None:
    report, archives = tree / "report.json", tree / "out"
    before = of(tree, ours=(report, archives))
    report.write_text("{}")
    archives.mkdir()
    (archives / "a.tar").write_text("")
    (tree / STATE).mkdir()
    (tree / ".git").mkdir()
    assert of(tree, ours=(report, archives)) == before
    assert of(tree) != before


@pytest.mark.parametrize(
    "context", ["https://github.com/a/b.git", "git@github.com:a/b.git", "target:base", "nowhere", "src/a.cu", "a\0b"]
)
def test_what_cannot_be_seen_has_none(tree: Path, context: str) -> None:
    assert of(tree, context) == ""


def test_images_are_known_by_name_and_layouts_by_content(tree: Path) -> None:
    assert of(tree, "docker-image://debian:12") == "docker-image://debian:12"
    pinned = "oci-layout://src@sha256:" + "a" * 64
    assert of(tree, pinned) == pinned
    assert of(tree, "oci-layout://src") == of(tree, "oci-layout://src:tag") == of(tree, "src")
    before = of(tree, "oci-layout://src")
    (tree / "src" / "index.json").write_text("{}")
    assert of(tree, "oci-layout://src") != before


def test_a_tree_that_is_too_large_has_none(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "_MOST_FILES", 2)
    assert of(tree) == ""
