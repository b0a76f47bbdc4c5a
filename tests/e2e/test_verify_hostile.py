"""Images made to harm whoever reads them: one clear error each, in bounded memory and processor time."""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import zstandard

from tests.support import fatbins
from tests.support.layouts import Layout, digest

if TYPE_CHECKING:
    from collections.abc import Callable

COMMAND = Path(sys.executable).parent / "orchestrate"
MEMORY = 300  # MB
SECONDS = 60  # of processor time, which does not depend on what else the machine does; bombs are bounded in bytes
REAL = {"usr/lib.so": fatbins.library([["90"]])}


def zstd_bomb() -> bytes:
    """40 GB of zeros in little more than a megabyte."""
    frame = zstandard.ZstdCompressor().compress(bytes(1 << 26))
    return frame * 600


def gzip_bomb() -> bytes:
    """13 GB of zeros in 13 MB: gzip members of 64 MB, each packed once."""
    return gzip.compress(bytes(1 << 26), 9) * 200


def huge_member() -> bytes:
    info = tarfile.TarInfo("usr/lib.so")
    info.size = 1 << 62
    return info.tobuf(format=tarfile.GNU_FORMAT) + b"\x7fELF" + bytes(4000)


def many_links() -> bytes:
    """Symlinks that lead around in circles, and directories that link into each other."""
    members: dict[str, bytes | str | tuple[str, str] | None] = dict(REAL)
    deep = "/".join(["d"] * 500)
    members |= {f"{number}": ("link", f"{number + 1}/../{number + 1}/{deep}") for number in range(3000)}
    members |= {f"l{number}": ("link", "usr") for number in range(3000)}
    return fatbins.layer(members)


def deep_paths() -> bytes:
    """Paths of 2,000 directories, none the same as another."""
    return fatbins.layer({f"{number}/" + "/".join(["d"] * 2000): b"x" for number in range(1500)})


def claims_of_a_fatbin() -> bytes:
    data = bytearray(fatbins.library([["90"]]))
    at = data.index(fatbins.MAGIC)
    struct.pack_into("<Q", data, at + 8, 1 << 63)
    return fatbins.layer({"usr/lib.so": bytes(data)})


def claims_of_an_elf() -> bytes:
    data = bytearray(fatbins.library([["90"]]))
    struct.pack_into("<HHH", data, 0x3A, 64, 0, 0xFFFF)  # the number of sections stands in section 0
    table = struct.unpack_from("<Q", data, 0x28)[0]
    struct.pack_into("<Q", data, table + 32, 1 << 60)
    return fatbins.layer({"usr/lib.so": bytes(data)})


def wide_fatbin() -> bytes:
    """A section that is nothing but entry headers: half a million images."""
    entry = fatbins.entry("90", b"")
    return gzip.compress(
        fatbins.layer({"usr/lib.so": fatbins.elf({".nv_fatbin": fatbins.container(entry * 500_000)})}), 1
    )


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "zstd bomb": (zstd_bomb, "the layer unpacks to more than 4294967296 bytes"),
    "gzip bomb": (gzip_bomb, "the layer unpacks to more than 4294967296 bytes"),
    "a member of exabytes": (huge_member, "cut off"),
    "no tar archive": (lambda: b"\x7fELF" * 1000, "tar: "),
    "an archive that ends early": (lambda: fatbins.layer(REAL)[:1500], "cut off"),
    "a name of two megabytes": (lambda: fatbins.layer({"y" * (1 << 21): b""}), "header of"),
    "paths of a million characters": (deep_paths, "no library|characters"),
    "links in circles": (many_links, ""),
    "a container of exabytes": (claims_of_a_fatbin, "cannot be verified"),
    "a section table of exabytes": (claims_of_an_elf, "cannot be verified"),
    "half a million images": (wide_fatbin, "cannot be verified: over|cannot be verified: fatbin"),
}  # fmt: skip


# A small process between: a child begins with the memory of its parent on its account, and pytest's is large.
LAUNCHER = """
import os, subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
_, status, used = os.wait4(child.pid, 0)
child.returncode = os.waitstatus_to_exitcode(status)
print(child.returncode, used.ru_maxrss, used.ru_utime + used.ru_stime)
"""


def verify(path: Path, cache: Path) -> tuple[int, str, float, float]:
    """Status, standard error, seconds of processor time, and the most memory that one process took, in MB."""
    words = [sys.executable, "-S", "-c", LAUNCHER, str(COMMAND), "verify", str(path), "--archs", "9.0"]
    done = subprocess.run(
        words, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL, timeout=1200,
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
    )  # fmt: skip
    code, memory, seconds = done.stdout.split()
    return int(code), done.stderr, float(seconds), int(memory) / 1024


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_layer_is_one_error(name: str, tmp_path: Path) -> None:
    make, words = HOSTILE[name]
    layout = Layout([make()], packing="")
    code, text, seconds, memory = verify(layout.archive(tmp_path / "image.tar"), tmp_path)
    assert "Traceback" not in text
    assert memory < MEMORY
    assert seconds < SECONDS
    if words:
        assert code == 4, text
        assert "error: " in text
        assert any(word in text for word in words.split("|")), text
    else:
        assert code == 0, text


def test_a_wheel_that_is_a_bomb(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "b.whl", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.so", "w") as member:
        for _ in range(200):
            member.write(bytes(1 << 20))
    code, text, seconds, memory = verify(tmp_path / "b.whl", tmp_path)
    assert code == 4
    assert "no library with device code" in text or "claims to hold" in text
    assert memory < MEMORY
    assert seconds < SECONDS


@pytest.mark.parametrize(
    "index",
    [
        "[" * 100_000,
        json.dumps({"manifests": [{"digest": digest(b"x")}] * 1000}),
        json.dumps({"manifests": [{"digest": "sha256:../../../../etc/passwd", "platform": None}]}),
        '{"manifests": {"a": 1}}',
    ],
    ids=["deep", "missing", "outside", "other shape"],
)
def test_manifests_that_lie(index: str, tmp_path: Path) -> None:
    layout = Layout([fatbins.layer(REAL)])
    layout.files["index.json"] = index.encode()
    code, text, _, memory = verify(layout.archive(tmp_path / "image.tar"), tmp_path)
    assert code == 4, text
    assert "Traceback" not in text
    assert memory < MEMORY


def test_memory_does_not_grow_with_the_image(tmp_path: Path) -> None:
    """It depends on the chunks and not on the layer: 1.3 GB here, of members as large as libraries are."""
    packed = zstandard.ZstdCompressor(level=1).compressobj()
    block = os.urandom(1 << 16) * 16
    out = io.BytesIO()
    for number in range(4):
        info = tarfile.TarInfo(f"usr/lib{number}.so")
        library = fatbins.library([["90"]])
        info.size = len(library) + 320 * len(block)
        out.write(packed.compress(info.tobuf() + library))
        for _ in range(320):
            out.write(packed.compress(block))
        out.write(packed.compress(bytes(-info.size % 512)))
    out.write(packed.compress(bytes(1024)) + packed.flush())
    code, text, _, memory = verify(Layout([out.getvalue()], packing="").archive(tmp_path / "image.tar"), tmp_path)
    assert code == 0, text
    assert memory < 150
