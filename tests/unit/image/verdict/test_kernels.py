"""Judging, on made-up libraries with the shapes of the real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from orchestrator.cuda.arch import parse_list
from orchestrator.cuda.coverage import How
from orchestrator.cuda.promise import promised_ccs
from orchestrator.image.code.library import FileCode
from orchestrator.image.layers.merge import Files
from orchestrator.image.verdict.kernels import Status, by_number, how_served, images_of, judge
from orchestrator.image.verdict.policy import Exemption, Policy, Requirement, default_required, from_spec, matches
from orchestrator.matrix.convert import read
from orchestrator.matrix.schema import VerifySpec

if TYPE_CHECKING:
    from collections.abc import Mapping

# vLLM 0.19.0 aarch64, `_C.abi3.so`: the bug of vLLM #39233. No container holds 110, 20 reach it by PTX.
BUG = {
    "100 120 87 89 90": 22, "90a": 17, "80 p80": 11, "100a 120a": 10, "80 90 p80 p90": 8, "100a": 6, "120 89": 5,
    "120a": 3, "87 89": 2, "100a 120a 90a": 1, "100a 90a": 1, "87 89 p89": 1,
}  # fmt: skip
VLLM = "usr/lib/python3/dist-packages/vllm/_C.abi3.so"


def code(profiles: Mapping[str, int], relocatable: Mapping[str, int] | None = None) -> FileCode:
    return FileCode(
        size=1000,
        profiles={tuple(tags.split()): count for tags, count in profiles.items()},
        relocatable={tuple(tags.split()): count for tags, count in (relocatable or {}).items()},
        images={tag: 1 for tags in profiles for tag in tags.split()},
        isa={tag: (8, 8) for tags in profiles for tag in tags.split() if tag.startswith("p")},
    )


def ccs(text: str) -> tuple[str, ...]:
    return tuple(arch.cc for arch in parse_list(text))


def statuses(profiles: Mapping[str, int], archs: str, policy: Policy | None = None) -> dict[str, Status]:
    (library,), unmet = judge(Files(code={VLLM: code(profiles)}), ccs(archs), policy or Policy())
    assert not unmet
    return {cell.cc: cell.status for cell in library.cells}


def test_the_bug_is_caught_and_the_rest_of_its_list_passes() -> None:
    found = statuses(BUG, "8.7 8.9 9.0 10.0 11.0 12.0")
    assert found.pop("11.0") is Status.FAIL
    assert set(found.values()) == {Status.OK}
    assert set(statuses(BUG, "8.7 8.9 9.0 10.0 12.0").values()) == {Status.OK}


def test_how_each_container_is_served() -> None:
    assert how_served(code(BUG), "9.0") == {How.NATIVE: 30, How.ARCH: 19, How.PTX: 12, How.NONE: 26}
    assert how_served(code({"100f": 3, "100": 2}), "10.3") == {How.FAMILY: 3, How.SAME_MAJOR: 2}
    assert how_served(code({"80": 1}), "8.7") == {How.NONE: 1}
    assert how_served(code({"80": 1}), "8.7", strict_tegra=False) == {How.SAME_MAJOR: 1}
    assert how_served(code({"80": 1}, {"p80": 4}), "12.0") == {How.RELINK: 1}
    assert how_served(code({"80": 1}, {"p80": 4, "lto80": 1}), "12.0") == {How.NONE: 1}


def test_a_union_over_the_image_would_have_passed() -> None:
    files = Files(code={VLLM: code(BUG), "usr/lib/libnccl.so.2": code({"75 80 90 100 110 120": 56})})
    table, _ = judge(files, ("11.0",), Policy())
    assert {library.path: (library.required, library.cells[0].status) for library in table} == {
        VLLM: (True, Status.FAIL),
        "usr/lib/libnccl.so.2": (False, Status.INFO),
    }


def test_shares_warn_and_fail() -> None:
    profiles = {"80 90": 4, "90": 11, "75 90": 2, "100a": 1}
    assert statuses(profiles, "7.5 8.0 9.0") == {"7.5": Status.FAIL, "8.0": Status.FAIL, "9.0": Status.OK}
    loose = Policy(fail_below=0.1, warn_below=0.3)
    assert statuses(profiles, "7.5 8.0 9.0", loose) == {"7.5": Status.WARN, "8.0": Status.WARN, "9.0": Status.OK}
    assert statuses(profiles, "8.0", loose) == {"8.0": Status.WARN}, "the share is of the best known device"
    assert statuses({"80 90": 1, "80": 9}, "9.0") == {"9.0": Status.FAIL}, "one promised device is measured as many are"


def test_one_translation_unit_without_a_device_that_all_others_serve() -> None:
    """A flag forgotten for one source file: half of the containers serve 11.0, and no ratio would say a word."""
    forgotten = {"80 90 110": 1, "80 90": 1}
    assert statuses(forgotten, "8.0 9.0 11.0") == {"8.0": Status.OK, "9.0": Status.OK, "11.0": Status.FAIL}
    assert statuses(forgotten, "9.0 11.0") == {"9.0": Status.OK, "11.0": Status.FAIL}
    assert statuses(forgotten, "11.0") == {"11.0": Status.FAIL}
    assert statuses({"80 90 110": 9, "80 90 p80": 1}, "8.0 11.0") == {"8.0": Status.OK, "11.0": Status.OK}
    special = {"80 90 100": 5, "80": 1}
    assert set(statuses(special, "8.0 9.0 10.0").values()) == {Status.OK}, "one unit for the oldest is no pattern"
    assert statuses(forgotten, "8.0 9.0 11.0", Policy(fail_below=0, warn_below=0))["11.0"] is Status.OK
    (library,), _ = judge(Files(code={VLLM: code(forgotten)}), ("8.0", "9.0", "11.0"), Policy())
    assert library.cells[2].why == "1 of 2 translation units holds nothing for it, while all of them serve 8.0 9.0"


def test_a_promise_of_a_family_means_every_known_member() -> None:
    assert promised_ccs(parse_list("9.0 10.0f 10.3 12.0f")) == ("9.0", "10.0", "10.3", "10.7", "12.0", "12.1")
    assert promised_ccs(parse_list("11.0f 10.0a")) == ("11.0", "10.0")


def test_tags_are_sorted_by_number_and_ptx_is_last() -> None:
    assert sorted(["p80", "100f", "90a", "90", "p120", "75"], key=by_number) == [
        "75",
        "90",
        "90a",
        "100f",
        "p80",
        "p120",
    ]


def test_what_ptx_is_good_for() -> None:
    assert statuses({"80 p80": 3}, "12.0") == {"12.0": Status.FAIL}
    assert statuses({"80 p80": 3}, "12.0", Policy(allow_ptx=True)) == {"12.0": Status.OK}
    assert statuses({"80 p80": 3}, "12.0", Policy(whole_ptx=True)) == {"12.0": Status.WARN}
    assert statuses({"80 p80": 3, "80": 1}, "12.0", Policy(whole_ptx=True)) == {"12.0": Status.FAIL}
    some = Policy(require=(Requirement(glob="*_C*", ptx=True),))
    assert statuses({"80 p80": 3}, "12.0", some) == {"12.0": Status.OK}
    (library,), _ = judge(Files(code={VLLM: code({"80 p80": 3})}), ("12.0",), Policy())
    assert library.cells[0].isa == (8, 8)


def test_requirements_choose_libraries_and_devices() -> None:
    files = Files(code={"opt/a.so": code({"80": 1}), "opt/b.so": code({"90a": 1})}, aliases={"lib/c.so": "opt/a.so"})
    policy = Policy(
        require=(Requirement(glob="*/c.so"), Requirement(glob="b.so", ccs=("9.0",)), Requirement(glob="x*"))
    )
    table, unmet = judge(files, ("8.0", "9.0"), policy)
    assert unmet == ("x*",)
    assert [[cell.status for cell in library.cells] for library in table] == [
        [Status.OK, Status.FAIL],
        [Status.INFO, Status.OK],
    ]
    assert table[0].aliases == ("lib/c.so",)


def test_known_holes_are_accepted_with_their_reason() -> None:
    known = Policy(exceptions=(Exemption(glob="*/vllm/*", ccs=("10.1",), why="no Thor in this release"),))
    (library,), _ = judge(Files(code={VLLM: code(BUG)}), ("9.0", "11.0"), known)
    cell = library.cells[1]
    assert (cell.status, cell.why) == (Status.EXCEPTED, "no Thor in this release")
    assert library.cells[0].status is Status.OK


def test_a_damaged_library_never_passes() -> None:
    files = Files(code={VLLM: FileCode(size=9, damage="cut off")})
    (library,), _ = judge(files, ("9.0",), Policy(allow_ptx=True))
    assert library.required
    assert library.cells[0].status is Status.FAIL
    assert "cut off" in library.cells[0].why


def test_looking_judges_nothing() -> None:
    table, unmet = judge(
        Files(code={VLLM: code(BUG)}), ("11.0",), Policy(require=(Requirement(glob="x"),)), judging=False
    )
    assert not table[0].required
    assert table[0].cells[0].status is Status.INFO
    assert unmet == ("x",)


def test_tags_become_images() -> None:
    found = images_of(("90a", "lto100f", "other90", "p80"), {"p80": (8, 7)})
    assert [(one.kind, one.sm, one.suffix, one.isa) for one in found] == [
        ("sass", 90, "a", (0, 0)),
        ("lto", 100, "f", (0, 0)),
        ("ptx", 80, "", (8, 7)),
    ]


@pytest.mark.parametrize(
    ("glob", "path", "expected"),
    [
        ("*/vllm/_C*.so", VLLM, True),
        ("/usr/lib/*.so", VLLM, True),
        ("usr/lib/*.so", VLLM, True),
        ("lib/*.so", VLLM, False),
        ("**/_C.abi3.so", VLLM, True),
        ("_C.*", VLLM, True),
        ("C.abi3.so", VLLM, False),
        ("*/vllm/_C.abi3.so", "vllm/_C.abi3.so", True),
    ],
)
def test_globs(glob: str, path: str, expected: bool) -> None:
    assert matches(glob, [path]) is expected


def test_what_counts_where_nobody_said() -> None:
    site = "usr/lib/python3/dist-packages"
    theirs = [f"{site}/torch/lib/libtorch_cuda.so", "usr/local/cuda-13.0/lib64/libcublas.so.13", "usr/lib/libnccl.so.2"]
    own = [f"{site}/axpy/libaxpy.so", "opt/libcustom_ops.so", "opt/libnvector.so"]
    own += ["opt/app/torch/mine.so", "srv/nvidia/x.so", "opt/app/libnccl_ext.so", f"{site}/mine/torch/ops.so"]
    vllm = [f"{site}/vllm/_C_stable_libtorch.abi3.so", f"{site}/vllm/_moe_C.abi3.so"]
    assert default_required([*theirs, *own]) == tuple(own)
    assert default_required(theirs) == tuple(theirs)
    assert default_required([*own, f"{site}/vllm/vllm_flash_attn/_vllm_fa3_C.abi3.so", *vllm]) == tuple(vllm)


def test_the_matrix_section_becomes_a_policy() -> None:
    spec, faults = read(
        VerifySpec,
        {
            "require": [{"glob": "*/a.so", "archs": "9.0a 10.0", "ptx": "true", "why": "x"}, {"glob": "b.so"}],
            "allow_ptx": "yes", "fail_below": "0.1", "warn_below": "0.2", "strict_tegra": "false",
            "exceptions": [{"glob": "c.so", "archs": "11.0", "why": "y"}],
        },
    )  # fmt: skip
    assert spec is not None, faults
    assert from_spec(spec) == Policy(
        require=(Requirement(glob="*/a.so", ccs=("9.0", "10.0"), ptx=True, why="x"), Requirement(glob="b.so")),
        allow_ptx=True, fail_below=0.1, warn_below=0.2, strict_tegra=False,
        exceptions=(Exemption(glob="c.so", ccs=("11.0",), why="y"),),
    )  # fmt: skip
    assert from_spec(VerifySpec()) == replace(Policy(), allow_ptx=VerifySpec().allow_ptx)
