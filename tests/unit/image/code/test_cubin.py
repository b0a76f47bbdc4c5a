from __future__ import annotations

import contextlib
import os
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.image.code import cubin
from orchestrator.image.code.elf import DamagedFileError, Window
from tests.support import fatbins


@pytest.mark.parametrize("data", [b"a", b"abc" * 40, b"x" + b"\0" * 5000, os.urandom(300) + b"\7" * 300])
def test_lz4_blocks_come_back(data: bytes) -> None:
    assert cubin.unpack(fatbins.lz4(data) + bytes(5), "lz4", len(data)) == data


def test_lz4_copies_a_pattern_that_overlaps_itself() -> None:
    # three literals, then 9 bytes from 3 back, then 5 literals: abcabcabcabc + "tail!"
    block = b"\x35abc\x03\x00" + b"\x50tail!"
    assert cubin.unpack_lz4(block, 17) == b"abcabcabcabctail!"


@pytest.mark.parametrize("block", [b"", b"\xf0", b"\x30ab", b"\x10a\x05\x00", b"\x10a\x00\x00", b"\xff" + b"\xff" * 50])
def test_lz4_damage_is_an_error(block: bytes) -> None:
    with pytest.raises(DamagedFileError):
        cubin.unpack(block, "lz4", 4000)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 5000))
def test_lz4_never_gives_more_than_was_asked_for(block: bytes, size: int) -> None:
    with contextlib.suppress(DamagedFileError):
        assert len(cubin.unpack(block, "lz4", size)) == size


def test_zstd_is_bounded_by_the_size_that_the_entry_names() -> None:
    import zstandard

    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 24))
    silent = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1 << 24))
    for packed in (bomb, silent, b"\x28\xb5\x2f\xfd garbage", b"nothing"):
        with pytest.raises(DamagedFileError):
            cubin.unpack(packed, "zstd", 1000)
    assert cubin.unpack(zstandard.ZstdCompressor().compress(b"abc") + bytes(5), "zstd", 3) == b"abc"


def test_a_cubin_without_instructions_is_empty() -> None:
    assert not cubin.is_empty(fatbins.cubin())
    assert cubin.is_empty(fatbins.cubin({".nv.info": b"1234"}))
    assert cubin.is_empty(fatbins.cubin({".text.kernel": b""}))
    assert cubin.kernel_names(fatbins.cubin({".text.a": b"1", ".text.b": b"1", ".text.c": b"", ".data": b"1"})) == {
        "a",
        "b",
    }


def note(command: str) -> bytes:
    return struct.pack("<III", 8, len(command), 2) + b"NVIDIA\0\0" + command.encode()


@pytest.mark.parametrize(
    ("abi", "flags", "sections", "expected"),
    [
        ((0x33, 7), 0x5A055A, {}, (90, "")),
        ((0x33, 7), 0x5A0D5A, {}, (90, "a")),
        ((0x41, 8), 0x600640A, {}, (100, "a")),
        ((0x41, 8), 0x6006402, {}, (100, "")),
        ((0x41, 8), 0x6005A04, {".nv.compat": b"\x02\x09\x01\x00"}, (90, "a")),
        ((0x41, 8), 0x6005A04, {".nv.compat": b"\x02\x09\x00\x00"}, (90, "")),
        ((0x41, 8), 0x6006402, {".note.nv.tkinfo": note("-arch sm_100f -m 64")}, (100, "f")),
        ((0x41, 8), 0x6006E02, {".note.nv.tkinfo": note("ptxas -arch=sm_110 x")}, (110, "")),
    ],
)  # fmt: skip
def test_a_bare_cubin_says_its_architecture(
    abi: tuple[int, int], flags: int, sections: dict[str, bytes], expected: tuple[int, str]
) -> None:
    data = fatbins.elf(sections, machine=190, abi=abi, flags=flags)
    assert cubin.bare_architecture(Window(data)) == expected


def test_a_host_library_is_no_bare_cubin() -> None:
    assert cubin.bare_architecture(Window(fatbins.library([["80"]]))) is None
