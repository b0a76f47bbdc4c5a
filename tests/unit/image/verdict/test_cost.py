"""What GPUs cost: device code by architecture, copies by digest, and what a shorter list saves."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

from orchestrator.image.code.library import FileCode
from orchestrator.image.layers.merge import HASHED, Files, Held, LayerScan, merge
from orchestrator.image.layers.scan import scan_layer
from orchestrator.image.verdict.cost import Copies, Several, Toolkit, cost
from orchestrator.image.verdict.scanned import scan_source
from orchestrator.ui import cost_view
from tests.support import fatbins

if TYPE_CHECKING:
    from pathlib import Path

BIG, OTHER = b"x" * HASHED, b"y" * (HASHED + 1)


def layer(members: dict[str, bytes | str | tuple[str, str] | None]) -> LayerScan:
    data = fatbins.layer(members)
    return scan_layer(io.BytesIO(data), len(data), deep=True)


def test_bytes_are_summed_by_architecture_over_libraries_and_bare_cubins() -> None:
    code = {
        "app/a.so": FileCode(size=1000, stored={"100": 300, "80": 200, "p80": 50}),
        "app/b.so": FileCode(size=9000, stored={"80": 4000}),
        "site-packages/flashinfer_cubin/x.cubin": FileCode(size=70, bare="100f"),
        "site-packages/flashinfer_cubin/d/y.cubin": FileCode(size=30, bare="100f"),
        "app/none.so": FileCode(size=5),
    }
    found = cost(Files(code=code), ("8.0", "10.0"))
    assert found.archs == {"80": 4200, "100": 300, "100f": 100, "p80": 50}
    assert [(one.path, one.size) for one in found.places] == [
        ("app/b.so", 9000), ("app/a.so", 1000), ("site-packages/flashinfer_cubin", 100),
    ]  # fmt: skip


def test_a_shorter_list_saves_what_no_other_gpu_of_it_runs() -> None:
    code = {"a.so": FileCode(size=9, stored={"80": 1, "86": 20, "90a": 300, "p80": 4000, "lto90": 50000})}
    found = cost(Files(code=code), ("8.0", "8.6", "9.0"))
    # the cubin of 8.0 runs on 8.6 as well, its PTX on all three, and code for the linker on none
    assert found.without == {"8.0": 0, "8.6": 20, "9.0": 300}
    assert found.only == {"8.0": 320, "8.6": 300, "9.0": 21}


def test_the_same_bytes_are_a_copy_and_a_hard_link_is_not() -> None:
    files = merge([
        layer({"a/lib.so": BIG, "a/hard.so": ("hard", "a/lib.so"), "a/link.so": ("link", "lib.so"), "gone": BIG}),
        layer({"b/lib.so.1": BIG, "c": OTHER, "small1": b"z", "small2": b"z", ".wh.gone": b""}),
    ])  # fmt: skip
    (copies,) = cost(files, ("8.0",)).copies
    assert (copies.paths, copies.size, copies.wasted) == (("a/lib.so", "b/lib.so.1"), HASHED, HASHED)


def test_only_a_deep_scan_reads_digests_and_they_are_kept(tmp_path: Path) -> None:
    scan = layer({"a": BIG})
    assert LayerScan.from_json(json.loads(json.dumps(scan.to_json()))) == scan
    data = fatbins.layer({"a": BIG})
    assert scan_layer(io.BytesIO(data), len(data)).held == {}
    (tmp_path / "a").write_bytes(BIG)
    assert scan_source(str(tmp_path), deep=True).files.held == scan.held
    assert scan_source(str(tmp_path)).files.held == {}


def test_builds_of_one_library_and_toolkits_are_named() -> None:
    held = {
        "usr/local/cuda/lib64/libcublasLt.so.13.0.2": Held("1", 3 << 20),
        "site/torch/lib/libcublasLt.so.13": Held("2", 5 << 20),
        "site/x.libs/libcublasLt-0123abcd.so.12": Held("2", 5 << 20),
        "usr/lib/libfew.so.1": Held("3", 1 << 19),
        "usr/lib/libfew.so.2": Held("4", 1 << 19),
    }
    releases = {
        "usr/local/cuda/bin/nvcc": "13.0.88",
        "usr/local/cuda/bin/ptxas": "13.0.87",
        "site/triton/backends/nvidia/bin/ptxas": "12.9.86",
    }
    found = cost(Files(code={}, held=held, releases=releases), ("8.0",))
    sizes = {"site/torch/lib/libcublasLt.so.13": 5 << 20, "usr/local/cuda/lib64/libcublasLt.so.13.0.2": 3 << 20}
    assert found.several == (Several(name="libcublasLt.so", sizes=sizes),)
    assert found.toolkits == (
        Toolkit(root="site/triton/backends/nvidia", release="12.9.86", size=0),
        Toolkit(root="usr/local/cuda", release="13.0.88", size=3 << 20),
    )


def test_titles_say_the_sums_and_long_lists_are_cut() -> None:
    held = {f"{place}/{number:02}": Held(f"{number:02}", 100_000) for number in range(20) for place in "ab"}
    found = cost(Files(code={}, held=held), ())
    assert found.copies[0] == Copies(sha256="00", size=100_000, paths=("a/00", "b/00"))
    ((title, lines),) = cost_view.sections(found)
    assert title == "The same file more than once: 2.0 MB that could be saved"
    assert lines[0] == "100.0 kB: 2 copies: a/00, b/00"
    assert lines[12:] == ["and 8 more (--format json lists them)"]


def test_json_of_a_cost() -> None:
    code = {"a.so": FileCode(size=9, stored={"80": 1, "90a": 300})}
    held = {f"{place}/libx.so.{number}": Held(f"{number}", 2 << 20) for place, number in (("a", 1), ("b", 1), ("c", 2))}
    found = cost(Files(code=code, held=held, releases={"cuda/bin/nvcc": "13.0.88"}), ("8.0", "9.0"))
    assert json.loads(json.dumps(found.to_json())) == {
        "bytes": {"80": 1, "90a": 300},
        "places": [{"path": "a.so", "size": 9, "bytes": {"80": 1, "90a": 300}}],
        "copies": [{"sha256": "1", "size": 2 << 20, "paths": ["a/libx.so.1", "b/libx.so.1"], "wasted": 2 << 20}],
        "several": [{"name": "libx.so", "sizes": {"a/libx.so.1": 2 << 20, "c/libx.so.2": 2 << 20}}],
        "toolkits": [{"root": "cuda", "release": "13.0.88", "size": 0}],
        "without": {"8.0": 1, "9.0": 300},
        "only": {"8.0": 300, "9.0": 1},
    }
