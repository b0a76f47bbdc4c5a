from __future__ import annotations

import contextlib
import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.image.code import cubin, lz4_block
from orchestrator.image.code.elf import DamagedFileError, Window
from orchestrator.image.code.fatbin import DeviceImage, Kind
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


def section(kind: int, offset: int, size: int, *, flags: int = 0, link: int = 0) -> bytes:
    return struct.pack("<IIQQQQIIQQ", 0, kind, flags, 0, offset, size, link, 0, 0, 0)


def symbol(*, name: int = 1, info: int = 0x12, other: int = 0x10, index: int = 3) -> bytes:
    return struct.pack("<IBBHQQ", name, info, other, index, 0, 128)


STRINGS = b"\0first\0second\0"
SYMBOLS_AT, TABLE_AT = 80, 200


def laid_out(*symbols: bytes, rows: dict[int, bytes] | None = None, table: int = TABLE_AT, count: int = 4) -> bytes:
    """A cubin: names at 64, symbols at 80, and at 200 a table of an empty row, names, symbols and instructions."""
    head = struct.pack(
        "<4sBBBBB7xHHIQQQIHHHHHH",
        b"\x7fELF", 2, 1, 1, 0x41, 8, 2, 190, 1, 0, 0, table, 0x6005A02, 64, 0, 0, 64, count, 1,
    )  # fmt: skip
    whole = {
        0: section(0, 0, 0), 1: section(3, 64, len(STRINGS)),
        2: section(2, SYMBOLS_AT, 24 * len(symbols), link=1), 3: section(1, 64, 8, flags=6),
    }  # fmt: skip
    body = (head + STRINGS).ljust(SYMBOLS_AT, b"\0") + b"".join(symbols)
    return body.ljust(TABLE_AT, b"\0") + b"".join((whole | (rows or {})).values())


@pytest.mark.parametrize(
    ("symbols", "names"),
    [
        ([symbol()], {"first"}),
        ([symbol(), symbol(name=7)], {"first", "second"}),
        ([symbol(name=2)], {"irst"}),
        ([symbol(info=0x22)], {"first"}),  # weak
        ([symbol(info=0x11)], set()),  # an object
        ([symbol(info=0x13)], set()),  # a section
        ([symbol(other=0)], set()),
        ([symbol(other=0x12)], {"first"}),
        ([symbol(other=0x30)], {"first"}),
        ([symbol(other=0x20)], set()),
        ([symbol(index=1)], set()),  # of no instructions
        ([symbol(index=4)], set()),
        ([symbol(index=0xFFF1)], set()),
        ([symbol(other=0), symbol(name=7)], {"second"}),
        ([], set()),
    ],
)
def test_which_symbols_are_kernels(symbols: list[bytes], names: set[str]) -> None:
    data = laid_out(*symbols)
    assert cubin.kernel_names(data) == names
    assert holds(data) is bool(names)


@pytest.mark.parametrize(
    ("instructions", "kernel"),
    [
        (section(1, 64, 8, flags=6), True), (section(1, 64, 8, flags=4), True), (section(1, 64, 8, flags=2), False),
        (section(1, 64, 0, flags=6), False), (section(8, 64, 8, flags=6), False), (section(7, 64, 8, flags=6), True),
    ],
)  # fmt: skip
def test_which_sections_hold_instructions(instructions: bytes, kernel: bool) -> None:
    assert holds(laid_out(symbol(), rows={3: instructions})) is kernel


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({2: section(2, SYMBOLS_AT, 1 << 20, link=1)}, "the symbol table of a cubin lies outside it"),
        ({2: section(2, SYMBOLS_AT, 377, link=1)}, "the symbol table of a cubin lies outside it"),
        ({2: section(2, 1 << 40, 24, link=1)}, "the symbol table of a cubin lies outside it"),
        ({2: section(2, SYMBOLS_AT, 24, link=4)}, "the symbol table of a cubin lies outside it"),
    ],
)
def test_symbols_that_lie_outside(rows: dict[int, bytes], said: str) -> None:
    assert len(laid_out(symbol())) == SYMBOLS_AT + 376
    with pytest.raises(DamagedFileError, match=said):
        holds(laid_out(symbol(), rows=rows))
    assert not holds(laid_out(symbol(other=0), rows={2: section(2, SYMBOLS_AT, 376, link=1)}))
    assert not holds(laid_out(symbol(), rows={2: section(258, 1 << 40, 24, link=1)})), "no symbol table"
    assert not holds(laid_out(symbol(), rows={2: section(2, SYMBOLS_AT, 23, link=1)})), "no whole symbol"


@pytest.mark.parametrize(
    ("table", "count", "said"),
    [
        (1 << 40, 4, "ELF section table lies outside the file"),
        (456 - 63, 4, "ELF section table lies outside the file"),
        (TABLE_AT, 5, "ELF section table is cut off"),
        (456, 0, "ELF section table lies outside the file"),
    ],
)
def test_a_table_that_does_not_fit(table: int, count: int, said: str) -> None:
    with pytest.raises(DamagedFileError, match=said):
        holds(laid_out(symbol(), table=table, count=count))
    assert not holds(laid_out(symbol(), table=0))
    counted = laid_out(symbol(), rows={0: section(0, 0, 4)}, count=0)
    assert cubin.kernel_names(counted) == {"first"}


def test_where_the_symbols_and_the_table_end() -> None:
    data = laid_out(symbol())
    assert cubin.table_end(data[:64]) == TABLE_AT + 4 * 64 == len(data)
    assert cubin.table_end(laid_out(symbol(), count=0)[:64]) == 0
    assert cubin.table_end(b"no cubin") == 0
    assert cubin.symbols_end(Window(data)) == len(data)
    behind = laid_out(symbol(), rows={2: section(2, 456, 44, link=1)}) + bytes(44)
    assert cubin.symbols_end(Window(behind)) == 500
    assert cubin.symbols_end(Window(laid_out(rows={3: section(1, 456, 44)}) + bytes(44))) == 456
    with pytest.raises(DamagedFileError, match="a section of a cubin lies outside it"):
        cubin.symbols_end(Window(laid_out(rows={3: section(1, 456, 1)})))
    for kind in (0, 8):
        assert cubin.symbols_end(Window(laid_out(rows={3: section(kind, 456, 1)}))) == 456
    with pytest.raises(DamagedFileError, match="a cubin is not an ELF file for CUDA"):
        cubin.symbols_end(Window(b"no cubin"))
    start = cubin.Start([data[:400], data[400:]], 1000)
    assert (start.size, start.read_at(390, 20), start.read_at(450, 99)) == (1000, data[390:410], data[450:])


@pytest.mark.parametrize("data", [b"", b"no cubin", fatbins.elf({}, machine=62)])
def test_what_is_no_cubin_is_refused(data: bytes) -> None:
    for read in (holds, lambda data: cubin.bare_architecture(Window(data)), cubin.kernel_names):
        with pytest.raises(DamagedFileError, match="a cubin is not an ELF file for CUDA"):
            read(data)


def image(sm: int, suffix: str = "") -> DeviceImage:
    return DeviceImage(
        kind=Kind.SASS, sm=sm, suffix=suffix, isa=(1, 8), payload=64, stored=8, size=8, compression=""
    )  # fmt: skip


@pytest.mark.parametrize(
    ("abi", "flags", "sm", "suffix", "said"),
    [
        ((0x33, 7), 0x5A055A, 90, "", ""),
        ((0x33, 7), 0x5A055A, 90, "a", ""),
        ((0x33, 7), 0x5A055A, 89, "", "a cubin for sm_90 stands where one for sm_89 must be"),
        ((0x33, 7), 0x5A0D5A, 90, "a", ""),
        ((0x33, 7), 0x5A0D5A, 90, "", "a cubin for sm_90a stands where one for sm_90 must be"),
        ((0x33, 7), 0x5A0D5A, 90, "f", "a cubin for sm_90a stands where one for sm_90f must be"),
        ((0x33, 8), 0x5A0D5A, 13, "a", ""),
        ((0x41, 8), 0x6006402, 100, "f", ""),
        ((0x41, 8), 0x600640A, 100, "a", ""),
        ((0x41, 8), 0x600640A, 100, "", "a cubin for sm_100a stands where one for sm_100 must be"),
        ((0x41, 7), 0x6006402, 103, "a", "a cubin for sm_100 stands where one for sm_103a must be"),
    ],
)
def test_a_cubin_is_for_what_its_entry_says(
    abi: tuple[int, int], flags: int, sm: int, suffix: str, said: str
) -> None:  # fmt: skip
    head = fatbins.elf({}, machine=190, abi=abi, flags=flags)[:64]
    if not said:
        cubin.require_architecture(head, image(sm, suffix))
        return
    with pytest.raises(DamagedFileError, match=f"^{said}$"):
        cubin.require_architecture(head, image(sm, suffix))


@pytest.mark.parametrize("head", [b"", b"\x7fEL", fatbins.elf({}, machine=62)[:64]])
def test_an_entry_that_holds_no_cubin(head: bytes) -> None:
    with pytest.raises(DamagedFileError, match="a cubin is not an ELF file for CUDA"):
        cubin.require_architecture(head, image(90))


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({".note.nv.tkinfo": b"-arch sm_100a"}, (100, "a")),
        ({".note.nv.tkinfo": b"-arch   sm_100"}, (100, "")),
        ({".note.nv.tkinfo": b"-arch=sm_103f\0more"}, (103, "f")),
        ({".note.nv.tkinfo": b"-arch sm_100ab"}, (90, "")),
        ({".note.nv.tkinfo": b"-march compute_100"}, (90, "")),
        ({".note.nv.tkinfo": b"x" * 65_523 + b"-arch sm_100a"}, (100, "a")),
        ({".note.nv.tkinfo": b"x" * 65_524 + b"-arch sm_100a"}, (100, "")),
        ({".note.nv.tkinfo": b"x" * 65_536 + b"-arch sm_100a"}, (90, "")),
        ({".nv.tkinfo": b"-arch sm_100a"}, (90, "")),
        ({".nv.compat": b"\x02\x09\x01\xff"}, (90, "a")),
        ({".nv.compat": b"\x02\x08\x01\0" + b"\x02\x09\x01\0"}, (90, "a")),
        ({".nv.compat": b"\0\x02\x09\x01"}, (90, "")),
        ({".nv.compat": b"\x02\x09\x01"}, (90, "")),
        ({".nv.compat": b"\x03\x09\x01\0"}, (90, "")),
        ({".nv.compat": bytes(4092) + b"\x02\x09\x01\0"}, (90, "a")),
        ({".nv.compat": bytes(4096) + b"\x02\x09\x01\0"}, (90, "")),
    ],
)
def test_where_a_bare_cubin_says_its_architecture(sections: dict[str, bytes], expected: tuple[int, str]) -> None:
    data = fatbins.elf(sections, machine=190, abi=(0x41, 8), flags=0x6005A02)
    assert cubin.bare_architecture(Window(data)) == expected


def test_what_does_not_unpack_is_named() -> None:
    import zstandard

    packed = zstandard.ZstdCompressor().compress(b"abc")
    assert cubin.unpack(b"as it is", "", 3) == b"as it is"
    for data, packing, size, said in (
        (packed, "zstd", 4, "zstd image unpacks to 3 bytes, expected 4"),
        (packed, "zstd", 2, "zstd image unpacks to more than the 2 bytes expected"),
        (b"no zstd", "zstd", 2, "zstd image: "),
        (fatbins.lz4(b"abc"), "lz4", 4, "lz4"),
    ):
        with pytest.raises(DamagedFileError, match=said):
            cubin.unpack(data, packing, size)
    data = os.urandom(cubin.PIECE)
    assert list(cubin.Unpacker().pieces(zstandard.compress(data), "zstd", len(data))) == [data]
    more = zstandard.compress(data + b"x")
    assert list(cubin.Unpacker().pieces(more, "zstd", len(data) + 1)) == [data, b"x"]
    for size in (len(data) + 2, len(data)):
        with pytest.raises(DamagedFileError, match="zstd image"):
            list(cubin.Unpacker().pieces(more, "zstd", size))
    left = cubin.Stored(lambda count: b"x" * count, 7)
    assert (left.read(3), left.read(0), left.read(9), left.read()) == (b"xxx", b"", b"xxxx", b"")
    assert cubin.Stored(lambda count: b"x" * count, 7).read() == b"x" * 7
    assert list(cubin.Unpacker().pieces(cubin.Stored(lambda count: b"y" * count, 3), "", 3)) == [b"yyy"]
