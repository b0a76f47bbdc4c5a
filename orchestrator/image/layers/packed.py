"""Files that hold others packed in a way that nothing here unpacks: they are named, with the reason, and never judged.

Known by how they begin, by name as well where few bytes tell, and scripts by what follows them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.image.code.forward import Tap
from orchestrator.image.code.needle import Needle
from orchestrator.image.code.programs import AT_END, ends_like_zip

if TYPE_CHECKING:
    from orchestrator.image.code.forward import Forward

ARCHIVES = (
    ".whl", ".egg", ".pex", ".pyz", ".zip", ".jar", ".conda", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2",
    ".tbz2", ".tar.zst", ".tzst", ".deb", ".rpm", ".7z", ".squashfs", ".sif", ".snap", ".lzma", ".tar.Z", ".iso",
)  # fmt: skip
_PACKED = (
    b"PK", b"\x1f\x8b", b"\xfd7zXZ\0", b"BZh", b"\x28\xb5\x2f\xfd", b"!<arch>\n", b"\xed\xab\xee\xdb", b"7z\xbc\xaf",
    b"hsqs", b"#!/usr/bin/env run-singularity", b"\x5d\0\0", b"\x1f\x9d", b"\0\0\0\0",
)  # fmt: skip
"""How archives begin: both count, because a compressed text is not an archive, and a name says nothing."""
_PLAIN = (
    b"7z\xbc\xaf\x27\x1c", b"\xed\xab\xee\xdb\3", b"Rar!\x1a\x07", b"\x04\x22\x4d\x18", b"LZIP\1", b"LRZI\0",
    b"070701", b"070702", b"PK\7\x08PK\3\4", b"PK00PK\3\4", b"xar!\0",
)  # fmt: skip
"""How archives, and files packed by lz4, lzip and lrzip, begin that are known by nothing else."""
_PROGRAMS = (".egg", ".pex", ".pyz")  # zip files that may begin with the line that says what runs them
_MAKESELF = b"akeself"  # in the first lines of what it makes: a script with an archive behind it
_NODE = b"node"  # runs bundles of many megabytes
_WINDOWS = b"MZ"  # also of programs for every system, which are zip archives (llamafile)
_SQUASHFS = b"hsqs"
BEGINNINGS = (b"#!", _SQUASHFS, _WINDOWS, *_PLAIN, *_PACKED)
"""How every file begins that is named here."""
_NUL = Needle(b"\0")
MAX_SCRIPT = 1 << 20
"""Bytes of a script from which on it is named: it may carry an archive as text. The longest of Debian has a tenth."""

NOT_OPENED = "an archive, which is not opened: verify what is in it alone"


def named(path: str, head: bytes) -> str:
    """What is said of an archive that nothing here unpacks, "" of any other file.

    Args:
        path: In the image.
        head: The first 512 bytes.
    """
    if head.startswith(b"#!") and _MAKESELF in head:
        return NOT_OPENED
    if head.startswith(_PLAIN) or (head.startswith(_SQUASHFS) and head[28:32] == b"\4\0\0\0"):
        return NOT_OPENED
    if not path.endswith(ARCHIVES):
        return ""
    if path.endswith(_PROGRAMS) and head.startswith(b"#!"):
        return "a packed Python package, which is not opened: verify it alone"
    return NOT_OPENED if head.startswith(_PACKED) else ""


def behind(head: bytes, reader: Forward, size: int) -> str:
    """What follows a script, or a program that is none of Linux, in the same file; "" for any other file.

    Args:
        head: The first 512 bytes.
        reader: Stands at the first byte of the file.
        size: Bytes of the file, of which no more are consumed.
    """
    if head.startswith(b"#!"):
        if size >= MAX_SCRIPT and _NODE not in head.partition(b"\n")[0]:
            return f"a script of {size} bytes, which may carry an archive: verify what it unpacks"
        found = reader.find(_NUL, size)
        return "a script with packed files behind it, which is not opened: verify what it unpacks" if found else ""
    if not head.startswith(_WINDOWS):
        return ""
    end = reader.offset + size
    tap = Tap(max(end - AT_END, reader.offset), end)
    reader.tap(tap)
    reader.skip(size)
    reader.tap()
    return NOT_OPENED if ends_like_zip(bytes(tap.data)) else ""
