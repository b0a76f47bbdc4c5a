"""ELF files byte by byte: their headers, section tables and names, and every number that does not fit."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.image.code import elf
from orchestrator.image.code.elf import (
    DamagedFileError,
    FarNamesError,
    FileSource,
    Header,
    Section,
    Window,
    names_are_near,
    read_header,
    read_sections,
    sections_of,
    table_range,
)

if TYPE_CHECKING:
    from pathlib import Path

NAMES = b"\0.text\0.data\0.shstrtab\0"


def header(**changed: int) -> bytes:
    """A header of 64 bytes; the fields as `struct Elf64_Ehdr` has them."""
    fields = {
        "class_": 2, "data": 1, "version": 1, "os_abi": 0x33, "abi_version": 7, "type": 2, "machine": 190,
        "entry": 5, "programs": 6, "table": 0, "flags": 0x5A, "entry_bytes": 64, "count": 0, "names": 0,
    } | changed  # fmt: skip
    front = b"\x7fELF" + bytes(fields[name] for name in ("class_", "data", "version", "os_abi", "abi_version"))
    rest = struct.pack(
        "<HHIQQQIHHHHHH", fields["type"], fields["machine"], 1, fields["entry"], fields["programs"], fields["table"],
        fields["flags"], 64, 56, 3, fields["entry_bytes"], fields["count"], fields["names"],
    )  # fmt: skip
    return front + bytes(7) + rest


def row(name: int = 0, kind: int = 1, offset: int = 0, size: int = 0, link: int = 0) -> bytes:
    return struct.pack("<IIQQQQIIQQ", name, kind, 0, 0, offset, size, link, 0, 0, 0)


def file(*rows: bytes, names: bytes = NAMES, count: int | None = None, index: int | None = None) -> bytes:
    """A file of a header, names at 64, and a table of a first empty row, these, and that of the names."""
    table = 64 + len(names)
    whole = [row(kind=0), *rows, row(13, 3, 64, len(names))]
    head = header(
        table=table, count=len(whole) if count is None else count, names=len(whole) - 1 if index is None else index
    )
    return head + names + b"".join(whole)


def test_what_a_header_says() -> None:
    assert read_header(header(table=640, count=9, names=8) + b"more") == Header(
        machine=190, os_abi=0x33, abi_version=7, flags=0x5A, table=640, count=9, names=8
    )
    assert read_header(header(count=9, names=8)) == Header(
        machine=190, os_abi=0x33, abi_version=7, flags=0x5A, table=0, count=0, names=8
    )
    assert read_header(header(machine=62, os_abi=0, abi_version=1, flags=0xFFFFFFFF)) == Header(
        machine=62, os_abi=0, abi_version=1, flags=0xFFFFFFFF, table=0, count=0, names=0
    )


@pytest.mark.parametrize(
    "head", [b"", b"\x7fEL", b"\x7fELF", b"\x7fELG" + header()[4:], header(class_=1), header(data=2), header()[1:]]
)
def test_what_is_no_file_of_linux_on_64_bits(head: bytes) -> None:
    assert read_header(head) is None
    assert read_sections(Window(head)) == ()


def test_headers_that_are_damaged() -> None:
    with pytest.raises(DamagedFileError, match="ELF header is cut off"):
        read_header(header()[:63])
    with pytest.raises(DamagedFileError, match="ELF section entries of 40 bytes"):
        read_header(header(table=64, entry_bytes=40))
    assert read_header(header(entry_bytes=40)) is not None, "without a table its entries have no size"


def test_sections_by_name_and_place() -> None:
    data = file(row(1, 1, 64, 10), row(7, 8, 1 << 40, 1 << 50))
    assert read_sections(Window(data)) == (
        Section(name="", type=0, offset=0, size=0),
        Section(name=".text", type=1, offset=64, size=10),
        Section(name=".data", type=8, offset=1 << 40, size=1 << 50),
        Section(name=".shstrtab", type=3, offset=64, size=len(NAMES)),
    )
    assert read_sections(Window(header())) == ()
    assert Section(name="", type=1, offset=5, size=7).end == 12
    assert [one.name for one in read_sections(Window(file(row(2), row(3))))] == ["", "text", "ext", ".shstrtab"]
    assert read_sections(Window(file(row(1), names=b"\0.t\xff\0" + NAMES[6:])))[1].name == ".t�"


def extended(count: int, names: int, *, said: int = 0, index: int = 0xFFFF) -> bytes:
    """A file whose first section holds how many there are."""
    whole = [row(kind=0, size=count, link=names), row(1), row(13, 3, 64, len(NAMES))]
    return header(table=64 + len(NAMES), count=said, names=index) + NAMES + b"".join(whole)


def test_more_sections_than_a_header_can_count() -> None:
    assert [one.name for one in read_sections(Window(extended(3, 2)))] == ["", ".text", ".shstrtab"]
    assert [one.name for one in read_sections(Window(extended(9, 2, said=3)))] == ["", ".text", ".shstrtab"]
    assert [one.name for one in read_sections(Window(extended(3, 0, index=2)))] == ["", ".text", ".shstrtab"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (header(table=65, count=1) + bytes(64), "ELF section table lies outside the file"),
        (header(table=1 << 60, count=1), "ELF section table lies outside the file"),
        (file(row(1), count=4), "ELF section table is cut off"),
        (file(row(1))[:-1], "ELF section table is cut off"),
        (file(row(1), index=3), "ELF section table of 3 entries with its names in number 3"),
        (extended(0, 0), "ELF section table of 0 entries with its names in number 0"),
        (extended(262_145, 2), "ELF section table of 262145 entries with its names in number 2"),
        (extended(262_144, 2), "ELF section table is cut off"),
        (extended(3, 3), "ELF section table of 3 entries with its names in number 3"),
        (file(row(1, 1, 64, 1 << 20)), "ELF section at 64 of 1048576 bytes lies outside the file"),
        (file(row(1, 1, 1 << 20, 0)), "ELF section at 1048576 of 0 bytes lies outside the file"),
        (file(row(len(NAMES))), "ELF section name has no end"),
        (file(row(1), names=NAMES[:-1] + b"x"), "ELF section name has no end"),
        (file(index=0), "ELF section name has no end"),
        (file(row(1, 3, 1 << 20, 8), index=1), "ELF section names lie outside the file"),
        (file(row(1, 8, 64, 1 << 40), index=1), "ELF section names lie outside the file"),
    ],
)
def test_numbers_that_lead_outside(data: bytes, said: str) -> None:
    with pytest.raises(DamagedFileError, match=said) as caught:
        read_sections(Window(data))
    assert type(caught.value) is DamagedFileError


def test_sections_may_end_where_the_file_ends() -> None:
    data = file(row(1, 1, 0, 0))
    assert len(read_sections(Window(file(row(1, 1, 100, len(data) - 100))))) == 3
    with pytest.raises(DamagedFileError, match="lies outside the file"):
        read_sections(Window(file(row(1, 1, 100, len(data) - 99))))
    assert len(read_sections(Window(file(row(1, 0, 1 << 40, 9))))) == 3


def test_names_that_overlap_have_a_bound_together(monkeypatch: pytest.MonkeyPatch) -> None:
    data = file(row(1), row(1), row(1))  # 0, three times 5, and 9 characters
    monkeypatch.setattr(elf, "MAX_NAMES_BYTES", 24)
    assert len(read_sections(Window(data))) == 5
    monkeypatch.setattr(elf, "MAX_NAMES_BYTES", 23)
    with pytest.raises(DamagedFileError, match="section name has no end"):
        read_sections(Window(data))
    monkeypatch.setattr(elf, "MAX_NAMES_BYTES", len(NAMES) - 1)
    with pytest.raises(DamagedFileError, match="section names lie outside"):
        read_sections(Window(data))


class Part:
    """What a stream kept of a file: from one offset on."""

    def __init__(self, data: bytes, first: int) -> None:
        self.data, self.first, self.size = data, first, len(data)

    def read_at(self, offset: int, count: int) -> bytes:
        return b"" if offset < self.first else self.data[offset : offset + count]


def test_names_that_were_not_kept_are_asked_for() -> None:
    data = file(row(1))
    head = read_header(data)
    assert head is not None
    assert sections_of(head, Part(data, 64)) == read_sections(Window(data))
    with pytest.raises(
        FarNamesError, match=f"ELF section names are out of reach, at 64 to {64 + len(NAMES)}"
    ) as caught:
        sections_of(head, Part(data, 65))
    assert (caught.value.start, caught.value.end) == (64, 64 + len(NAMES))
    assert (
        sections_of(Header(machine=1, os_abi=0, abi_version=0, flags=0, table=0, count=0, names=0), Window(b"")) == ()
    )


def head_of(**fields: int) -> Header:
    values: dict[str, Any] = {"machine": 190, "os_abi": 0, "abi_version": 0, "flags": 0, "table": 0, "count": 0}
    return Header(**(values | {"names": 0} | fields))


NEAR = 4 << 20


@pytest.mark.parametrize(
    ("table", "count", "size", "found"),
    [
        (10 * NEAR, 3, 99 * NEAR, (9 * NEAR, 11 * NEAR + 192)),
        (NEAR - 1, 3, 99 * NEAR, (0, 2 * NEAR + 191)),
        (10 * NEAR, 3, 10 * NEAR + 192, (9 * NEAR, 10 * NEAR + 192)),
        (10 * NEAR, 0, 99 * NEAR, (9 * NEAR, 11 * NEAR + 64 * 262_144)),
        (10 * NEAR, 3, NEAR, (9 * NEAR, 9 * NEAR)),
    ],
)
def test_what_a_stream_keeps_around_the_table(table: int, count: int, size: int, found: tuple[int, int]) -> None:
    assert table_range(head_of(table=table, count=count), size) == found


def test_whether_the_names_lie_near_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    data = file(row(1))
    head = read_header(data)
    assert head is not None
    for near, expected in ((len(NAMES), True), (len(NAMES) - 1, False)):
        monkeypatch.setattr(elf, "NAMES_NEAR_TABLE", near)
        assert names_are_near(head, Window(data)) is expected
    behind = header(table=64, count=2, names=1) + row(kind=0) + row(13, 3, 192, len(NAMES)) + NAMES
    head = read_header(behind)
    assert head is not None
    for near, expected in ((len(NAMES), True), (len(NAMES) - 1, False)):
        monkeypatch.setattr(elf, "NAMES_NEAR_TABLE", near)
        assert names_are_near(head, Window(behind)) is expected


def test_a_window_is_a_part_of_a_buffer() -> None:
    data = bytes(range(100))
    whole = Window(data)
    assert (whole.size, Window(data, 10).size, Window(data, 10, 5).size) == (100, 90, 5)
    assert whole.read_at(3, 4) == data[3:7]
    part = Window(data, 10, 20)
    assert (
        part.read_at(0, 99),
        part.read_at(18, 5),
        part.read_at(20, 5),
        part.read_at(25, 5),
        part.read_at(3, -1),
    ) == (
        data[10:30],
        data[28:30],
        b"",
        b"",
        b"",
    )
    inner = part.part(5, 10)
    assert (inner.size, inner.read_at(0, 99), inner.read_at(2, 3)) == (10, data[15:25], data[17:20])


def test_an_open_file_is_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.urandom(100_000)
    (tmp_path / "file").write_bytes(data)
    asked: list[tuple[int, int]] = []
    really = os.pread

    def pread(number: int, count: int, offset: int) -> bytes:
        asked.append((count, offset))
        return really(number, count, offset)

    monkeypatch.setattr(os, "pread", pread)
    with (tmp_path / "file").open("rb") as opened:
        source = FileSource(opened.fileno())
        assert source.size == len(data)
        places = [(0, 64), (64, 100), (32_700, 68), (32_700, 69), (32_600, 5), (200, 40_000), (32_610, 9), (99_990, 99)]
        for offset, count in [*places, (100_000, 5), (1 << 70, 5), (5, 0), (5, -3), (99_990, 10)]:
            assert source.read_at(offset, count) == data[offset : offset + max(count, 0)]
        block = 32 * 1024
        assert asked == [
            (block, 0), (block, 32_700), (block, 32_600), (40_000, 200), (block, 99_990),
        ]  # fmt: skip
        twin = source.twin()
        assert (twin.size, twin.read_at(3, 4), twin is source) == (len(data), data[3:7], False)
