from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cuda.arch import Arch, parse_list
from orchestrator.cuda.filters import Behaviour, effective_archs, kernel_archs, supported_archs, warnings_for
from orchestrator.cuda.toolkit import Toolkit, toolkit_for, toolkits
from tests.unit.cuda.strategies import archs, real_archs

BEHAVIOURS: tuple[Behaviour, ...] = ("vllm-0.20", "vllm-0.29", "vllm-0.33")
RELEASE = "7.5 8.0 8.6 8.9 9.0 10.0 11.0 12.0+PTX"
AARCH64 = "8.0 8.7 8.9 9.0 10.0 11.0 12.0+PTX"
X86 = "7.5 8.0 8.6 8.9 9.0 10.0 12.0+PTX"
MIXED = "7.5 8.0 8.6 8.9 9.0 9.0a 10.0 10.0a 12.0 12.1+PTX"


def cmake(found: tuple[Arch, ...]) -> str:
    """A list as CMake prints it."""
    return ";".join(map(str, found))


def archs_of(text: str) -> tuple[Arch, ...]:
    return parse_list(text) if text else ()


def lists_of(behaviour: Behaviour, cuda: str) -> dict[str, str]:
    """The arch lists of vLLM's kernels, as each release's CMakeLists.txt gives them to the function."""
    family = cuda >= "13"
    old = behaviour == "vllm-0.20"
    sm100 = ("10.0f;11.0f" if old else "10.0f;10.7f;11.0f") if family else "10.0a;10.1a;10.3a"
    sm120 = "12.0f" if family else "12.0a;12.1a"
    marlin120 = "" if old else f";{sm120}"
    return {
        "sm90a": "9.0a",
        "sm100": sm100,
        "sm120": sm120,
        "marlin": f"8.0+PTX{marlin120}",
        "bf16": f"8.0+PTX;9.0+PTX{marlin120}",
        "fp8": "8.9;12.0;12.1" if old else f"8.9;{sm120}",
        "other": "7.5;8.0+PTX",
    }


def kernel(behaviour: Behaviour, cuda: str, requested: str, name: str) -> str:
    cuda_archs = effective_archs(archs_of(requested), toolkit_for(cuda), behaviour)
    return cmake(kernel_archs(archs_of(lists_of(behaviour, cuda)[name]), cuda_archs, behaviour))


# The real function of v0.20.0, run by CMake 3.25.1 and 4.4.4 (which agree). Lists with one outcome share a row.
TABLE_A = """
cuda; lists; CUDA_ARCHS; sm90a; sm100; sm120; bf16; fp8; other
13.0; RELEASE; 7.5 8.0 8.6 8.9 9.0 10.0 11.0 12.0; 9.0a; 10.0f 11.0f; 12.0f; 8.0+PTX 9.0+PTX; 8.9 12.0; 7.5 8.0+PTX
13.0; AARCH64; 8.0 8.7 8.9 9.0 10.0 11.0 12.0; 9.0a; 10.0f 11.0f; 12.0f; 8.0+PTX 9.0+PTX; 8.9 12.0; 8.0+PTX
13.0; X86; 7.5 8.0 8.6 8.9 9.0 10.0 12.0; 9.0a; 10.0f; 12.0f; 8.0+PTX 9.0+PTX; 8.9 12.0; 7.5 8.0+PTX
13.0; 10.0, 10.3, 10.3a, 10.0 10.3; 10.0; ; 10.0f; ; 9.0+PTX; ; 8.0+PTX
13.0; 10.1, 10.1a; 10.0; ; 10.0f; ; 9.0+PTX; ; 8.0+PTX
13.0; 10.7; 10.0; ; 10.0f; ; 9.0+PTX; ; 8.0+PTX
13.0; 11.0; 11.0; ; 11.0f; ; 9.0+PTX; ; 8.0+PTX
13.0; 11.0a; 11.0a; ; 11.0a; ; 9.0+PTX; ; 8.0+PTX
13.0; 11.0f; 11.0f; ; 11.0f; ; 9.0+PTX; ; 8.0+PTX
13.0; 12.0, 12.1, 12.1a, 12.1f, 12.0 12.1; 12.0; ; ; 12.0f; 9.0+PTX; 12.0; 8.0+PTX
13.0; 10.0f 12.0f; 10.0f 12.0f; ; 10.0f; 12.0f; 9.0+PTX; 12.0f; 8.0+PTX
13.0; 7.0, 7.2; ; ; ; ; ; ;
13.0; 8.8; 8.7; ; ; ; 8.0+PTX; ; 8.0+PTX
13.0; 9.0; 9.0; 9.0a; ; ; 9.0+PTX; ; 8.0+PTX
13.0; 9.0a, 9.0 9.0a; 9.0a; 9.0a; ; ; 9.0a; ; 8.0+PTX
13.0; MIXED; 9.0a 10.0a 7.5 8.0 8.6 8.9 12.0; 9.0a; 10.0a; 12.0f; 9.0a 8.0+PTX; 8.9 12.0; 8.0+PTX 7.5
13.4; 10.7, 10.0 10.7; 10.0; ; 10.0f; ; 9.0+PTX; ; 8.0+PTX
12.9; RELEASE; 7.5 8.0 8.6 8.9 9.0 10.0 12.0; 9.0a; 10.0a; 12.0a; 8.0+PTX 9.0+PTX; 8.9 12.0; 7.5 8.0+PTX
12.9; 8.0 8.7 8.9 9.0 10.0 12.0; 8.0 8.7 8.9 9.0 10.0 12.0; 9.0a; 10.0a; 12.0a; 8.0+PTX 9.0+PTX; 8.9 12.0; 8.0+PTX
12.9; ALL129; 8.0 8.6 8.9 9.0 10.0 10.3 12.0 12.1; 9.0a; 10.0a 10.3a; 12.0a 12.1a; 8.0+PTX 9.0+PTX; FP8; 8.0+PTX
12.9; 10.1; 10.1; ; 10.1a; ; 9.0+PTX; ; 8.0+PTX
12.9; 10.3; 10.3; ; 10.3a; ; 9.0+PTX; ; 8.0+PTX
12.9; 12.0; 12.0; ; ; 12.0a; 9.0+PTX; 12.0; 8.0+PTX
12.9; 12.1; 12.1; ; ; 12.1a; 9.0+PTX; 12.1; 8.0+PTX
12.9; 12.1a; 12.1a; ; ; 12.1a; 9.0+PTX; 12.1a; 8.0+PTX
12.9; 11.0, 7.0; ; ; ; ; ; ;
12.6; 7.5 8.0 8.6 8.9 9.0 10.0 11.0 12.0; 7.5 8.0 8.6 8.9 9.0; 9.0a; ; ; 8.0+PTX 9.0+PTX; 8.9; 7.5 8.0+PTX
12.6; 7.0 8.0; 7.0 8.0; ; ; ; 8.0+PTX; ; 8.0+PTX
12.6; 10.0; ; ; ; ; ; ;
"""
# v0.29.0 and v0.33.0 with their own lists of kernels; "both" where they agree.
TABLE_B = """
releases; cuda; lists; what; outcome
both; 13.0; RELEASE, AARCH64, X86; marlin; 12.0f 8.0+PTX
both; 13.0; RELEASE, AARCH64, X86; bf16; 12.0f 8.0+PTX 9.0+PTX
both; 13.0; RELEASE, AARCH64, X86; fp8; 12.0f 8.9
both; 12.9; RELEASE, 8.0 8.7 8.9 9.0 10.0 12.0; marlin; 12.0a 8.0+PTX
both; 12.9; RELEASE, 8.0 8.7 8.9 9.0 10.0 12.0; bf16; 12.0a 8.0+PTX 9.0+PTX
both; 12.9; RELEASE, 8.0 8.7 8.9 9.0 10.0 12.0; fp8; 12.0a 8.9
both; 12.9; ALL129; bf16; 12.0a 12.1a 8.0+PTX 9.0+PTX
both; 12.9; ALL129; fp8; 12.0a 12.1a 8.9
both; 12.9; 12.0; bf16; 12.0a
both; 12.9; 12.1, 12.1a; marlin; 12.1a
both; 12.9; 12.1, 12.1a; fp8; 12.1a
both; 13.0; 10.0f 12.0f; marlin; 12.0f 8.0+PTX
both; 13.0; 10.0f 12.0f; bf16; 12.0f 9.0+PTX
both; 13.0; 10.0f 12.0f; fp8; 12.0f
both; 13.0; 12.0, 12.1; marlin; 12.0f
both; 13.0; 12.0, 12.1; bf16; 12.0f
both; 13.0; 12.0, 12.1; fp8; 12.0f
vllm-0.29; 13.0; 9.0 9.0a; CUDA_ARCHS; 9.0a
vllm-0.33; 13.0; 9.0 9.0a; CUDA_ARCHS; 9.0a 9.0
vllm-0.29; 13.0; 9.0 9.0a; bf16; 9.0a
vllm-0.33; 13.0; 9.0 9.0a; bf16; 9.0a 9.0+PTX
vllm-0.29; 13.0; MIXED; CUDA_ARCHS; 9.0a 10.0a 7.5 8.0 8.6 8.9 12.0
vllm-0.33; 13.0; MIXED; CUDA_ARCHS; 9.0a 10.0a 7.5 8.0 8.6 8.9 9.0 10.0 12.0
vllm-0.29; 13.0; MIXED; sm100; 10.0a
vllm-0.33; 13.0; MIXED; sm100; 10.0f
vllm-0.29; 13.0; MIXED; bf16; 12.0f 9.0a 8.0+PTX
vllm-0.33; 13.0; MIXED; bf16; 12.0f 9.0a 9.0+PTX 8.0+PTX
both; 13.4; 10.7; CUDA_ARCHS; 10.7
both; 13.4; 10.7; sm100; 10.7f
both; 13.4; 10.0 10.7; CUDA_ARCHS; 10.0 10.7
both; 13.4; 10.0 10.7; sm100; 10.0f 10.7f
both; 13.4; 7.5 8.0 8.6 8.9 9.0 10.0 12.0; sm100; 10.0f
both; 13.0; 7.0, 7.2; CUDA_ARCHS;
both; 12.9; 11.0; CUDA_ARCHS;
"""
SHORT = {
    "RELEASE": RELEASE,
    "AARCH64": AARCH64,
    "X86": X86,
    "MIXED": MIXED,
    "ALL129": "8.0 8.6 8.9 9.0 10.0 10.3 12.0 12.1",
    "FP8": "8.9 12.0 12.1",
}


def rows(table: str) -> list[dict[str, str]]:
    """The rows of a table, one for each list of a row."""
    head, *lines = [[cell.strip() for cell in line.split(";")] for line in table.strip().splitlines()]
    cells = [{name: SHORT.get(cell, cell) for name, cell in zip(head, line, strict=True)} for line in lines]
    return [
        {**row, "list": SHORT.get(one, one)}
        for row in cells
        for one in (part.strip() for part in row["lists"].split(","))
    ]


@pytest.mark.parametrize("row", rows(TABLE_A), ids=lambda row: f"{row['cuda']}:{row['list']}")
def test_golden_table_of_vllm_0_20(row: dict[str, str]) -> None:
    def outcome(what: str) -> str:
        if what == "CUDA_ARCHS":
            return cmake(effective_archs(archs_of(row["list"]), toolkit_for(row["cuda"]), "vllm-0.20"))
        return kernel("vllm-0.20", row["cuda"], row["list"], what)

    columns = ("CUDA_ARCHS", "sm90a", "sm100", "sm120", "bf16", "fp8", "other")
    assert {what: outcome(what) for what in columns} == {what: row[what].replace(" ", ";") for what in columns}
    assert outcome("marlin") == ("8.0+PTX" if row["CUDA_ARCHS"] else "")


@pytest.mark.parametrize("row", rows(TABLE_B), ids=lambda row: f"{row['cuda']}:{row['list']}:{row['what']}")
def test_golden_table_of_vllm_0_29_and_0_33(row: dict[str, str]) -> None:
    for behaviour in BEHAVIOURS[1:] if row["releases"] == "both" else (behaviour_named(row["releases"]),):
        if row["what"] == "CUDA_ARCHS":
            outcome = cmake(effective_archs(archs_of(row["list"]), toolkit_for(row["cuda"]), behaviour))
        else:
            outcome = kernel(behaviour, row["cuda"], row["list"], row["what"])
        assert outcome == row["outcome"].replace(" ", ";")


def behaviour_named(name: str) -> Behaviour:
    return next(behaviour for behaviour in BEHAVIOURS if behaviour == name)


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
@pytest.mark.parametrize(
    ("sources", "targets", "expected"),
    [
        # The comment above the function promises 8.0;8.6;9.0;9.0a here; the function itself gives this (all releases).
        ("7.5 8.0 8.6 9.0 9.0a", "8.0 8.9 9.0", "9.0a;8.0;8.6"),
        ("8.0+PTX", "9.0", "8.0+PTX"),
    ],
)
def test_vllms_own_examples(behaviour: Behaviour, sources: str, targets: str, expected: str) -> None:
    assert cmake(kernel_archs(archs_of(sources), archs_of(targets), behaviour)) == expected


@pytest.mark.parametrize(
    ("sources", "targets", "expected"),
    [
        # Two items claim one base: only the first release lets both have it.
        ("10.0a 10.0f", "10.0", ("10.0a;10.0f", "10.0a", "10.0a")),
        # A generic family must not take the target of a later item.
        ("10.0f 10.7f", "10.7", ("10.7;10.7f", "10.7f", "10.7f")),
        # A claimed base takes its suffixed twins along, since 0.33.
        ("10.0f", "10.0 10.0a", ("10.0f", "10.0f", "10.0f")),
        ("10.0f 10.3f", "10.0 10.0a", ("10.0f;10.0a", "10.0f;10.0a", "10.0f")),
        # Items with +PTX are tried last, whatever their place; plain ones by number.
        ("9.0a+PTX 10.0a", "9.0 10.0", ("10.0a;9.0a+PTX",) * 3),
        ("8.9 8.0", "8.9", ("8.9",) * 3),
    ],
)
def test_where_the_three_behaviours_part(sources: str, targets: str, expected: tuple[str, ...]) -> None:
    found = tuple(cmake(kernel_archs(archs_of(sources), archs_of(targets), behaviour)) for behaviour in BEHAVIOURS)
    assert found == expected


def test_nothing_asked_for_is_nothing_built() -> None:
    assert kernel_archs((), archs_of("9.0"), "vllm-0.33") == ()
    assert kernel_archs(archs_of("9.0"), (), "vllm-0.33") == ()


@given(st.lists(archs | real_archs, max_size=8), st.sampled_from(toolkits()), st.sampled_from(BEHAVIOURS))
def test_what_is_left_is_supported_and_of_the_majors_asked_for(
    requested: list[Arch], toolkit: Toolkit, behaviour: Behaviour
) -> None:
    left = effective_archs(requested, toolkit, behaviour)
    supported = {arch.plain() for arch in supported_archs(toolkit, behaviour)}
    assert {arch.plain() for arch in left} <= supported
    assert {arch.major for arch in left} <= {arch.major for arch in requested}
    assert not any(arch.ptx for arch in left)
    assert len(set(left)) == len(left)
    shuffled = effective_archs(list(reversed(requested)), toolkit, behaviour)
    assert shuffled == left  # vLLM sorts the list itself


@pytest.mark.parametrize(
    ("cuda", "behaviour", "requested", "expected"),
    [
        (
            "13.0",
            "vllm-0.20",
            "9.0 10.1",
            ["10.1 (Jetson Thor) becomes 10.0, the wrong GPU: its code does not run on 10.1"],
        ),
        ("13.0", "vllm-0.20", "8.8", ["8.8 becomes 8.7, the wrong GPU: its code does not run on 8.8"]),
        (
            "13.0",
            "vllm-0.33",
            "12.1 10.3",
            ["12.1 becomes 12.0, whose code runs on 12.1", "10.3 becomes 10.0, whose code runs on 10.3"],
        ),
        ("13.3", "vllm-0.33", "10.7", ["10.7 becomes 10.0, whose code runs on 10.7"]),
        ("13.4", "vllm-0.20", "10.7", ["10.7 becomes 10.0, whose code runs on 10.7"]),
        ("13.4", "vllm-0.29", "10.7", []),
        (
            "13.0",
            "vllm-0.29",
            "10.0 10.0a",
            ["10.0 is lost beside 10.0a: vLLM keeps one of them (vLLM #56548, until 0.33)"],
        ),
        ("13.0", "vllm-0.33", "10.0 10.0a", []),
        ("12.9", "vllm-0.33", "10.0a 10.0f", ["10.0f is lost beside 10.0a: vLLM keeps one of them"]),
        (
            "12.9",
            "vllm-0.20",
            "11.0",
            ["vLLM supports none of 11.0 under CUDA 12.9 and builds a wheel without any kernel"],
        ),
        ("12.9", "vllm-0.29", "11.0 7.0", ["vLLM supports none of 11.0 7.0 under CUDA 12.9 and refuses to configure"]),
        (
            "12.9",
            "vllm-0.33",
            "9.0 11.0",
            ["11.0 is left out silently: vLLM does not support it under CUDA 12.9"],
        ),
        (
            "13.0",
            "vllm-0.33",
            "9.0 12.0+PTX",
            ["the +PTX of 12.0 is lost: vLLM embeds PTX by its own list of each kernel"],
        ),
        ("13.0", "vllm-0.20", "7.5 8.0 8.6 8.9 9.0 10.0 11.0 12.0", []),
        ("12.9", "vllm-0.20", "10.3 12.1", []),
    ],
)
def test_the_known_traps_are_told(cuda: str, behaviour: Behaviour, requested: str, expected: list[str]) -> None:
    assert list(warnings_for(archs_of(requested), toolkit_for(cuda), behaviour)) == expected


@given(st.lists(archs | real_archs, min_size=1, max_size=8), st.sampled_from(toolkits()), st.sampled_from(BEHAVIOURS))
def test_whatever_is_not_built_as_asked_is_told(requested: list[Arch], toolkit: Toolkit, behaviour: Behaviour) -> None:
    left = effective_archs(requested, toolkit, behaviour)
    lines = warnings_for(requested, toolkit, behaviour)
    lost = {arch for arch in requested if arch not in left}
    assert bool(lines) == bool(lost)
    if left:
        assert all(any(str(arch.without_ptx()) in line for line in lines) for arch in lost)
