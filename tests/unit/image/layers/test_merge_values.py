"""What a layer's scan keeps and forgets, and what each kind of entry becomes where layers lie over each other."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator.image.code.library import FileCode
from orchestrator.image.layers import merge as merging
from orchestrator.image.layers.artifacts import GROUPS, USERS, Access, Artifact
from orchestrator.image.layers.installed import Distribution
from orchestrator.image.layers.merge import Copy, Held, LayerScan, merge
from orchestrator.image.layers.tar import DamagedArchiveError

A, B = FileCode(size=10, images={"80": 1}), FileCode(size=20, images={"90": 1})
BARE = FileCode(size=5, bare="90")
OPEN = Access(0o777, 0, 0)
TORCH = Distribution(name="torch", version="2.9", folders=("torch",), files=("torch/a.so",))


def artifact(size: int = 7) -> Artifact:
    return Artifact(sha256="a" * 64, size=size, access=Access(0o644, 0, 0))


def full(folder: str = "d") -> LayerScan:
    """One entry of each kind in a folder, and one of each beside it, whose name begins alike."""
    scan = LayerScan()
    for place in (folder, f"{folder}x"):
        scan.code[f"{place}/code"] = A
        scan.releases[f"{place}/release"] = "13.0.88"
        scan.plain.add(f"{place}/plain")
        scan.links[f"{place}/link"] = "target"
        scan.below[f"{place}/below"] = "other"
        scan.directories.add(f"{place}/directory")
        scan.whiteouts.add(f"{place}/whiteout")
        scan.opaque.add(f"{place}/opaque")
        scan.artifacts[f"{place}/artifact"] = artifact()
        scan.closed[f"{place}/closed"] = OPEN
        scan.records[f"{place}/record"] = TORCH
        scan.held[f"{place}/held"] = Held("b" * 64, 70_000)
    return scan


KINDS = ("code", "releases", "plain", "links", "below", "directories", "whiteouts", "opaque", "artifacts", "closed",
         "records", "held")  # fmt: skip
OF_A_FILE = tuple(kind for kind in KINDS if kind not in ("whiteouts", "opaque"))


def paths(scan: LayerScan) -> dict[str, list[str]]:
    return {kind: sorted(getattr(scan, kind)) for kind in KINDS}


def test_a_scan_that_was_kept_is_the_same() -> None:
    scan = full()
    assert LayerScan.from_json(json.loads(json.dumps(scan.to_json()))) == scan
    assert LayerScan.from_json(json.loads(json.dumps(LayerScan().to_json()))) == LayerScan()
    for kind in KINDS:
        other = full()
        getattr(other, kind).clear()
        assert LayerScan.from_json(json.loads(json.dumps(other.to_json()))) == other != scan
    assert full().to_json()["plain"] == "d/plain\0dx/plain\0"


@pytest.mark.parametrize("kind", KINDS)
def test_what_stood_at_a_path_is_forgotten(kind: str) -> None:
    scan, names = full(), {"releases": "release", "links": "link", "directories": "directory", "artifacts": "artifact",
                           "records": "record", "whiteouts": "whiteout"}  # fmt: skip
    scan.forget(f"d/{names.get(kind, kind)}")
    expected = paths(full())
    if kind in OF_A_FILE:
        del expected[kind][0]
    assert paths(scan) == expected


def test_what_stood_below_a_directory_is_forgotten() -> None:
    scan = full()
    scan.opaque.add("d")
    scan.directories.add("d")
    scan.forget_below("d")
    expected = {kind: names[1:] for kind, names in paths(full()).items()}
    expected["directories"].insert(0, "d")
    assert paths(scan) == expected
    for _ in range(99):
        scan.forget_below("d")
    with pytest.raises(DamagedArchiveError, match="again and again"):
        scan.forget_below("d")


@pytest.mark.parametrize("kind", ["code", "releases", "plain", "links", "below", "directories"])
def test_whether_a_member_stands_at_a_path(kind: str) -> None:
    scan = LayerScan()
    assert not scan.has("a")
    values: dict[str, Any] = {"code": A, "releases": "1", "links": "x", "below": "x"}
    names = getattr(scan, kind)
    names.add("a") if isinstance(names, set) else names.update({"a": values[kind]})
    assert scan.has("a")
    assert not scan.has("b")
    other = LayerScan(whiteouts={"a"}, opaque={"a"}, artifacts={"a": artifact()}, closed={"a": OPEN})
    assert not other.has("a")
    other.landing.place("a/b", {})
    assert other.has("a")


def test_a_hard_link_is_what_its_target_is() -> None:
    scan = full()
    for name, kinds in (("code", ["code"]), ("release", ["releases"]), ("plain", ["plain"]), ("link", ["links"]),
                        ("artifact", ["artifacts"]), ("record", ["records"])):  # fmt: skip
        before = paths(scan)
        scan.hard_link(f"new-{name}", f"d/{name}")
        assert [kind for kind in KINDS if paths(scan)[kind] != before[kind]] == kinds
        found = getattr(scan, kinds[0])
        assert f"new-{name}" in found
        assert isinstance(found, set) or found[f"new-{name}"] == found[f"d/{name}"]
    scan.code["both"], scan.artifacts["both"] = A, artifact()
    scan.hard_link("twice", "both")
    assert (scan.code["twice"], scan.artifacts["twice"]) == (A, artifact())
    scan.hard_link("far", "lower")
    scan.hard_link("farther", "d/below")
    scan.hard_link("folder", "d/directory")
    assert {name: target for name, target in scan.below.items() if "/" not in name} == {
        "far": "lower", "farther": "other", "folder": "d/directory",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("access", "kept"),
    [
        (Access(0o755, 0, 0), False), (Access(0o1755, 0, 0), False), (Access(0o4755, 0, 0), False),
        (Access(0o750, 0, 0), True), (Access(0o777, 0, 0), True), (Access(0o755, 1, 0), True),
        (Access(0o755, 0, 1), True),
    ],
)  # fmt: skip
def test_directories_that_are_not_as_most(access: Access, kept: bool) -> None:
    scan = LayerScan(closed={"a": OPEN})
    scan.restrict("a", access)
    assert scan.closed == ({"a": access} if kept else {})


LOW = LayerScan(
    code={"d/a.so": A, "k.so": A}, releases={"d/nvcc": "12.9"}, links={"d/l": "a.so"}, directories={"d"},
    artifacts={"d/h": artifact()}, closed={"d": OPEN}, records={"d/torch-2.9.dist-info/RECORD": TORCH},
    held={"d/h": Held("c", 70_000)}, plain={"d/triton-3.9.dist-info/METADATA"},
)  # fmt: skip


@pytest.mark.parametrize(
    "upper",
    [LayerScan(whiteouts={"d"}), LayerScan(opaque={"d"}), LayerScan(opaque={""}), LayerScan(plain={"d"}),
     LayerScan(links={"d": "x"}), LayerScan(code={"d": B}), LayerScan(releases={"d": "13"}),
     LayerScan(below={"d": "none"})],
)  # fmt: skip
def test_everything_below_a_directory_goes_with_it(upper: LayerScan) -> None:
    files = merge([LOW, upper])
    everything = upper.opaque == {""}
    assert set(files.code) - {"d"} == (set() if everything else {"k.so"})
    assert set(files.releases) - {"d"} == set(files.links) - {"d"} == set()
    assert (files.artifacts, files.held, files.compile_later, files.installed.owners) == ({}, {}, {}, {})
    assert files.closed == ({"d": OPEN} if upper.opaque == {"d"} else {})
    assert Copy(path="d/a.so", layer=0, size=10) in files.hidden
    assert len(files.hidden) == (2 if everything else 1)
    assert files.layers == (LOW, upper)


def test_what_a_layer_leaves_alone_stays() -> None:
    for upper in (
        LayerScan(),
        LayerScan(directories={"d"}),
        LayerScan(plain={"d/x"}),
        LayerScan(whiteouts={"dd", "d/a"}),
        LayerScan(opaque={"d/a"}),
        LayerScan(plain={"d/a.so.1", "c", "e"}),
    ):
        files = merge([LOW, upper])
        assert (set(files.code), set(files.releases), files.links) == ({"d/a.so", "k.so"}, {"d/nvcc"}, {"d/l": "a.so"})
        assert (set(files.artifacts), set(files.held), files.hidden) == ({"d/h"}, {"d/h"}, ())
        assert files.closed == ({} if upper.directories else {"d": OPEN})
        assert files.compile_later == {"triton": "3.9"}
        assert (files.repeated, files.aliases) == (0, {"d/l": "d/a.so"})


def test_a_file_that_becomes_a_directory() -> None:
    for upper in (LayerScan(directories={"k.so"}), LayerScan(opaque={"k.so"}), LayerScan(plain={"k.so/x"}),
                  LayerScan(whiteouts={"k.so/x"}), LayerScan(directories={"k.so/x/y"})):  # fmt: skip
        assert set(merge([LOW, upper]).code) == {"d/a.so"}
    assert set(merge([LOW, LayerScan(directories={"k.so1", "k.s"})]).code) == {"d/a.so", "k.so"}


def test_bytes_that_a_higher_layer_holds_once_more() -> None:
    again = LayerScan(
        artifacts={"d/h": artifact(9), USERS: artifact(3), GROUPS: artifact(3)}, plain={"d/h", USERS, GROUPS}
    )
    files = merge([LOW, again])
    assert (files.repeated, files.artifacts["d/h"].size) == (7, 9)
    assert merge([LOW, again, again]).repeated == 16
    assert merge([LOW, LayerScan(plain={"d/h"})]).repeated == 0
    assert merge([LOW, LayerScan(whiteouts={"d/h"})]).repeated == 0


def test_a_hard_link_takes_what_the_lower_layers_have() -> None:
    upper = LayerScan(below={"new.so": "d/a.so", "new.h": "d/h", "gone": "none"}, whiteouts={"d"})
    files = merge([LOW, upper])
    assert (files.code["new.so"], files.artifacts) == (A, {"new.h": artifact()})
    assert set(files.code) == {"new.so", "k.so"}
    over = merge([LOW, LayerScan(below={"k.so": "none"})])
    assert set(over.code) == {"d/a.so"}
    assert over.hidden == (Copy(path="k.so", layer=0, size=10),)


def test_the_layer_of_a_hidden_copy_is_the_one_that_holds_it() -> None:
    files = merge([LOW, LayerScan(code={"k.so": B}), LayerScan(whiteouts={"k.so"})])
    assert files.hidden == (Copy(path="k.so", layer=0, size=10), Copy(path="k.so", layer=1, size=20))


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("x/triton-3.9.0.dist-info/METADATA", {"triton": "3.9.0"}),
        ("pytorch_triton-3.5.dist-info/METADATA", {"pytorch_triton": "3.5"}),
        ("x/tilelang-0.1.dist-info/METADATA", {"tilelang": "0.1"}),
        ("x/deep_gemm-2.dist-info/METADATA", {"deep_gemm": "2"}),
        ("x/flashinfer_python-0.6.13.dist-info/METADATA", {"flashinfer_python": "0.6.13"}),
        ("vllm/third_party/deep_gemm/_C.so", {"deep_gemm": ""}),
        ("third_party/deep_gemm/a.so", {"deep_gemm": ""}),
        ("vllm/third_party/deep_gemm/a/b.so", {}),
        ("vllm/third_party/deep_gemm/_C.so.1", {}),
        ("x/triton-3.9.0.dist-info/RECORD", {}),
        ("x/triton-3.9-1.dist-info/METADATA", {}),
        ("x/xtriton-3.9.dist-info/METADATA", {}),
        ("x/torch-2.9.dist-info/METADATA", {}),
    ],
)
def test_packages_that_compile_on_the_device(path: str, found: dict[str, str]) -> None:
    assert merge([LayerScan(plain={path})]).compile_later == found
    assert merge([LayerScan(code={path: A})]).compile_later == found
    assert merge([LayerScan(links={path: "x"})]).compile_later == {}


def test_files_in_archives_stand_behind_the_archives_path() -> None:
    deep = FileCode(size=3, inside={"y/z.so": B})
    archive = FileCode(size=99, inside={"x/lib.so": A, "in.zip": deep, "plain.zip": FileCode(size=1, unread="why")})
    found = merge([LayerScan(code={"opt/a.whl": archive, "opt/b.so": B})]).code
    assert list(found) == [
        "opt/a.whl", "opt/a.whl/in.zip", "opt/a.whl/in.zip/y/z.so", "opt/a.whl/plain.zip", "opt/a.whl/x/lib.so",
        "opt/b.so",
    ]  # fmt: skip
    assert {path: code.archive for path, code in found.items()} == {
        path: "" if path in ("opt/a.whl", "opt/b.so") else "opt/a.whl" for path in found
    }
    assert all(code.inside == {} for code in found.values())
    assert found["opt/a.whl/in.zip/y/z.so"].size == 20
    both = merge([LayerScan(code={"a": FileCode(size=1, inside={"b": A}), "a/b": B})]).code
    assert (both["a/b"].size, both["a/b"].archive) == (10, "a")


def test_links_lead_to_libraries_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    scan = LayerScan(
        code={"lib/a.so": A, "lib/k.cubin": BARE, "lib/sub/b.so": B},
        links={"l": "lib", "lib/same.so": "a.so", "c": "lib/k.cubin", "s": "l/sub", "x": "nothing"},
    )
    expected = {
        "lib/same.so": "lib/a.so", "l/a.so": "lib/a.so", "l/same.so": "lib/a.so", "l/sub/b.so": "lib/sub/b.so",
        "s/b.so": "lib/sub/b.so",
    }  # fmt: skip
    assert merge([scan]).aliases == expected
    assert merge([LayerScan(code={"lib/k.cubin": BARE}, links={"l": "lib"})]).aliases == {}
    monkeypatch.setattr(merging, "MAX_ALIASES", 3)
    assert len(merge([scan]).aliases) == 3
