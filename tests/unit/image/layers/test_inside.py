"""Archives inside a layer, a wheel or a directory: what lies in them is judged, and what is not read is named."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
import struct
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.image.code.fatbin import KEY
from orchestrator.image.layers import budget, inside, packed
from orchestrator.image.layers.merge import LayerScan, merge
from orchestrator.image.layers.scan import scan_layer
from orchestrator.image.sources.local import open_directory, open_file, open_wheel
from tests.support import fatbins
from tests.support.generated import examples

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orchestrator.image.code.library import FileCode

LIBRARY = fatbins.library([["80", "90a"], ["80"]], packing="zstd", pad=3000)
FILES = {"x/lib.so": LIBRARY, "x/a.py": b"pass", "x/k.cubin": fatbins.cubin(sm=90)}


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED, *, stream: bool = False) -> bytes:
    """A zip file; one that was written as a stream has the sizes of its entries behind them."""
    out = io.BytesIO()

    class Stream(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: Any, /) -> int:
            return out.write(data)

    with zipfile.ZipFile(Stream() if stream else out, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def tarred(files: Mapping[str, bytes]) -> bytes:
    return fatbins.layer(dict(files))


def debian(data: bytes, name: str = "data.tar.xz") -> bytes:
    members = {"debian-binary": b"2.0\n", "control.tar.gz": gzip.compress(tarred({"control": b"x"})), name: data}
    out = b"!<arch>\n"
    for member, content in members.items():
        out += member.ljust(16).encode() + b" " * 32 + str(len(content)).ljust(10).encode() + b"`\n" + content
        out += b"\n" * (len(content) % 2)
    return out


ZSTD = zstandard.ZstdCompressor()
ARCHIVES = {
    "a.whl": zipped(FILES), "a.zip": zipped(FILES, zipfile.ZIP_STORED), "a.jar": zipped(FILES, stream=True),
    "a.egg": b"#!/bin/sh\n" + zipped(FILES), "program": b"#!/usr/bin/env python3\n" + zipped(FILES),
    "no-name": zipped(FILES), "a.tar": tarred(FILES), "tar-without-a-name": tarred(FILES),
    "a.tar.gz": gzip.compress(tarred(FILES)), "a.tgz": gzip.compress(tarred(FILES)),
    "gzip-without-a-name": gzip.compress(tarred(FILES)), "a.tar.xz": lzma.compress(tarred(FILES)),
    "xz-without-a-name": lzma.compress(tarred(FILES)), "a.tar.bz2": bz2.compress(tarred(FILES)),
    "a.tar.zst": ZSTD.compress(tarred(FILES)), "zstd-without-a-name": ZSTD.compress(tarred(FILES)),
    "a.deb": debian(lzma.compress(tarred(FILES))), "b.deb": debian(ZSTD.compress(tarred(FILES)), "data.tar.zst"),
    "c.deb": debian(tarred(FILES), "data.tar"), "deb-without-a-name": debian(lzma.compress(tarred(FILES))),
}  # fmt: skip


def layer(files: Mapping[str, bytes]) -> LayerScan:
    whole = fatbins.layer(dict(files))
    found = scan_layer(io.BytesIO(whole), len(whole))
    assert LayerScan.from_json(json.loads(json.dumps(found.to_json()))) == found
    return found


def everywhere(folder: Path, name: str, data: bytes) -> list[Mapping[str, FileCode]]:
    """What an archive holds that lies in a layer, in a directory and in a wheel."""
    tree = folder / "tree"
    tree.mkdir()
    (tree / name).write_bytes(data)
    (folder / "outer.whl").write_bytes(zipped({name: data}))
    scans = [layer({name: data}), open_directory(tree).files, open_wheel(folder / "outer.whl").files]
    return [merge([one]).code for one in scans if one is not None]


@pytest.mark.parametrize("name", ARCHIVES)
def test_what_lies_in_an_archive_is_read_wherever_the_archive_lies(tmp_path: Path, name: str) -> None:
    plain = layer(FILES).code
    found, *others = everywhere(tmp_path, name, ARCHIVES[name])
    assert others == [found] * 2
    assert sorted(found) == [name, f"{name}/x/k.cubin", f"{name}/x/lib.so"]
    assert found[name].unread == ""
    assert found[f"{name}/x/lib.so"].profiles == plain["x/lib.so"].profiles == {("80", "90a"): 1, ("80",): 1}
    assert found[f"{name}/x/lib.so"].archive == found[f"{name}/x/k.cubin"].archive == name
    assert found[f"{name}/x/k.cubin"].bare == "90"


@pytest.mark.parametrize("name", ["a.jar", "a.tar", "a.tar.gz", "a.deb"])
def test_an_archive_that_was_named_by_itself_is_what_was_asked_about(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(ARCHIVES[name])
    files = open_file(tmp_path / name).files
    assert files is not None
    found = merge([files]).code
    assert sorted(found) == ["x/k.cubin", "x/lib.so"]
    assert not found["x/lib.so"].archive


def test_archives_in_archives_are_opened_three_deep(tmp_path: Path) -> None:
    inner = zipped(FILES)
    conda = zipped({"pkg-x.tar.zst": ZSTD.compress(tarred({"p/x.whl": inner}))}, zipfile.ZIP_STORED)
    found, *others = everywhere(tmp_path, "x.conda", conda)
    assert others == [found, found] or others[0] == found
    assert found["x.conda/pkg-x.tar.zst/p/x.whl/x/lib.so"].containers == 2
    assert found["x.conda/pkg-x.tar.zst/p/x.whl/x/lib.so"].archive == "x.conda"
    deeper = layer({"y.tar": tarred({"x.conda": conda})})
    last = merge([deeper]).code["y.tar/x.conda/pkg-x.tar.zst/p/x.whl"]
    assert (last.containers, last.size) == (0, len(inner))
    assert last.unread == "an archive in 3 others, which is not opened"


@pytest.mark.parametrize("name", ["a.whl", "a.jar", "a.tar", "a.tar.gz", "a.tar.xz", "a.tar.zst", "a.tar.bz2", "a.deb"])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_an_archive_that_is_cut_off_is_named(name: str, share: float) -> None:
    data = ARCHIVES[name]
    cut = data[: int(len(data) * share)]
    whole = merge([layer({name: cut, "behind.so": LIBRARY})]).code
    assert whole[name].unread
    assert whole[name].size == len(cut)
    assert whole["behind.so"].containers == 2


@examples(150)
@given(st.sampled_from(sorted(ARCHIVES)), st.integers(0, 1 << 30), st.binary(min_size=1, max_size=8))
def test_damage_in_an_archive_costs_no_other_file(name: str, at: int, change: bytes) -> None:
    data = ARCHIVES[name]
    at %= len(data)
    damaged = (data[:at] + change + data[at + len(change) :])[: len(data)]
    found = merge([layer({name: damaged, "behind.so": LIBRARY})]).code
    assert found["behind.so"].containers == 2


def test_a_directory_that_lists_other_files_is_not_believed() -> None:
    """Readers go by it, so what was found is not what they would see."""
    data = ARCHIVES["a.whl"]
    end = data.index(b"PK\1\2")
    hidden = data[:end] + data[end:].replace(b"x/lib.so", b"x/lob.so")
    gone = data[:end] + data[data.rindex(b"PK\1\2") :]
    for one in (hidden, gone, data[:end]):
        assert "lists other files" in layer({"a.whl": one}).code["a.whl"].unread
    assert not layer({"a.whl": data}).code["a.whl"].unread


def test_entries_that_are_encrypted_or_packed_unusually_are_named() -> None:
    at = ARCHIVES["a.zip"].index(b"PK\3\4")
    encrypted = bytearray(ARCHIVES["a.zip"])
    encrypted[at + 6] |= 1
    lzma_packed = zipped(FILES, zipfile.ZIP_LZMA)
    for one in (bytes(encrypted), lzma_packed):
        assert "encrypted or packed" in layer({"a.zip": one}).code["a.zip"].unread


def test_zeros_between_the_streams_of_xz_end_nothing() -> None:
    whole = tarred(FILES)
    data = lzma.compress(whole[:1024]) + bytes(200_000) + lzma.compress(whole[1024:])
    found = layer({"a.tar.xz": data}).code["a.tar.xz"]
    assert (found.unread, set(found.inside)) == ("", {"x/lib.so", "x/k.cubin"})


def test_an_archive_without_device_code_is_a_plain_file() -> None:
    found = layer({"a.zip": zipped({"a.py": b"pass", "b/": b""}), "a.tar.gz": gzip.compress(tarred({"a": b"x"}))})
    assert found.code == {}
    assert found.plain == {"a.zip", "a.tar.gz"}


@pytest.mark.parametrize(("limit", "value"), [("MAX_UNPACKED", 5000), ("MAX_ENTRIES", 1), ("MAX_KEPT", 1)])
@pytest.mark.parametrize("name", ["a.whl", "a.jar", "a.tar", "a.tar.xz", "a.deb"])
def test_what_archives_cost_is_bounded(monkeypatch: pytest.MonkeyPatch, name: str, limit: str, value: int) -> None:
    monkeypatch.setattr(budget, limit, value)
    found = merge([layer({name: ARCHIVES[name], "behind.so": LIBRARY})]).code
    assert str(value) in found[name].unread
    assert "to its end" in found[name].unread
    assert found["behind.so"].containers == 2


@pytest.mark.parametrize("packing", ["zip", "jar", "gzip", "xz", "bzip2", "zstd"])
def test_a_bomb_is_no_more_than_a_note(monkeypatch: pytest.MonkeyPatch, packing: str) -> None:
    monkeypatch.setattr(budget, "MAX_UNPACKED", 2 << 20)
    zeros = {"zeros.so": fatbins.library([["80"]], pad=10 << 20), "lib.so": LIBRARY}
    data = {
        "zip": lambda: zipped(zeros), "jar": lambda: zipped(zeros, stream=True),
        "gzip": lambda: gzip.compress(tarred(zeros), 1), "xz": lambda: lzma.compress(tarred(zeros), preset=0),
        "bzip2": lambda: bz2.compress(tarred(zeros)), "zstd": lambda: ZSTD.compress(tarred(zeros)),
    }[packing]()  # fmt: skip
    name = "a.zip" if packing in ("zip", "jar") else "a.tar.gz"
    found = merge([layer({name: data, "behind.so": LIBRARY})]).code
    assert found[name].unread
    assert found["behind.so"].containers == 2


def test_what_is_no_library_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the entries of a zip file that have their sizes in front."""
    monkeypatch.setattr(budget, "MAX_UNPACKED", 8 << 20)
    found = merge([layer({"a.zip": zipped({"zeros": bytes(40 << 20), "lib.so": LIBRARY})})]).code
    assert found["a.zip"].unread == ""
    assert found["a.zip/lib.so"].containers == 2


def test_later_layers_and_links_hide_and_share_what_an_archive_holds() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in ("opt/a.whl", "opt/gone.whl"):
            info = tarfile.TarInfo(name)
            info.size = len(ARCHIVES["a.whl"])
            archive.addfile(info, io.BytesIO(ARCHIVES["a.whl"]))
        link = tarfile.TarInfo("opt/link.whl")
        link.type, link.linkname = tarfile.LNKTYPE, "opt/a.whl"
        archive.addfile(link)
    low = scan_layer(io.BytesIO(out.getvalue()), len(out.getvalue()))
    high = layer({"opt/.wh.gone.whl": b"", "opt/.wh.a.whl": b""})
    assert "opt/gone.whl/x/lib.so" in merge([low]).code
    assert sorted(merge([low, high]).code) == ["opt/link.whl", "opt/link.whl/x/k.cubin", "opt/link.whl/x/lib.so"]


def test_a_name_hides_no_device_code() -> None:
    """Nor does the end `.ptx` make PTX, and PTX is known by its first lines."""
    ptx = b"//\n// Generated by NVIDIA NVVM Compiler\n//\n\n.version 8.0\n.target sm_80\n.address_size 64\n.entry k()"
    found = layer({"lib.ptx": LIBRARY, "kernels.txt": ptx, "notes": b"see .version 8.0 and .target sm_80"}).code
    assert found["lib.ptx"].containers == 2
    assert found["kernels.txt"].bare == "p80"
    assert "notes" not in found


def test_random_bytes_behind_every_beginning_are_read_without_a_fault() -> None:
    chance = random.Random(13)
    for head in (b"PK\3\4", b"\x1f\x8b\x08\0", b"\xfd7zXZ\0", b"BZh9", b"\x28\xb5\x2f\xfd", b"!<arch>\ndebian-binary"):
        for _ in range(40):
            data = head + chance.randbytes(chance.randrange(2000))
            assert layer({"a.tar.gz": data, "behind.so": LIBRARY}).code["behind.so"].containers == 2


def test_nothing_that_is_read_or_named_begins_like_a_plain_file() -> None:
    """The first look at a file is the last one at nearly all of an image's: it must let pass what is told later."""
    known = (*packed.BEGINNINGS, *packed._PLAIN, *packed._PACKED, b"#!/bin/sh\n", b"MZ", b"\x7fELF", b"!<arch>\n", KEY)
    frames = [bytes([first]) + b"\x2a\x4d\x18" for first in range(0x50, 0x60)]
    for magic in (*known, b"PK\3\4", b"\x28\xb5\x2f\xfd", b"\x1f\x8b", *frames):
        assert not inside._is_plain(magic + b" " * (512 - len(magic)))
    assert not inside._is_plain(b"x" * 257 + b"ustar" + b"x" * 250)
    assert not inside._is_plain(b"// made by nvcc\n.version 9.0\n.target sm_90\n")
    assert inside._is_plain(b"import torch\n" * 40)


def packed_zip(name: str, data: bytes, *, size: int, method: int = 93, large: bool = False, flags: int = 0) -> bytes:
    """A zip file of one entry that is packed already; `large` puts its sizes into the field of ZIP64."""
    sizes = (0xFFFFFFFF, 0xFFFFFFFF) if large else (len(data), size)
    other = struct.pack("<HHI", 9, 4, 0)  # a field that says something else
    extra = other + (struct.pack("<HHQQ", 1, 16, size, len(data)) if large else b"")
    both = struct.pack("<HHHHIII", flags, method, 0, 0, 0, *sizes)
    names = struct.pack("<HH", len(name), len(extra))
    local = b"PK\3\4" + struct.pack("<H", 20) + both + names + name.encode() + extra + data
    rest = struct.pack("<HHHII", 0, 0, 0, 0, 0)
    listed = b"PK\1\2" + struct.pack("<HH", 20, 20) + both + names + rest + name.encode() + extra
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(listed), len(local), 0)
    return local + listed + end


@pytest.mark.parametrize("large", [False, True])
def test_entries_that_zstd_packed_are_read(large: bool) -> None:
    data = packed_zip("lib.so", ZSTD.compress(LIBRARY), size=len(LIBRARY), large=large)
    found = merge([layer({"a.zip": data, "behind.so": LIBRARY})]).code
    assert found["a.zip/lib.so"].containers == found["behind.so"].containers == 2
    assert found.get("a.zip") is None or found["a.zip"].unread == ""


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (packed_zip("lib.so", ZSTD.compress(LIBRARY), size=len(LIBRARY) - 1), "unpacks to more than its size"),
        (packed_zip("lib.so", ZSTD.compress(LIBRARY)[:-9] + b"\xff" * 9, size=len(LIBRARY)), "a zip entry: "),
        (packed_zip("lib.so", LIBRARY, size=len(LIBRARY), method=14), "encrypted or packed in an unknown way"),
        (packed_zip("lib.so", LIBRARY, size=len(LIBRARY), method=0, flags=1), "encrypted or packed in an unknown way"),
        (packed_zip("lib.so", LIBRARY, size=len(LIBRARY) - 1, method=0), "packed in an unknown way"),
    ],
)
def test_entries_that_are_not_read_are_named(data: bytes, said: str) -> None:
    found = merge([layer({"a.zip": data, "behind.so": LIBRARY})]).code
    assert said in found["a.zip"].unread
    assert found["behind.so"].containers == 2
