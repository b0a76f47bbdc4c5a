"""Our reader beside Python's own `tarfile`."""

from __future__ import annotations

import contextlib
import io
import tarfile
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.image.code.forward import CutOffError, Forward
from orchestrator.image.layers import tar
from orchestrator.image.layers.tar import DamagedArchiveError, Member, Type, members, normalise
from tests.support import fatbins
from tests.support.generated import examples

STYLES: list[Literal[0, 1, 2]] = [0, 1, 2]  # ustar, GNU, pax


def read(data: bytes) -> list[tuple[Member, bytes]]:
    stream = Forward(iter([data[at : at + 999] for at in range(0, len(data), 999)]))
    return [(member, stream.read(member.size)) for member in members(stream)]


@pytest.mark.parametrize("style", STYLES)
def test_members_of_every_style(style: Literal[0, 1, 2]) -> None:
    long = "d" * 90 + "/" + "f" * 60
    content: dict[str, bytes | str | tuple[str, str] | None] = {
        "usr": None,
        "usr/a": b"x" * 700,
        "usr/empty": b"",
        long: b"long",
        "usr/link": ("link", "../a"),
        "usr/hard": ("hard", "usr/a"),
    }
    if style != tarfile.USTAR_FORMAT:
        content["e" * 300] = b"longer"
        content["usr/far"] = ("link", "t" * 300)
    found = {member.path: (member, payload) for member, payload in read(fatbins.layer(content, style=style))}
    assert list(found) == [path.rstrip("/") for path in content]
    assert found["usr"][0].type is Type.DIRECTORY
    assert found["usr/a"][1] == b"x" * 700
    assert found[long][1] == b"long"
    assert (found["usr/link"][0].type, found["usr/link"][0].target) == (Type.SYMLINK, "../a")
    assert (found["usr/hard"][0].type, found["usr/hard"][0].target) == (Type.HARD_LINK, "usr/a")
    if style != tarfile.USTAR_FORMAT:
        assert found["e" * 300][1] == b"longer"
        assert found["usr/far"][0].target == "t" * 300


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=120)


@examples(60)
@given(st.lists(st.tuples(NAMES, st.binary(max_size=1500)), max_size=4), st.sampled_from(STYLES[1:]))
def test_the_same_members_as_tarfile(entries: list[tuple[str, bytes]], style: Literal[0, 1, 2]) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=style) as archive:
        for name, content in entries:
            info = tarfile.TarInfo(f"d/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    expected = []
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as archive:
        for info in archive:
            stream = archive.extractfile(info)
            assert stream is not None
            expected.append((normalise(info.name), stream.read()))
    assert [(member.path, payload) for member, payload in read(out.getvalue())] == expected


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("usr/lib/", "usr/lib"), ("./usr/lib", "usr/lib"), ("/etc//x", "etc/x"), ("../../etc/x", "etc/x"),
        ("a/../../b", "b"), (".", ""), ("./", ""), ("a/./b", "a/b"), ("..a/b..", "..a/b.."), (".wh.x", ".wh.x"),
    ],
)  # fmt: skip
def test_paths_stay_below_the_root(name: str, path: str) -> None:
    assert normalise(name) == path


def test_sizes_beyond_octal_digits() -> None:
    """GNU's base-256 numbers, and pax records where eleven digits do not do."""
    info = tarfile.TarInfo("big")
    info.size = 9 << 33
    for style in STYLES[1:]:
        head = info.tobuf(format=style)
        stream = Forward(iter([head]))
        assert next(members(stream)).size == 9 << 33


def broken(change: str) -> bytes:
    data = bytearray(fatbins.layer({"usr/a": b"x" * 700}))
    at = 0
    if change == "checksum":
        data[at] ^= 1
    elif change == "cut":
        del data[900:]
    elif change == "no end":
        del data[512 + 1024 :]
    elif change == "size":
        data[124:136] = b"zzzzzzzzzzz\0"
    elif change == "signed":  # found by fuzzing
        data[124:136] = b"-0000000640\0"
    elif change == "negative":
        data[124:136] = b"\xff" * 12
    if change in ("size", "signed", "negative"):
        data[148:156] = b" " * 8
        data[148:156] = f"{sum(data[:512]):06o}\0 ".encode()
    return bytes(data)


@pytest.mark.parametrize("change", ["checksum", "cut", "no end", "size", "signed", "negative"])
def test_damage_is_an_error(change: str) -> None:
    with pytest.raises((DamagedArchiveError, CutOffError)):
        read(broken(change))


def test_a_path_is_no_longer_than_a_kernel_would_take() -> None:
    for style in STYLES[1:]:
        assert read(fatbins.layer({"y" * 4096: b""}, style=style))
        with pytest.raises(DamagedArchiveError, match="4097 characters"):
            read(fatbins.layer({"y" * 4097: b""}, style=style))
        with pytest.raises(DamagedArchiveError, match="4097 characters"):
            read(fatbins.layer({"x": ("link", "y" * 4097)}, style=style))


def test_a_name_cannot_take_all_memory() -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = b"L", 1 << 40
    with pytest.raises(DamagedArchiveError, match="name or header"):
        read(info.tobuf(format=tarfile.GNU_FORMAT))


@examples(80)
@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=5), st.booleans())
def test_fuzzed_archives_give_members_or_errors(flips: list[tuple[int, int]], repair: bool) -> None:
    data = bytearray(fatbins.layer({"usr/a": b"x" * 700, "l" * 300: b"y", "s": ("link", "a")}))
    for at, value in flips:
        data[at % len(data)] = value
    if repair:  # a wrong checksum would hide everything behind it
        for at in range(0, len(data), 512):
            if any(data[at : at + 100]) and data[at + 257 : at + 262] == b"ustar":
                data[at + 148 : at + 156] = b" " * 8
                data[at + 148 : at + 156] = f"{sum(data[at : at + 512]):06o}\0 ".encode()
    with contextlib.suppress(DamagedArchiveError, CutOffError):
        read(bytes(data))


@pytest.mark.parametrize("key", ["path", "linkpath"])
def test_a_name_holds_no_zero_byte(key: str) -> None:
    """Found by fuzzing: such a name came back as two when a kept scan was read."""
    entry = tarfile.TarInfo("a")
    entry.pax_headers = {key: "usr/a\0b"}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(entry)
    with pytest.raises(DamagedArchiveError, match="zero byte"):
        read(buffer.getvalue())


def pax_archive(body: bytes, type_: bytes = b"x") -> bytes:
    """An archive of one extended header, written byte by byte, and one file `a` of three bytes behind it."""

    def entry(name: str, type_: bytes, data: bytes) -> bytes:
        info = tarfile.TarInfo(name)
        info.type, info.size = type_, len(data)
        return info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)

    return entry("pax", type_, body) + entry("a", tarfile.REGTYPE, b"abc") + bytes(1024)


def record(key: str, value: bytes) -> bytes:
    """A pax record with the right length in front."""
    rest = b" " + key.encode() + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length += 1
    return str(length).encode() + rest


NO_NUMBERS = [b"", b"-3", b"+3", b"3.0", b"1e3", b"0x3", b"1_0", b" 3", "٣".encode(), b"\xff", b"9" * 19, b"9" * 5000]


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_a_pax_size_is_a_number(value: bytes) -> None:
    with pytest.raises(DamagedArchiveError, match="a size is invalid: found"):
        read(pax_archive(record("size", value)))


@pytest.mark.parametrize("value", NO_NUMBERS)
@pytest.mark.parametrize("key", ["uid", "gid"])
def test_an_owner_that_is_no_number_costs_nothing_else(key: str, value: bytes) -> None:
    ((member, payload),) = read(pax_archive(record(key, value)))
    assert (member.path, payload, getattr(member, key)) == ("a", b"abc", -1)


@pytest.mark.parametrize(
    "body", [b"x path=a\n", b"-9 path=a\n", b"0 path=a\n", b"99 path=a\n", b"9 path=ab\n", b"9" * 5000 + b" path=a\n"]
)
def test_a_pax_record_has_its_length(body: bytes) -> None:
    with pytest.raises(DamagedArchiveError, match="pax record without its length"):
        read(pax_archive(body))


def test_a_pax_record_has_a_value() -> None:
    with pytest.raises(DamagedArchiveError, match="pax record without a value"):
        read(pax_archive(b"7 path\n"))
    ((member, payload),) = read(pax_archive(record("path", b"usr/b") + record("size", b"3")))
    assert (member.path, member.size, payload) == ("usr/b", 3, b"abc")


def header(name: str, payload: bytes = b"", kind: bytes = b"0") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(payload)
    return info.tobuf(tarfile.USTAR_FORMAT) + payload + bytes(-len(payload) % 512)


@pytest.mark.parametrize("kind", [b"3", b"4", b"6"])
def test_a_device_hides_no_member_in_its_size(kind: bytes) -> None:
    layer = header("lib.so", b"old") + header("device", header("lib.so", b"what runs"), kind) + bytes(1024)
    assert [(member.path, data) for member, data in read(layer)] == [
        ("lib.so", b"old"), ("device", b""), ("lib.so", b"what runs"),
    ]  # fmt: skip


def test_a_directory_as_before_ustar_hides_no_member() -> None:
    layer = header("folder/", header("lib.so", b"what runs"), b"\0") + bytes(1024)
    assert [(member.path, member.type) for member, _ in read(layer)] == [
        ("folder", Type.DIRECTORY), ("lib.so", Type.FILE),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "path"),
    [
        (header("g", record("path", b"global"), b"g"), "lib.so"),
        (header("x", record("path", b"first"), b"x") + header("x", record("uid", b"5"), b"x"), "lib.so"),
        (header("x", record("path", b"first"), b"x") + header("x", record("path", b"last"), b"x"), "last"),
        (header("L", b"long\0", b"L") + header("x", record("path", b"pax"), b"x"), "long"),
    ],
)  # fmt: skip
def test_a_name_is_the_one_that_runtimes_take(before: bytes, path: str) -> None:
    """As Go's archive/tar: no global names, the last pax header alone, and GNU's long name before all."""
    layer = before + header("lib.so", b"x") + header("next", b"y") + bytes(1024)
    assert [member.path for member, _ in read(layer)] == [path, "next"]


@given(st.binary(min_size=512, max_size=512))
def test_the_sum_of_a_block_is_that_of_its_bytes(block: bytes) -> None:
    for one in (block, bytes(512), b"\xff" * 512, b"\xff" * 256 + bytes(256)):
        assert tar._sum(one) == sum(one)
