"""Programs, scripts and single files that carry device code packed: judged where that is possible, and else named."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import zipfile
from typing import TYPE_CHECKING

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import UsageError
from orchestrator.image.code import programs
from orchestrator.image.layers import packed, zips
from orchestrator.image.layers.merge import merge
from orchestrator.image.layers.scan import scan_layer
from orchestrator.image.layers.store import LayerStore
from orchestrator.image.sources.detect import open_source
from orchestrator.image.sources.local import open_directory, open_wheel
from tests.support import fatbins
from tests.support.generated import examples

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from orchestrator.image.code.library import FileCode

LIBRARY = fatbins.library([["80", "90a"]], packing="zstd", pad=3000)
ZSTD = zstandard.ZstdCompressor()


def everywhere(folder: Path, name: str, data: bytes) -> Mapping[str, FileCode]:
    """What a file says in a layer, which is what it says in a directory and in a wheel."""
    tree = folder / "tree"
    tree.mkdir()
    (tree / name).write_bytes(data)
    with zipfile.ZipFile(folder / "outer.whl", "w") as archive:
        archive.writestr(name, data)
    layer = fatbins.layer({name: data})
    scans = [scan_layer(io.BytesIO(layer), len(layer))]
    scans += [one for one in (open_directory(tree).files, open_wheel(folder / "outer.whl").files) if one is not None]
    found, *others = (merge([one]).code for one in scans)
    assert others == [found] * 2
    return found


def zipped(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def skippable(data: bytes) -> bytes:
    """A zstd frame that says nothing, longer than what is looked at first."""
    return b"\x50\x2a\x4d\x18" + struct.pack("<I", 300_000) + bytes(300_000) + ZSTD.compress(data)


def long_header(data: bytes) -> bytes:
    """A gzip file whose own file name is longer than what is looked at first."""
    body = gzip.compress(data)
    return body[:3] + b"\x08" + body[4:10] + b"n" * 300_000 + b"\0" + body[10:]


SINGLE: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "xz": lzma.compress,
    "bz2": bz2.compress,
    "zst": ZSTD.compress,
}


@pytest.mark.parametrize("ending", SINGLE)
@pytest.mark.parametrize("name", ["lib.so.{}", "lib.so"])
def test_a_packed_library_is_judged_as_an_archive_of_one(tmp_path: Path, name: str, ending: str) -> None:
    name = name.format(ending)
    found = everywhere(tmp_path, name, SINGLE[ending](LIBRARY))
    assert sorted(found) == [name, f"{name}/lib.so"]
    assert found[f"{name}/lib.so"].profiles == {("80", "90a"): 1}
    assert found[f"{name}/lib.so"].archive == name


@pytest.mark.parametrize("pack", [skippable, long_header])
@pytest.mark.parametrize("content", ["library", "tar", "zip"])
def test_what_the_first_bytes_do_not_show_is_read_on(
    tmp_path: Path, pack: Callable[[bytes], bytes], content: str
) -> None:
    data = {"library": LIBRARY, "tar": fatbins.layer({"x.so": LIBRARY}), "zip": zipped({"x.so": LIBRARY})}[content]
    found = everywhere(tmp_path, "blob", pack(data))
    assert [one.containers for path, one in found.items() if path.endswith((".so", "blob/blob")) and one.profiles] == [
        1
    ]


@pytest.mark.parametrize("ending", SINGLE)
def test_a_packed_text_is_a_plain_file_and_a_damaged_one_is_named(tmp_path: Path, ending: str) -> None:
    for number, text in enumerate((b"", b"a manual page", b"a long one\n" * 10_000)):
        (tmp_path / str(number)).mkdir()
        assert everywhere(tmp_path / str(number), f"x.{ending}", SINGLE[ending](text)) == {}
    damaged = SINGLE[ending](LIBRARY)[:60]
    assert "damaged" in everywhere(tmp_path, f"x.{ending}", damaged)[f"x.{ending}"].unread


def test_a_packed_file_that_is_too_large_to_be_held_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zips, "MAX_HELD", len(LIBRARY) - 1)
    found = everywhere(tmp_path, "lib.so.zst", ZSTD.compress(LIBRARY))
    assert "which is not opened" in found["lib.so.zst"].unread


@pytest.mark.parametrize(
    "head",
    [
        b"7z\xbc\xaf\x27\x1c", b"\xed\xab\xee\xdb\3", b"Rar!\x1a\x07\1", b"\x04\x22\x4d\x18", b"LZIP\1", b"070701",
        b"PK\7\x08PK\3\4", b"hsqs" + bytes(24) + b"\4\0",
    ],
)  # fmt: skip
def test_other_packings_are_named_whatever_their_name(tmp_path: Path, head: bytes) -> None:
    found = everywhere(tmp_path, "data.bin", head + bytes(900))
    assert (found["data.bin"].size, found["data.bin"].unread) == (len(head) + 900, packed.NOT_OPENED)


SHELL = (
    b"#!/bin/sh\n#\n# NAME:  Miniconda3\n# PLAT:  linux-64\n" + b"echo unpacking\n" * 90 + b"exit 0\n@@END_HEADER@@\n"
)


@pytest.mark.parametrize(
    "payload",
    [gzip.compress(LIBRARY), fatbins.layer({"x.so": LIBRARY}), LIBRARY, b"text" * 9000 + b"\0", b"QUJD\n" * 250_000],
)
def test_a_script_with_something_behind_it_is_named(tmp_path: Path, payload: bytes) -> None:
    """The installers of conda, shar, and the like."""
    found = everywhere(tmp_path, "install.sh", SHELL + payload)
    assert found["install.sh"].unread.startswith("a script ")


@pytest.mark.parametrize("data", [SHELL, b"#!/usr/bin/env node\n" + b"x=1;\n" * 250_000])
def test_a_script_is_a_plain_file(tmp_path: Path, data: bytes) -> None:
    assert everywhere(tmp_path, "install.sh", data) == {}


def program(data: bytes, *, interpreted: bool = True) -> bytes:
    """An ELF file with a program header for its loader, or of a kind that needs none."""
    if not interpreted:
        return data[:16] + struct.pack("<H", 2) + data[18:]
    header = struct.pack("<IIQQQQQQ", 3, 4, 0, 0, 0, 0, 0, 1)
    data += header
    return data[:32] + struct.pack("<Q", len(data) - len(header)) + data[40:54] + struct.pack("<HH", 56, 1) + data[58:]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        (b"NUITKA_ONEFILE_PARENT\0", "a Nuitka program in one file"), (b"pyembed\3", "a PyOxidizer program"),
        (b"nothing", ""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("own", [False, True])
def test_a_program_is_known_by_a_word_of_its_loader(tmp_path: Path, word: bytes, said: str, own: bool) -> None:
    code = {".nv_fatbin": fatbins.fatbin([["80"]])} if own else {}
    data = program(fatbins.elf({".rodata": bytes(3 << 20) + word + bytes(2 << 20), **code}), interpreted=False)
    found = everywhere(tmp_path, "app", data)
    assert (found["app"].unread if "app" in found else "") == (f"{said}, {programs.NOT_OPENED}" if said else "")
    assert bool(found) == bool(own or said)


def test_a_library_is_searched_for_no_word(tmp_path: Path) -> None:
    assert everywhere(tmp_path, "lib.so", fatbins.elf({".rodata": b"NUITKA_ONEFILE_PARENT"})) == {}
    assert not programs.is_program(LIBRARY[: programs.BEGINNING])
    head = fatbins.elf({})
    assert programs.is_program(program(head, interpreted=False)[: programs.BEGINNING])
    assert programs.is_program(program(head)[: programs.BEGINNING])


@pytest.mark.parametrize(
    ("behind", "said"),
    [
        (b"KAY" + ZSTD.compress(LIBRARY), "a Nuitka program in one file"),
        (zipped({"x.so": LIBRARY}), "a program with a zip archive behind it"),
        (b"\xff" * 70_000, "a program with 70000 bytes behind it"),
        (bytes(100), ""),
    ],
)  # fmt: skip
def test_what_stands_behind_a_program_is_named(tmp_path: Path, behind: bytes, said: str) -> None:
    data = fatbins.elf({".text": b"x" * 900})
    found = everywhere(tmp_path, "app", data + behind)
    assert (found["app"].unread if "app" in found else "").endswith(f"{said}, {programs.NOT_OPENED}" if said else "")
    assert bool(found) == bool(said)


def test_a_program_packed_by_upx_and_one_of_staticx_are_named(tmp_path: Path) -> None:
    bare = fatbins.elf({".text": b"x" * 900})
    upx = bare[:40] + bytes(8) + bare[48:60] + bytes(2) + bare[62:] + b"UPX!" + bytes(32)
    static = fatbins.elf({".staticx.archive": lzma.compress(fatbins.layer({"x.so": LIBRARY}))})
    for name, data, said in (("upx", upx, "packed by UPX"), ("app", static, "a staticx program")):
        (tmp_path / name).mkdir()
        assert said in everywhere(tmp_path / name, name, data)[name].unread


@pytest.mark.parametrize("comment", [b"", b"a comment"])
def test_a_program_of_every_system_is_known_by_the_archive_at_its_end(tmp_path: Path, comment: bytes) -> None:
    """llamafile: it begins like a program of Windows, and its libraries for GPUs are entries of a zip file."""
    archive = zipped({"libggml-cuda.so": LIBRARY})[:-2] + struct.pack("<H", len(comment)) + comment
    data = b"MZqFpD='\n" + bytes(5000) + archive
    assert everywhere(tmp_path, "model.llamafile", data)["model.llamafile"].unread == packed.NOT_OPENED
    assert not programs.ends_like_zip(data[:-1])


@examples(60)
@given(
    st.lists(st.binary(min_size=0, max_size=40), max_size=8), st.sampled_from([b"pyembed\1", b"NUITKA_ONEFILE_PARENT"])
)
def test_a_word_is_found_across_pieces(pieces: list[bytes], word: bytes) -> None:
    whole = b"".join(pieces)
    middle = len(whole) // 2
    for step in (1, 5, 300):
        seen = programs.Words()
        data = whole[:middle] + word + whole[middle:]
        for at in range(0, len(data), step):
            seen.take(data[at : at + step])
        assert word in seen.found


ALONE = {
    "lib.so.gz": gzip.compress(LIBRARY), "lib.so.zst": ZSTD.compress(LIBRARY), "lib.so.xz": lzma.compress(LIBRARY),
    "x.tar.xz": lzma.compress(fatbins.layer({"lib.so": LIBRARY})),
    "x.tar.bz2": bz2.compress(fatbins.layer({"lib.so": LIBRARY})),
    "app.pex": b"#!/usr/bin/env python3\n" + zipped({"lib.so": LIBRARY}),
    "app.llamafile": b"MZqFpD\n" + zipped({"lib.so": LIBRARY}),
}  # fmt: skip


@pytest.mark.parametrize("name", ALONE)
def test_what_is_packed_is_judged_where_it_is_asked_about_by_itself(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(ALONE[name])
    with open_source(str(tmp_path / name), LayerStore(None)) as contents:
        assert contents.files is not None
        assert contents.files.code["lib.so"].profiles == {("80", "90a"): 1}
        assert not contents.files.code["lib.so"].archive


def test_what_is_not_opened_says_so_and_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "install.sh").write_bytes(SHELL + b"\0" + LIBRARY)
    with open_source(str(tmp_path / "install.sh"), LayerStore(None)) as contents:
        assert contents.files is not None
        assert "which is not opened" in contents.files.code["install.sh"].unread
    (tmp_path / "notes").write_bytes(b"text" * 500)
    with pytest.raises(UsageError, match="is not an image"), open_source(str(tmp_path / "notes"), LayerStore(None)):
        pass
