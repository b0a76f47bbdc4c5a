"""One library, one verdict: as a file, in a directory, in a wheel, in a layer, in a static library in each of them."""

from __future__ import annotations

import io
import json
import re
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.image.code import cubin, elf, opened, reader, stream
from orchestrator.image.layers.scan import scan_layer
from orchestrator.image.sources.local import open_directory, open_file, open_wheel
from tests.support import fatbins
from tests.support.generated import examples

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from orchestrator.image.code.library import FileCode
    from orchestrator.image.layers.merge import LayerScan

TAGS = st.lists(st.sampled_from(["75", "80", "90a", "100f", "p80", "lto90"]), max_size=3)
CODE = st.lists(TAGS, max_size=3).flatmap(
    lambda profiles: st.builds(fatbins.fatbin, st.just(profiles), packing=st.sampled_from(["", "zstd", "lz4"]))
)
JUNK = st.sampled_from([b"", b"text", fatbins.MAGIC, fatbins.fatbin([["80"]])[:90], fatbins.fatbin([["80"]]) + b"\xff"])
SECTIONS = st.permutations([".text", ".nv_fatbin", "__nv_relfatbin", ".rodata", ".data"])


@st.composite
def libraries(draw: st.DrawFn) -> bytes:
    """A library with its sections in any order, names and table apart, and at times with something broken."""
    contents = {
        ".text": draw(JUNK), ".nv_fatbin": draw(st.one_of(CODE, JUNK)), "__nv_relfatbin": draw(st.one_of(CODE)),
        ".rodata": draw(st.one_of(CODE, JUNK)), ".data": draw(JUNK),
    }  # fmt: skip
    order = draw(SECTIONS)
    left_out = draw(st.sets(st.sampled_from(order), max_size=4))
    data = fatbins.elf({name: contents[name] for name in order if name not in left_out})
    table = int.from_bytes(data[40:48], "little")
    gap = draw(st.sampled_from([0, 0, 64, 4096]))
    data = data[:40] + (table + gap).to_bytes(8, "little") + data[48:table] + bytes(gap) + data[table:]
    cut = draw(st.sampled_from([0, 0, 0, 1, 70]))
    return data[: len(data) - cut]


def archive(*objects: bytes) -> bytes:
    data = b"!<arch>\n"
    for number, one in enumerate(objects):
        data += f"{number}.o/".ljust(16).encode() + b" " * 32 + str(len(one)).ljust(10).encode() + b"`\n" + one
        data += b"\n" * (len(one) % 2)
    return data


def layered(name: str, data: bytes) -> LayerScan:
    """The scan of a layer with the file, read again where the first reading asks for it."""
    whole = fatbins.layer({"before": b"x" * 700, name: data, "behind": b"y"})
    scan = scan_layer(io.BytesIO(whole), len(whole))
    return scan_layer(io.BytesIO(whole), len(whole), asked=scan.far) if scan.far else scan


def verdicts(folder: Path, name: str, data: bytes) -> list[Any]:
    """What is said of the file in every place where it can lie; how it is damaged each reader says in its own words."""
    tree = folder / "tree"
    tree.mkdir(exist_ok=True)
    (tree / name).write_bytes(data)
    with zipfile.ZipFile(folder / "a.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(name, data)
    sources = [open_file(tree / name).files, open_directory(tree).files, open_wheel(folder / "a.whl").files]
    sources.append(layered(name, data))
    return [_facts(one.code.get(name)) for one in sources if one is not None]


def alone(path: Path) -> FileCode:
    """What is said of a file that was named by itself."""
    files = open_file(path).files
    assert files is not None
    return files.code[path.name]


def _facts(found: FileCode | None) -> Any:
    if found is None:
        return None
    return "damaged" if found.damage else json.loads(json.dumps(found.to_json()))


@examples(150, shared_fixtures=True)
@given(st.data())
def test_a_library_gets_the_same_verdict_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    monkeypatch.setattr(elf, "NAMES_NEAR_TABLE", 100)  # far apart is a matter of degree
    objects = data.draw(st.lists(libraries(), min_size=1, max_size=2))
    name, content = ("lib.a", archive(*objects)) if len(objects) > 1 else ("lib.so", objects[0])
    first, *others = verdicts(tmp_path, name, content)
    assert others == [first] * 3


LARGE = {
    "kernel": fatbins.cubin({".text.kernel": b"1" * 128, ".data": bytes(300_000)}),
    "late kernel": fatbins.cubin({".text.kernel": b"1" * 128, ".data": bytes(300_000)}, ahead=200_000),
    "function": fatbins.cubin({".text.f": b"1" * 300_000}, functions=["f"]),
    "no cubin": b"no cubin" * 40_000,
}
LARGE_PTX = {
    "kernel": b".version 9.0\n.visible .entry k()" + b"// text\n" * 30_000,
    "late kernel": b".version 9.0\n" + b"// .entry \n" * 30_000 + b".visible .entry k()",
    "function": b".version 9.0\n" + b"// .entry \n" * 30_000,
}


@pytest.mark.parametrize("room", [0, 3000, 1 << 20])
@examples(40, shared_fixtures=True)
@given(
    st.lists(st.sampled_from([*LARGE]), max_size=2), st.lists(st.sampled_from([*LARGE]), max_size=2),
    st.lists(st.sampled_from([*LARGE_PTX]), max_size=2), st.sampled_from([".nv_fatbin", "__nv_relfatbin", ".rodata"]),
    st.booleans(),
)  # fmt: skip
def test_large_images_get_the_same_verdict_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int,
    first: list[str], second: list[str], ptx: list[str], section: str, cut: bool,
) -> None:  # fmt: skip
    """Kept until their section is known, or opened at once where there is no room to keep them."""
    monkeypatch.setattr(stream, "MAX_LATER", room)
    packed = [fatbins.entry("80", LARGE[one], packing="zstd") for one in first]
    packed += [fatbins.entry("p80", LARGE_PTX[one], packing="zstd") for one in ptx]
    other = [fatbins.entry("90", LARGE[one], packing="zstd") for one in second]
    content = fatbins.elf(
        {".text": b"x", section: fatbins.container(*packed) + fatbins.container(*other), ".data": bytes(64)}
    )
    data = content[: len(content) - 1] if cut else content
    expected, *others = verdicts(tmp_path, "lib.so", data)
    assert others == [expected] * 3


EMPTIED = {".names": b"\0.nv.constant0.k\0.text.k\0", ".nv.constant0.k": bytes(528), ".text.k": b""}


@pytest.mark.parametrize("packing", ["", "zstd", "lz4"])
@pytest.mark.parametrize("size", [100, cubin.PIECE + 1, opened.WHOLE - 100, opened.WHOLE + 100, 2_000_000])
def test_a_cubin_that_only_names_a_kernel_serves_nobody(tmp_path: Path, size: int, packing: str) -> None:
    """Its section is empty, however much else there is; the same holds in deep mode."""
    data = fatbins.cubin({**EMPTIED, ".nv.global.init": bytes(range(250)) * (size // 250)}, sm=80)
    container = fatbins.container(fatbins.entry("80", data, packing=packing))
    library = fatbins.elf({".text": b"x", ".nv_fatbin": container})
    expected, *others = verdicts(tmp_path, "lib.so", library)
    assert others == [expected] * 3
    assert (expected.get("profiles", {}), expected["empty"]) == ({}, 1)
    for deep in (False, True):
        found = reader.read_file(library, deep=deep)
        assert found is not None
        assert (found.profiles, found.empty, found.damage) == ({}, 1, "")


@pytest.mark.parametrize("size", [100, cubin.PIECE + 1, opened.WHOLE - 4000])
def test_a_symbol_with_a_size_in_a_section_without_one_is_no_kernel(tmp_path: Path, size: int) -> None:
    """The bytes contradict themselves; the section table decides wherever the whole is unpacked anyway."""
    data = fatbins.cubin({".nv.global.init": bytes(range(250)) * (size // 250), ".text.k": b"1" * 128})
    at = len(data) - 2 * elf.SECTION_BYTES  # the last but the section names
    emptied = data[: at + 32] + bytes(8) + data[at + 40 :]
    container = fatbins.container(fatbins.entry("90", emptied, packing="zstd"))
    expected, *others = verdicts(tmp_path, "lib.so", fatbins.elf({".text": b"x", ".nv_fatbin": container}))
    assert others == [expected] * 3
    assert expected["empty"] == 1


def test_what_counts_nowhere_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large images for a device link are a quarter of what reading NCCL would cost."""
    seen: list[int] = []
    pieces = cubin.Unpacker.pieces

    def counted(self: cubin.Unpacker, stored: cubin.Stored, compression: str, size: int) -> Generator[bytes]:
        for piece in pieces(self, stored, compression, size):
            seen.append(len(piece))
            yield piece

    monkeypatch.setattr(cubin.Unpacker, "pieces", counted)
    cubins = [fatbins.cubin({".text.f": filler * 300_000}, functions=["f"]) for filler in (b"1", b"2")]
    functions = [fatbins.entry("90", one, packing="zstd") for one in cubins]
    for section, whole in (("__nv_relfatbin", False), (".nv_fatbin", True)):
        seen.clear()
        layered("lib.so", fatbins.elf({".text": b"x", section: fatbins.container(*functions)}))
        assert sum(seen) == 2 * (cubin.PIECE + (len(LARGE["function"]) if whole else 0))


SMALL = {
    "kernel": fatbins.cubin(),
    "function": fatbins.cubin({".text.f": b"1" * 128}, functions=["f"]),
    "PTX": b".version 9.0\n.visible .entry k()",
}


@examples(60, shared_fixtures=True)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["80", "90a", "p80"]), st.sampled_from([*SMALL]), st.sampled_from(["", "zstd", "lz4"])
        ),
        max_size=12,
    )
)
def test_an_answer_that_is_remembered_is_that_of_the_same_bytes_in_the_same_packing(
    tmp_path: Path, images: list[tuple[str, str, str]]
) -> None:
    """The same bytes as a cubin and as PTX, packed or not, are not the same image."""
    units = [fatbins.container(fatbins.entry(tag, SMALL[name], packing=packing)) for tag, name, packing in images]
    damaged = any((name == "PTX") != tag.startswith("p") and name == "PTX" for tag, name, _ in images)
    good = [one for one in images if (one[0].startswith("p")) == (one[1] == "PTX") and one[1] != "function"]
    expected, *others = verdicts(tmp_path, "lib.so", fatbins.elf({".text": b"x", ".nv_fatbin": b"".join(units)}))
    assert others == [expected] * 3
    if damaged:
        assert expected == "damaged"
    elif images:
        assert sum(expected.get("profiles", {}).values()) == len(good)


def test_small_images_that_are_alike_are_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the 4,594 small cubins of libcublasLt.so.13 189 differ."""
    sizes: list[int] = []
    unpack = cubin.Unpacker.unpack

    def counted(self: cubin.Unpacker, stored: bytes, compression: str, size: int) -> bytes:
        sizes.append(size)
        return unpack(self, stored, compression, size)

    monkeypatch.setattr(cubin.Unpacker, "unpack", counted)
    cubins = [SMALL["kernel"], SMALL["function"], fatbins.cubin({".text.k": b"3" * 99})]
    units = [fatbins.container(fatbins.entry("90", one, packing="zstd")) for one in cubins]
    (tmp_path / "lib.so").write_bytes(fatbins.elf({".text": b"x", ".nv_fatbin": b"".join(units * 50)}))
    found = alone(tmp_path / "lib.so")
    assert (found.profiles, found.empty, len(sizes)) == ({("90",): 100}, 50, 3)


@pytest.mark.parametrize("aside", [0, 1 << 40])
def test_what_a_program_carries_is_found_by_a_thread_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aside: int
) -> None:
    monkeypatch.setattr(reader, "_ASIDE", aside)
    carried = fatbins.fatbin([["80"], ["90"]])
    data = fatbins.elf({
        ".data": bytes(70_000) + carried + bytes(200_000) + carried, ".nv_fatbin": fatbins.fatbin([["80"]]),
        ".rodata": carried,
    })  # fmt: skip
    (tmp_path / "lib.so").write_bytes(data)
    found = alone(tmp_path / "lib.so")
    assert found.profiles == {("80",): 1}
    assert found.unread.endswith("itself: 4 in .data, 2 in .rodata")


@pytest.mark.parametrize("aside", [0, 1 << 40])
def test_a_container_that_reaches_into_device_code_is_damage_in_a_thread_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aside: int
) -> None:
    monkeypatch.setattr(reader, "_ASIDE", aside)
    inside = fatbins.fatbin([["80"]])
    reaching = fatbins.MAGIC + (1 | 16 << 16).to_bytes(4, "little") + (len(inside) + 64).to_bytes(8, "little")
    entry = fatbins.entry("80", b"x" * len(inside))[:64]
    data = fatbins.elf({".data": reaching + entry, ".nv_fatbin": inside})
    (tmp_path / "lib.so").write_bytes(data)
    found = alone(tmp_path / "lib.so")
    assert "reaches into a section for device code" in found.damage


@pytest.mark.parametrize("name", ["k.ptx", "k.cubin", "k.fatbin", "k.o"])
def test_files_of_device_code_alone_are_read_everywhere(tmp_path: Path, name: str) -> None:
    data = {
        "k.ptx": b"//\n.version 8.0\n.target sm_80\n.visible .entry k()", "k.cubin": fatbins.cubin(sm=90),
        "k.fatbin": fatbins.fatbin([["80", "p80"]]),
        "k.o": fatbins.elf({".nv_fatbin": fatbins.fatbin([["80"]]), ".text": b"x"}),
    }[name]  # fmt: skip
    _, *others = verdicts(tmp_path, name, data)
    assert others[0] is not None
    assert others == [others[0]] * 3
    expected = {"k.ptx": "p80", "k.cubin": "90"}.get(name, "")
    assert others[0].get("bare", "") == expected


@pytest.mark.parametrize("name", ["nvcc-kernels.so", "ptxas", "nvcc-bench"])
@pytest.mark.parametrize("text", [b"", b"Cuda compilation tools, release 12.9, V12.9.86\0"])
def test_the_name_of_a_compiler_hides_no_device_code(tmp_path: Path, name: str, text: bytes) -> None:
    """Nor does the text by which one is known."""
    data = fatbins.elf(
        {".rodata": text, ".nv_fatbin": fatbins.fatbin([["80"], ["90"]]), ".data": fatbins.fatbin([["75"]])}
    )
    _, *others = verdicts(tmp_path, name, data)
    assert others == [others[0]] * 3
    assert others[0]["profiles"] == {"80": 1, "90": 1}


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("x.whl", b"PK\3\4"), ("x.egg", b"PK\3\4"), ("x.zip", b"PK\3\4"), ("x.jar", b"PK\3\4"),
        ("x.tar", bytes(257) + b"ustar\0"), ("x.tar.gz", b"\x1f\x8b"), ("x.tgz", b"\x1f\x8b"),
        ("x.tar.zst", b"\x28\xb5\x2f\xfd"), ("x.tar.xz", b"\xfd7zXZ\0"), ("x.deb", b"!<arch>\ndebian-binary"),
        ("x.rpm", b"\xed\xab\xee\xdb"), ("x.7z", b"7z\xbc\xaf"), ("x.squashfs", b"hsqs"),
        ("install.run", b"#!/bin/sh\n# This script was generated using Makeself 2.4.5\n"),
        ("x.pex", b"#!/usr/bin/env python3\nPK\3\4"), ("x.pyz", b"#!/bin/sh\n"),
        ("x.egg", b"#!/bin/sh\nPK\3\4"), ("x.conda", b"PK\3\4"),
    ],
)  # fmt: skip
def test_an_archive_inside_is_listed_with_its_size(tmp_path: Path, name: str, head: bytes) -> None:
    data = head + bytes(600)
    _, *others = verdicts(tmp_path, name, data)
    assert others == [others[0]] * 3
    assert others[0]["size"] == len(data)
    assert re.search("not opened|damaged|lists other files", others[0]["unread"])


@pytest.mark.parametrize("at", [0x20, 0x28])
@pytest.mark.parametrize("value", [1 << 63, (1 << 64) - 1, (1 << 63) - 1, 1 << 40])
def test_offsets_beyond_every_file_are_one_verdict(tmp_path: Path, at: int, value: int) -> None:
    """Those of the program headers and of the section table; Python's own calls take no such numbers."""
    data = fatbins.library([["80"]])
    data = data[:at] + value.to_bytes(8, "little") + data[at + 8 :]
    _, *others = verdicts(tmp_path, "lib.so", data)
    assert others == [others[0]] * 3
    assert ("damage" in others[0]) == (at == 0x28)


PACKAGE = b"packed" * 20_000 + b"MEI\014\013\012\013\016" + bytes(80)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("place", ["section", "end", "AppImage", "none"])
def test_a_program_that_unpacks_itself_is_listed(tmp_path: Path, place: str, own: bool) -> None:
    """PyInstaller 6 puts its package into the section `pydata`, earlier ones behind the program."""
    code = {".nv_fatbin": fatbins.fatbin([["80"]])} if own else {}
    data = fatbins.elf({".text": b"x", **code, **({"pydata": PACKAGE} if place == "section" else {})})
    data += PACKAGE if place == "end" else b"hsqs" * 50 if place == "AppImage" else b""
    data = data[:8] + b"AI\2" + data[11:] if place == "AppImage" else data
    found, *others = verdicts(tmp_path, "app", data)
    assert others == [found] * 3
    said = {"AppImage": "an AppImage, which is not opened", "none": ""}.get(
        place, "a PyInstaller program, whose package"
    )
    if not own and not said:
        assert found is None
        return
    assert (found.get("unread", "").startswith(said), bool(said)) == (True, "unread" in found)
    assert found.get("profiles", {}) == ({"80": 1} if own else {})


@pytest.mark.parametrize(("name", "data"), [("x.gz", b"\x1f\x8b"), ("x.zip", b"text"), ("notes.tar", b"text" * 200)])
def test_what_is_no_archive_is_not_listed(tmp_path: Path, name: str, data: bytes) -> None:
    assert verdicts(tmp_path, name, data)[1:] == [None] * 3
