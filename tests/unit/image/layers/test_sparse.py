"""Sparse members: every way of GNU tar, written byte by byte; its own archives are read in tests/differential."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import VerificationError
from orchestrator.image.code.forward import Forward
from orchestrator.image.layers import scan, sparse
from orchestrator.image.layers.scan import scan_layer
from orchestrator.image.layers.tar import Type, members
from tests.support import fatbins
from tests.support.generated import examples

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Pieces = Sequence[tuple[int, bytes]]

LIBRARY = fatbins.library([["80"], ["90", "p90"]], pad=300)


def laid_out(pieces: Pieces, size: int) -> bytes:
    data = bytearray(size)
    for at, piece in pieces:
        data[at : at + len(piece)] = piece
    return bytes(data)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def with_records(records: dict[str, str], payload: bytes, more: bytes = b"") -> bytes:
    info = tarfile.TarInfo("GNUSparseFile.1/lib.so")
    info.size = len(payload)
    info.pax_headers = records
    head = info.tobuf(tarfile.PAX_FORMAT)
    if more:  # records that tarfile cannot repeat: behind its own, with the header's size set right
        at = head.index(b"path=") if b"path=" in head else -1
        assert at < 0
        one = tarfile.TarInfo("pax")
        one.type, one.size = b"x", len(more)
        head = one.tobuf(tarfile.USTAR_FORMAT) + padded(more) + info.tobuf(tarfile.USTAR_FORMAT)
    return head + padded(payload)


def record(key: str, value: str) -> bytes:
    rest = f" {key}={value}\n"
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length += 1
    return f"{length}{rest}".encode()


VERSION_0 = {"GNU.sparse.major": "0", "GNU.sparse.minor": "0"}
"""What must be said where no map says it."""


def version_0_0(pieces: Pieces, size: int) -> bytes:
    more = b"" if pieces else b"".join(record(*one) for one in VERSION_0.items())
    more += record("GNU.sparse.size", str(size)) + record("GNU.sparse.numblocks", str(len(pieces)))
    for at, piece in pieces:
        more += record("GNU.sparse.offset", str(at)) + record("GNU.sparse.numbytes", str(len(piece)))
    return with_records({}, b"".join(piece for _, piece in pieces), more)


def version_0_1(pieces: Pieces, size: int) -> bytes:
    numbers = ",".join(f"{at},{len(piece)}" for at, piece in pieces)
    records = {"GNU.sparse.size": str(size), "GNU.sparse.map": numbers, "GNU.sparse.name": "lib.so"}
    records |= {} if pieces else VERSION_0
    return with_records(records, b"".join(piece for _, piece in pieces))


def version_1_0(pieces: Pieces, size: int) -> bytes:
    lines = f"{len(pieces)}\n" + "".join(f"{at}\n{len(piece)}\n" for at, piece in pieces)
    records = {
        "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "lib.so", "GNU.sparse.realsize": str(size),
    }  # fmt: skip
    return with_records(records, padded(lines.encode()) + b"".join(piece for _, piece in pieces))


def old(pieces: Pieces, size: int) -> bytes:
    info = tarfile.TarInfo("lib.so")
    payload = b"".join(piece for _, piece in pieces)
    info.type, info.size = b"S", len(payload)
    head = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    pairs = [f"{at:011o}\0{len(piece):011o}\0".encode() for at, piece in pieces]
    head[386:482] = b"".join(pairs[:4]).ljust(96, b"\0")
    head[482] = 1 if len(pairs) > 4 else 0
    head[483:495] = f"{size:011o}\0".encode()
    head[148:156] = b" " * 8
    head[148:156] = f"{sum(head):06o}\0 ".encode()
    blocks = b""
    for first in range(4, len(pairs), 21):
        last = first + 21 >= len(pairs)
        blocks += b"".join(pairs[first : first + 21]).ljust(504, b"\0") + (b"\0" if last else b"\1") + bytes(7)
    return bytes(head) + blocks + padded(payload)


WAYS: dict[str, Callable[[Pieces, int], bytes]] = {
    "old": old, "0.0": version_0_0, "0.1": version_0_1, "1.0": version_1_0,
}  # fmt: skip


@examples(60)
@given(
    st.lists(st.tuples(st.integers(0, 900), st.binary(min_size=0, max_size=700)), max_size=60),
    st.integers(0, 3000), st.sampled_from(sorted(WAYS)), st.integers(1, 4000),
)  # fmt: skip
def test_the_content_is_what_was_stored(parts: list[tuple[int, bytes]], hole: int, way: str, step: int) -> None:
    pieces: list[tuple[int, bytes]] = []
    end = 0
    for gap, piece in parts:
        pieces.append((end + gap, piece))
        end += gap + len(piece)
    archive = WAYS[way](pieces, end + hole) + fatbins.layer({"behind": b"x" * 700})
    reader = Forward(iter([archive[at : at + step] for at in range(0, len(archive), step)]))
    walk = members(reader)
    member = next(walk)
    assert member.type is Type.SPARSE
    assert member.sparse is not None
    assert b"".join(sparse.content(member.sparse, reader)) == laid_out(pieces, end + hole)
    assert [one.path for one in walk] == ["behind"]


@pytest.mark.parametrize("way", WAYS)
def test_a_library_in_a_sparse_member_is_read(way: str) -> None:
    hole = bytes(2000)
    data = LIBRARY.replace(hole, hole)
    pieces = [(0, data[:700]), (700, data[700:])]
    layer = WAYS[way](pieces, len(data) + 3000) + fatbins.layer({"behind.so": data})
    found = scan_layer(io.BytesIO(layer), len(layer)).code
    name = "lib.so" if way != "0.0" else "GNUSparseFile.1/lib.so"
    assert found[name].profiles == found["behind.so"].profiles
    assert (found[name].size, found[name].damage) == (len(data) + 3000, "")


def test_holes_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "MAX_HOLES", 10_000)
    pieces = [(0, LIBRARY)]
    for name, is_library in (("lib.so", True), ("text", False)):
        archive = old(pieces, len(LIBRARY) + 6000)
        archive += old(pieces, len(LIBRARY) + 6000).replace(b"lib.so", name.encode().ljust(6, b"\0"), 1)
        fixed = bytearray(archive)
        at = len(archive) // 2
        fixed[at + 148 : at + 156] = b" " * 8
        fixed[at + 148 : at + 156] = f"{sum(fixed[at : at + 512]):06o}\0 ".encode()
        layer = bytes(fixed) + bytes(1024)
        found = scan_layer(io.BytesIO(layer), len(layer)).code[name]
        assert "holes" in (found.damage if is_library else found.unread)


@pytest.mark.parametrize(
    ("pieces", "size"),
    [([(100, b"x"), (50, b"y")], 200), ([(0, b"x" * 9)], 5), ([(0, b"xx"), (1, b"y")], 9)],
)  # fmt: skip
@pytest.mark.parametrize("way", WAYS)
def test_a_map_that_contradicts_itself_is_damage(way: str, pieces: Pieces, size: int) -> None:
    layer = WAYS[way](pieces, size) + bytes(1024)
    with pytest.raises(VerificationError, match="sparse member"):
        scan_layer(io.BytesIO(layer), len(layer))


@pytest.mark.parametrize("lines", [b"", b"x\n", b"-1\n", b"300000\n", b"2\n0\n1\n", b"9" * 600])
def test_a_map_that_is_none_is_damage(lines: bytes) -> None:
    records = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9"}
    layer = with_records(records, padded(lines) + b"x") + bytes(1024)
    with pytest.raises(VerificationError):
        scan_layer(io.BytesIO(layer), len(layer))


@pytest.mark.parametrize(
    "records",
    [
        {"GNU.sparse.size": "0"}, {"GNU.sparse.major": "2", "GNU.sparse.minor": "0", "GNU.sparse.map": "0,9"},
        {"GNU.sparse.major": "1", "GNU.sparse.map": "0,9"},
    ],
)  # fmt: skip
def test_a_way_that_no_runtime_knows_is_damage(records: dict[str, str]) -> None:
    """Go reads such a member as a plain file: its payload, at the name in its header."""
    size = {"GNU.sparse.name": "hidden.txt", "GNU.sparse.realsize": "9"}
    layer = with_records({**size, **records}, b"0123456789") + bytes(1024)
    with pytest.raises(VerificationError, match="version of a sparse member is invalid"):
        scan_layer(io.BytesIO(layer), len(layer))


def test_the_map_in_the_data_counts_where_the_version_says_so() -> None:
    records = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.size": "3", "GNU.sparse.realsize": "9"}
    layer = with_records({**records, "GNU.sparse.map": "0,9"}, padded(b"1\n0\n3\n") + b"abcdefghi")
    reader = Forward(iter([layer]))
    member = next(members(reader))
    assert member.sparse is not None
    assert b"".join(sparse.content(member.sparse, reader)) == b"abc"


def test_a_member_shorter_than_its_map_is_damage() -> None:
    records = {"GNU.sparse.size": "90", "GNU.sparse.map": "0,50", "GNU.sparse.name": "lib.so"}
    layer = with_records(records, b"x" * 20) + bytes(1024)
    with pytest.raises(VerificationError, match="shorter than its map"):
        scan_layer(io.BytesIO(layer), len(layer))
