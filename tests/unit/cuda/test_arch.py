from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.cuda.arch import Arch, ArchSyntaxError, from_sm, parse_arch, parse_list
from tests.unit.cuda.strategies import arch_lists, archs


@given(archs)
def test_every_architecture_is_read_back_from_its_text(arch: Arch) -> None:
    assert parse_arch(str(arch)) == arch
    assert from_sm(arch.sm, arch.suffix, ptx=arch.ptx) == arch


def test_names_of_an_architecture() -> None:
    arch = parse_arch("12.0f+PTX")
    assert (arch.major, arch.minor, arch.suffix, arch.ptx) == (12, 0, "f", True)
    assert (arch.cc, arch.sm, arch.target, str(arch)) == ("12.0", 120, "sm_120f", "12.0f+PTX")
    assert str(arch.without_ptx()) == "12.0f"
    assert arch.without_ptx().with_ptx() == arch
    assert arch.plain() == Arch(12, 0)


def test_architectures_sort_by_number_and_not_by_text() -> None:
    shuffled = parse_list("12.0 9.0a 10.0f 8.6 9.0 10.0 10.0a 9.0+PTX")
    assert " ".join(map(str, sorted(shuffled))) == "8.6 9.0 9.0+PTX 9.0a 10.0 10.0a 10.0f 12.0"


@pytest.mark.parametrize(
    ("major", "minor", "suffix"), [(0, 0, ""), (100, 0, ""), (9, 10, ""), (9, -1, ""), (9, 0, "b")]
)
def test_impossible_values_are_refused(major: int, minor: int, suffix: str) -> None:
    with pytest.raises(ValueError, match="no architecture"):
        Arch(major, minor, suffix)  # type: ignore[arg-type]  # the point of the test


@given(arch_lists, st.lists(st.sampled_from([" ", ";", "\t", "\n", "; ", "  "]), min_size=9, max_size=9))
def test_any_mixture_of_blanks_and_semicolons_separates(items: tuple[Arch, ...], separators: list[str]) -> None:
    text = separators[0] + "".join(f"{arch}{gap}" for arch, gap in zip(items, separators[1:], strict=False))
    assert parse_list(text) == items


def test_order_and_repetitions_are_kept() -> None:
    assert parse_list("9.0 8.0 9.0") == (Arch(9, 0), Arch(8, 0), Arch(9, 0))


@pytest.mark.parametrize(
    ("item", "why"),
    [
        ("8.0,9.0", "spaces, not commas"),
        ("8.0,", "spaces, not commas"),
        ("+PTX", "belongs to the architecture before it"),
        ("9.0+ptx", r"write 9\.0\+PTX"),
        ("9.0A", r"write 9\.0a"),
        ("90", r"write the compute capability, 9\.0, not nvcc's"),
        ("120+PTX", r"12\.0\+PTX, not nvcc's"),
        ("sm_90", r"9\.0, not nvcc's"),
        ("SM90a", r"9\.0a, not nvcc's"),
        ("compute_100f", r"10\.0f, not nvcc's"),
        ("90-real", r"9\.0, not CMake's"),
        ("120-virtual", r"12\.0, not CMake's"),
        ("9", r"minor number is missing; write 9\.0$"),
        ("9a+PTX", r"write 9\.0a\+PTX$"),
        ("Hopper", r"different architectures to different readers.*9\.0"),
        ("Ampere+PTX", "different architectures to different readers"),
        ("Blackwell+Tegra", "different architectures to different readers"),
        ("native", "machine that builds"),
        ("NATIVE", "machine that builds"),
        ("all", "selected toolkit"),
        ("all-major", "selected toolkit"),
        ("Auto", "machine that builds"),
        ("9.0b", "the suffix 'b' does not exist"),
        ("10.10", "one digit"),
        ("09.0", "one or two digits"),
        ("100.0", "one or two digits"),
        ("9.0(8.0)", "parentheses"),
        ("9.0-real", "only \\+PTX can follow"),
        ("9.0+PTX+PTX", "only \\+PTX can follow"),
        ("9.0af", "the suffix 'af' does not exist"),
        ("banana", "write an architecture like"),
        ("٩.0", "write an architecture like"),
        ("{archs}", "write an architecture like"),
    ],
)
def test_a_refusal_says_what_to_write_and_where(item: str, why: str) -> None:
    with pytest.raises(ArchSyntaxError) as one:
        parse_arch(item)
    assert (one.value.item, one.value.offset) == (item, 0)
    assert re.search(why, one.value.why), one.value.why
    assert repr(item) in str(one.value)
    with pytest.raises(ArchSyntaxError) as listed:
        parse_list(f"8.0  7.5;{item} 12.0")
    assert (listed.value.item, listed.value.why, listed.value.offset) == (item, one.value.why, 9)


@pytest.mark.parametrize("text", ["", "  ", ";", " ;\n"])
def test_an_empty_list_is_refused(text: str) -> None:
    with pytest.raises(ArchSyntaxError, match=r"^the list names no architecture$"):
        parse_list(text)


def test_a_single_architecture_takes_no_blanks() -> None:
    for text in ("", " 9.0", "9.0 ", "9.0\n"):
        with pytest.raises(ArchSyntaxError):
            parse_arch(text)


@given(st.text(alphabet="0123456789.af+PTXptx;, _-smreal()", max_size=24))
@example("9.0\x00")
def test_any_text_is_either_a_list_or_one_clear_refusal(text: str) -> None:
    refusal: ArchSyntaxError | None = None
    items: tuple[Arch, ...] = ()
    try:
        items = parse_list(text)
    except ArchSyntaxError as error:
        refusal = error
    if refusal:
        assert refusal.why
        assert text[refusal.offset :].startswith(refusal.item)
    else:
        assert " ".join(map(str, items)) == " ".join(text.replace(";", " ").split())
