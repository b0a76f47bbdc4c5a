from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.image.layers.links import resolve
from orchestrator.image.layers.merge import LayerScan, merge
from orchestrator.image.layers.scan import find_release, scan_layer
from orchestrator.image.layers.tar import DamagedArchiveError
from orchestrator.image.layers.unpack import DamagedLayerError
from tests.support import fatbins
from tests.support.generated import examples

A, B = fatbins.library([["80"]]), fatbins.library([["90"]])
Content = bytes | str | tuple[str, str] | None


def scanned(members: dict[str, Content]) -> LayerScan:
    data = fatbins.layer(members)
    return scan_layer(io.BytesIO(data), len(data))


def seen(*layers: dict[str, Content]) -> dict[str, str]:
    """Path -> architectures of the libraries that a stack of layers leaves."""
    files = merge([scanned(layer) for layer in layers])
    return {path: " ".join(sorted(code.images)) for path, code in files.code.items()}


def test_a_layer_says_what_it_holds() -> None:
    scan = scanned({
        "usr": None, "usr/lib.so": A, "usr/text": "hello", "usr/empty": b"", "usr/link": ("link", "lib.so"),
        "usr/hard.so": ("hard", "usr/lib.so"), "usr/text2": ("hard", "usr/text"), "usr/below": ("hard", "etc/x"),
        "usr/.wh.old": b"", "opt/.wh..wh..opq": b"", "usr/.wh..wh.plnk": b"",
    })  # fmt: skip
    assert set(scan.code) == {"usr/lib.so", "usr/hard.so"}
    assert scan.plain == {"usr/text", "usr/empty", "usr/text2"}
    assert scan.links == {"usr/link": "lib.so"}
    assert scan.below == {"usr/below": "etc/x"}
    assert scan.whiteouts == {"usr/old"}
    assert scan.opaque == {"opt"}
    assert LayerScan.from_json(json.loads(json.dumps(scan.to_json()))) == scan


def test_the_last_of_two_members_of_one_name_counts() -> None:
    data = fatbins.layer({"lib.so": A})[:-1024].rstrip(b"\0")
    data += bytes(-len(data) % 512) + fatbins.layer({"lib.so": "text now"})
    scan = scan_layer(io.BytesIO(data), len(data))
    assert scan.code == {}
    assert scan.plain == {"lib.so"}


LOWER: dict[str, Content] = {"d": None, "d/a.so": A, "d/e/b.so": A, "keep.so": A}


@pytest.mark.parametrize(
    ("upper", "expected"),
    [
        ({"d/a.so": B}, {"d/a.so": "90", "d/e/b.so": "80"}),
        ({"d/a.so": "text"}, {"d/e/b.so": "80"}),
        ({"d/.wh.a.so": b""}, {"d/e/b.so": "80"}),
        ({".wh.d": b""}, {}),
        ({"d/.wh..wh..opq": b"", "d/c.so": B}, {"d/c.so": "90"}),
        ({"d/.wh..wh..opq": b""}, {}),
        ({".wh.d": b"", "d/a.so": B}, {"d/a.so": "90"}),
        ({"d": "a file now"}, {}),
        ({"d": ("link", "elsewhere")}, {}),
        ({"d/a.so": None}, {"d/e/b.so": "80"}),
        ({"d/e": ("link", "../d")}, {"d/a.so": "80"}),
        ({"d/.wh.missing": b""}, {"d/a.so": "80", "d/e/b.so": "80"}),
        ({"d/a.so/.wh.missing": b""}, {"d/e/b.so": "80"}),  # a directory now
        ({"d/a.so/.wh..wh..opq": b""}, {"d/e/b.so": "80"}),
        ({"d/hard.so": ("hard", "d/a.so"), "d/.wh.a.so": b""}, {"d/e/b.so": "80", "d/hard.so": "80"}),
        ({"d": None}, {"d/a.so": "80", "d/e/b.so": "80"}),
        ({"da.so": B, "d/a.so.1": B}, {"d/a.so": "80", "d/a.so.1": "90", "d/e/b.so": "80", "da.so": "90"}),
    ],
)
def test_what_a_second_layer_leaves(upper: dict[str, Content], expected: dict[str, str]) -> None:
    assert seen(LOWER, upper) == {**expected, "keep.so": "80"}


def test_an_opaque_root_survives_being_kept() -> None:
    """Found by fuzzing: the root's path is empty, and a list of it alone looked like no list."""
    scan = scanned({"./": None, ".wh..wh..opq": b""})
    assert (scan.directories, scan.opaque) == ({""}, {""})
    assert LayerScan.from_json(scan.to_json()) == scan


def test_an_opaque_root_hides_everything() -> None:
    assert seen(LOWER, {".wh..wh..opq": b"", "new.so": B}) == {"new.so": "90"}


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([("d/a.so", A), ("d", "a file now")], []),
        ([("d/a.so", A), ("d", ("link", "e")), ("d", None)], ["d/low.so"]),
        ([("d/a.so", A), ("d/.wh..wh..opq", b""), ("d", "a file now"), ("d", None)], ["d/low.so"]),
        ([("d", ("link", "e")), ("d/a.so", A)], ["e/a.so"]),
        ([("d", ("link", "/e/../f")), ("d/a.so", A), ("d/b.so", ("hard", "d/a.so"))], ["f/a.so", "f/b.so"]),
        ([("x", ("link", "d")), ("x/.wh.low.so", b"")], []),
        ([("x", ("link", "d")), ("x/.wh..wh..opq", b"")], []),
        ([("x", ("link", "/")), ("x/a.so", A)], ["a.so", "d/low.so"]),
        ([("x/y", ("link", "..")), ("x", None), ("x/y/a.so", A)], ["a.so", "d/low.so"]),
    ],
)
def test_members_land_as_the_runtime_unpacks_them(members: list[tuple[str, Content]], expected: list[str]) -> None:
    """Through the links of their own layer, and over its directories."""
    archive = b""
    for path, value in members:
        size = len(value) if isinstance(value, bytes | str) else 0
        archive += fatbins.layer({path: value})[: 512 + -(-size // 512) * 512]
    archive += bytes(1024)
    found = merge([scanned({"d/low.so": A}), scan_layer(io.BytesIO(archive), len(archive))])
    assert sorted(found.code) == expected


@pytest.mark.parametrize("first", ["d/a.so", "d", "d/x/y"])
def test_a_whiteout_of_its_own_layer_is_refused(first: str) -> None:
    """containerd removes the file from the lowest layer and unpacks no other; the specification lets it stay."""
    with pytest.raises(DamagedArchiveError, match=r"tar: d(/a\.so)? comes before its whiteout in one layer"):
        scanned({first: A, **({"d/.wh.a.so": b""} if first == "d/a.so" else {".wh.d": b""})})
    assert seen(LOWER, {".wh.d": b"", first: A}) == {first: "80", "keep.so": "80"}


def test_files_over_directories_without_end_are_refused() -> None:
    one = fatbins.layer({"d/a": "x"})[:1024] + fatbins.layer({"d": "x"})[:1024]
    archive = one * 200 + bytes(1024)
    with pytest.raises(DamagedArchiveError, match="again and again"):
        scan_layer(io.BytesIO(archive), len(archive))


def test_a_whiteout_reaches_lower_layers_only() -> None:
    assert seen({"a.so": A}, {".wh.a.so": b""}, {"a.so": B}) == {"a.so": "90"}


def test_hard_links_survive_the_removal_of_their_target() -> None:
    assert seen({"a.so": A, "b.so": ("hard", "a.so")}, {".wh.a.so": b""}) == {"b.so": "80"}
    assert seen({"a.so": A}, {"b.so": ("hard", "a.so")}, {"a.so": B}) == {"a.so": "90", "b.so": "80"}


def test_hidden_copies_are_told() -> None:
    files = merge([scanned({"a.so": A, "b.so": A}), scanned({"a.so": B, ".wh.b.so": b""})])
    assert {(copy.path, copy.layer, copy.size) for copy in files.hidden} == {("a.so", 0, len(A)), ("b.so", 0, len(A))}


def test_symlinks_lead_to_libraries() -> None:
    files = merge([
        scanned({
            "usr/lib/real.so.2": A,
            "usr/lib/real.so": ("link", "real.so.2"),
            "lib": ("link", "usr/lib"),
            "opt/abs.so": ("link", "/lib/real.so"),
            "opt/up.so": ("link", "../../../usr/lib/real.so.2"),
            "opt/loop.so": ("link", "loop.so"),
            "opt/gone.so": ("link", "/usr/lib/gone.so"),
        })
    ])  # fmt: skip
    assert files.aliases == {
        "usr/lib/real.so": "usr/lib/real.so.2",
        "lib/real.so.2": "usr/lib/real.so.2",
        "lib/real.so": "usr/lib/real.so.2",
        "opt/abs.so": "usr/lib/real.so.2",
        "opt/up.so": "usr/lib/real.so.2",
    }


def test_chains_of_links_end() -> None:
    links = {"a": "b", "b": "c/d", "c": "/e", "x": "x/y", "p": "q", "q": "p"}
    assert resolve("a", links) == "e/d"
    assert resolve("x", links) == ""
    assert resolve("p/z", links) == ""
    assert resolve("n/../m", links) == "m"


def test_compilers_and_packages_that_compile_later() -> None:
    compiler = fatbins.elf({".rodata": b"Cuda compilation tools, release 13.0, V13.0.88\0"})
    site = "usr/lib/python3/dist-packages"
    blackwell = f"{site}/triton/ptxas-blackwell"
    files = merge([
        scanned({
            "usr/local/cuda/bin/ptxas": compiler, "usr/bin/nvcc": "#!/bin/sh", blackwell: compiler,
            f"{site}/triton-3.9.0.dist-info/METADATA": "Name: triton", f"{site}/vllm/third_party/deep_gemm/_C.so": "x",
            f"{site}/tilelang-0.1.dist-info/METADATA": "x",
        }),
        scanned({f"{site}/.wh.tilelang-0.1.dist-info": b""}),
    ])  # fmt: skip
    assert files.releases == {"usr/local/cuda/bin/ptxas": "13.0.88", blackwell: "13.0.88"}
    assert files.compile_later == {"triton": "3.9.0", "deep_gemm": ""}


def test_a_release_is_found_across_pieces() -> None:
    text = b"x" * 50 + b"Cuda compilation tools, release 12.9, V12.9.86" + b"y" * 50
    assert all(find_release([text[:at], text[at:]]) == "12.9.86" for at in range(50, 96))


def test_archives_that_are_none() -> None:
    for data, error in ((b"PK\3\4" * 200, DamagedArchiveError), (fatbins.layer({"a.so": A})[:900], DamagedLayerError)):
        with pytest.raises(error):
            scan_layer(io.BytesIO(data), len(data))


# A model of a file system beside the merge: plain dictionaries, one layer after the other.

NAMES = st.sampled_from(["a", "b", "d/a", "d/b", "d/e/a", "d", "d/e"])
VALUES = st.sampled_from(["A", "B", "text", "dir", "whiteout", "opaque"])


def model(layers: list[dict[str, str]]) -> dict[str, str]:
    state: dict[str, str] = {}
    for layer in layers:
        for path, value in layer.items():
            doomed = {
                "whiteout": lambda old, path=path: old == path or old.startswith(f"{path}/"),
                "opaque": lambda old, path=path: old.startswith(f"{path}/"),
            }.get(value)
            if doomed:  # it lies in a directory, which stands where a file may have stood
                inside = f"{path}/" if value == "opaque" else path
                state = {old: kept for old, kept in state.items() if not (doomed(old) or inside.startswith(f"{old}/"))}
        for path, value in layer.items():
            if value in ("whiteout", "opaque"):
                continue
            if value != "dir":
                state = {old: kept for old, kept in state.items() if not old.startswith(f"{path}/")}
            state = {old: kept for old, kept in state.items() if not path.startswith(f"{old}/")}
            state.pop(path, None)
            if value != "dir":
                state[path] = value
    return {path: value for path, value in state.items() if value in ("A", "B")}


def consistent(layer: dict[str, str]) -> bool:
    """No path of one layer lies below a file of it, and none comes before its whiteout: no builder does that."""
    solid = [path for path, value in layer.items() if value in ("A", "B", "text")]
    gone = [[path, *list(layer)[:number]] for number, (path, value) in enumerate(layer.items()) if value == "whiteout"]
    late = any(f"{other}/".startswith(f"{path}/") for path, *before in gone for other in before)
    return not late and not any(other.startswith(f"{path}/") for path in solid for other in layer)


@examples(60)
@given(st.lists(st.dictionaries(NAMES, VALUES, max_size=5).filter(consistent), min_size=1, max_size=4))
def test_merge_is_the_model(layers: list[dict[str, str]]) -> None:
    content: dict[str, Any] = {"A": A, "B": B, "text": "text", "dir": None}
    scans = []
    for layer in layers:
        members: dict[str, Content] = {}
        for path, value in layer.items():
            folder, _, name = path.rpartition("/")
            if value == "whiteout":
                members[f"{folder}/.wh.{name}" if folder else f".wh.{name}"] = b""
            elif value == "opaque":
                members[f"{path}/.wh..wh..opq"] = b""
            else:
                members[path] = content[value]
        scans.append(scanned(members))
    expected = {path: {"A": "80", "B": "90"}[value] for path, value in model(layers).items()}
    assert {path: " ".join(code.images) for path, code in merge(scans).code.items()} == expected
