"""Made-up device code: fatbin containers, ELF files, cubins and layers, byte for byte as nvcc and tar lay them out.

Enough to make every case that real wheels do not offer. That the layout is the real one is proven elsewhere, against
cuobjdump on real files.
"""

from __future__ import annotations

import io
import re
import struct
import tarfile
from typing import TYPE_CHECKING

import zstandard

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAGIC = b"\x50\xed\x55\xba"
KINDS = {"p": 1, "": 2, "lto": 8}
KERNEL = {".text.kernel": b"\x90" * 128}


def elf(sections: Mapping[str, bytes], *, machine: int = 62, abi: tuple[int, int] = (0, 0), flags: int = 0) -> bytes:
    """A 64-bit ELF file: header, payloads aligned to 16, names, section table."""
    names = b"\0"
    body = b""
    rows = [bytes(64)]
    for name, payload in {**sections, ".shstrtab": b""}.items():
        at = len(names)
        names += name.encode() + b"\0"
        body += bytes(-(64 + len(body)) % 16)
        content = names if name == ".shstrtab" else payload
        kind = 7 if name.startswith(".note") else 3 if name.endswith("strtab") else 2 if name == ".symtab" else 1
        flags_of = 6 if name.startswith(".text") else 0  # SHF_ALLOC | SHF_EXECINSTR
        link = 1 + list(sections).index(".strtab") if kind == 2 else 0
        rows.append(struct.pack("<IIQQQQIIQQ", at, kind, flags_of, 0, 64 + len(body), len(content), link, 0, 16, 0))
        body += content
    body += bytes(-(64 + len(body)) % 16)
    head = struct.pack(
        "<4sBBBBB7xHHIQQQIHHHHHH",
        b"\x7fELF", 2, 1, 1, *abi, 3, machine, 1, 0, 0, 64 + len(body), flags, 64, 0, 0, 64, len(rows), len(rows) - 1,
    )  # fmt: skip
    return head + body + b"".join(rows)


def cubin(
    sections: Mapping[str, bytes] | None = None, *, sm: int = 90, functions: Iterable[str] = (), ahead: int = 0
) -> bytes:
    """A cubin of CUDA 13; by default with one kernel.

    Args:
        sections: Name -> content; each `.text.NAME` gets the symbol of a kernel.
        sm: Of the header's flags.
        functions: Names that are no kernels but `__device__` functions.
        ahead: Bytes of names before the symbols, as long template names make them.
    """
    inside = dict(KERNEL if sections is None else sections)
    names = b"\0" + b"n" * ahead + b"\0"
    symbols = [bytes(24)]
    for index, name in enumerate(inside):
        symbols.append(struct.pack("<IBBHQQ", 0, 3, 0, index + 3, 0, 0))
        if name.startswith(".text."):
            word = name.removeprefix(".text.")
            mark = 0 if word in set(functions) else 0x10  # STO_CUDA_ENTRY
            symbols.append(struct.pack("<IBBHQQ", len(names), 0x12, mark, index + 3, 0, len(inside[name])))
            names += word.encode() + b"\0"
    whole = {".strtab": names, ".symtab": b"".join(symbols), **inside}
    return elf(whole, machine=190, abi=(0x41, 8), flags=0x6000002 | sm << 8)


def lz4(data: bytes) -> bytes:
    """An LZ4 block of literals, with a run at the end of a run-length match where the data ends in one."""
    run = len(data) - len(data.rstrip(data[-1:])) if data else 0
    if run < 20:
        return _sequence(data)
    literal = data[: len(data) - run + 1]
    tail = data[-8:]  # a block must end with literals
    return _sequence(literal, run - 1 - len(tail)) + _sequence(tail)


def _sequence(literals: bytes, match: int = 0) -> bytes:
    high = min(len(literals), 15)
    low = min(match - 4, 15) if match else 0
    out = bytes([high << 4 | low])
    if high == 15:
        out += _length(len(literals) - 15)
    out += literals
    if match:
        out += b"\x01\x00"  # distance 1: the byte before, again and again
        if low == 15:
            out += _length(match - 4 - 15)
    return out


def _length(rest: int) -> bytes:
    return b"\xff" * (rest // 255) + bytes([rest % 255])


def entry(
    tag: str, payload: bytes | None = None, *, packing: str = "", isa: tuple[int, int] = (9, 0), stamp: bool = True
) -> bytes:
    """One entry.

    Args:
        tag: `90a`, `p120`, `lto90`.
        payload: What it holds, by default one kernel.
        packing: "lz4" or "zstd" or "" for not at all.
        isa: Of PTX.
        stamp: Make a cubin that was made for another SM one for this.
    """
    match = re.fullmatch(r"(p|lto|)(\d+)([af]?)", tag)
    assert match
    kind, sm, suffix = match[1], int(match[2]), match[3]
    content = payload if payload is not None else cubin(sm=sm) if not kind else b".version 9.0\n.visible .entry k()"
    if stamp and not kind and content[:4] == b"\x7fELF" and content[18:20] == b"\xbe\0" and len(content) > 64:
        content = content[:49] + bytes([sm]) + content[50:]
    stored, flags = content, 0x11 | {"": 0, "a": 0x100000, "f": 0x200000}[suffix]
    if packing:
        stored = lz4(content) if packing == "lz4" else zstandard.ZstdCompressor().compress(content)
        flags |= 0x2000 if packing == "lz4" else 0x8000
    packed = len(stored) if packing else 0
    stored += bytes(-len(stored) % 8)
    major, minor = isa if kind == "p" else (1, 8)
    head = struct.pack(
        "<HHIQIIHHIIIQQQ",
        KINDS[kind], 0x0101, 64, len(stored), packed, 0, minor, major, sm, 0, 0, flags, 0,
        len(content) if packing else 0,
    )  # fmt: skip
    return head + stored


def container(*entries: bytes) -> bytes:
    """A container of entries."""
    body = b"".join(entries)
    return struct.pack("<4sHHQ", MAGIC, 1, 16, len(body)) + body


def fatbin(profiles: Iterable[Iterable[str]], *, packing: str = "") -> bytes:
    """Containers, one for each set of tags: [["80", "90a"], ["p80"]]."""
    return b"".join(container(*(entry(tag, packing=packing) for tag in tags)) for tags in profiles)


def library(profiles: Iterable[Iterable[str]], *, packing: str = "", pad: int = 0) -> bytes:
    """A shared object with device code, between some machine code of the host."""
    host = bytes(range(256)) * 5
    return elf({".text": host, ".nv_fatbin": fatbin(profiles, packing=packing), ".data": host + bytes(pad)})


def layer(members: Mapping[str, bytes | str | tuple[str, str] | None], *, style: int = tarfile.PAX_FORMAT) -> bytes:
    """A layer as a tar archive.

    Args:
        members: Path -> content; `None` is a directory, `("link", target)` a symlink, `("hard", target)` a hard link.
        style: Of tarfile's formats.
    """
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=style) as archive:
        for path, value in members.items():
            info = tarfile.TarInfo(path)
            info.mode = 0o755
            if value is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(value, tuple):
                info.type = tarfile.SYMTYPE if value[0] == "link" else tarfile.LNKTYPE
                info.linkname = value[1]
            else:
                content = value.encode() if isinstance(value, str) else value
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
                continue
            archive.addfile(info)
    return out.getvalue()
