from __future__ import annotations

import contextlib
import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.image.code import cubin, lz4_block
from orchestrator.image.code.elf import DamagedFileError, Window
from tests.support import fatbins
from tests.support.generated import examples


@pytest.mark.parametrize("data", [b"a", b"abc" * 40, b"x" + b"\0" * 5000, os.urandom(300) + b"\7" * 300])
def test_lz4_blocks_come_back(data: bytes) -> None:
    assert cubin.unpack(fatbins.lz4(data), "lz4", len(data)) == data
    assert lz4_block.unpack_lz4_slowly(fatbins.lz4(data) + bytes(5), len(data)) == data


def test_lz4_copies_a_pattern_that_overlaps_itself() -> None:
    # three literals, then 9 bytes from 3 back, then 5 literals: abcabcabcabc + "tail!"
    block = b"\x35abc\x03\x00" + b"\x50tail!"
    assert lz4_block.unpack_lz4_slowly(block, 17) == b"abcabcabcabctail!"
    assert lz4_block.unpack_lz4(block, 17) == b"abcabcabcabctail!"


@examples(60)
@given(st.binary(max_size=3000), st.integers(1, 5))
def test_both_lz4_readers_agree_with_the_compressor(data: bytes, times: int) -> None:
    block = pytest.importorskip("lz4.block")
    whole = data * times
    packed = block.compress(whole, store_size=False)
    assert lz4_block.unpack_lz4(packed, len(whole)) == lz4_block.unpack_lz4_slowly(packed, len(whole)) == whole


@pytest.mark.parametrize("block", [b"", b"\xf0", b"\x30ab", b"\x10a\x05\x00", b"\x10a\x00\x00", b"\xff" + b"\xff" * 50])
def test_lz4_damage_is_an_error(block: bytes) -> None:
    with pytest.raises(DamagedFileError):
        cubin.unpack(block, "lz4", 4000)


@examples(60)
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


def holds(data: bytes) -> bool:
    return cubin.holds_kernel(Window(data))


def test_a_cubin_without_a_kernel_is_known_by_its_symbols() -> None:
    table = {".nv.constant3": os.urandom(40_000), ".nv.global": bytes(9000)}
    assert holds(fatbins.cubin())
    assert not holds(fatbins.cubin(table))
    assert not holds(fatbins.cubin({".text.kernel": b"", **table}))
    assert not holds(fatbins.cubin({".text.helper": b"1" * 128}, functions=["helper"]))
    assert holds(fatbins.cubin({".text.helper": b"1" * 128, ".text.k": b"1" * 128}, functions=["helper"]))
    assert cubin.kernel_names(
        fatbins.cubin({".text.a": b"1", ".text.b": b"1", ".text.c": b"", ".text.d": b"1", ".data": b"1"}, functions="d")
    ) == {"a", "b"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b".version 9.0\n.visible .entry k(\n)", True),
        (b".version 9.0\n.weak .entry\tk()", True),
        (b".version 9.0\n.visible .func f()", False),
        (b"// .entry k\n.visible .func f()", False),
        (b"/* .visible\n.entry k */ .func f()", False),
        (b"/* a */ .entry k()", True),
        (b'.file 1 "a .entry b"\n.func f()', False),
        (b"// .entry x\n.entry k()", True),
        (b".visible .func .entry_point()", False),
        (b".version 9.0\n.extern .entry k();", False),
        (b".extern // c\n .entry k();\n.visible .func f()", False),
        (b".extern /* .visible */ .entry k();", False),
        (b".extern .entry k();\n.entry l()", True),
        (b".extern .func f;\n.entry l()", True),
        (b".entry/**/k()", True),
        (b'.pragma "\n.entry k()', True),
        (b"//\n// a\n\n.entry k()", True),
        (b".extern // .visible\n// b\n\n.entry k();", False),
        (b".extern .entry j();\n// .entry i()\n.entry k()", True),
        (b".external .entry k()", True),
        (b".extern.entry k()", True),
        (b".extern .ent .entry k()", True),
        (b"/* .extern */ .entry k()", True),
        (b'.file 1 ".extern \n.entry k()', True),
    ],
)
def test_ptx_holds_a_kernel_where_it_has_an_entry(text: bytes, expected: bool) -> None:
    assert cubin.holds_entry(text) is expected


@pytest.mark.parametrize("start", [b"//\n.entry k() {}", b'.pragma "a"; .entry k() {}', b"/* a */.entry k() {}"])
def test_ptx_with_much_behind_its_first_kernels_is_read_up_to_there(
    monkeypatch: pytest.MonkeyPatch, start: bytes
) -> None:
    read: list[int] = []
    defines = cubin._defines_entry

    def counted(ptx: bytes) -> bool:
        read.append(len(ptx))
        return defines(ptx)

    monkeypatch.setattr(cubin, "_defines_entry", counted)
    assert cubin.holds_entry(start + b"\n// c\n.entry l()\n" * 20_000)
    assert len(read) == 1
    assert read[0] < 100


def test_an_image_is_unpacked_no_further_than_needed() -> None:
    import zstandard

    data = os.urandom(300_000) + bytes(3 << 20)
    whole, silent = (zstandard.ZstdCompressor(write_content_size=said).compress(data) for said in (True, False))
    for packed in (whole, silent):
        pieces = list(cubin.Unpacker().pieces(packed, "zstd", len(data)))
        assert {len(piece) for piece in pieces[:-1]} == {cubin.PIECE}
        assert b"".join(pieces) == data
        for size in (len(data) - 1, len(data) + 1):
            with pytest.raises(DamagedFileError, match="zstd image"):
                list(cubin.Unpacker().pieces(packed, "zstd", size))
    with pytest.raises(DamagedFileError, match="zstd image"):
        list(cubin.Unpacker().pieces(whole[:-900], "zstd", len(data)))
    assert list(cubin.Unpacker().pieces(b"as it is", "", 8)) == [b"as it is"]


@examples(100)
@given(st.binary(max_size=60), st.integers(1, 9), st.integers(0, 70), st.integers(0, 70))
def test_pieces_are_read_as_one_file(data: bytes, step: int, offset: int, count: int) -> None:
    pieces = cubin.Pieces([data[at : at + step] for at in range(0, len(data), step)] or [b""])
    assert pieces.size == len(data)
    assert pieces.read_at(offset, count) == data[offset : offset + count]


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
    with pytest.raises(DamagedFileError, match="not an ELF file for CUDA"):
        cubin.bare_architecture(Window(fatbins.library([["80"]])))
