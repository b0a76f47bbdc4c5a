"""Fuzz the readers of device code, cubins and layers with atheris: `fuzz_image.py fatbin|cubin|layer [options]`.

Seeds are made by tests/support/fatbins.py and repaired after mutation where a checksum would hide everything behind it.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]  # installed for fuzzing alone

with atheris.instrument_imports(include=["orchestrator.image", "orchestrator.cuda"]):
    from orchestrator.flashinfer import CUBIN_DIR
    from orchestrator.image.code import cubin
    from orchestrator.image.code.elf import DamagedFileError
    from orchestrator.image.code.forward import Forward
    from orchestrator.image.code.library import FileCode
    from orchestrator.image.code.reader import read_file
    from orchestrator.image.code.stream import scan
    from orchestrator.image.layers.merge import LayerScan, merge
    from orchestrator.image.layers.scan import scan_layer
    from orchestrator.image.layers.tar import DamagedArchiveError
    from orchestrator.image.layers.unpack import DamagedLayerError
    from orchestrator.image.verdict import bundle
    from orchestrator.image.verdict.kernels import how_served
    from orchestrator.image.verdict.scanned import Scanned

from tests.support import fatbins

STUB = fatbins.container(fatbins.entry("80", fatbins.cubin({})), fatbins.entry("p80"))
TWO = fatbins.cubin({".text.a": b"1", ".text.b": b"1"})


def fatbin(data: bytes) -> None:
    """Both readers, shallow and deep; what they make must survive JSON and judging."""
    for deep in (False, True):
        found = read_file(data, deep=deep)
        step = 1 + (data[0] if data else 0) * 7
        passing = scan(Forward(iter([data[at : at + step] for at in range(0, len(data), step)])), len(data), deep=deep)
        if not (found and found.damage) and not (passing and passing.damage) and found != passing:
            raise AssertionError(f"{found} != {passing}")
        if found is not None:
            if FileCode.from_json(json.loads(json.dumps(found.to_json()))) != found:
                raise AssertionError("JSON changed it")
            how_served(found, "11.0")


def unpacking(data: bytes) -> None:
    """Unpack the same bytes as each kind of image, and read them as a cubin."""
    size = int.from_bytes(data[:3], "little")
    for packing in ("", "lz4", "zstd"):
        with contextlib.suppress(DamagedFileError):
            whole = cubin.unpack(data[3:], packing, size)
            if packing and len(whole) != size:
                raise AssertionError("another size came out")
            cubin.kernel_names(whole)
    with contextlib.suppress(DamagedFileError):
        from orchestrator.image.code.elf import Window
        from orchestrator.image.code.glance import Glance

        cubin.bare_architecture(Window(data))
        Glance().shows(data)
        cubin.holds_entry(data)
        cubin.holds_kernel(Window(data))


def layer(data: bytes) -> None:
    """Two layers out of one input, packed or not, one over the other, and what FlashInfer would find there."""
    half = len(data) // 2 // 512 * 512
    scans: list[LayerScan] = []
    for part in (data[:half], data[half:]):
        repaired = _checksums(part)
        for stored in (part, repaired, gzip.compress(repaired, 1)):
            with contextlib.suppress(DamagedLayerError, DamagedArchiveError):
                found = scan_layer(io.BytesIO(stored), len(stored), limit=1 << 24)
                if LayerScan.from_json(json.loads(json.dumps(found.to_json()))) != found:
                    raise AssertionError("JSON changed it")
                scans.append(found)
    for files in (merge(scans), merge(reversed(scans))):
        for place in ("/c", "/d/.."):
            bundle.judge(Scanned(source="x", environment={CUBIN_DIR: place}, files=files, user="7:8"))


def _checksums(part: bytes) -> bytes:
    data = bytearray(part + bytes(-len(part) % 512 + 1024))
    for at in range(0, len(data) - 1024, 512):
        if data[at + 257 : at + 262] == b"ustar":
            data[at + 148 : at + 156] = b" " * 8
            data[at + 148 : at + 156] = f"{sum(data[at : at + 512]):06o}\0 ".encode()
    return bytes(data)


SEEDS = {
    "fatbin": [
        fatbins.library([["80", "90a"], ["p80"], ["lto90", "100f"]], packing=packing) for packing in ("", "zstd", "lz4")
    ]
    + [
        fatbins.elf({".nv_fatbin": STUB + STUB, "__nv_relfatbin": fatbins.fatbin([["90"]])}),
        fatbins.fatbin([["80"], ["90"]]), fatbins.cubin(sm=110),
        b"!<arch>\n" + b"a.o/".ljust(48) + b"512       `\n" + fatbins.library([["80"]])[:512],
        fatbins.elf({".nv_fatbin": fatbins.container(fatbins.entry("90", TWO), fatbins.entry("80"))}),
    ],
    "cubin": [
        b"\x40\0\0" + fatbins.lz4(b"abc" * 20 + b"\0" * 40), b"\x20\0\0" + TWO, TWO,
        fatbins.elf({".note.nv.tkinfo": b"x" * 24 + b"-arch sm_100f -m 64"}, machine=190, abi=(0x41, 8)),
    ],
    "layer": [
        fatbins.layer({"usr": None, "usr/a.so": fatbins.library([["80"]]), "b": ("link", "usr/a.so")})
        + fatbins.layer({"usr/.wh.a.so": b"", "c/.wh..wh..opq": b"", "d": ("hard", "usr/a.so"), "e" * 120: "x"}),
        fatbins.layer({"c/" + "0" * 40 + "/h": "x", "c/flashinfer.lock.json": '{"schema": 1}', "c": None})
        + fatbins.layer({"c/flashinfer.lock.json": ("hard", "c/" + "0" * 40 + "/h"), "d": ("link", "c")}),
        fatbins.layer({"l" * 300: b"x", "ptxas": b"\x7fELF"}, style=1) + fatbins.layer({"usr": "file now"}),
    ],
}  # fmt: skip


def main() -> None:
    target = {"fatbin": fatbin, "cubin": unpacking, "layer": layer}[sys.argv[1]]
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(SEEDS[sys.argv[1]]):
            (Path(folder) / str(number)).write_bytes(seed)
        atheris.Setup([sys.argv[0], folder, "-max_len=16384", *sys.argv[2:]], target)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
