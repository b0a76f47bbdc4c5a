from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.image.code.elf import DamagedFileError, Window, read_sections
from orchestrator.image.code.fatbin import EXECUTABLE, Container, Kind, read_containers
from tests.support import fatbins
from tests.support.generated import examples


def containers(data: bytes) -> list[Container]:
    source = Window(data)
    return list(read_containers(source, read_sections(source)))


def tags(data: bytes) -> list[list[str]]:
    return [[image.tag for image in one.images] for one in containers(data)]


def test_containers_and_their_images_in_order() -> None:
    data = fatbins.library([["100f", "75", "80", "p80"], ["90a"], ["lto90"]])
    assert tags(data) == [["100f", "75", "80", "p80"], ["90a"], ["lto90"]]


def test_one_image_says_all_of_itself() -> None:
    code = fatbins.cubin(sm=103)
    data = fatbins.elf({EXECUTABLE: fatbins.container(fatbins.entry("103a", code, packing="zstd"))})
    ((image,),) = [one.images for one in containers(data)]
    assert (image.kind, image.sm, image.suffix, image.compression, image.size) == (
        Kind.SASS, 103, "a", "zstd", len(code),
    )  # fmt: skip
    assert data[image.payload : image.payload + 4] == b"\x28\xb5\x2f\xfd"
    assert 0 < image.stored < len(code)


def test_ptx_has_its_isa() -> None:
    data = fatbins.elf({EXECUTABLE: fatbins.container(fatbins.entry("p80", isa=(8, 7)))})
    (container,) = containers(data)
    assert container.images[0].kind is Kind.PTX
    assert container.images[0].isa == (8, 7)


def test_padding_between_containers_is_hopped_over() -> None:
    one = fatbins.fatbin([["80"]])
    data = fatbins.elf({EXECUTABLE: one + bytes(24) + one + bytes(8)})
    assert tags(data) == [["80"], ["80"]]


def test_both_sections_count_and_others_do_not() -> None:
    one = fatbins.fatbin([["80"]])
    data = fatbins.elf({"__nv_relfatbin": one, ".rodata": one, EXECUTABLE: one})
    assert [container.section for container in containers(data)] == ["__nv_relfatbin", EXECUTABLE]


def test_a_section_without_bytes_is_left_alone() -> None:
    data = bytearray(fatbins.library([["80"]]))
    table = struct.unpack_from("<Q", data, 0x28)[0]
    struct.pack_into("<I", data, table + 2 * 64 + 4, 8)  # SHT_NOBITS, as `objcopy --only-keep-debug` makes it
    assert tags(bytes(data)) == []


@pytest.mark.parametrize(
    ("section", "why"),
    [
        (b"\1" * 32, "no fatbin container"),
        (fatbins.fatbin([["80"]]) + b"\1" * 16, "no fatbin container"),
        (fatbins.fatbin([["80"]])[:-8], "claims"),
        (fatbins.container(fatbins.entry("80")[:40]), "cut off"),
        (fatbins.container(b"\x05\x00\x01\x01" + fatbins.entry("80")[4:]), "unknown kind 5"),
        (fatbins.container(fatbins.entry("7")), "architecture 7"),
        (fatbins.fatbin([["80"]]) + bytes(5000), "zero bytes"),
        (fatbins.container(fatbins.entry("80")[:8] + b"\xff" * 8 + fatbins.entry("80")[16:]), "claims"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused(section: bytes, why: str) -> None:
    with pytest.raises(DamagedFileError, match=why):
        tags(fatbins.elf({EXECUTABLE: section}))


@pytest.mark.parametrize("data", [b"", b"\x7fEL", b"#!/bin/sh\n", b"\x7fELF\x01\x01" + bytes(100)])
def test_what_is_no_elf_file_has_no_sections(data: bytes) -> None:
    assert read_sections(Window(data)) == ()


def test_a_table_outside_the_file_is_refused() -> None:
    data = bytearray(fatbins.library([["80"]]))
    struct.pack_into("<Q", data, 0x28, 1 << 60)
    with pytest.raises(DamagedFileError, match="outside"):
        tags(bytes(data))


def test_names_that_overlap_cannot_take_all_memory() -> None:
    """200,000 sections that all claim the same name of 1 MB would be 200 GB of text."""
    names = b"\0" + b"n" * (1 << 20) + b"\0"
    data = bytearray(fatbins.elf({".x": names}))
    table = struct.unpack_from("<Q", data, 0x28)[0]
    place, size = struct.unpack_from("<QQ", data, table + 64 + 24)
    rows = [struct.pack("<IIQQQQIIQQ", 1, 1, 0, 0, place, size, 0, 0, 1, 0)] * 60_000
    struct.pack_into("<HH", data, 0x3C, 60_000, 0)
    with pytest.raises(DamagedFileError, match="no end"):
        read_sections(Window(bytes(data[:table]) + b"".join(rows)))


@examples(60)
@given(
    st.lists(st.lists(st.sampled_from(["75", "80", "90a", "100f", "p80", "p90a", "lto90"]), max_size=5), max_size=5),
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=8),
    st.integers(0, 4000),
)
def test_damage_gives_an_error_or_another_list(
    profiles: list[list[str]], flips: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(fatbins.library(profiles))
    for at, value in flips:
        data[at % len(data)] = value
    damaged = bytes(data[: len(data) - cut]) if cut % 3 == 0 else bytes(data)
    with contextlib.suppress(DamagedFileError):
        tags(damaged)
