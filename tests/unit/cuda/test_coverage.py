from __future__ import annotations

from typing import Literal, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cuda.arch import ArchSyntaxError, Suffix, parse_arch
from orchestrator.cuda.coverage import FAMILIES, TEGRA, How, Image, ptx_isa_needed, serve
from tests.unit.cuda.strategies import KNOWN_SMS, suffixes

Kind = Literal["sass", "ptx", "lto"]

images = st.builds(Image, st.sampled_from(get_args(Kind)), st.sampled_from(KNOWN_SMS), suffixes)
containers = st.lists(images, max_size=8)
devices = st.sampled_from(KNOWN_SMS).map(lambda sm: f"{sm // 10}.{sm % 10}")
ORDER = list(How)


def image(text: str) -> Image:
    """`90a` a cubin, `p80` PTX, `lto90` LTO IR."""
    kind: Kind = "ptx" if text.startswith("p") else "lto" if text.startswith("lto") else "sass"
    bare = text.removeprefix("p").removeprefix("lto")
    suffix: Suffix = "a" if bare.endswith("a") else "f" if bare.endswith("f") else ""
    return Image(kind, int(bare.rstrip("af")), suffix)


def served(text: str, cc: str, *, strict_tegra: bool = True) -> How:
    return serve([image(word) for word in text.split()], cc, strict_tegra=strict_tegra)


@pytest.mark.parametrize(
    ("container", "cc", "how"),
    [
        ("90", "9.0", How.NATIVE),
        ("90a", "9.0", How.ARCH),
        ("80", "8.6", How.SAME_MAJOR),
        ("86", "8.9", How.SAME_MAJOR),
        ("86", "8.0", How.NONE),
        ("80", "9.0", How.NONE),
        ("89", "9.0", How.NONE),
        ("100f", "10.0", How.FAMILY),
        ("100f", "10.7", How.FAMILY),
        ("103f", "10.0", How.NONE),
        ("100f", "11.0", How.NONE),
        ("120f", "12.1", How.FAMILY),
        ("121f", "12.0", How.NONE),
        ("120a", "12.1", How.NONE),
        ("100a", "10.3", How.NONE),
        ("100", "10.3", How.SAME_MAJOR),
        ("101", "11.0", How.NATIVE),
        ("110", "10.1", How.NATIVE),
        ("101a", "11.0", How.ARCH),
        ("101f", "11.0", How.FAMILY),
        ("100", "10.1", How.NONE),  # Tegra takes no desktop cubins
        ("101", "10.3", How.NONE),
        ("87", "8.9", How.NONE),
        ("87", "8.7", How.NATIVE),
        ("80", "8.7", How.NONE),
        ("p80", "11.0", How.PTX),
        ("p120", "11.0", How.NONE),
        ("p101", "10.3", How.PTX),
        ("p101", "10.0", How.NONE),
        ("p110", "10.1", How.PTX),
        ("p90a", "9.0", How.PTX),
        ("p90a", "10.0", How.NONE),
        ("p101a", "11.0", How.PTX),
        ("p101f", "11.0", How.PTX),
        ("p100f", "10.3", How.PTX),
        ("p100f", "12.0", How.NONE),
        ("lto90", "9.0", How.NONE),
        ("", "9.0", How.NONE),
        ("p80 80 90a 90", "9.0", How.NATIVE),
        ("p80 90a", "9.0", How.ARCH),
        ("p80 100 100f", "10.3", How.FAMILY),
        # vLLM 0.19.0 for aarch64 (its issue 39233): most containers hold nothing for Jetson Thor
        ("87 89 90 100 120", "11.0", How.NONE),
        ("80 87 89 90 100 110 120", "11.0", How.NATIVE),
    ],
)
def test_how_a_container_serves_a_device(container: str, cc: str, how: How) -> None:
    assert served(container, cc) is how


@given(containers, images, devices, st.booleans())
def test_an_image_more_never_lowers_coverage(container: list[Image], more: Image, cc: str, strict: bool) -> None:
    before = serve(container, cc, strict_tegra=strict)
    after = serve([*container, more], cc, strict_tegra=strict)
    assert ORDER.index(after) <= ORDER.index(before)
    assert serve([more, *reversed(container)], cc, strict_tegra=strict) is after


@given(containers, devices)
def test_strict_tegra_serves_less(container: list[Image], cc: str) -> None:
    strict = serve(container, cc)
    relaxed = serve(container, cc, strict_tegra=False)
    assert ORDER.index(relaxed) <= ORDER.index(strict)
    if relaxed is not strict:
        assert cc in {"7.2", "8.7"}
        assert relaxed is How.SAME_MAJOR


def test_the_tegra_switch() -> None:
    assert served("80", "8.7", strict_tegra=False) is How.SAME_MAJOR
    assert served("70", "7.2", strict_tegra=False) is How.SAME_MAJOR
    assert served("100", "11.0", strict_tegra=False) is How.NONE
    assert served("50", "5.3", strict_tegra=False) is How.NONE
    assert served("87", "8.9", strict_tegra=False) is How.NONE


@given(st.sampled_from(["sass", "ptx"]), st.sampled_from(KNOWN_SMS), devices)
def test_an_a_image_covers_no_other_device(kind: Literal["sass", "ptx"], sm: int, cc: str) -> None:
    thor = {101, 110}
    same = sm == parse_arch(cc).sm or {sm, parse_arch(cc).sm} <= thor
    assert (serve([Image(kind, sm, "a")], cc) is not How.NONE) == same


@given(st.sampled_from(["sass", "ptx"]), st.sampled_from(KNOWN_SMS), devices, st.booleans())
def test_an_f_image_covers_its_family_and_nothing_else(
    kind: Literal["sass", "ptx"], sm: int, cc: str, strict: bool
) -> None:
    device = parse_arch(cc).sm
    family = FAMILIES.get(110 if sm == 101 else sm, frozenset({sm}))
    expected = (110 if device == 101 else device) in family
    assert (serve([Image(kind, sm, "f")], cc, strict_tegra=strict) is not How.NONE) == expected


@given(containers, devices)
def test_both_names_of_thor_are_one_device_and_one_cubin(container: list[Image], cc: str) -> None:
    assert serve(container, "10.1") is serve(container, "11.0")
    swap = {101: 110, 110: 101}
    cubins = [image for image in container if image.kind == "sass"]
    swapped = [Image("sass", swap.get(image.sm, image.sm), image.suffix) for image in cubins]
    assert serve(cubins, cc) is serve(swapped, cc)


@given(images, devices)
def test_plain_cubins_never_cross_a_major_number_or_go_back(one: Image, cc: str) -> None:
    device = parse_arch(cc).sm
    if serve([one], cc, strict_tegra=False) is How.SAME_MAJOR:
        assert one.sm // 10 == device // 10
        assert one.sm < device
        assert one.sm not in TEGRA


@given(containers, devices)
def test_direct_means_machine_code(container: list[Image], cc: str) -> None:
    without = serve([image for image in container if image.kind == "sass"], cc)
    assert serve(container, cc).direct == without.direct == (without is not How.NONE)


def test_relinking_counts_only_where_every_object_can_be_linked() -> None:
    def relink(container: str, *objects: str) -> How:
        behind = [[image(word) for word in words.split()] for words in objects]
        return serve([image(word) for word in container.split()], "11.0", relocatable=behind)

    assert relink("90", "p80 90", "p80") is How.RELINK
    assert relink("90", "p80 90", "90") is How.NONE
    assert relink("90", "lto110") is How.NONE
    assert relink("90", "110") is How.RELINK
    assert relink("90") is How.NONE
    assert relink("110", "90") is How.NATIVE
    assert not How.RELINK.direct


def test_the_ptx_isa_that_a_driver_must_know() -> None:
    container = [Image("ptx", 80, isa=(8, 8)), Image("ptx", 90, isa=(9, 0)), Image("sass", 80)]
    assert ptx_isa_needed(container, "11.0") == (8, 8)
    assert ptx_isa_needed(container[1:], "9.0") == (9, 0)
    assert ptx_isa_needed(container, "7.5") is None


@pytest.mark.parametrize("cc", ["9.0a", "9.0+PTX", "90", "sm_90", ""])
def test_a_device_is_a_plain_compute_capability(cc: str) -> None:
    with pytest.raises(ArchSyntaxError):
        serve([Image("sass", 90)], cc)
