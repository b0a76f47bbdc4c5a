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


def raw(name: bytes = b"a", kind: bytes = b"0", size: int = 0, payload: bytes = b"", **fields: bytes) -> bytes:
    """A header byte by byte, with its payload: `mode=b"0000755"` puts a text where ustar has it."""
    block = bytearray(512)
    block[:100] = name.ljust(100, b"\0")
    block[124:136] = f"{size:011o}\0".encode()
    block[156:157] = kind
    places = {"mode": 100, "uid": 108, "gid": 116, "size_": 124, "target": 157, "magic": 257, "prefix": 345}
    for field, value in fields.items():
        block[places[field] : places[field] + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block) + payload + bytes(-len(payload) % 512)


def only(data: bytes) -> Member:
    ((member, _),) = read(data + bytes(512))
    return member


@pytest.mark.parametrize(
    ("kind", "type_", "size"),
    [
        (b"0", Type.FILE, 3), (b"\0", Type.FILE, 3), (b"7", Type.FILE, 3), (b"1", Type.HARD_LINK, 0),
        (b"2", Type.SYMLINK, 0), (b"3", Type.BARE, 0), (b"4", Type.BARE, 0), (b"5", Type.DIRECTORY, 0),
        (b"6", Type.BARE, 0), (b"9", Type.OTHER, 3), (b"V", Type.OTHER, 3), (b"X", Type.OTHER, 3),
    ],
)  # fmt: skip
def test_what_each_flag_says(kind: bytes, type_: Type, size: int) -> None:
    payload = b"abc" if size else b""
    data = raw(kind=kind, size=3, payload=payload) + raw(b"next")
    assert [(one.path, one.type, one.size) for one, _ in read(data + bytes(512))] == [
        ("a", type_, size), ("next", Type.FILE, 0),
    ]  # fmt: skip
    sized = header("x", record("size", b"600"), b"x") + raw(kind=kind, size=3, payload=b"z" * 600)
    if type_ is Type.FILE:
        assert only(sized).size == 600
    elif type_ is Type.OTHER:
        with pytest.raises(DamagedArchiveError):
            read(sized + bytes(512))


def test_a_directory_is_known_by_the_name_that_counts() -> None:
    assert only(raw(b"a/", b"\0")).type is Type.DIRECTORY
    assert only(raw(b"a/", b"0")).type is Type.FILE
    assert only(header("x", record("path", b"b/"), b"x") + raw(b"a", b"\0")).type is Type.DIRECTORY
    assert only(header("x", record("path", b"b"), b"x") + raw(b"a/", b"\0")).type is Type.FILE


@pytest.mark.parametrize(
    ("fields", "access"),
    [
        ({}, (0, 0, 0)),
        ({"mode": b"0100755\0", "uid": b"0001750\0", "gid": b"0000144\0"}, (0o755, 1000, 100)),
        ({"mode": b"0007777\0"}, (0o7777, 0, 0)),
        ({"mode": b"   644 \0", "uid": b"     12 ", "gid": b"7\0999999"}, (0o644, 10, 7)),
        ({"uid": b"zzz", "gid": b"8"}, (0, -1, -1)),
        ({"uid": b"\x80\0\0\0\0\1\0\0", "gid": b"\xff" * 8}, (0, 1 << 16, -1)),
        ({"mode": b"zzz"}, (0o7777, 0, 0)),
    ],
)
def test_who_may_do_what(fields: dict[str, bytes], access: tuple[int, int, int]) -> None:
    member = only(raw(b"a", b"0", 0, b"", **fields))
    assert (member.mode, member.uid, member.gid) == access
    own = only(header("x", record("uid", b"5") + record("gid", b"6"), b"x") + raw(b"a", b"0", 0, b"", **fields))
    assert (own.mode, own.uid, own.gid) == (access[0], 5, 6)


@pytest.mark.parametrize(
    ("written", "size"),
    [
        (b"00000000003\0", 3), (b"3\0", 3), (b"  3         ", 3), (b"000000000003", 3), (b"3 \0garbage ", 3),
        (b"\x80" + bytes(10) + b"\3", 3), (b"\xbf" + b"\0" * 10 + b"\3", None), (b"\0" * 12, 0), (b" " * 12, 0),
        (b"8\0", None), (b"0x3\0", None), (b"+3\0", None), (b"1_0\0", None), (b"3 3\0", None),
        (b"\xc0" + bytes(10) + b"\3", None),
    ],
)  # fmt: skip
def test_how_a_size_is_written(written: bytes, size: int | None) -> None:
    data = raw(size_=written.ljust(12, b"\0"), payload=b"abc" if size else b"")
    if size is not None:
        assert only(data).size == size
        return
    with pytest.raises((DamagedArchiveError, CutOffError)):
        read(data + bytes(512))


def test_numbers_that_are_invalid_are_shown() -> None:
    with pytest.raises(DamagedArchiveError, match="tar: a number is invalid: found b'08'"):
        read(raw(size_=b"08\0"))
    with pytest.raises(DamagedArchiveError, match="tar: a negative number"):
        read(raw(size_=b"\xff" * 12))
    assert tar._decimal("9" * 18) == int("9" * 18)
    with pytest.raises(DamagedArchiveError, match=f"tar: a size is invalid: found '{'9' * 40}'"):
        tar._decimal("9" * 50)


def test_where_an_archive_is_cut_off() -> None:
    with pytest.raises(DamagedArchiveError, match=r"^tar: the archive is cut off"):
        read(b"")
    with pytest.raises(DamagedArchiveError, match=r"^tar: a header is cut off"):
        read(raw()[:511])
    with pytest.raises(DamagedArchiveError, match=r"^tar: the checksum of a header is wrong"):
        read(b"b" + raw()[1:])
    assert read(raw() + bytes(512)), "one block of zeros ends an archive"
    assert [member.path for member, _ in read(raw() + bytes(512) + raw(b"behind"))] == ["a"]


def test_how_long_a_header_may_be() -> None:
    filler = record("comment", b"x" * ((1 << 20) - 17))
    assert len(filler) == tar.MAX_META == 1 << 20
    assert only(header("x", filler, b"x") + raw()).path == "a"
    with pytest.raises(DamagedArchiveError, match="tar: a name or header of 1048577 bytes"):
        read(header("x", filler + b"\0", b"x") + raw())


def test_links_say_where_they_lead() -> None:
    assert only(raw(kind=b"2", target=b"./usr//a/../b")).target == "./usr//a/../b"
    assert only(raw(kind=b"1", target=b"./usr//a/../b")).target == "usr/b"
    assert only(raw(kind=b"0", target=b"")).target == ""
    assert only(header("x", record("linkpath", b"far"), b"x") + raw(kind=b"2", target=b"near")).target == "far"
    assert only(header("K", b"farther\0x", b"K") + raw(kind=b"2", target=b"near")).target == "farther"
    both = header("K", b"k\0", b"K") + header("L", b"l\0", b"L")
    assert [getattr(only(both + raw(kind=b"2", target=b"near")), name) for name in ("path", "target")] == ["l", "k"]


def test_the_front_of_a_name_is_ustars_alone() -> None:
    assert only(raw(b"a", magic=b"ustar\0" + b"00", prefix=b"usr/lib")).path == "usr/lib/a"
    assert only(raw(b"a", magic=b"ustar  \0", prefix=b"usr/lib")).path == "a"  # GNU keeps times there
    assert only(raw(b"a", prefix=b"usr/lib")).path == "a"
    assert only(raw(b"a", magic=b"ustar\0" + b"00")).path == "a"
    assert only(raw(b"a" * 100)).path == "a" * 100
    assert only(raw(b"\xff\xfe")).path == "\\xff\\xfe"


@pytest.mark.parametrize("read_bytes", [0, 1, 511, 512, 513, 700])
def test_what_is_left_of_a_payload_is_hopped_over(read_bytes: int) -> None:
    data = raw(size=700, payload=b"x" * 700) + raw(b"next") + bytes(512)
    stream = Forward(iter([data]))
    found = []
    for member in members(stream):
        found.append(member.path)
        stream.read(read_bytes if member.size else 0)
    assert found == ["a", "next"]


def test_a_reader_that_goes_past_its_member_is_a_fault_of_ours() -> None:
    data = raw(size=700, payload=b"x" * 700) + raw(b"next") + bytes(512)
    stream = Forward(iter([data]))
    walk = members(stream)
    next(walk)
    stream.skip(1025)
    with pytest.raises(AssertionError, match="a reader went past its member"):
        next(walk)


def test_pax_records_that_end_with_zeros_and_of_which_nothing_is_wanted() -> None:
    assert only(header("x", record("path", b"p") + bytes(9), b"x") + raw()).path == "p"
    assert only(header("x", record("SCHILY.xattr.x", b"\0\1") + record("path", b"p"), b"x") + raw()).path == "p"
    assert only(header("x", record("path", b"a=b c"), b"x") + raw()).path == "a=b c"
    with pytest.raises(DamagedArchiveError, match="pax record without its length"):
        read(header("x", record("path", b"p") + b"\0x", b"x") + raw())
