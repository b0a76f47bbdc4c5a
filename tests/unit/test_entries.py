"""Entries of bake's list attributes: written as buildx reads them, read as buildx prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.bake.cache import CachePolicy, entries
from orchestrator.bake.file import BakeFile
from orchestrator.bake.privileges import asks
from orchestrator.entries import entry, read_entry

if TYPE_CHECKING:
    from pathlib import Path

NAMES = st.from_regex(r"[a-z][a-z-]{0,8}", fullmatch=True)
VALUES = st.text(alphabet="ab/=, \"'{}$%é.", max_size=12)


@given(st.dictionaries(NAMES, VALUES, min_size=1, max_size=5))
def test_what_is_written_is_read_back(fields: dict[str, str]) -> None:
    assert read_entry(entry(fields)) == fields
    assert read_entry(dict(fields)) == fields


def test_a_switch_is_written_as_buildx_writes_it() -> None:
    assert read_entry({"type": "provenance", "disabled": True}) == {"type": "provenance", "disabled": "true"}


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ('type=oci,"dest=a,b/one.tar"', {"type": "oci", "dest": "a,b/one.tar"}),  # taken by buildx 0.29.1
        ('type=oci,"dest=q""x/two.tar"', {"type": "oci", "dest": 'q"x/two.tar'}),
        ("type=gha, scope=a", {"type": "gha", "scope": "a"}),
        ("type=inline", {"type": "inline"}),
        ("", {}),
        ('"', {}),
        (3, {}),
        (None, {}),
    ],
)
def test_entries_that_buildx_knows(text: object, fields: dict[str, str]) -> None:
    assert read_entry(text) == fields


def test_a_comma_in_a_directory_is_part_of_its_name(tmp_path: Path) -> None:
    there = str(tmp_path / "a,b")
    cache = entries(CachePolicy(backend="local", directory=there), read=("x",), write=("x",))
    target = {"cache-from": list(cache.read), "cache-to": list(cache.write)}
    root = tmp_path / "project"
    root.mkdir()
    found = asks(root, BakeFile(target="v", members={"v": target}))
    assert [ask.word for ask in found] == [f"fs.read={there}", f"fs.write={there}"]
