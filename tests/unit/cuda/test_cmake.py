"""Conditions and calls of a CMakeLists.txt; vLLM's own file is read in tests/e2e/test_plan_kernels.py."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cuda.cmake import read_kernels
from orchestrator.cuda.toolkit import toolkit_for

CALL = 'cuda_archs_loose_intersection(A_ARCHS "8.0;9.0a" "${CUDA_ARCHS}")\n'


def met(condition: str, cuda: str = "13.0") -> bool:
    """Whether a call inside the condition is seen."""
    return bool(read_kernels(f"if({condition})\n{CALL}endif()\n", toolkit_for(cuda)).families)


def test_a_family_has_its_name_list_and_line() -> None:
    (family,) = read_kernels(f"# cuda_archs_loose_intersection(\n\n  {CALL}", toolkit_for("12.9")).families
    assert (family.name, [str(arch) for arch in family.archs], family.line) == ("A_ARCHS", ["8.0", "9.0a"], 3)


@pytest.mark.parametrize(
    "call",
    [
        'cuda_archs_loose_intersection(CUDA_ARCHS "${CUDA_SUPPORTED_ARCHS}" "${CUDA_ARCHS}")',
        'cuda_archs_loose_intersection(A "not a list" "x")',
        'cuda_archs_loose_intersection(A "8.0")',
        '# cuda_archs_loose_intersection(A "8.0" "x")',
        'other(A "8.0" "x")',
        "cuda_archs_loose_intersection(A",
    ],
)
def test_what_is_not_a_family(call: str) -> None:
    assert read_kernels(call + "\n", toolkit_for("13.0")).families == []


@pytest.mark.parametrize(
    ("condition", "runs"),
    [
        ("${CMAKE_CUDA_COMPILER_VERSION} VERSION_GREATER_EQUAL 13.0", True),
        ("CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER 13.0", False),
        ("CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 13", False),
        ("CMAKE_CUDA_COMPILER_VERSION VERSION_LESS_EQUAL 13.0.1", True),
        ('CMAKE_CUDA_COMPILER_VERSION VERSION_EQUAL "13.0"', True),
        ("NOT CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 13.0", True),
        ("NOT NOT CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 13.0", False),
        ("DEFINED CMAKE_CUDA_COMPILER_VERSION", True),
        ("NOT DEFINED CMAKE_CUDA_COMPILER_VERSION", False),
        ("SOMETHING", True),  # unknown: shown rather than hidden
        ("NOT SOMETHING", True),
        ("SOMETHING AND CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 13.0", False),
        ("SOMETHING OR CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 13.0", True),
        ("(SOMETHING OR OTHER) AND CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 13.0", False),
        ("NOT (CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER 12.0)", False),
        ("CMAKE_CUDA_COMPILER_VERSION VERSION_LESS newest", True),
        ("", True),
    ],
)
def test_conditions(condition: str, runs: bool) -> None:
    assert met(condition) is runs


TRUE, FALSE = "CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER 12.0", "CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 12.0"
conditions = st.recursive(
    st.sampled_from([(TRUE, True), (FALSE, False)]),
    lambda inner: st.one_of(
        inner.map(lambda one: (f"NOT ({one[0]})", not one[1])),
        st.tuples(inner, inner).map(lambda two: (f"({two[0][0]}) AND ({two[1][0]})", two[0][1] and two[1][1])),
        st.tuples(inner, inner).map(lambda two: (f"({two[0][0]}) OR ({two[1][0]})", two[0][1] or two[1][1])),
    ),
)


@given(conditions)
def test_conditions_in_parentheses(condition: tuple[str, bool]) -> None:
    assert met(condition[0]) is condition[1]


@pytest.mark.parametrize("values", list(itertools.product([True, False], repeat=3)))
def test_and_binds_before_or(values: tuple[bool, bool, bool]) -> None:
    first, second, third = (TRUE if value else FALSE for value in values)
    assert met(f"{first} OR {second} AND {third}") is (values[0] or (values[1] and values[2]))
    assert met(f"NOT {first} AND {second} OR {third}") is ((not values[0] and values[1]) or values[2])


@pytest.mark.parametrize(
    ("cuda", "names"), [("12.6", ["OLD", "ALWAYS"]), ("12.9", ["MIDDLE", "ALWAYS"]), ("13.0", ["NEW", "ALWAYS"])]
)
def test_branches(cuda: str, names: list[str]) -> None:
    text = "if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 13.0)\nNEW\n"
    text += "elseif(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.8)\nMIDDLE\nelse()\nOLD\nendif()\nALWAYS\n"
    for name in ("NEW", "MIDDLE", "OLD", "ALWAYS"):
        text = text.replace(f"\n{name}\n", f"\n{CALL.replace('A_ARCHS', name)}")
    assert [family.name for family in read_kernels(text, toolkit_for(cuda)).families] == names


FILES = {
    "cmake/utils.cmake": (
        "function(sm90plus OUT TGT)\n  if(${CMAKE_CUDA_COMPILER_VERSION} VERSION_GREATER_EQUAL 13.0)\n"
        '    cuda_archs_loose_intersection(_a "9.0a;10.0f" "${TGT}")\n  else()\n'
        '    cuda_archs_loose_intersection(_a "9.0a;10.0a" "${TGT}")\n  endif()\nendfunction()\n'
    ),
    "cmake/external/gemm.cmake": (
        'set(SUPPORT)\nlist(APPEND SUPPORT "9.0a")\n'
        "if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.9)\n"
        '  list(APPEND SUPPORT "10.0f" "12.0f")\nendif()\n'
        'cuda_archs_loose_intersection(GEMM_ARCHS "${SUPPORT}" "${CUDA_ARCHS}")\n'
        'cuda_archs_loose_intersection(OWN_ARCHS "${FROM_ELSEWHERE}" "${CUDA_ARCHS}")\n'
    ),
}
LISTS = """\
include(${CMAKE_CURRENT_LIST_DIR}/cmake/utils.cmake)
include(FetchContent)
set(CUDA_SUPPORTED_ARCHS "8.0;9.0")
cuda_archs_loose_intersection(CUDA_ARCHS "${CUDA_SUPPORTED_ARCHS}" "${CUDA_ARCHS}")
sm90plus(ROUTER_ARCHS "${CUDA_ARCHS}")
include(cmake/external/gemm.cmake)
include(cmake/external/gone.cmake)
include(${SOMEWHERE}/x.cmake)
include(../outside.cmake)
"""


def test_functions_variables_and_included_files_are_followed() -> None:
    found = read_kernels(LISTS, toolkit_for("13.0"), FILES.get)
    assert [(one.name, " ".join(map(str, one.archs)), one.file, one.line) for one in found.families] == [
        ("ROUTER_ARCHS", "9.0a 10.0f", "CMakeLists.txt", 5),
        ("GEMM_ARCHS", "9.0a 10.0f 12.0f", "cmake/external/gemm.cmake", 6),
    ]
    older = read_kernels(LISTS, toolkit_for("12.8"), FILES.get)
    assert [" ".join(map(str, one.archs)) for one in older.families] == ["9.0a 10.0a", "9.0a"]


@pytest.mark.parametrize("name", ["CMAKE_CURRENT_SOURCE_DIR", "CMAKE_SOURCE_DIR", "PROJECT_SOURCE_DIR"])
def test_directories_of_the_source_are_the_repository(name: str) -> None:
    text = f"include(${{{name}}}/cmake/external/gemm.cmake)\n"
    found = read_kernels(text, toolkit_for("13.0"), FILES.get)
    assert [one.name for one in found.families] == ["GEMM_ARCHS"]


def test_functions_that_call_others_are_followed_as_deep_as_files() -> None:
    inner = 'function(f0 A)\ncuda_archs_loose_intersection(X "9.0a" "${A}")\nendfunction()\n'
    for depth in range(1, 9):
        inner += f'function(f{depth} A)\nf{depth - 1}("${{A}}")\nendfunction()\n'
    for depth, count in ((7, 1), (8, 0)):
        found = read_kernels(f'{inner}f{depth}("9.0a")\n', toolkit_for("13.0"), FILES.get)
        assert len(found.families) == count


def test_what_is_not_followed_is_told() -> None:
    found = read_kernels(LISTS, toolkit_for("13.0"), FILES.get)
    assert [(one.file, one.line) for one in found.unfollowed] == [
        ("cmake/external/gemm.cmake", 7), ("CMakeLists.txt", 7), ("CMakeLists.txt", 8), ("CMakeLists.txt", 9),
    ]  # fmt: skip


def test_files_and_functions_that_call_themselves_end() -> None:
    text = 'function(f A)\nf(${A})\ncuda_archs_loose_intersection(X "8.0" "y")\nendfunction()\nf(Z)\ninclude(a.cmake)\n'
    found = read_kernels(text, toolkit_for("13.0"), {"a.cmake": "include(a.cmake)\n"}.get)
    assert found.families
    assert found.unfollowed


@given(st.text(alphabet='if()elsndtu{}$"\n ;0.9APcw', max_size=80))
def test_no_text_breaks_the_reader(text: str) -> None:
    read_kernels(text, toolkit_for("13.0"), lambda _: text)
