"""Deep or not, a file or a stream: one table for every input, the contradictory ones included."""

from __future__ import annotations

import io
import random
import struct
from typing import TYPE_CHECKING

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cuda.arch import parse_list
from orchestrator.image.code.cubin import PIECE, holds_kernel
from orchestrator.image.code.elf import Window
from orchestrator.image.code.fatbin import DeviceImage, Kind
from orchestrator.image.code.forward import Forward
from orchestrator.image.code.opened import Opener
from orchestrator.image.code.reader import read_file
from orchestrator.image.code.stream import scan
from orchestrator.image.layers.merge import Files
from orchestrator.image.verdict.policy import Policy
from orchestrator.image.verdict.scanned import Scanned
from orchestrator.image.verdict.verify import verdict
from tests.support import fatbins
from tests.support.generated import examples

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.image.code.library import FileCode

LARGE = fatbins.cubin({".text.kernel": b"1" * 128, ".nv.constant3": bytes(400_000)})
"""More than is judged by its section table alone."""


ASSEMBLED_TEXT = random.Random(13).randbytes(700_000)


def assembled(text: bytes = ASSEMBLED_TEXT, name: int = 3000) -> bytes:
    """A cubin as cuBLAS was assembled: the section table first, the names (a kernel's at `name`) behind the symbols."""
    names = b"\0.text.kernel\0.symtab\0.strtab\0.shstrtab\0"
    symbols = bytes(24) + struct.pack("<IBBHQQ", 0, 3, 0, 1, 0, 0)
    words = b"\0" + b"n" * name + b"\0kernel\0"
    symbols += struct.pack("<IBBHQQ", name + 2, 0x12, 0x10, 1, 0, len(text))
    rows = [bytes(64)]
    parts = ((1, 2, symbols, 14, 3), (1, 3, words, 22, 0), (1, 3, names, 30, 0))
    at = 64 + 5 * 64
    places = []
    for _, _, content, _, _ in parts:
        places.append(at)
        at += len(content)
    rows.append(struct.pack("<IIQQQQIIQQ", 1, 1, 6, 0, at, len(text), 0, 0, 16, 0))
    for place, (_, kind, content, called, link) in zip(places, parts, strict=True):
        rows.append(struct.pack("<IIQQQQIIQQ", called, kind, 0, 0, place, len(content), link, 0, 1, 0))
    head = struct.pack(
        "<4sBBBBB7xHHIQQQIHHHHHH",
        b"\x7fELF", 2, 1, 1, 0x41, 8, 2, 190, 1, 0, 0, 64, 0x6000002 | 90 << 8, 64, 0, 0, 64, len(rows), len(rows) - 1,
    )  # fmt: skip
    return head + b"".join(rows) + symbols + words + names + text


def row(data: bytes, name: str) -> int:
    """Where the entry of a section stands in the section table of a file."""
    table, count = struct.unpack_from("<Q", data, 0x28)[0], struct.unpack_from("<H", data, 0x3C)[0]
    names = struct.unpack_from("<Q", data, table + (count - 1) * 64 + 24)[0]
    for at in range(table, table + count * 64, 64):
        start = names + struct.unpack_from("<I", data, at)[0]
        if data[start : data.index(b"\0", start)] == name.encode():
            return int(at)
    raise AssertionError(name)


def patched(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


def no_bytes(data: bytes) -> bytes:
    return patched(data, row(data, ".text.kernel") + 32, bytes(8))


def no_instructions(data: bytes) -> bytes:
    return patched(data, row(data, ".text.kernel") + 8, bytes(8))


def no_content(data: bytes) -> bytes:
    return patched(data, row(data, ".text.kernel") + 4, struct.pack("<I", 8))


def no_table(data: bytes) -> bytes:
    return patched(data, 0x28, struct.pack("<Q", len(data) + 5))


def no_symbols(data: bytes) -> bytes:
    return patched(data, row(data, ".symtab") + 4, struct.pack("<I", 1))


DAMAGES = (no_bytes, no_instructions, no_content, no_table, no_symbols)


def library(cubin: bytes, packing: str = "zstd", sm: str = "90") -> bytes:
    return fatbins.elf({".nv_fatbin": fatbins.container(fatbins.entry(sm, cubin, packing=packing))})


def table(found: FileCode | None) -> object:
    return found and (found.profiles, found.empty, found.images, found.stored, bool(found.damage))


def tables(data: bytes, step: int = 1 << 20) -> list[object]:
    def stream() -> Forward:
        return Forward(iter([data[at : at + step] for at in range(0, len(data), step)]))

    ways = (
        read_file(data),
        read_file(data, deep=True),
        scan(stream(), len(data)),
        scan(stream(), len(data), deep=True),
    )
    return [table(one) for one in ways]


def problems(data: bytes, *, deep: bool) -> list[str]:
    found = read_file(data, deep=deep)
    assert found is not None
    scanned = Scanned(source="lib.so", files=Files(code={"lib.so": found}))
    return [str(one) for one in verdict(scanned, parse_list("9.0"), Policy()).problems]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_contradiction_behind_the_symbols_gives_one_table_and_a_doubt(damage: Callable[[bytes], bytes]) -> None:
    data = library(damage(LARGE))
    first, *others = tables(data)
    assert others == [first] * 3
    assert problems(data, deep=False) == []
    (problem,) = problems(data, deep=True)
    assert problem.startswith("lib.so: sm_90: the ")


@pytest.mark.parametrize("packing", ["", "lz4"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_unpacked_whole_is_judged_by_its_section_table(damage: Callable[[bytes], bytes], packing: str) -> None:
    first, *others = tables(library(damage(LARGE), packing))
    assert others == [first] * 3
    for data in (library(damage(LARGE), packing), library(damage(fatbins.cubin()))):
        assert problems(data, deep=False) == problems(data, deep=True) != []


def test_damage_behind_the_first_kernel_is_a_doubt_and_no_other_table() -> None:
    packed = zstandard.ZstdCompressor().compress(LARGE)
    entry = fatbins.entry("90", LARGE, packing="zstd")
    broken = entry.replace(packed, packed[:-9] + b"\xff" * 9)
    assert broken != entry
    data = fatbins.elf({".nv_fatbin": fatbins.container(broken)})
    first, *others = tables(data)
    assert others == [first] * 3
    assert problems(data, deep=False) == []
    assert "damaged behind its first kernel" in problems(data, deep=True)[0]


def opened(data: bytes, *, first: bool) -> tuple[bool, int]:
    """Whether a packed cubin shows a kernel, and how many of its packed bytes were read to know."""
    packed = io.BytesIO(zstandard.ZstdCompressor().compress(data))
    size = len(packed.getvalue())
    image = DeviceImage(Kind.SASS, 90, "", "zstd", size, len(data), (0, 0), 0)
    opener = Opener()
    shows = opener.shows_kernel(image, packed.read) if first else opener.open(image, packed.read).kernel
    return shows, packed.tell()


def test_tables_that_come_first_are_read_and_no_more() -> None:
    data = assembled()
    for first in (False, True):
        shows, read = opened(data, first=first)
        assert shows
        assert read < 300_000 < len(ASSEMBLED_TEXT)
    assert len({repr(one) for one in tables(library(data))}) == 1
    assert problems(library(data), deep=False) == problems(library(data), deep=True) == []


@pytest.mark.parametrize("name", [1, 3000])
@pytest.mark.parametrize("damage", DAMAGES[:3] + DAMAGES[4:])
def test_tables_that_come_first_are_what_counts(damage: Callable[[bytes], bytes], name: int) -> None:
    data = damage(assembled(name=name))
    assert not opened(data, first=False)[0]
    assert not opened(data, first=True)[0]
    first, *others = tables(library(data))
    assert others == [first] * 3
    assert problems(library(data), deep=False) == problems(library(data), deep=True) != []


def test_a_cubin_that_another_one_carries_is_not_looked_at() -> None:
    data = no_bytes(assembled(name=1))
    carries = patched(data, PIECE, fatbins.cubin())
    assert not opened(carries, first=False)[0]
    assert not opened(carries, first=True)[0]


def test_tables_of_sections_outside_of_the_cubin_are_not_believed_before_its_end() -> None:
    data = assembled()
    size = row(data, ".text.kernel") + 32
    whole = opened(data[: size + 1], first=False)
    assert not whole[0]
    beyond = patched(data, size, struct.pack("<Q", len(data)))
    shows, read = opened(beyond, first=False)
    assert read > len(ASSEMBLED_TEXT)
    assert not opened(beyond, first=True)[0]
    assert shows is holds_kernel(Window(beyond))


def test_symbols_that_come_later_than_the_table_are_waited_for() -> None:
    """A section table in the first piece, symbols in the third."""
    data = assembled()
    symbols = row(data, ".symtab") + 24
    (at,) = struct.unpack_from("<Q", data, symbols)
    (size,) = struct.unpack_from("<Q", data, symbols + 8)
    moved = 300_000
    later = patched(patched(data, moved, data[at : at + size]), symbols, struct.pack("<Q", moved))
    shows, read = opened(later, first=False)
    assert shows
    assert moved < read < len(ASSEMBLED_TEXT) - 100_000
    gone = patched(patched(data, at, bytes(size)), symbols, struct.pack("<Q", moved))
    assert not opened(gone, first=False)[0] or holds_kernel(Window(gone))


def test_what_is_in_order_leaves_no_doubt() -> None:
    for data in (library(LARGE), library(fatbins.cubin()), library(LARGE, "")):
        found = read_file(data, deep=True)
        assert found is not None
        assert (found.doubt, found.kernels) == ("", {"90": 1})
        assert problems(data, deep=True) == []


PATCHES = st.tuples(
    st.sampled_from(["head", "names", "table", "any"]), st.integers(0, 700), st.binary(min_size=1, max_size=9)
)


@examples(60)
@given(
    st.lists(PATCHES),
    st.sampled_from(["", "lz4", "zstd"]), st.booleans(), st.integers(1000, 70_000),
)  # fmt: skip
def test_every_way_to_read_gives_one_table(
    patches: list[tuple[str, int, bytes]], packing: str, large: bool, step: int
) -> None:
    """`large`: beyond what is judged by the section table."""
    extra = {".nv.constant3": bytes(300_000)} if large else {".data": b"1" * 900}
    cubin = fatbins.cubin({".text.kernel": b"1" * 128, ".text.f": b"2" * 64, **extra}, functions=["f"])
    for place, offset, value in patches:
        start = {"head": 0, "names": 64, "table": len(cubin) - 700, "any": len(cubin) // 2}[place]
        cubin = patched(cubin, start + offset, value)[: len(cubin)]
    first, *others = tables(library(cubin, packing), step)
    assert others == [first] * 3


def flagged(data: bytes, flags: int) -> bytes:
    return patched(data, 48, struct.pack("<I", flags))


@pytest.mark.parametrize("packing", ["", "lz4", "zstd"])
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(
    ("tag", "sm", "bits", "right"),
    [
        ("90", 80, 2, False), ("100", 90, 2, False), ("90", 90, 2, True), ("100", 100, 0xA, False),
        ("100f", 100, 0xA, False), ("100a", 100, 0xA, True), ("100a", 100, 2, True), ("110a", 100, 0xA, False),
    ],
)  # fmt: skip
def test_a_label_that_its_cubin_contradicts_serves_nothing(
    tag: str, sm: int, bits: int, right: bool, large: bool, packing: str
) -> None:
    """NVIDIA's fatbinary refuses to make one; the device would be given code of another architecture."""
    cubin = flagged(LARGE if large else fatbins.cubin(), 0x6000000 | sm << 8 | bits)
    data = fatbins.elf({".nv_fatbin": fatbins.container(fatbins.entry(tag, cubin, packing=packing, stamp=False))})
    first, *others = tables(data)
    assert others == [first] * 3
    found = read_file(data)
    assert found is not None
    assert found.profiles == ({(tag,): 1} if right else {})
    assert bool(found.damage) != right


def test_alike_cubins_under_two_labels_are_looked_at_twice() -> None:
    cubin = fatbins.cubin(sm=80)
    entries = [fatbins.entry(tag, cubin, packing="zstd", stamp=False) for tag in ("80", "90")]
    for one in tables(fatbins.elf({".nv_fatbin": fatbins.container(*entries)})):
        assert isinstance(one, tuple)
        assert one[-1]


@pytest.mark.parametrize(("version", "flags"), [(7, 0x5A055A), (8, 0x6005A04)])
def test_both_layouts_of_the_flags_are_known(version: int, flags: int) -> None:
    cubin = flagged(fatbins.cubin(), flags)
    cubin = patched(cubin, 7, bytes([0x33 if version == 7 else 0x41, version]))
    for tag, right in (("90", True), ("80", False)):
        data = fatbins.elf({".nv_fatbin": fatbins.container(fatbins.entry(tag, cubin, stamp=False))})
        found = read_file(data)
        assert found is not None
        assert bool(found.damage) != right
