"""Libraries with holes in archives that GNU tar itself wrote, in each of its ways."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from orchestrator.image.layers.scan import scan_layer
from tests.support import fatbins
from tests.support.engine import call

if TYPE_CHECKING:
    from pathlib import Path

WAYS = {
    "old": ("--format=gnu",),
    "0.0": ("--format=posix", "--sparse-version=0.0"),
    "0.1": ("--format=posix", "--sparse-version=0.1"),
    "1.0": ("--format=posix", "--sparse-version=1.0"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("holes", [1, 3, 30])
def test_gnu_tar_writes_what_is_read(way: str, holes: int, tmp_path: Path) -> None:
    library = fatbins.elf({".text": b"x" * 5000, ".nv_fatbin": fatbins.fatbin([["80"], ["90"]])})
    table = int.from_bytes(library[40:48], "little")
    gap = holes * 65536
    with (tmp_path / "lib.so").open("wb") as file:  # the section table behind holes, with a page of data after each
        file.write(library[:40] + (table + gap).to_bytes(8, "little") + library[48:table])
        for number in range(holes):
            file.seek(table + number * 65536 + 60000)
            file.write(b"data")
        file.seek(table + gap)
        file.write(library[table:])
    call("tar", "-C", tmp_path, "--sparse", "--hole-detection=raw", *WAYS[way], "-cf", tmp_path / "a.tar", "lib.so")
    archive = (tmp_path / "a.tar").read_bytes()
    assert len(archive) < (tmp_path / "lib.so").stat().st_size + 5000
    found = scan_layer(io.BytesIO(archive), len(archive)).code["lib.so"]
    assert (found.profiles, found.damage) == ({("80",): 1, ("90",): 1}, "")
    assert found.size == (tmp_path / "lib.so").stat().st_size
