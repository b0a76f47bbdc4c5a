from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import pytest

from orchestrator.drift.files import Files, UnreadableError, outside, read_text, walk

if TYPE_CHECKING:
    from pathlib import Path

NAMES = (
    "Dockerfile", "Dockerfile.cpu", "docker/Dockerfile", "docker/a/b/Dockerfile", "docker/x.hcl", ".buildkite/p.yaml",
    "build/c.sh", "a+b/c.sh", "a[1]/c.sh",
)  # fmt: skip
FOREIGN = (
    ".git/Dockerfile",
    "node_modules/x/Dockerfile",
    ".orchestrate/runs/a.json",
    "env/pyvenv.cfg",
    "env/lib/Dockerfile",
    "o/CMakeCache.txt",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (*NAMES, *FOREIGN):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "Dockerfile")
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("Dockerfile", ["Dockerfile"]),
        ("Dockerfile*", ["Dockerfile", "Dockerfile.cpu"]),
        ("**/Dockerfile", ["Dockerfile", "docker/Dockerfile", "docker/a/b/Dockerfile"]),
        ("docker/**/Dockerfile", ["docker/Dockerfile", "docker/a/b/Dockerfile"]),
        ("docker/*", ["docker/Dockerfile", "docker/x.hcl"]),
        ("docker/**", ["docker/Dockerfile", "docker/a/b/Dockerfile", "docker/x.hcl"]),
        ("docker/?.hcl", ["docker/x.hcl"]),
        ("docker/[w-z].hcl", ["docker/x.hcl"]),
        ("docker/[!x].hcl", []),
        ("**/*.sh", ["a+b/c.sh", "a[1]/c.sh", "build/c.sh"]),
        ("a+b/*.sh", ["a+b/c.sh"]),
        ("a[[]1]/*.sh", ["a[1]/c.sh"]),
        (".buildkite/*.yaml", [".buildkite/p.yaml"]),
        ("missing/**", []),
        ("docker", []),
        ("lin*", []),
    ],
)
def test_names(root: Path, pattern: str, names: list[str]) -> None:
    assert Files(root=root).names(pattern) == names


def test_a_walk_leaves_out_what_is_no_projects_own(root: Path) -> None:
    assert {path.relative_to(root).as_posix() for path in walk(root)} == set(NAMES)


@pytest.mark.parametrize("pattern", ["*", "*.sh", "?.sh", "[ab]*", "[!a]*"])
def test_one_name_matches_as_fnmatch_says(tmp_path: Path, pattern: str) -> None:
    names = ["a.sh", "b", "ab.sh", "c.sh", "x+y", "(z)"]
    for name in names:
        (tmp_path / name).touch()
    assert Files(root=tmp_path).names(pattern) == sorted(name for name in names if fnmatchcase(name, pattern))


@pytest.mark.parametrize(
    ("path", "leads_out"), [("a/b", False), ("../a", True), ("a/../../b", True), ("/a", True), ("a\0b", True)]
)
def test_outside(path: str, leads_out: bool) -> None:
    assert outside(path) is leads_out


def test_every_byte_is_kept(tmp_path: Path) -> None:
    raw = b"\xef\xbb\xbfcaf\xe9\r\n\n\rend"
    (tmp_path / "f").write_bytes(raw)
    assert read_text(tmp_path / "f").encode("utf-8", "surrogateescape") == raw
    with pytest.raises(UnreadableError, match="cannot be read"):
        read_text(tmp_path / "missing")


def test_an_overlay_stands_for_the_disk(root: Path) -> None:
    assert Files(root=root, overlay={"Dockerfile": "y"}).read("Dockerfile").text == "y"
