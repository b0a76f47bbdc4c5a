"""What kind of archive a file is, by which bytes, and what is said of one that is damaged, too deep or too large."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
from typing import TYPE_CHECKING

import pytest
import zstandard

from orchestrator.errors import VerificationError
from orchestrator.image.code import library
from orchestrator.image.code.forward import Forward
from orchestrator.image.layers import budget as bounds
from orchestrator.image.layers import inside, packed
from orchestrator.image.layers.budget import BeyondError, Budget
from orchestrator.image.layers.inside import code_of, is_archive
from tests.support import fatbins

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.image.code.library import FileCode

LIBRARY = fatbins.library([["80"]])
TAR = fatbins.layer({"x.so": LIBRARY})
PTX = b".version 9.0\n.target sm_90\n.address_size 64\n.visible .entry k() {}\n"
NOISE = random.Random(1).randbytes(600_000)  # what no packing makes smaller
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress, "zst": zstandard.compress,
}  # fmt: skip


def read(path: str, data: bytes, *, depth: int = 0, budget: Budget | None = None) -> FileCode | None:
    stream = Forward(iter([data[at : at + 5000] for at in range(0, len(data), 5000)] + [b"behind"]))
    found = code_of(path, stream, len(data), budget=budget or Budget(), depth=depth)
    assert stream.offset <= len(data)
    return found


def opened(path: str, data: bytes) -> dict[str, str]:
    """Path -> architectures of what an archive holds; {"": why} where it is not read."""
    found = read(path, data)
    if found is None:
        return {}
    if found.unread:
        return {"": found.unread}
    return {name: " ".join(one.images) or one.bare for name, one in found.inside.items()}


@pytest.mark.parametrize("ending", PACK)
@pytest.mark.parametrize(
    ("name", "inner"),
    [("lib.so.{}", "lib.so"), ("lib.so", "lib.so"), ("a/b/lib.{}", "lib"), ("{}", "{}"), ("lib.so.GZ", "lib.so.GZ"),
     (".{}", "")],
)  # fmt: skip
def test_a_packed_file_has_the_name_of_the_packing_less_its_ending(ending: str, name: str, inner: str) -> None:
    found = opened(name.format(ending), PACK[ending](LIBRARY))
    assert found == ({inner.format(ending): "80"} if inner else {})


@pytest.mark.parametrize("ending", PACK)
def test_what_a_packed_file_holds_decides(ending: str) -> None:
    pack = PACK[ending]
    assert opened(f"x.{ending}", pack(TAR)) == {"x.so": "80"}
    assert opened(f"x.{ending}", pack(PTX)) == {"x": "p90"}
    assert opened(f"x.{ending}", pack(b"\n\n" + PTX)) == {"x": "p90"}
    assert opened(f"x.{ending}", pack(b"see .version 9.0, then .target sm_90")) == {}
    assert opened(f"x.{ending}", pack(b"")) == {}
    assert opened(f"x.{ending}", pack(b"text " * 5000)) == {}
    assert opened(f"x.{ending}", pack(NOISE)) == {}
    other = read(f"x.{ending}", pack(pack(LIBRARY)))
    assert other is not None
    assert other.inside["x"].inside["x"].images == {"80": 1}
    assert opened(f"x.tar.{ending}", pack(b"text " * 5000)) != {}, "its name says that it is an archive"


def test_beginnings_of_which_two_bytes_say_nothing() -> None:
    assert read("x.gz", b"\x1f\x8b") is None
    assert read("x.gz", b"\x1f\x8b\x07" + bytes(30)) is None
    found = read("x.gz", b"\x1f\x8b\x08" + bytes(16))
    assert found is not None
    assert found.unread.startswith("an archive that is damaged, and not read to its end: ")
    assert read("x.gz", b"\x1f\x8b\x08" + bytes(15)) is None, "18 bytes have no content"


@pytest.mark.parametrize("ending", ["xz", "bz2"])
def test_streams_in_a_row_and_streams_that_are_cut_off(ending: str) -> None:
    pack = PACK[ending]
    halves = TAR[:700], TAR[700:]
    for between in (b"", bytes(4), bytes(70_000)):
        assert opened("x.tar", pack(halves[0]) + between + pack(halves[1])) == {"x.so": "80"}
    damage = "an archive that is damaged, and not read to its end: "
    whole = pack(fatbins.layer({"x.so": LIBRARY, "noise": NOISE}))
    assert opened("x.tar", whole[:-9000]) == {"": f"{damage}the stream is cut off"}
    broken = bytearray(whole)
    broken[len(whole) // 2] ^= 0xFF
    found = read("x.tar", bytes(broken))
    assert found is not None
    assert set(found.inside) == ({"x.so"} if ending == "xz" else set()), "bzip2 checks its block first"
    assert found.unread.startswith(f"{damage}the stream is damaged: ")


def test_how_deep_archives_are_opened() -> None:
    found = read("x.tar", TAR, depth=2)
    assert found is not None
    assert set(found.inside) == {"x.so"}
    found = read("x.tar", TAR, depth=3)
    assert found is not None
    assert (found.size, found.unread, found.inside) == (len(TAR), "an archive in 3 others, which is not opened", {})
    assert read("x.so", LIBRARY, depth=9) is not None


@pytest.mark.parametrize(
    ("limit", "value", "said"),
    [
        ("MAX_ENTRIES", 1, "the archives of this layer have over 1 entries"),
        ("MAX_KEPT", 0, "the archives of this layer hold over 0 files with device code"),
        ("MAX_UNPACKED", 600, "the archives of this layer unpack to over 600 bytes"),
    ],
)
def test_what_is_beyond_a_bound_is_said(monkeypatch: pytest.MonkeyPatch, limit: str, value: int, said: str) -> None:
    monkeypatch.setattr(bounds, limit, value)
    assert opened("x.tar", TAR) == {"": f"an archive that is not opened to its end: {said}"}


def test_what_archives_cost_is_counted_to_the_last() -> None:
    budget = Budget()
    assert (budget.left, budget.entries, budget.kept) == (4 << 30, 200_000, 100_000)
    two = fatbins.layer({"x.so": LIBRARY, "y": b"text"})
    read("x.tar", two, budget=budget)
    assert (budget.kept, budget.entries) == (99_999, 200_000 - 4)
    assert (4 << 30) - budget.left <= len(two)
    budget.left, budget.entries, budget.kept = 3, 1, 1
    budget.take(3)
    budget.enter()
    budget.keep()
    with pytest.raises(BeyondError):
        budget.take(1)
    with pytest.raises(BeyondError):
        budget.enter()
    with pytest.raises(BeyondError):
        budget.keep()
    assert issubclass(BeyondError, VerificationError)


def debian(*members: tuple[bytes, bytes], odd: bool = True) -> bytes:
    out = b"!<arch>\n"
    for name, data in ((b"debian-binary", b"2.0\n"), *members):
        out += name.ljust(16) + b" " * 32 + str(len(data)).encode().ljust(10) + b"`\n" + data
        out += b"\n" * (len(data) % 2) if odd else b""
    return out


def test_packages_of_debian() -> None:
    assert opened("x", debian((b"control.tar", TAR), (b"data.tar", TAR))) == {"x.so": "80"}
    assert opened("x", debian((b"data.tar/", TAR))) == {"x.so": "80"}
    assert opened("x", debian((b"data.tar.gz", gzip.compress(TAR)), (b"_gpg", b"x"))) == {"x.so": "80"}
    assert opened("x", debian((b"odd", b"123"), (b"data.tar", TAR))) == {"x.so": "80"}
    assert opened("x", debian((b"other", TAR))) == {}
    assert opened("x", debian((b"data.tar", TAR))[:-9])[""].endswith(": a Debian package is cut off")
    assert opened("x", debian((b"data.tar", TAR), (b"odd", b"123"), odd=False)) == {"x.so": "80"}


def test_zip_files_behind_the_line_that_runs_them() -> None:
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("x.so", LIBRARY)
    assert opened("a", b"#!/usr/bin/python3\n" + out.getvalue()) == {"x.so": "80"}
    assert opened("a", b"#!/usr/bin/python3\n# more\n" + out.getvalue()) == {"x.so": "80"}
    assert read("a", b"#!/bin/sh\n" + b"#" * 600 + b"\n" + out.getvalue()) is not None


@pytest.mark.parametrize(
    ("head", "plain"),
    [
        (b"\x7fELF", False), (b"!<arch>\n", False), (b"PK", False), (b"\x1f\x8b", False), (b"\x28\xb5", False),
        (b"\xfd7", False), (b"BZ", False), (b"#!", False), (b"MZ", False), (b"x\x2a\x4d\x18", False),
        (b"\x50\xed\x55\xba", False), (b"text", True), (b"", True), (b"x .version y", False), (b"x.versio n", True),
    ],
)  # fmt: skip
def test_what_the_first_look_lets_pass(head: bytes, plain: bool) -> None:
    assert inside._is_plain(head.ljust(512, b" ")) is plain
    assert inside._is_plain(b"text".ljust(257) + b"ustar") is False
    assert inside._is_plain(b"text".ljust(256) + b"ustar") is True


@pytest.mark.parametrize(
    ("path", "head", "archive"),
    [
        ("a.deb", b"!<arch>\ndebian-binary ", True), ("a", b"!<arch>\ndebian-binary ", True),
        ("liba.a", b"!<arch>\n/ ", False), ("a.whl", b"!<arch>\n/ ", True), ("a", b"7z\xbc\xaf\x27\x1c", True),
        ("a.7z", b"7z\xbc\xaf", True), ("a", b"7z\xbc\xaf", False), ("a.zip", b"text", False),
    ],
)  # fmt: skip
def test_what_begins_like_a_static_library_and_is_none(path: str, head: bytes, archive: bool) -> None:
    assert is_archive(path, head) is archive


def test_ptx_by_its_name_or_its_first_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    for path, text in (("k.ptx", PTX), ("k.txt", PTX), ("k.ptx", b"x" * 500 + b"\n" + PTX)):
        found = read(path, text)
        assert found is not None
        assert found.bare == "p90"
    assert read("k.txt", b"x" * 500 + b"\n" + PTX) is None
    assert read("k.ptx", b"text") is None
    monkeypatch.setattr(library, "MAX_BARE", len(PTX) - 1)
    found = read("k.txt", PTX)
    assert found is not None
    assert found.damage == f"it stands alone with {len(PTX)} bytes, more than the {len(PTX) - 1} that are read"


def test_files_that_are_named_and_not_opened() -> None:
    for path, data in (("a.rpm", b"\xed\xab\xee\xdb\3" + bytes(60)), ("a", b"hsqs" + bytes(24) + b"\4\0\0\0")):
        found = read(path, data)
        assert found is not None
        assert (found.size, found.unread) == (len(data), packed.NOT_OPENED)
    script = b"#!/bin/sh\n" + b"exit\n" * 9
    assert read("a.sh", script) is None
    found = read("a.sh", script + b"\0")
    assert found is not None
    assert found.unread.startswith("a script with packed files behind it")


def test_a_sparse_library_in_an_archive() -> None:
    import tarfile

    hole = 4096
    info = tarfile.TarInfo("x.so")
    info.pax_headers = {
        "GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "x.so",
        "GNU.sparse.size": str(len(LIBRARY) + hole), "GNU.sparse.map": f"0,{len(LIBRARY)}",
    }  # fmt: skip
    info.size = len(LIBRARY)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(LIBRARY))
    found = read("x.tar", out.getvalue())
    assert found is not None
    assert (found.inside["x.so"].size, found.inside["x.so"].images) == (len(LIBRARY) + hole, {"80": 1})
    budget = Budget()
    read("x.tar", out.getvalue(), budget=budget)
    whole, budget = (4 << 30) - budget.left, Budget()
    assert whole >= len(LIBRARY) + hole
    for left, said in ((whole, ""), (whole - 1, "an archive that is not opened to its end: ")):
        budget.left = left
        found = read("x.tar", out.getvalue(), budget=budget)
        assert found is not None
        assert found.unread.startswith(said)
        assert bool(found.unread) is bool(said)
