"""What a wheelhouse is asked to hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import UsageError
from orchestrator.wheels import asked

if TYPE_CHECKING:
    from pathlib import Path


def test_files_are_read_with_what_they_include(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.txt").write_text(
        "-r sub/b.txt\none==1 \\\n    --hash=sha256:00\n--extra-index-url https://e.test\n"
        "two>=2  # why\n./local\nhttps://e.test/x.whl\nthree[x]; python_version < '4'\n"
    )
    (tmp_path / "sub" / "b.txt").write_text("--constraint=c.txt\n-r ../a.txt\nfour\n")
    (tmp_path / "sub" / "c.txt").write_text("five<6\n")
    found = asked.read(tmp_path, ["a.txt"], ["six"])
    assert [str(one.name) for one in found.requirements()] == ["six", "one", "two", "three", "four"]
    assert found.files == (tmp_path / "a.txt",)
    before = found.digest
    assert asked.read(tmp_path, ["a.txt"], ["six"]).digest == before
    (tmp_path / "sub" / "c.txt").write_text("five<7\n")
    assert asked.read(tmp_path, ["a.txt"], ["six"]).digest != before
    assert asked.read(tmp_path, ["a.txt"], []).digest != found.digest


def test_a_package_is_not_a_file_of_the_same_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("six")
    assert asked.read(tmp_path, ["a.txt"], []).digest != asked.read(tmp_path, [], ["six"]).digest


@pytest.mark.parametrize(
    ("files", "packages", "said"),
    [
        (["none.txt"], [], "wheels.requirements: none.txt: the requirement file cannot be read: No such file"),
        (["loop"], [], "cannot be read: Is a directory"),
        (["bad.txt"], [], "bad.txt: gone.txt: the requirement file cannot be read"),
        ([], ["-r a.txt"], "wheels.packages: '-r a.txt' is invalid"),
        (["bytes.txt"], [], "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, files: list[str], packages: list[str], said: str) -> None:
    (tmp_path / "loop").mkdir()
    (tmp_path / "bad.txt").write_text("-r gone.txt")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00x")
    with pytest.raises(UsageError) as error:
        asked.read(tmp_path, files, packages)
    assert said in str(error.value)


def test_a_chain_of_files_ends(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number}.txt").write_text(f"-r {number + 1}.txt\n")
    with pytest.raises(UsageError, match="more than 200 requirement files"):
        asked.read(tmp_path, ["0.txt"], [])


def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("-r a\0b\n")
    for name in ("a\0b", "one.txt"):
        with pytest.raises(UsageError, match=r"the requirement file cannot be read: .*embedded null"):
            asked.read(tmp_path, [name], [])
