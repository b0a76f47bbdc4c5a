"""The whole way without a process: directories, wheels and files, read and judged."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING

import pytest

from orchestrator.cuda.arch import parse_list
from orchestrator.errors import UsageError, VerificationError
from orchestrator.image.code.library import FileCode
from orchestrator.image.layers.merge import Copy, Files
from orchestrator.image.verdict import findings
from orchestrator.image.verdict.compare import compare
from orchestrator.image.verdict.kernels import known_ccs
from orchestrator.image.verdict.policy import Policy, Requirement
from orchestrator.image.verdict.scanned import Scanned, scan_source
from orchestrator.image.verdict.verify import verdict, verify_image
from tests.support import fatbins

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from orchestrator.cuda.arch import Arch
    from orchestrator.image.verdict.verify import Verdict

SITE = "lib/python3.12/site-packages"


def tree(root: Path, **files: bytes) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def library(*profiles: str) -> bytes:
    return fatbins.library([tags.split() for tags in profiles])


def deeply(root: Path, promised: Sequence[Arch]) -> Verdict:
    """The verdict of `verify --deep`."""
    return verdict(scan_source(str(root), deep=True), promised, Policy())


def test_a_directory_a_wheel_and_a_file_say_the_same(tmp_path: Path) -> None:
    data = library("90 110", "80 p80")
    tree(tmp_path / "tree", **{"app/lib.so": data, "app/x.py": b"pass", "app/empty": b""})
    (tmp_path / "tree/app/link.so").symlink_to("lib.so")
    with zipfile.ZipFile(tmp_path / "app.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("app/lib.so", data)
        archive.writestr("app/x.py", "pass")
    found = [scan_source(str(tmp_path / name)) for name in ("tree", "app.whl", "tree/app/lib.so")]
    assert [list(one.files.code) for one in found] == [["app/lib.so"], ["app/lib.so"], ["lib.so"]]
    assert len({json.dumps(code.to_json()) for one in found for code in one.files.code.values()}) == 1
    assert found[0].files.aliases == {"app/link.so": "app/lib.so"}
    assert not any(one.image for one in found)


def test_the_verdict_names_library_device_and_consequence(tmp_path: Path) -> None:
    tree(tmp_path, **{"app/lib.so": library("90 100", "90 100"), "app/other.so": library("90 100 110")})
    result = verify_image(str(tmp_path), parse_list("9.0 11.0"), promised_by="--archs")
    assert not result.ok
    (problem,) = result.problems
    assert problem.file == "app/lib.so"
    assert "11.0 (Jetson Thor" in problem.what
    assert "2 translation units" in problem.what
    assert "no kernel image is available" in problem.hint
    assert verify_image(str(tmp_path), parse_list("9.0 10.0")).ok


def test_ptx_for_everything_has_another_consequence(tmp_path: Path) -> None:
    tree(tmp_path, **{"lib.so": library("80 p80")})
    (problem,) = verify_image(str(tmp_path), parse_list("9.0")).problems
    assert "only by PTX" in problem.what
    assert "--allow-ptx" in problem.hint
    assert verify_image(str(tmp_path), parse_list("9.0"), Policy(allow_ptx=True)).ok


def test_nothing_to_judge_is_no_pass(tmp_path: Path) -> None:
    tree(tmp_path, **{"a.txt": b"text"})
    (problem,) = verify_image(str(tmp_path), parse_list("9.0")).problems
    assert "no library with device code" in problem.what
    (problem,) = verify_image(
        str(tree(tmp_path, **{"lib.so": library("90")})),
        parse_list("9.0"),
        Policy(require=(Requirement(glob="*/x.so"),)),
    ).problems
    assert problem.file == "*/x.so"


def test_without_a_promise_every_known_device_is_shown(tmp_path: Path) -> None:
    result = verify_image(str(tree(tmp_path, **{"lib.so": library("90")})))
    assert result.promised == ()
    assert result.to_json()["ok"] is None, "nothing was judged, which is no pass"
    assert [cell.cc for cell in result.table[0].cells] == list(result.ccs) == list(known_ccs())
    assert {"7.5", "8.7", "9.0", "11.0", "12.1"} <= set(known_ccs())


def test_a_promise_of_ptx_is_told_and_not_judged(tmp_path: Path) -> None:
    tree(tmp_path, **{"lib.so": library("120", "120 p80")})
    result = verify_image(str(tmp_path), parse_list("12.0+PTX"))
    assert result.ok
    assert any("12.0+PTX was promised" in text for text in result.warnings)
    assert not verify_image(str(tree(tmp_path, **{"lib.so": library("120 p120")})), parse_list("12.0+PTX")).warnings


def deep_library(**kernels: str) -> bytes:
    """One translation unit: `sm_90a="gdn other"` names the kernels of each image."""
    entries = [
        fatbins.entry(tag.removeprefix("sm_"), fatbins.cubin({f".text.{name}": b"1" for name in names.split()}))
        for tag, names in kernels.items()
    ]
    return fatbins.elf({".nv_fatbin": fatbins.container(*entries)})


def test_deep_mode_fails_where_counts_are_equal(tmp_path: Path) -> None:
    """vLLM #53462: every image is there, and one kernel in it is not."""
    tree(tmp_path, **{"lib.so": deep_library(sm_90a="gdn other", sm_100f="gdn other", sm_110="other")})
    archs = parse_list("9.0 10.0 11.0")
    assert verify_image(str(tmp_path), archs).ok
    (problem,) = deeply(tmp_path, archs).problems
    assert "1 kernel missing for 11.0 (Jetson Thor" in problem.what
    assert "for 9.0 10.0: gdn" in problem.what
    assert deeply(tmp_path, parse_list("9.0 10.0")).ok
    assert deeply(tmp_path, parse_list("11.0")).ok, "nobody else was promised the kernel either"


def test_a_unit_that_serves_all_but_one_is_told(tmp_path: Path) -> None:
    special = ["100f", "90a", "80 p80", "120f", "90a 100f"]  # of the kind where nothing is served by every unit
    tree(tmp_path, **{"lib.so": library(*special, "80 86 89 90a 100f 110f 120f", "87 80", "110f 100f")})
    result = verify_image(str(tmp_path), parse_list("8.0 8.7 8.9 9.0 10.0 11.0 12.0"), Policy(fail_below=0.01))
    assert [text for text in result.warnings if "hold nothing for 8.7 (Jetson AGX Orin" in text]
    assert not [text for text in result.warnings if "every promised device but 8.0" in text]


def test_deep_mode_takes_guards_for_guards(tmp_path: Path) -> None:
    """bf16 kernels begin with 8.0, and their fallbacks end there: vLLM 0.33.0 has 31 of them, all right."""
    tree(tmp_path, **{"lib.so": deep_library(sm_75="old all", sm_80="new all", sm_90="new all")})
    result = deeply(tmp_path, parse_list("7.5 8.0 9.0"))
    assert result.ok
    assert [text.partition(": ")[2] for text in result.warnings] == [
        "1 kernel for 8.0 9.0 and not for 7.5, in the same translation units",
        "1 kernel for 7.5 and not for 8.0 9.0, in the same translation units",
    ]


def test_json_holds_what_scripts_need(tmp_path: Path) -> None:
    data = library("90 110", "80 p80")
    tree(tmp_path, **{"lib.so": data})
    value = json.loads(json.dumps(verify_image(str(tmp_path), parse_list("9.0 11.0")).to_json()))
    assert value["schema"] == 1
    assert value["ok"] is True
    assert value["promise"] == {"archs": ["9.0", "11.0"], "from": "labels"}
    (one,) = value["libraries"]
    assert one["served"]["9.0"] == {
        "direct": 1, "ptx": 1, "total": 2, "how": {"native": 1, "ptx": 1}, "score": 1.0, "status": "ok",
        "ptx_isa": "9.0",
    }  # fmt: skip
    assert one["profiles"] == [
        {"containers": 1, "archs": ["80", "p80"]},
        {"containers": 1, "archs": ["90", "110"]},
    ]
    assert set(value["bytes"]) == {"90", "110", "80", "p80"}


def test_labels_promise() -> None:
    assert Scanned(source="x", labels={"com.orchestrate.archs": "9.0 12.0+PTX"}).promised == parse_list("9.0 12.0+PTX")
    assert Scanned(source="x").promised == ()
    with pytest.raises(UsageError, match=r"the label com\.orchestrate\.archs is invalid"):
        _ = Scanned(source="x", labels={"com.orchestrate.archs": "hopper"}).promised


@pytest.mark.parametrize(
    ("name", "content"), [("x.txt", b"hello"), ("y.whl", b"PK\3\4" + bytes(100)), ("z.gz", b"\x1f\x8b" + bytes(60))]
)
def test_what_cannot_be_read_is_one_error(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises((UsageError, VerificationError)):
        scan_source(str(tmp_path / name))
    with pytest.raises(UsageError, match="no such file"):
        scan_source(str(tmp_path / "missing"))


def test_a_zip_bomb_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "b.whl", "w") as archive:
        archive.writestr("a", b"x" * 100)
        archive.writestr("b", b"x" * 100)
    data = bytearray((tmp_path / "b.whl").read_bytes())
    for start in (0, data.index(b"PK\1\2") + 1):
        at = data.index(b"PK\1\2", start) + 24
        data[at : at + 4] = (0xFFFFFFF0).to_bytes(4, "little")
    (tmp_path / "b.whl").write_bytes(data)
    with pytest.raises(VerificationError, match="claims to hold"):
        scan_source(str(tmp_path / "b.whl"))


def test_compilers_that_cannot_target_the_promise() -> None:
    files = Files(code={}, releases={"usr/bin/ptxas": "12.9.86", "usr/bin/nvcc": "13.0.88", "x/ptxas": "99.1.0"})
    found = {one.path: one.cannot for one in findings.compilers(files, parse_list("9.0a 10.3 11.0 10.7"))}
    assert found == {"usr/bin/ptxas": ("11.0", "10.7"), "usr/bin/nvcc": ("10.7",), "x/ptxas": ()}
    older = Files(code={}, releases={"ptxas": "12.6.85"})
    assert findings.compilers(older, parse_list("9.0 11.0"))[0].cannot == ("11.0",)


def test_an_arch_list_that_the_images_nvcc_does_not_know() -> None:
    files = Files(code={}, releases={"usr/local/cuda/bin/nvcc": "12.6.85"})
    assert "names 10.0" in findings.environment_problem({"TORCH_CUDA_ARCH_LIST": "9.0 10.0+PTX"}, files)
    assert findings.environment_problem({"TORCH_CUDA_ARCH_LIST": "8.0;9.0a"}, files) == ""
    assert "is invalid" in findings.environment_problem({"TORCH_CUDA_ARCH_LIST": "Hopper"}, files)
    by_version = {"TORCH_CUDA_ARCH_LIST": "7.0", "CUDA_VERSION": "13.0.2"}
    assert "CUDA_VERSION 13.0" in findings.environment_problem(by_version, Files(code={}))
    assert findings.environment_problem({"TORCH_CUDA_ARCH_LIST": "9.9"}, Files(code={})) == ""
    assert findings.environment_problem({}, files) == ""


def test_copies_and_bare_cubins() -> None:
    one = FileCode(size=70, profiles={("90",): 1}, images={"90": 1}, stored={"90": 5})
    site = "usr/lib/python3/site-packages"
    files = Files(
        code={
            "a/lib.so": one, "b/lib.so": one, "c/other.so": one, "d/lib.so": FileCode(size=71, profiles={("90",): 1}),
            f"{site}/flashinfer_cubin/x/1.cubin": FileCode(size=1, bare="100f"),
            f"{site}/flashinfer_cubin/y/2.cubin": FileCode(size=1, bare="100f"),
            "opt/k/z/3.cubin": FileCode(size=1, bare="90a"),
        },
        hidden=(Copy(path="e/lib.so", layer=2, size=9),),
    )  # fmt: skip
    assert [(copy.path, copy.others, copy.wasted) for copy in findings.duplicates(files)] == [
        ("e/lib.so", ("layer 2",), 9),
        ("a/lib.so", ("b/lib.so",), 70),
    ]
    assert findings.bare_cubins(files) == {"opt/k/z": {"90a": 1}, f"{site}/flashinfer_cubin": {"100f": 2}}


def test_two_sources_side_by_side(tmp_path: Path) -> None:
    old = tree(
        tmp_path / "old", **{"lib.so": library("90", "80 90"), "gone.so": library("80"), "same.so": library("80")}
    )
    new = tree(tmp_path / "new", **{"lib.so": library("90 110"), "fresh.so": library("p90"), "same.so": library("80")})
    result = compare(scan_source(str(old)), scan_source(str(new)))
    found = {change.path: change for change in result.changes}
    assert {path: change.state for path, change in found.items()} == {
        "lib.so": "changed", "gone.so": "removed", "fresh.so": "added", "same.so": "same",
    }  # fmt: skip
    assert (found["lib.so"].gained, found["lib.so"].lost) == (("110",), ("80",))
    assert found["lib.so"].containers == {"110": (0, 1), "80": (1, 0), "90": (2, 1)}
    assert result.bytes["110"][0] == 0 < result.bytes["110"][1]
    assert json.loads(json.dumps(result.to_json()))["libraries"][0]["path"] == "fresh.so"


SITE = "usr/lib/python3/site-packages"


def asked(tmp_path: Path, device: str, **files: bytes) -> Verdict:
    tree(tmp_path, **files)
    return verify_image(str(tmp_path), parse_list(device), Policy(whole_ptx=True))


def test_asked_of_one_device_a_library_that_is_not_required_is_seen(tmp_path: Path) -> None:
    """torch without 10.0 beside an own library that has it: the own one passes, and torch is named."""
    theirs = {f"{SITE}/torch/lib/libtorch_cuda.so": library("80 90"), f"{SITE}/torch/lib/b.so": library("80 100")}
    result = asked(tmp_path, "10.0", **theirs, **{"opt/app/mine.so": library("80 100")})
    assert result.ok
    (warning,) = result.warnings
    assert warning.startswith(f"{SITE}/torch/lib/libtorch_cuda.so: 10.0 (B200, GB200) is not served")


def test_the_variants_of_one_package_count_together(tmp_path: Path) -> None:
    variants = {f"{SITE}/bitsandbytes/libbitsandbytes_cuda{n}.so": library("75") for n in (118, 121)}
    variants |= {f"{SITE}/bitsandbytes/libbitsandbytes_cuda130.so": library("75 100")}
    kernels = {f"{SITE}/flashinfer/sm{n}/ops.so": library(str(n)) for n in (90, 100)}
    result = asked(tmp_path, "10.0", **variants, **kernels, **{"opt/mine.so": library("100")})
    assert result.warnings == ()
    result = asked(tmp_path, "12.0", **{"opt/mine.so": library("120")})
    assert len(result.warnings) == 5


def test_units_that_lack_several_promised_devices_at_once(tmp_path: Path) -> None:
    units = ["80 90 100 120"] * 9 + ["90a"] * 6 + ["80 90"] * 3
    tree(tmp_path, **{"many.so": library(*units)})
    result = verify_image(str(tmp_path), parse_list("8.0 9.0 10.0 12.0"))
    assert result.ok
    (warning,) = result.warnings
    assert "3 of 18 translation units hold nothing for 10.0 (B200, GB200), 12.0" in warning
    assert "3 x 80 90; add 10.0 12.0 to the arch list of their source files" in warning
    assert warning.endswith("(nvcc -gencode arch=compute_100,code=sm_100 -gencode arch=compute_120,code=sm_120)")


def test_a_plain_promise_kept_by_specific_code_alone(tmp_path: Path) -> None:
    tree(tmp_path, **{"x.so": library("100a", "100a")})
    (warning,) = verify_image(str(tmp_path), parse_list("10.0")).warnings
    assert "architecture-specific code alone (sm_100a)" in warning
    assert verify_image(str(tmp_path), parse_list("10.0a")).warnings == ()
    assert not verify_image(str(tmp_path), parse_list("10.0f")).ok
    assert asked(tmp_path, "10.0").warnings == ()


def test_every_device_that_is_not_served_comes_with_its_cure(tmp_path: Path) -> None:
    tree(tmp_path, **{"x.so": library("80", "90")})
    (problem,) = verify_image(str(tmp_path), parse_list("8.0 12.0")).problems
    assert "add 12.0 to its arch list (nvcc -gencode arch=compute_120,code=sm_120)" in problem.hint


def test_what_is_not_read_is_listed_with_its_size_and_reason(tmp_path: Path) -> None:
    data = fatbins.elf({".rodata": fatbins.fatbin([["80"]])})
    tree(tmp_path, **{"opt/mine.so": library("90"), "opt/own.so": data, "site/x.egg": b"PK\3\4 packed"})
    result = verify_image(str(tmp_path), parse_list("9.0"))
    assert result.ok
    found = {one["path"]: one for one in result.to_json()["not_read"]}
    assert found["site/x.egg"]["why"].startswith("an archive that is damaged")
    assert found["opt/own.so"]["size"] == len(data)
    named = verify_image(str(tmp_path), parse_list("9.0"), Policy(require=(Requirement(glob="own.so"),)))
    assert "cannot be verified: fatbins that the program carries as data" in named.problems[0].what


def packed(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def test_what_lies_in_an_archive_makes_no_image_pass(tmp_path: Path) -> None:
    """It is not installed: it meets no requirement, whoever asks."""
    tree(tmp_path, **{"opt/x.whl": packed(**{"vllm/_C.abi3.so": library("90"), "lib.so": library("90")})})
    result = verify_image(str(tmp_path), parse_list("9.0"))
    assert [problem.what for problem in result.problems] == ["it holds no library with device code"]
    assert result.problems[0].hint == "install what lies in opt/x.whl: an archive serves no GPU"
    rules = Policy(require=(Requirement(glob="lib.so"),), allow_ptx=True)
    for policy in (rules, Policy(require=rules.require, whole_ptx=True)):
        (problem,) = verify_image(str(tmp_path), parse_list("9.0"), policy).problems
        assert "no library with device code matches" in problem.what
    found = result.to_json()["libraries"]
    assert {one["path"]: (one["required"], one["archive"]) for one in found} == {
        "opt/x.whl/lib.so": (False, "opt/x.whl"), "opt/x.whl/vllm/_C.abi3.so": (False, "opt/x.whl")
    }  # fmt: skip
    assert result.to_json()["bytes"] == {}


@pytest.mark.parametrize("whole_ptx", [False, True])
def test_what_an_archive_does_not_serve_is_a_warning(tmp_path: Path, whole_ptx: bool) -> None:
    archive = packed(**{"old.so": library("80"), "new.so": library("90")})
    tree(tmp_path, **{"opt/mine.so": library("90"), "opt/x.zip": archive})
    result = verify_image(str(tmp_path), parse_list("9.0"), Policy(whole_ptx=whole_ptx))
    assert result.ok
    (warning,) = result.remarks
    assert warning.file == "opt/x.zip/old.so"
    assert "is not served" in warning.what
    assert verify_image(str(tmp_path)).warnings == ()


def test_an_archive_is_neither_a_copy_nor_what_an_image_loses(tmp_path: Path) -> None:
    both = {"opt/mine.so": library("90"), "opt/x.zip": packed(**{"mine.so": library("90")})}
    tree(tmp_path / "old", **both)
    tree(tmp_path / "new", **{"opt/mine.so": library("90")})
    old, new = (scan_source(str(tmp_path / name)) for name in ("old", "new"))
    assert verify_image(str(tmp_path / "old"), parse_list("9.0")).duplicates == ()
    assert compare(old, new).lost == ()


@pytest.mark.parametrize(
    ("name", "data", "ok"),
    [
        ("k.cubin", fatbins.cubin(sm=90), True),
        ("k.cubin", fatbins.cubin({".nv.constant3": b"1" * 90_000}, sm=90), False),
        ("k.cubin", fatbins.cubin(sm=100), False),
        ("k.ptx", b"//\n.version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k()", True),
        ("k.ptx", b".version 8.0\n.target sm_80\n.visible .func k()", False),
        ("k.ptx", b".version 8.0\n.target sm_90a, debug\n.visible .entry k()", True),
        ("k.ptx", b".version 9.0\n.target sm_100\n.visible .entry k()", False),
    ],
)
def test_a_cubin_and_ptx_are_judged_alone(tmp_path: Path, name: str, data: bytes, ok: bool) -> None:
    (tmp_path / name).write_bytes(data)
    result = verify_image(str(tmp_path / name), parse_list("9.0"), Policy(whole_ptx=True))
    assert result.ok is ok


def test_what_the_new_image_lost(tmp_path: Path) -> None:
    tree(tmp_path / "old", **{"a.so": library("80 90", "80 90"), "b.so": library("90"), "c.so": library("90")})
    tree(tmp_path / "new", **{"a.so": library("80 90 110", "90"), "c.so": library("90 110")})
    lost = compare(*(scan_source(str(tmp_path / name)) for name in ("old", "new"))).lost
    assert [(one.file, one.what) for one in lost] == [
        ("a.so", "it lost code: 80 in 1 of 2 translation units"),
        ("b.so", "the library was removed"),
    ]
    assert compare(*(scan_source(str(tmp_path / name)) for name in ("new", "new"))).lost == ()


def test_a_library_that_misses_several_devices_is_one_block(tmp_path: Path) -> None:
    units = ["80 90", "80 90 p90", "80 90"]
    tree(tmp_path, **{"x.so": library(*units), "y.so": library("80 90")})
    found = verify_image(str(tmp_path), parse_list("8.0 9.0 10.0 11.0 12.0")).problems
    assert [one.file for one in found] == ["x.so", "y.so"]
    assert found[0].what.startswith("10.0 (B200, GB200), 11.0 (Jetson Thor, ")
    assert "are not served: no machine code in any of 3 translation units, 1 of them only by PTX" in found[0].what
    assert found[0].hint == (
        "there all other kernels fail with 'no kernel image is available for execution on the device', those with PTX "
        "are compiled at first use, with a driver that knows PTX 9.0; add 10.0 11.0 12.0 to its arch list (nvcc "
        "-gencode arch=compute_100,code=sm_100 -gencode arch=compute_110,code=sm_110 "
        "-gencode arch=compute_120,code=sm_120)"
    )


def test_devices_that_miss_for_different_reasons_are_told_apart(tmp_path: Path) -> None:
    tree(tmp_path, **{"x.so": library("80 90 p100", "80 90 p100", "80 90 p100")})
    (found,) = verify_image(str(tmp_path), parse_list("8.0 8.7 9.0 12.0")).problems
    first, _, second = found.what.partition("; ")
    assert first.startswith("8.7 (Jetson AGX Orin")
    assert first.endswith("is not served: no machine code and no PTX in any of 3 translation units")
    assert "12.0 (" in second
    assert "on 8.7 it fails with 'no kernel image" in found.hint
    assert "on 12.0 it runs only by compiling PTX at first use" in found.hint
    assert "add 8.7 12.0 to its arch list" in found.hint


def recorded(site: str, name: str, version: str, *files: str) -> dict[str, bytes]:
    lines = "".join(f"{file},sha256=x,1\n" for file in (*files, f"{name}-{version}.dist-info/RECORD", "../../bin/x"))
    return {f"{site}/{name}-{version}.dist-info/RECORD": lines.encode()}


def required(root: Path) -> dict[str, bool]:
    result = verdict(scan_source(str(root)), parse_list("9.0"), Policy())
    return {one.path: one.required for one in result.table}


def test_a_record_says_whose_library_it_is(tmp_path: Path) -> None:
    site = "opt/venv/lib/python3.12/site-packages"
    files = {
        f"{site}/torch/lib/libtorch_cuda.so": library("90"), f"{site}/torch/lib/mine.so": library("90"),
        f"{site}/acme/k.so": library("90"), f"{site}/nvidia/cu13/lib/libnvfoo.so.13": library("90"),
        "srv/target/torch/lib/libtorch_cuda.so": library("90"),
        "usr/lib/python3/dist-packages/torch/lib/libtorch_cuda.so": library("90"),
    }  # fmt: skip
    tree(tmp_path, **files)
    tree(tmp_path, **recorded(site, "torch", "2.9.0", "torch/lib/libtorch_cuda.so", "torch/__init__.py"))
    tree(tmp_path, **recorded(site, "nvidia_foo", "13.0", "nvidia/cu13/lib/libnvfoo.so.13"))
    tree(tmp_path, **recorded(site, "acme", "1", "acme/k.so"))
    tree(tmp_path, **recorded("srv/target", "torch", "2.9.0", "torch/lib/libtorch_cuda.so"))
    assert required(tmp_path) == {
        f"{site}/torch/lib/libtorch_cuda.so": False,
        f"{site}/torch/lib/mine.so": True,  # PyTorch's RECORD does not list it
        f"{site}/acme/k.so": True,
        f"{site}/nvidia/cu13/lib/libnvfoo.so.13": False,
        "srv/target/torch/lib/libtorch_cuda.so": False,  # pip install --target
        "usr/lib/python3/dist-packages/torch/lib/libtorch_cuda.so": False,  # without any RECORD, by its place
    }


def test_a_record_claims_nothing_outside_of_its_directory(tmp_path: Path) -> None:
    site = "usr/lib/python3/site-packages"
    tree(tmp_path, **{"opt/app/mine.so": library("80"), f"{site}/torch/b.so": library("90")})
    tree(tmp_path, **recorded(site, "torch", "2", "../../../../opt/app/mine.so", "/opt/app/mine.so", "torch/b.so"))
    assert required(tmp_path) == {"opt/app/mine.so": True, f"{site}/torch/b.so": False}


def test_a_wheel_of_anybody_is_judged_alone(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "torch-2.9.0-py3-none-any.whl", "w") as archive:
        archive.writestr("torch/lib/libtorch_cuda.so", library("80"))
        archive.writestr("torch-2.9.0.dist-info/RECORD", "torch/lib/libtorch_cuda.so,,\n")
    result = verify_image(str(tmp_path / "torch-2.9.0-py3-none-any.whl"), parse_list("9.0 10.0"))
    assert [one.file for one in result.problems] == ["torch/lib/libtorch_cuda.so"]
    assert result.to_json()["libraries"][0]["package"] == "torch 2.9.0"


def test_the_cure_of_a_package_is_another_build_of_it(tmp_path: Path) -> None:
    tree(tmp_path, **recorded(SITE, "torch", "2.9.0", "torch/lib/libtorch_cuda.so"))
    theirs = {f"{SITE}/torch/lib/libtorch_cuda.so": library("80 90")}
    result = asked(tmp_path, "10.0", **theirs, **{"opt/mine.so": library("100")})
    assert [one.hint for one in result.remarks] == ["install a build of torch that holds code for 10.0 (this is 2.9.0)"]


def test_json_in_full() -> None:
    code = FileCode(
        size=70, profiles={("90",): 1, ("p90", "90"): 1}, images={"90": 2, "p90": 1}, stored={"90": 50, "p90": 3}
    )
    files = Files(
        code={
            "lib.so": code,
            "x.so": FileCode(size=9, damage="broken", doubt="odd"),
            "k/3.cubin": FileCode(size=1, bare="90a"),
        },
        releases={"x/nvcc": "12.6.85"},
    )
    labels = {
        "com.orchestrate.cuda": "13.0", "com.orchestrate.matrix": "sha256:m", "com.orchestrate.variant": "app-cu130",
    }  # fmt: skip
    scanned = Scanned(source="app:v1", digest="sha256:d", platform="linux/arm64", labels=labels, files=files)
    why = "no machine code in any of 2 translation units, 1 of them only by PTX"
    problem = (
        "11.0 (Jetson Thor, Jetson T5000, Jetson T4000) is not served: "
        "no machine code in any of 2 translation units, 1 of them only by PTX"
    )
    hint = (
        "there all other kernels fail with 'no kernel image is available for execution on the device', those with PTX "
        "are compiled at first use, with a driver that knows PTX 0.0; add 11.0 to its arch list (nvcc -gencode "
        "arch=compute_110,code=sm_110)"
    )
    none = {"direct": 0, "ptx": 0, "total": 0, "how": {}, "score": 0.0, "status": "info"}
    policy = Policy(require=(Requirement(glob="lib.so"),))
    found = verdict(scanned, parse_list("9.0 11.0"), policy, promised_by="--archs")
    assert json.loads(json.dumps(found.to_json())) == {
        "schema": 1, "source": "app:v1", "digest": "sha256:d", "platform": "linux/arm64",
        "promise": {"archs": ["9.0", "11.0"], "from": "--archs"},
        "labels": {"cuda": "13.0", "matrix": "sha256:m", "variant": "app-cu130"},
        "ok": False,
        "problems": [{"file": "lib.so", "what": problem, "hint": hint}],
        "warnings": [
            "x.so: not read: broken", "x.so: odd", "x/nvcc is of CUDA 12.6.85, which cannot target 11.0",
        ],
        "libraries": [
            {
                "path": "lib.so", "aliases": [], "required": True, "size": 70, "containers": 2, "empty": 0,
                "served": {
                    "9.0": {"direct": 2, "ptx": 0, "total": 2, "how": {"native": 2}, "score": 1.0, "status": "ok"},
                    "11.0": {"direct": 0, "ptx": 1, "total": 2, "how": {"ptx": 1, "none": 1}, "score": 0.5,
                             "status": "fail", "why": why, "ptx_isa": "0.0"},
                },
                "images": {"90": 2, "p90": 1}, "bytes": {"90": 50, "p90": 3},
                "profiles": [{"containers": 1, "archs": ["90"]}, {"containers": 1, "archs": ["90", "p90"]}],
            },
            {
                "path": "x.so", "aliases": [], "required": False, "size": 9, "containers": 0, "empty": 0,
                "served": {"9.0": none, "11.0": none}, "images": {}, "bytes": {}, "profiles": [],
                "damage": "broken", "doubt": "odd",
            },
        ],
        "bytes": {"90": 50, "p90": 3}, "cubins": {"k": {"90a": 1}},
        "compilers": [{"path": "x/nvcc", "release": "12.6.85", "cannot": ["11.0"]}],
        "compile_later": {}, "not_read": [], "headers": None, "duplicates": [],
    }  # fmt: skip
