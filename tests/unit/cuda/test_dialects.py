from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from orchestrator.cuda.arch import Arch, parse_arch, parse_list
from orchestrator.cuda.dialects import (
    DialectError,
    parse_cmake,
    parse_flashinfer,
    parse_torch,
    render_cmake,
    render_flashinfer,
    render_gencode,
    render_matrix,
    render_torch,
)
from tests.support.gencode import parse_gencode
from tests.unit.cuda.strategies import arch_lists

if TYPE_CHECKING:
    from collections.abc import Callable

LIST = parse_list("7.5 9.0a 10.0f 12.0+PTX")


@given(arch_lists)
def test_every_dialect_reads_back_what_it_writes(archs: tuple[Arch, ...]) -> None:
    assert parse_list(render_matrix(archs)) == archs
    assert parse_torch(render_torch(archs, allow_family=True), allow_family=True) == archs
    assert parse_cmake(render_cmake(archs)) == archs
    if not any(arch.suffix == "f" and arch.plain() in {other.without_ptx() for other in archs} for arch in archs):
        assert parse_gencode(render_gencode(archs)) == archs
    without_ptx = tuple(arch.without_ptx() for arch in archs)
    assert parse_flashinfer(render_flashinfer(archs, drop_ptx=True)) == without_ptx
    plain = tuple(arch for arch in archs if arch.suffix != "f")
    if plain:
        assert parse_torch(render_torch(plain)) == plain


@given(arch_lists)
def test_torch_text_survives_torchs_strictest_reader(archs: tuple[Arch, ...]) -> None:
    # torch's Python reader splits at single blanks and refuses empty items.
    items = render_torch(archs, allow_family=True).split(" ")
    assert all(re.fullmatch(r"[0-9]+\.[0-9][af]?(\+PTX)?", item) for item in items)


@pytest.mark.parametrize(
    ("render", "expected"),
    [
        (render_matrix, "7.5 9.0a 10.0f 12.0+PTX"),
        (lambda archs: render_torch(archs, allow_family=True), "7.5 9.0a 10.0f 12.0+PTX"),
        (lambda archs: render_flashinfer(archs, drop_ptx=True), "7.5 9.0a 10.0f 12.0"),
        (render_cmake, "75-real;90a-real;100f-real;120"),
        (
            lambda archs: " ".join(render_gencode(archs)),
            (
                "-gencode=arch=compute_75,code=sm_75 -gencode=arch=compute_90a,code=sm_90a "
                "-gencode=arch=compute_100f,code=sm_100f -gencode=arch=compute_120,code=sm_120 "
                "-gencode=arch=compute_120,code=compute_120"
            ),
        ),
    ],
)
def test_one_list_in_each_dialect(render: Callable[[tuple[Arch, ...]], str], expected: str) -> None:
    assert render(LIST) == expected


def test_torch_takes_no_family_targets() -> None:
    with pytest.raises(DialectError, match=r"'10\.0f' in torch's dialect: .*refuse family targets"):
        render_torch(LIST)
    with pytest.raises(DialectError, match="refuse family targets"):
        parse_torch("9.0 10.0f")


def test_flashinfer_takes_no_ptx() -> None:
    with pytest.raises(DialectError, match=r"'12\.0\+PTX' in FlashInfer's dialect"):
        render_flashinfer(LIST)
    with pytest.raises(DialectError, match="embeds no PTX"):
        parse_flashinfer("9.0a 12.0+PTX")


@pytest.mark.parametrize("text", ["9.0a  10.0f", " 9.0a", "9.0a;10.0f", "9.0a\t10.0f"])
def test_flashinfer_splits_at_single_blanks(text: str) -> None:
    with pytest.raises(DialectError, match="separated by one space"):
        parse_flashinfer(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90a-real;120-real;120-virtual", "9.0a 12.0+PTX"),
        ("120-virtual;120-real", "12.0+PTX"),
        ("90a;120", "9.0a+PTX 12.0+PTX"),
        ("80-real;80", "8.0+PTX"),
    ],
)
def test_cmake_lists(text: str, expected: str) -> None:
    assert parse_cmake(text) == parse_list(expected)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("90-virtual", "PTX of 9.0 without its machine code"),
        ("80;90-virtual", "PTX of 9.0 without its machine code"),
        ("native", "write numbers"),
        ("all-major", "write numbers"),
        ("9.0", "write numbers"),
        ("80 90", "write numbers"),
        ("sm_90", "write numbers"),
        ("80;", "write numbers"),
        ("", "write numbers"),
    ],
)
def test_cmake_lists_that_cannot_be_said(text: str, why: str) -> None:
    with pytest.raises(DialectError, match=why):
        parse_cmake(text)


@pytest.mark.parametrize("text", ["10.0 10.0f", "10.0f 10.0+PTX", "10.0f+PTX 10.0"])
def test_nvcc_takes_no_plain_target_beside_its_family(text: str) -> None:
    with pytest.raises(DialectError, match=r"nvcc refuses 10\.0 and 10\.0f in one compilation"):
        render_gencode(parse_list(text))


def test_the_error_names_dialect_item_and_reason() -> None:
    with pytest.raises(DialectError) as error:
        render_torch([parse_arch("12.0f")])
    assert (error.value.dialect, error.value.item) == ("torch", "12.0f")
    assert "family" in error.value.why
