"""Zip archives read forward: their entries beside Python's own `zipfile`, and each way in which one is not read."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from typing import Any

import pytest
import zstandard

from orchestrator.image.code.forward import CutOffError, Forward
from orchestrator.image.layers.zips import MAX_HELD, Reading

TEXT = b"a library of sorts " * 200
OTHER = "an archive whose directory lists other files than those that follow each other"
PACKED = "an archive with entries that are encrypted or packed in an unknown way"
BEHIND = "an archive that is not read from an entry on whose size stands behind it"


def deflated(data: bytes) -> bytes:
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    return pack.compress(data) + pack.flush()


def field(number: int, *sizes: int) -> bytes:
    """An extra field of 64-bit numbers."""
    return struct.pack("<HH", number, 8 * len(sizes)) + struct.pack(f"<{len(sizes)}Q", *sizes)


def local(
    name: bytes, data: bytes, *, size: int, method: int = 0, flags: int = 0, packed: int | None = None,
    extra: bytes = b"",
) -> bytes:  # fmt: skip
    """A local header, and the packed content behind it."""
    count = len(data) if packed is None else packed
    head = struct.pack("<HHHHHIII", 20, flags, method, 0, 0, 0, count, size)
    return b"PK\3\4" + head + struct.pack("<HH", len(name), len(extra)) + name + extra + data


def listed(name: bytes, extra: bytes = b"", comment: bytes = b"") -> bytes:
    """An entry of the directory."""
    lengths = struct.pack("<HHHHHII", len(name), len(extra), len(comment), 0, 0, 0, 0)
    return b"PK\1\2" + bytes(24) + lengths + name + extra + comment


END = b"PK\5\6" + bytes(18)


def read(data: bytes, *, limit: int = MAX_HELD, before: bytes = b"", step: int = 1000) -> tuple[list[Any], str]:
    """Path, size and content of each entry, and why not all were read; as a stream in pieces."""
    whole = before + data + b"what lies behind the archive"
    reader = Forward(iter([whole[at : at + step] for at in range(0, len(whole), step)]))
    reader.skip(len(before))
    reading = Reading(reader, len(data), limit)
    found = [(path, size, b"".join(chunks)) for path, size, chunks in reading.entries()]
    assert reader.offset <= len(before) + len(data)
    return found, reading.unread


class Pipe(io.RawIOBase):
    """What cannot be sought in: zipfile writes sizes behind the entries."""

    def __init__(self, out: io.BytesIO) -> None:
        self.out = out

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        return self.out.write(data)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("step", [7, 100_000])
def test_what_zipfile_writes(method: int, stream: bool, step: int) -> None:
    files = {"a": b"", "b/c.so": TEXT, "./d//e": bytes(200_000), "ü": b"x", "../f": b"y" * 70_000}
    out = io.BytesIO()
    with zipfile.ZipFile(Pipe(out) if stream else out, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    found, unread = read(out.getvalue(), before=b"#!/bin/sh\n", step=step)
    if stream and method == zipfile.ZIP_STORED:
        assert (found, unread) == ([], BEHIND)
        return
    paths = ["a", "b/c.so", "d/e", "ü", "f"]
    assert [(path, content) for path, _, content in found] == list(zip(paths, files.values(), strict=True))
    assert [size for _, size, _ in found] == [len(data) for data in files.values()]
    assert unread == ""


def test_what_the_caller_does_not_read_is_hopped_over() -> None:
    data = local(b"a", TEXT, size=len(TEXT)) + local(b"b", deflated(TEXT), size=len(TEXT), method=8)
    data += listed(b"a") + listed(b"b", b"1234", b"comment") + END
    reading = Reading(Forward(iter([data])), len(data), MAX_HELD)
    assert [(path, size) for path, size, _ in reading.entries()] == [("a", len(TEXT)), ("b", len(TEXT))]
    assert reading.unread == ""


def test_directories_are_listed_and_are_no_files() -> None:
    assert read(local(b"d/", b"", size=0) + local(b"d/a", b"x", size=1) + listed(b"d/") + listed(b"d/a") + END) == (
        [("d/a", 1, b"x")], "",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (local(b"a", b"x", size=1, flags=1), PACKED),
        (local(b"a", b"x", size=1, flags=1, method=8), PACKED),
        (local(b"a", b"x", size=1, method=9), PACKED),
        (local(b"a", b"x", size=1, method=14), PACKED),
        (local(b"a", b"x", size=2), PACKED),
        (local(b"a/", b"x", size=1, flags=1), PACKED),
        (local(b"a", b"", size=0, flags=8), BEHIND),
        (local(b"a", b"", size=0, flags=9, method=8), BEHIND),
        (local(b"a", b"", size=0, flags=8, method=93), BEHIND),
    ],
)
def test_an_entry_that_is_not_read_is_named(entry: bytes, said: str) -> None:
    good = local(b"b", b"y", size=1)
    found, unread = read(entry + good + listed(b"a" if b"a/" not in entry else b"a/") + listed(b"b") + END)
    assert (found, unread) == ([("b", 1, b"y")] if said == PACKED else [], said)
    assert read(good + entry + END)[1] == said, "what was said first counts"


@pytest.mark.parametrize(
    ("rest", "whole"),
    [
        (listed(b"a") + END, True),
        (listed(b"a") + b"PK\6\6" + bytes(52), True),
        (listed(b"a", b"1" * 9, b"2" * 11) + END, True),
        (END, False),
        (listed(b"b") + END, False),
        (listed(b"a") + listed(b"b") + END, False),
        (listed(b"a"), False),
        (listed(b"a") + b"PK\7\7" + bytes(18), False),
        (b"", False),
        (listed(b"a") + b"PK\5", False),
    ],
)
def test_the_directory_lists_what_was_found(rest: bytes, whole: bool) -> None:
    found, unread = read(local(b"a", b"x", size=1) + rest)
    assert (found, unread) == ([("a", 1, b"x")], "" if whole else OTHER)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (local(b"a", b"x", size=1)[:29], "a zip header is cut off"),
        (local(b"name", b"", size=0)[:33], "a zip header is cut off"),
        (local(b"a", b"", size=0, extra=b"1234")[:34], "a zip header is cut off"),
        (local(b"a", b"x", size=2, packed=2), "a zip entry is cut off"),
        (local(b"a", b"x", size=1) + listed(b"a")[:45], "a zip header is cut off"),
        (local(b"a", b"x", size=1) + listed(b"a", b"123")[:-1], "a zip header is cut off"),
        (local(b"a", b"", size=0, method=8, flags=8), "a zip entry is cut off"),
        (local(b"a", b"", size=0, method=8, flags=8) + deflated(TEXT)[:-1], "a zip entry is cut off"),
        (local(b"a", b"", size=0, method=8, flags=8) + deflated(TEXT) + bytes(11), "a zip header is cut off"),
        (local(b"a", b"xxxx", size=4, method=93), "a zip entry: "),
        (local(b"a", zstandard.compress(TEXT), size=len(TEXT) - 1, method=93), "a zip entry unpacks to more"),
    ],
)
def test_an_entry_that_contradicts_itself(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read(data)


def test_damage_within_and_a_stream_that_ends() -> None:
    with pytest.raises(zlib.error):
        read(local(b"a", b"\xff" * 9, size=9, method=8))
    data = local(b"a", TEXT, size=len(TEXT))
    with pytest.raises(CutOffError):
        list(Reading(Forward(iter([data[:-1]])), len(data), MAX_HELD).entries())


@pytest.mark.parametrize("mark", [b"", b"PK\7\x08"])
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_sizes_that_stand_behind_an_entry(mark: bytes, large: bool, known: bool) -> None:
    """Known in front as well or not, with their mark or without, of 32 or 64 bits."""
    extra = field(1, 0, 0) if large else b""
    packed = deflated(TEXT)
    head = local(
        b"a", packed, size=len(TEXT) if known else 0, packed=len(packed) if known else 0, method=8, flags=8,
        extra=extra,
    )  # fmt: skip
    numbers = b"\1" * (20 if large else 12)
    data = head + mark + numbers + local(b"b", b"y", size=1) + listed(b"a") + listed(b"b") + END
    assert read(data) == ([("a", len(TEXT), TEXT), ("b", 1, b"y")], "")


def test_how_much_is_held_of_an_entry_whose_size_stands_behind_it() -> None:
    data = local(b"a", b"", size=0, method=8, flags=8) + deflated(TEXT) + bytes(12) + listed(b"a") + END
    assert read(data, limit=len(TEXT))[0] == [("a", len(TEXT), TEXT)]
    with pytest.raises(ValueError, match=f"a zip entry of over {len(TEXT) - 1} bytes whose size stands behind it"):
        read(data, limit=len(TEXT) - 1)
    assert Reading(Forward(iter([])), 0, 1 << 40)._limit == MAX_HELD == 64 << 20


LARGE = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("extra", "packed", "size", "read_as"),
    [
        (b"", 5, 7, (5, 7)),
        (field(1, 70, 50), LARGE, LARGE, (50, 70)),
        (field(1, 70), 5, LARGE, (5, 70)),
        (field(1, 50), LARGE, 7, (50, 7)),
        (field(1, 70, 50), 5, 7, (5, 7)),
        (field(1, 70), LARGE, LARGE, (LARGE, 70)),
        (field(1), LARGE, LARGE, (LARGE, LARGE)),
        (field(2, 70, 50), LARGE, LARGE, (LARGE, LARGE)),
        (field(9, 1, 2, 3) + field(1, 70, 50), LARGE, LARGE, (50, 70)),
        (struct.pack("<HH", 9, 0) + field(1, 70, 50), LARGE, LARGE, (50, 70)),
        (b"\1\0\0", LARGE, LARGE, (LARGE, LARGE)),
        (b"\1\0\x10\0" + b"1234567", LARGE, LARGE, (LARGE, LARGE)),
    ],
)
def test_sizes_of_zip64(extra: bytes, packed: int, size: int, read_as: tuple[int, int]) -> None:
    from orchestrator.image.layers.zips import _zip64

    assert _zip64(extra, packed, size) == read_as
    if read_as == (50, 70):
        data = local(b"a", bytes(50), size=LARGE, packed=LARGE, extra=extra)
        with pytest.raises(zlib.error):
            read(data[:8] + b"\x08" + data[9:])
