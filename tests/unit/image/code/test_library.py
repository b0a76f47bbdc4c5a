"""Folding, and the promise that a stream gives the same answer as a file: `code` and `stream` side by side."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.image.code.forward import Forward
from orchestrator.image.code.library import FileCode, Hole
from orchestrator.image.code.reader import read_file
from orchestrator.image.code.stream import scan
from tests.support import fatbins
from tests.support.generated import examples

EMPTY = fatbins.cubin({})


def streamed(data: bytes, step: int = 1 << 20, *, deep: bool = False, before: bytes = b"") -> FileCode | None:
    whole = before + data + b"behind"
    stream = Forward(iter([whole[at : at + step] for at in range(0, len(whole), step)]))
    stream.skip(len(before))
    found = scan(stream, len(data), deep=deep)
    assert stream.offset <= len(before) + len(data)
    return found


def both(data: bytes, *, deep: bool = False) -> FileCode | None:
    found = read_file(data, deep=deep)
    passing = streamed(data, deep=deep)
    if found is not None and passing is not None and found.damage and passing.damage:
        return found  # each tells what it stumbled over in its own words
    assert passing == found
    return found


def test_containers_fold_into_profiles() -> None:
    code = both(fatbins.library([["80", "90a"], ["90a", "80"], ["p80", "80", "p80"], ["100f"]]))
    assert code is not None
    assert code.profiles == {("80", "90a"): 2, ("80", "p80"): 1, ("100f",): 1}
    assert code.containers == 4
    assert code.images == {"80": 3, "90a": 2, "p80": 2, "100f": 1}
    assert code.isa == {"p80": (9, 0)}
    assert code.stored["80"] > 3 * 128


@pytest.mark.parametrize("packing", ["", "zstd", "lz4"])
def test_link_stubs_and_files_without_kernels_are_not_counted(packing: str) -> None:
    """`nvcc -shared` puts an empty image of every listed architecture into a container of its own."""
    stub = fatbins.container(fatbins.entry("110", EMPTY, packing=packing), fatbins.entry("80", EMPTY, packing=packing))
    accident = fatbins.container(
        fatbins.entry("52", EMPTY, packing=packing), fatbins.entry("p52", b".version 9.0\n.target sm_52\n")
    )
    real = fatbins.container(fatbins.entry("80", packing=packing), fatbins.entry("110", EMPTY, packing=packing))
    code = both(fatbins.elf({".nv_fatbin": stub + accident + real}))
    assert code is not None
    assert code.profiles == {("80",): 1}
    assert code.empty == 2
    assert code.images == {"110": 2, "80": 2, "52": 1, "p52": 1}


def test_ptx_alone_is_no_empty_container() -> None:
    code = both(fatbins.library([["p80"]]))
    assert code is not None
    assert code.profiles == {("p80",): 1}


def test_relocatable_code_is_kept_apart() -> None:
    code = both(
        fatbins.elf({"__nv_relfatbin": fatbins.fatbin([["80"], ["80"]]), ".nv_fatbin": fatbins.fatbin([["90"]])})
    )
    assert code is not None
    assert code.profiles == {("90",): 1}
    assert code.relocatable == {("80",): 2}
    assert code.images == {"90": 1}


def test_containers_elsewhere_do_not_count() -> None:
    code = both(fatbins.elf({".rodata": fatbins.fatbin([["80"], ["90"]]), ".data": fatbins.fatbin([["80"]])}))
    assert code is not None
    assert (code.containers, code.images, code.damage) == (0, {}, "")
    assert code.unread == "fatbins that the program carries as data and loads itself: 1 in .data, 2 in .rodata"
    beside = both(fatbins.elf({".rodata": fatbins.fatbin([["80"]]), ".nv_fatbin": fatbins.fatbin([["90"]])}))
    assert beside is not None
    assert beside.profiles == {("90",): 1}
    assert beside.unread == "fatbins that the program carries as data and loads itself: 1 in .rodata"


def test_a_library_without_a_section_table_is_named() -> None:
    data = bytearray(fatbins.library([["80"]]))
    data[0x28:0x30] = bytes(8)
    data[0x3C:0x40] = bytes(4)
    code = both(bytes(data))
    assert code is not None
    assert "no section table" in code.damage
    host = bytearray(fatbins.elf({".text": b"x" * 5000}))
    host[0x28:0x30] = bytes(8)
    assert both(bytes(host)) is None


@pytest.mark.parametrize(("at", "value"), [(4, b"\1"), (5, b"\2")])
def test_elf_files_of_other_kinds_are_named_where_they_hold_device_code(at: int, value: bytes) -> None:
    for data, named in ((fatbins.library([["80"]]), True), (fatbins.elf({".text": b"x" * 900}), False)):
        code = both(data[:at] + value + data[at + 1 :])
        assert ("which is not read" in code.unread if code else False) == named
        assert code is None or not code.containers


def test_a_cubin_that_stands_alone_says_whether_it_holds_a_kernel() -> None:
    full, table = both(fatbins.cubin(sm=100)), both(fatbins.cubin({".nv.constant3": b"1" * 90_000}, sm=100))
    assert full is not None
    assert table is not None
    assert (full.bare, full.empty, table.bare, table.empty) == ("100", 0, "100", 1)


def test_archives_of_objects() -> None:
    objects = [fatbins.library([["80"]]), fatbins.library([["90"], ["80"]]) + b"x", b"not an object"]
    archive = b"!<arch>\n"
    for number, data in enumerate(objects):
        archive += f"{number}.o/".ljust(16).encode() + b" " * 32 + str(len(data)).ljust(10).encode() + b"`\n" + data
        archive += b"\n" * (len(data) % 2)
    code = both(archive)
    assert code is not None
    assert code.profiles == {("80",): 2, ("90",): 1}
    cut = both(archive[:-40])
    assert cut is not None
    assert cut.damage


def test_fatbin_files_and_bare_cubins() -> None:
    code = both(fatbins.fatbin([["80"], ["90"]]))
    assert code is not None
    assert code.profiles == {("80",): 1, ("90",): 1}
    bare = both(fatbins.cubin(sm=110))
    assert bare is not None
    assert bare.bare == "110"
    assert bare.containers == 0


def test_deep_mode_finds_a_kernel_that_one_image_lacks() -> None:
    two = fatbins.cubin({".text.gdn": b"1", ".text.other": b"1"})
    one = fatbins.cubin({".text.other": b"1"})
    hole = fatbins.container(fatbins.entry("90a", two, packing="zstd"), fatbins.entry("110", one))
    whole = fatbins.container(fatbins.entry("90a", two), fatbins.entry("110", two))
    data = fatbins.elf({".nv_fatbin": hole + whole})
    code = both(data, deep=True)
    assert code is not None
    assert code.holes == (Hole(kernel="gdn", present=("90a",), absent=("110",)),)
    assert code.kernels == {"90a": 4, "110": 3}
    shallow = both(data)
    assert shallow is not None
    assert shallow.holes == ()
    assert shallow.profiles == code.profiles


def test_values_survive_json() -> None:
    stub = fatbins.container(fatbins.entry("90", fatbins.cubin({".text.a": b"1"})), fatbins.entry("80"))
    for deep in (False, True):
        code = read_file(fatbins.elf({".nv_fatbin": stub, "__nv_relfatbin": fatbins.fatbin([["80"]])}), deep=deep)
        assert code is not None
        assert FileCode.from_json(json.loads(json.dumps(code.to_json()))) == code
    broken = FileCode(size=4, damage="why")
    assert FileCode.from_json(broken.to_json()) == broken


def test_a_damaged_section_is_damage_and_not_absence() -> None:
    good = fatbins.library([["80"], ["90"]])
    bad = good.replace(b"\x50\xed\x55\xba", b"\x50\xed\x55\xbb", 1)
    for data in (bad, good.replace(b"\x50\xed\x55\xba", b"\x50\xed\x55\xbb")):
        code = both(data)
        assert code is not None
        assert "no fatbin container" in code.damage


def test_a_damaged_file_without_device_code_is_nobodys_concern() -> None:
    """Debuggers and linkers carry broken ELF files as test data."""
    data = bytearray(fatbins.elf({".text": b"x" * 100}))
    struct.pack_into("<Q", data, 0x28, 1 << 50)
    assert both(bytes(data)) is None


def test_a_key_by_chance_in_other_data_changes_nothing() -> None:
    chance = fatbins.MAGIC + b"\x01\x00\x10\x00"
    good = fatbins.fatbin([["80"]])
    for rest in (b"\xff" * 8, struct.pack("<Q", 64) + b"\xff" * 64, b""):
        code = both(fatbins.elf({".rodata": chance + rest, ".nv_fatbin": good, ".data": chance + rest}))
        assert code is not None
        assert code.profiles == {("80",): 1}


LIBRARY = st.builds(
    fatbins.library,
    st.lists(st.lists(st.sampled_from(["75", "80", "90a", "100f", "p80", "lto90"]), max_size=4), max_size=4),
    packing=st.sampled_from(["", "zstd", "lz4"]),
    pad=st.integers(0, 300),
)


@examples(60)
@given(LIBRARY, st.integers(1, 700), st.binary(max_size=30))
def test_chunks_of_any_size_give_the_same_answer(data: bytes, step: int, before: bytes) -> None:
    assert streamed(data, step, before=before) == read_file(data)


@examples(60)
@given(LIBRARY, st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=6))
@example(fatbins.library([["75"], ["p80", "75"], ["75", "p80", "p80"]], pad=17), [(8312, 0)])
def test_damage_never_crashes_either_reader(data: bytes, flips: list[tuple[int, int]]) -> None:
    damaged = bytearray(data)
    for at, value in flips:
        damaged[at % len(damaged)] = value
    found, passing = read_file(bytes(damaged)), streamed(bytes(damaged), 333)
    if not (found and found.damage) and not (passing and passing.damage):
        assert passing == found


def test_section_names_may_lie_far_before_the_table() -> None:
    """As BOLT leaves them, which begins a huge page in between (torch 2.15.0 for aarch64: 874,953 bytes)."""
    data = fatbins.library([["80"], ["90", "110"]])
    (table,) = struct.unpack_from("<Q", data, 40)

    def with_gap(gap: int) -> bytes:
        head = data[:40] + struct.pack("<Q", table + gap) + data[48:table]
        return head + bytes(gap) + data[table:]

    for gap in (0, 874_953, 2 << 20):
        found = scan(Forward(iter([with_gap(gap)])), len(data) + gap)
        assert found == read_file(with_gap(gap))
        assert found is not None
        assert (found.containers, found.damage) == (2, "")
    far = with_gap(5 << 20)
    stream = Forward(iter([b"before" + far]))
    stream.skip(6)
    found = scan(stream, len(far))
    assert found is not None
    assert found.damage.startswith("ELF section names are out of reach")
    again = Forward(iter([b"before" + far]), stream.missed)
    again.skip(6)
    assert scan(again, len(far)) == read_file(far)
    assert again.missed == []


def test_names_that_are_out_of_reach_are_asked_for_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(fatbins.library([["80"]]))
    (table,) = struct.unpack_from("<Q", data, 40)
    data[table:table] = bytes(5 << 20)
    struct.pack_into("<Q", data, 40, table + (5 << 20))
    monkeypatch.setattr("orchestrator.image.code.stream.MAX_MISSED_BYTES", 10)
    stream = Forward(iter([bytes(data)]))
    found = scan(stream, len(data))
    assert found is not None
    assert found.damage
    assert stream.missed == []


def test_a_damaged_table_without_device_code_is_nobodys_concern_whatever_its_names() -> None:
    data = bytearray(fatbins.elf({".nv_fatbin": b"", ".text": b"x" * 100}))
    (table,) = struct.unpack_from("<Q", data, 40)
    struct.pack_into("<QQ", data, table + 64 + 24, 1 << 40, 1 << 40)  # as a debug file that was cut off
    assert both(bytes(data)) is None


def test_a_cubin_larger_than_any_real_one_is_refused_by_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.image.code.library.MAX_BARE", 1000)
    found = both(fatbins.cubin({".text.k": bytes(2000)}))
    assert found is not None
    assert "stands alone" in found.damage


@pytest.mark.parametrize(
    ("before", "entry", "holds"),
    [
        (b"// .entry in a comment\n", b".visible .entry k()", True),
        (b"// .entry in a comment\n", b".func f()", False),
        (b".global .align 8 .u64 table = 1;\n", b".visible .entry k()", True),
        (b".global .align 8 .u64 table = 1;\n", b"/* .entry k */", False),
    ],
)
def test_long_ptx_is_looked_through_up_to_its_first_entry(before: bytes, entry: bytes, holds: bool) -> None:
    for lines in (30_000, 30_001, 30_002):  # the border between two pieces lies anywhere in a line
        text = b".version 9.0\n.target sm_80\n" + before * lines + entry + b"\n" * 500_000
        code = both(fatbins.elf({".nv_fatbin": fatbins.container(fatbins.entry("p80", text, packing="zstd"))}))
        assert code is not None
        assert (code.containers, code.empty, code.damage) == ((1, 0, "") if holds else (0, 1, ""))


def test_a_file_without_device_code_is_never_read_again() -> None:
    """libtriton.so has its section names 36 MB before their table: its layer was read twice for nothing."""
    data = bytearray(fatbins.elf({".text": b"x" * 5000}))
    (table,) = struct.unpack_from("<Q", data, 40)
    data[table:table] = bytes(5 << 20)
    struct.pack_into("<Q", data, 40, table + (5 << 20))
    stream = Forward(iter([bytes(data)]))
    assert scan(stream, len(data)) is None
    assert stream.missed == []
    assert read_file(bytes(data)) is None
